"""Times of stages: kept in the cache, so that the time of a later run can be estimated."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from statistics import fmean
from typing import TYPE_CHECKING

import msgspec

from hepbench.storage import keys, regular_files, temporary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from hepbench.planning.stages import Stage


FILE = "times.json"


MOST = 5000
"""Times that are kept; the oldest ones are forgotten."""


SETTINGS = (
    *("dataset", "source", "params", "limits", "views", "inputs"),
    *(
        "training_size",
        "label_fraction",
        "method",
        "model",
        "model_params",
        "device",
        "precision",
        "threads",
    ),
)
"""Parts of a stage's key on which its time depends; not the seed, and not the code."""


class Took(msgspec.Struct, frozen=True, array_like=True):
    """How long a stage took, in s, with its kind and name."""

    kind: str
    name: str
    seconds: float


class StageTimes:
    """The times of stages that ran on this machine, by their settings.

    Args:
        path: of the file in the cache; one that is missing or damaged is empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Took] = {}
        self._settings: dict[str, str] = {}
        with suppress(OSError, ValueError):
            text = regular_files.read_text(path)
            self._known = msgspec.json.decode(text, type=dict[str, Took])
        self._alike: dict[tuple[str, str], list[float]] = defaultdict(list)
        for took in self._known.values():
            self._add_to_alike(took)

    def _add_to_alike(self, took: Took) -> None:
        for name in (took.name, ""):
            self._alike[took.kind, name].append(took.seconds)

    def note(self, stage: Stage, stages: Mapping[str, Stage], seconds: float) -> None:
        """Note how long a stage took; ``stages`` holds its parents."""
        key = self._settings_key(stage, stages)
        # at the end, as the newest one
        self._known.pop(key, None)
        self._known[key] = Took(stage.kind, stage.name, seconds)
        self._add_to_alike(self._known[key])

    def save(self) -> None:
        """Write the times; a cache that cannot be written remembers none."""
        newest = dict(list(self._known.items())[-MOST:])
        with suppress(OSError):
            part = temporary.part(self._path)
            try:
                part.write_bytes(msgspec.json.encode(newest))
                part.replace(self._path)
            finally:
                part.unlink(missing_ok=True)

    def left(
        self, waiting: Iterable[Stage], stages: Mapping[str, Stage], jobs: int
    ) -> float | None:
        """Return the seconds that stages will take with a number of workers; None if unknown.

        A stage takes as long as one with equal settings, else as those of its name took on average,
        else as those of its kind. If fewer than half are known in one of the first two ways,
        nothing is said.
        """
        alone, together, known, every = 0.0, 0.0, 0, 0
        for stage in waiting:
            seconds, is_known = self._expected(stage, stages)
            known += is_known
            every += 1
            if stage.exclusive:
                alone += seconds
            else:
                together += seconds
        return alone + together / jobs if every and 2 * known >= every else None

    def _expected(self, stage: Stage, stages: Mapping[str, Stage]) -> tuple[float, bool]:
        """Return the seconds that a stage will take, and whether such a stage has run before."""
        if found := self._known.get(self._settings_key(stage, stages)):
            return found.seconds, True
        named = self._alike.get((stage.kind, stage.name), [])
        alike = named or self._alike.get((stage.kind, ""), [])
        return (fmean(alike) if alike else 0.0), bool(named)

    def _settings_key(self, stage: Stage, stages: Mapping[str, Stage]) -> str:
        """Return a key of what the time of a stage depends on, with that of its parents."""
        if stage.key not in self._settings:
            settings = {name: stage.parts[name] for name in SETTINGS if name in stage.parts}
            parents = [self._settings_key(stages[key], stages) for key in stage.parents]
            self._settings[stage.key] = keys.key([stage.name, settings, parents])
        return self._settings[stage.key]
