"""Read from the cache what stages returned and used; what many cells share is read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hepbench.data.messages import ReadResult, SplitResult
from hepbench.running import usage
from hepbench.training.messages import MethodResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.planning.stages import Stage
    from hepbench.storage.records import Usage
    from hepbench.storage.stage_cache import StageCache


@dataclass(frozen=True)
class StageResults:
    """What finished stages returned and used, for the records of a run."""

    stages: Mapping[str, Stage]
    cache: StageCache
    _prepared: dict[str, tuple[SplitResult, ReadResult]] = field(default_factory=dict)
    _used: dict[str, Usage] = field(default_factory=dict)

    def of_split(self, key: str) -> tuple[SplitResult, ReadResult]:
        """Return the results of a split stage and of the read stage before it."""
        if key not in self._prepared:
            split = self.cache.result(key, SplitResult)
            read = self.cache.result(self.stages[key].parents[0], ReadResult)
            self._prepared[key] = split, read
        return self._prepared[key]

    def of_chain(self, final: str) -> list[MethodResult]:
        """Return the result of each method of a chain, first method first."""
        keys = [final]
        while before := self.stages[keys[0]].parents[1:]:
            keys.insert(0, before[0])
        return [self.cache.result(key, MethodResult) for key in keys]

    def used_by(self, key: str) -> Usage:
        """Return what a stage used that the stages before it did not use."""
        return usage.added(self._all_used(key), map(self._all_used, self.stages[key].parents))

    def _all_used(self, key: str) -> Usage:
        """Return what a stage and those before it used."""
        if key not in self._used:
            self._used[key] = self.cache.used(key)
        return self._used[key]
