"""Cache of file digests, each kept until the size or times of its file change."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepbench.storage import regular_files, temporary

if TYPE_CHECKING:
    from collections.abc import Callable


DIGESTS = "digests.json"
"""File of a cache folder that holds the digests."""


SEPARATOR = "\n"
"""Between the path of a file and the kind of its value."""


def stamp(path: Path) -> list[int]:
    """Return the stamp of a file (size, times, inode), which differs once the file is changed.

    Raises:
        OSError: the file does not exist.
    """
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


class DigestCache:
    """Cache of values computed from files, each kept until the file's size or times change."""

    # a file that changes right after reading can keep its times: clocks are coarse
    MIN_AGE_SECONDS = 2.0

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = False
        try:
            stored = json.loads(regular_files.read_text(path))
        except (OSError, ValueError, RecursionError):
            stored = {}
        self._values: dict[str, Any] = _valid_entries(stored)

    def __call__(self, path: Path, compute: Callable[[Path], Any], kind: str = "") -> Any:
        """Return ``compute(path)``, taken from the cache if the file has not changed.

        Args:
            kind: of the value, if several are computed from one file.
        """
        before = stamp(path)
        name = f"{path.absolute()}{SEPARATOR}{kind}" if kind else str(path.absolute())
        if name in self._values and self._values[name][0] == before:
            return self._values[name][1]
        value = compute(path)
        _, *changed, _ = before
        if time.time() - max(changed) / 1e9 > self.MIN_AGE_SECONDS:
            self._values[name] = [before, value]
            self._changed = True
        return value

    def save(self) -> None:
        """Write the cached values to disk; if that fails they are computed again next time."""
        if not self._changed:
            return
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part = temporary.part(self._path)
            kept = {n: v for n, v in self._values.items() if Path(n.split(SEPARATOR)[0]).exists()}
            try:
                part.write_text(json.dumps(kept))
                part.replace(self._path)
            finally:
                part.unlink(missing_ok=True)
            self._changed = False


def _valid_entries(stored: Any) -> dict[str, Any]:
    """Return the valid entries of a digest file: pairs of a stamp and a value."""
    if not isinstance(stored, dict):
        return {}
    return {n: v for n, v in stored.items() if isinstance(v, list) and len(v) == 2}
