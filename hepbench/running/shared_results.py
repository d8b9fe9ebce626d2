"""Results that several stages share: the first one computes them, the others find them by content."""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hepbench.running import usage
from hepbench.running.validity import Validity
from hepbench.storage import keys, stage_cache
from hepbench.storage.digest_cache import DigestCache
from hepbench.storage.stage_cache import MANIFEST, StageCache

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hepbench.running.messages import JobOrder, StageOrder
    from hepbench.running.trace import Trace
    from hepbench.running.turns import Turns
    from hepbench.specs.types import Json
    from hepbench.storage.records import Usage
    from hepbench.storage.workspace import Result


class SharedResults:
    """The results that a stage shares with others: see ``workspace.Sharing``.

    They lie in the cache like finished stages, by a key of all that they follow from, and are used
    while the files and versions that they used are unchanged. One that is older than the first
    parent of the stage is computed anew, because ``run --fresh`` computes that parent anew.

    Attributes:
        used: files and versions behind the results that this stage found or computed.
    """

    def __init__(
        self,
        stage: StageOrder,
        job: JobOrder,
        trace: Trace,
        turns: Turns,
        planned: Mapping[str, str],
    ) -> None:
        self.used: list[Usage] = []
        self._first_parent = Path(stage.parents[0]) if stage.parents else None
        self._job, self._trace, self._turns, self._planned = job, trace, turns, planned

    @cached_property
    def _cache(self) -> StageCache:
        validity = Validity(DigestCache(Path(self._job.usage.digests)))
        return StageCache(Path(self._job.cache), validity.holds)

    def __call__(self, parts: Json, compute: Callable[[], Result], kind: type[Result]) -> Result:
        """Return the result that was stored for equal parts, else compute and store it."""
        key = keys.key(["shared", parts])
        if (found := self._find(key, kind)) is not None:
            return found
        with self._turns.alone():
            # another stage may have stored it while this one waited
            if (found := self._find(key, kind)) is not None:
                return found
            began = time.perf_counter()
            result = compute()
            self._store(key, result, time.perf_counter() - began)
        return result

    def _find(self, key: str, kind: type[Result]) -> Result | None:
        manifest = self._cache.find_valid(key)
        if manifest is None or self._is_outdated(key):
            return None
        assert manifest.used is not None
        self.used.append(manifest.used)
        return msgspec.json.decode(manifest.result, type=kind)

    def _is_outdated(self, key: str) -> bool:
        if self._first_parent is None:
            return False
        try:
            made, parent = (
                (folder / MANIFEST).stat().st_mtime_ns
                for folder in (self._cache.folder(key), self._first_parent)
            )
        except FileNotFoundError:
            # another run has just removed it, to compute it anew
            return True
        return made < parent

    def _store(self, key: str, result: msgspec.Struct, took: float) -> None:
        # an entry that is there is outdated
        self._cache.remove(key)
        used = usage.used(self._trace, self._job.usage, self._planned)
        stage_cache.finish(
            self._cache.scratch(), self._cache.folder(key), result, took_seconds=took, used=used
        )
