"""Labelled examples of a dataset, a few at a time: those that a run would train on and choose by.

The test part stays sealed. Files are read and divided by the very stages of a run: what stands in
the cache is used, and what is made is there for the next run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from hepbench.data import inputs_stage, naming, stored_parts
from hepbench.data.messages import InputsTask, ReadResult
from hepbench.planning.matrix import Combination
from hepbench.registry.plugins import Entry
from hepbench.running import progress
from hepbench.specs.errors import DataError, PluginError
from hepbench.specs.model import Model
from hepbench.specs.sparse_images import SparseImages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hepbench.data.finding import Wanted
    from hepbench.planning.stages import Stage
    from hepbench.specs.dataset import Dataset
    from hepbench.specs.types import Array, Inputs, Params
    from hepbench.storage.records import Origin
    from hepbench.storage.stage_cache import StageCache


PARTS = ("train", "validation")


MOST_BYTES = 200_000_000
"""Of some examples that are not sparse."""


SPLIT_SEED = 0
"""That of suites which name none."""


class Chunk(NamedTuple):
    """Some examples: labels (n,), weights (n,), inputs (n, ...) and targets (n,) by name."""

    labels: Array
    weights: Array
    inputs: Inputs
    targets: Inputs


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """The labelled examples of a dataset, without its test part.

    Attributes:
        spec, name: the dataset; its name with the parameters that were chosen.
        task: what the stage that lays out inputs is told.
        source: the folder of what was read.
        rows: (N,) which of it, in order.
        columns: (N,) each: ``labels``, ``weights`` where there are any, ``target.*``.
        sealed: how many test examples are left out.
        origin: where they are from: see ``plan.DataFiles``.
        params: all of the dataset's own.
        notes: what must be said of its files.
        tell: takes a few words on how far it is, where all examples are gone through.
    """

    spec: Dataset
    name: str
    task: InputsTask
    source: Path
    rows: Array
    columns: Mapping[str, Array]
    sealed: int
    params: Params
    origin: Origin = "sample"
    notes: Sequence[str] = ()
    report_progress: Callable[[str], None] = progress.nobody

    @property
    def source_name(self) -> str:
        """What tells it from others where two are compared."""
        return {"file": "file", "simulated": "simulated file", "sample": "sample"}[self.origin]

    @property
    def counts(self) -> Array:
        """(classes,) numbers of examples."""
        return np.bincount(self.columns["labels"], minlength=len(self.spec.classes))

    @property
    def inputs(self) -> set[str]:
        """What inputs there are, those that views make among them."""
        return available(self.spec)

    @property
    def targets(self) -> list[str]:
        """What is known of examples beside inputs and labels: masses and the like."""
        return [name for name in self.columns if name not in {"labels", "weights"}]

    def chunks(self, *names: str) -> Iterator[Chunk]:
        """Yield all examples, with some of their inputs, as many at a time as memory allows."""
        whole, n = stored_parts.read_inputs(self.source, "labelled"), len(self.rows)
        for span in stored_parts.spans(whole, n):
            yield self._chunk(whole, np.arange(span.start, span.stop), names)
            self.report_progress(f"{span.stop / n:.0%} of {n:,} examples drawn")

    def some(self, most: int, *names: str) -> Chunk:
        """Return at most so many examples, as memory allows, spread evenly over all of them."""
        whole = stored_parts.read_inputs(self.source, "labelled")
        dense = [a for a in whole.values() if not isinstance(a, SparseImages)]
        size = sum(math.prod(a.shape[1:]) * a.dtype.itemsize for a in dense)
        most = min(most, max(1, MOST_BYTES // max(size, 1)))
        places = np.unique(np.linspace(0, len(self.rows) - 1, most).astype(np.int64))
        return self._chunk(whole, places, names)

    def names(self, name: str, n: int) -> list[str]:
        """Return what the n channels or features of an input are called, with their units."""
        given, units = naming.described(self.spec, name, self.params)
        if len(given) != n:
            # a view has changed them
            return [f"{name} {i}" for i in range(n)]
        return list(map(naming.with_unit, given, units or ("",) * n))

    def target_name(self, name: str) -> str:
        """Return what one of ``targets`` is called, with its unit."""
        bare = name.removeprefix("target.")
        return naming.with_unit(bare, self.spec.spectator_units.get(bare, ""))

    def _chunk(self, whole: Mapping[str, Array], places: Array, names: Sequence[str]) -> Chunk:
        read = {name: array[self.rows[places]] for name, array in whole.items()}
        task = msgspec.structs.replace(self.task, inputs=tuple(names))
        made = inputs_stage.wanted_inputs(task, read) if names else {}
        columns = {name: array[places] for name, array in self.columns.items()}
        labels = columns.pop("labels")
        weights = columns.pop("weights", np.ones(len(labels)))
        return Chunk(labels, weights, made, columns)


def available(spec: Dataset) -> set[str]:
    """Return the inputs that a dataset has, those that its views make among them."""
    return {*spec.inputs, *spec.views}


def opened(
    reference: str,
    *,
    data: Path | None,
    source: Wanted,
    report_progress: Callable[[str], None] = progress.nobody,
) -> Labelled:
    """Return the examples of a dataset at hand.

    Args:
        reference: its name, perhaps with parameters in brackets.
        data: the folder of original files.
        source: original file where found, or always one of both.
        tell: takes a few words on how far it is.

    Raises:
        UsageError: no such dataset, or no such parameter.
        DataError: the files are missing, or not as they should be.
    """
    from hepbench.planning import settings
    from hepbench.planning.stages import preparation
    from hepbench.registry.plugins import installed
    from hepbench.running import session
    from hepbench.specs import references
    from hepbench.storage.stage_cache import StageCache

    asked = references.reference(reference)
    entry = installed().entry("dataset", asked.name)
    params = settings.dataset_params(entry.spec, asked.params)
    local = session.LocalOptions(data=data, source=source)
    with session.local_environment(local) as environment:
        combination = _combination(entry, params)
        read, split, inputs = preparation(combination, SPLIT_SEED, environment)
        found = environment.found(entry)
    cache = StageCache(session.cache_folder())
    _prepare({stage.key: stage for stage in (read, split)}, cache, report_progress)
    assert isinstance(inputs.task, InputsTask)
    shown = gathered(entry.spec, inputs.task, cache.folder(read.key), cache.folder(split.key))
    warnings = cache.result(read.key, ReadResult).warnings
    return replace(
        shown,
        name=reference,
        params=params,
        origin=found.source,
        notes=(*found.warnings, *found.notes, *warnings),
        report_progress=report_progress,
    )


def gathered(spec: Dataset, task: InputsTask, read: Path, split: Path) -> Labelled:
    """Return the examples of a dataset that was read and divided.

    Args:
        task: what the stage that lays out inputs is told.
        read, split: folders of the two stages before it.
    """
    parts = [_part(split / f"{part}.npz") for part in PARTS]
    whole = {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}
    # files are read from front to back
    order = np.argsort(whole["rows"], kind="stable")
    columns = {name: array[order] for name, array in whole.items()}
    with np.load(split / "test.npz", allow_pickle=False) as test:
        sealed = len(test["rows"])
    rows = columns.pop("rows")
    return Labelled(
        spec=spec,
        name=spec.name,
        task=task,
        source=read,
        rows=rows,
        columns=columns,
        sealed=sealed,
        params=spec.params,
    )


def _combination(entry: Entry, params: Mapping[str, Any]) -> Combination:
    """Return a dataset with a model that takes whatever it has."""
    inputs = tuple(sorted(available(entry.spec)))
    model = Entry(Model(name="figure", summary="", inputs=inputs, build=""), entry.plugin)
    labels = (entry.spec.name, "figure", "")
    return Combination(
        labels=labels,
        dataset=entry,
        model=model,
        methods=(),
        dataset_params=params,
        model_params={},
        method_params=(),
    )


def _part(path: Path) -> dict[str, Array]:
    """Return the rows of a part and its columns, without ids."""
    with np.load(path, allow_pickle=False) as kept:
        return {name: array for name, array in kept.items() if name != "ids"}


def _prepare(
    stages: Mapping[str, Stage], cache: StageCache, report_progress: Callable[[str], None]
) -> None:
    """Run what the cache lacks.

    Raises:
        DataError: the files are not as they should be.
        PluginError: whatever else went wrong.
    """
    from hepbench.running import executor, grouping, session
    from hepbench.running.local import LocalExecutor

    missing = grouping.missing(stages, stages, cache)
    limits = executor.Limits(memory=session.default_memory(1))
    executed = LocalExecutor(cache, limits).execute(missing, while_waiting=lambda: None)
    for outcome in executed:
        if outcome.progress:
            report_progress(f"read {outcome.progress}")
        if outcome.user_error:
            raise DataError(outcome.message)
        if outcome.status in {"failed", "timeout"}:
            msg = f"{stages[outcome.key].name}: {outcome.type}: {outcome.message}"
            raise PluginError(msg)
