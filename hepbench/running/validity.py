"""Check whether the files, versions and variables that a stage or record used are unchanged."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hepbench.registry import libraries, portable_paths
from hepbench.running.usage import hashed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hepbench.storage.digest_cache import DigestCache
    from hepbench.storage.records import Record, Usage


UNKNOWN = "an older hepbench made it, which did not record the files and versions that were used"


class Validity:
    """Compares what stages used with the present files and versions; digests each file once."""

    def __init__(self, digests: DigestCache) -> None:
        self._digests = digests
        self._files: dict[str, str | None] = {}
        self._versions: dict[str, str] = {}

    def holds(self, used: Usage | None) -> bool:
        """Return whether all that a stage used is unchanged; False if nothing is recorded."""
        return used is not None and next(self._changes(used), None) is None

    def holds_for(self, record: Record) -> bool:
        """Return whether everything that the stages of a record used is unchanged."""
        return bool(record.used) and all(map(self.holds, record.used.values()))

    def changes(self, record: Record) -> list[str]:
        """Return a line ``name: old -> new`` for each file, version or variable that changed."""
        if not record.used:
            return [UNKNOWN]
        lines = (line for used in record.used.values() for line in self._changes(used))
        return list(dict.fromkeys(lines))

    def changed_in_run(self, used: Usage) -> str:
        """Return the first file that changed between stages of this run, or an empty string.

        The contents that this stage read are remembered for the next call.
        """
        for label, digest in used.files.items():
            if self._files.setdefault(label, digest) != digest:
                return label
        return ""

    def digest(self, label: str) -> str | None:
        """Return the digest of a used file, computed once per run; None if the file is missing."""
        if label not in self._files:
            path = portable_paths.locate(label)
            try:
                found = None if path is None else portable_paths.digest(path, self._digests)
            except OSError:
                found = None
            self._files[label] = found
        return self._files[label]

    def _changes(self, used: Usage) -> Iterator[str]:
        for label, before in used.files.items():
            if (now := self.digest(label)) != before:
                yield f"{label}: {before or 'absent'} -> {now or 'absent'}"
        for name, version in used.distributions.items():
            if (installed := self._version(name)) != version:
                yield f"{name}: {version} -> {installed}"
        for name, before in used.environment.items():
            if (now := hashed(os.environ.get(name))) != before:
                yield f"variable {name}: {_setting(before)} -> {_setting(now, before)}"

    def _version(self, name: str) -> str:
        if name not in self._versions:
            self._versions[name] = libraries.version(name)
        return self._versions[name]


def _setting(value: str | None, other: str | None = None) -> str:
    """Describe the hashed value of an environment variable: not set, set, or another value."""
    if value is None:
        return "not set"
    return "another value" if other else "set"
