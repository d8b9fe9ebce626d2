"""Facts about this machine that a plan needs: files, digests of sources, versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.data.finding import DataFiles, Wanted, find
from hepbench.registry import portable_paths
from hepbench.storage import machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hepbench.registry.plugins import Entry
    from hepbench.registry.source_digests import SourceDigests
    from hepbench.storage.devices import Device
    from hepbench.storage.digest_cache import DigestCache


class LocalEnvironment:
    """Facts about this machine that a plan needs: see ``stages.Environment``."""

    def __init__(
        self,
        digests: DigestCache,
        sources: SourceDigests,
        *,
        folder: Path | None,
        wanted: Wanted,
        threads: int,
        device: Device,
    ) -> None:
        self.threads = threads
        self.device = device
        self.libraries: Mapping[str, str] = machine.libraries()
        self.measuring: Mapping[str, str] = machine.cost_facts()
        self.digests = digests
        self._sources = sources
        self._folder = folder
        self._wanted = wanted
        self._found: dict[str, DataFiles] = {}
        self._digests: dict[str, Mapping[str, str]] = {}
        self._labels: dict[str, str] = {}

    def sources(self, target: str, entry: Entry) -> Mapping[str, str]:
        """Return source digests of a function's module and its imports, computed once per run."""
        if target not in self._digests:
            self._digests[target] = self._sources.digests(target, entry.plugin)
        return self._digests[target]

    def found(self, entry: Entry) -> DataFiles:
        """Return the files of a dataset on this machine, searched for once per run."""
        name = entry.spec.name
        if name not in self._found:
            self._found[name] = find(entry.spec, self._folder, self._wanted, self.digests)
        return self._found[name]

    def declared(self, files: Sequence[str], entry: Entry) -> tuple[str, ...]:
        """Return labels of the files that a plugin's spec declares, located once per run.

        Raises:
            PluginError: a file is missing.
        """
        for name in files:
            if name not in self._labels:
                self._labels[name] = portable_paths.declared(name, entry.spec)
        return tuple(self._labels[name] for name in files)
