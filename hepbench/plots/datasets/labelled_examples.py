"""Read the training and validation examples of a dataset for its figures, chunk by chunk.

The test part stays sealed. Files are read and split by the same stages as in a run, with the same
cache.
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
from hepbench.specs.parameters import defaults
from hepbench.specs.sparse_images import SparseImages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hepbench.data.finding import DataFiles, Wanted
    from hepbench.planning.stages import Stage
    from hepbench.running.local import LocalExecutor
    from hepbench.running.session import LocalOptions
    from hepbench.specs.dataset import Dataset
    from hepbench.specs.types import Array, Inputs, Params
    from hepbench.storage.records import Origin


PARTS = ("train", "validation")


MAX_BYTES = 200_000_000
"""Largest size in bytes of the dense inputs that are read at once."""


SPLIT_SEED = 0
"""The default split seed of a suite."""


class Chunk(NamedTuple):
    """Some examples of a dataset: labels, weights, and inputs and spectators by name."""

    labels: Array
    weights: Array
    inputs: Inputs
    spectators: Inputs


@dataclass(frozen=True, kw_only=True)
class LabelledExamples:
    """The training and validation examples of a dataset, from which its figures are drawn.

    Attributes:
        spec, name: the dataset; its name with the parameters that the user chose.
        task: settings of the stage that prepares inputs.
        source: folder of the stage that read the files.
        rows: (N,) indices of the examples in it, rising.
        columns: (N,) each: ``labels``, ``weights`` if there are any, ``spectator.*``.
        sealed: number of test examples, which are left out.
        origin: original file, simulated file or sample: see ``finding.DataFiles``.
        params: all parameters of the dataset.
        notes: warnings and notes about its files.
        report_progress: is called with a few words while all examples are read.
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
    report_progress: Callable[[str], None] = progress.ignore

    @property
    def source_name(self) -> str:
        """A short name of the data's origin, for figures that compare file and sample."""
        return {"file": "file", "simulated": "simulated file", "sample": "sample"}[self.origin]

    @property
    def counts(self) -> Array:
        """Number of examples of each class, (classes,)."""
        return np.bincount(self.columns["labels"], minlength=len(self.spec.classes))

    @property
    def inputs(self) -> set[str]:
        """Names of all inputs to draw, including those that views make."""
        return available(self.spec)

    @property
    def spectators(self) -> list[str]:
        """Names of the spectators, such as masses."""
        return [name for name in self.columns if name not in {"labels", "weights"}]

    def chunks(self, *names: str) -> Iterator[Chunk]:
        """Yield all examples with the named inputs, as many at a time as fit into memory."""
        whole, n = stored_parts.read_inputs(self.source, "labelled"), len(self.rows)
        for span in stored_parts.spans(whole, n):
            yield self._chunk(whole, np.arange(span.start, span.stop), names)
            self.report_progress(f"{span.stop / n:.0%} of {n:,} examples drawn")

    def some(self, most: int, *names: str) -> Chunk:
        """Return at most ``most`` examples, spread evenly over all, as far as memory allows."""
        whole = stored_parts.read_inputs(self.source, "labelled")
        dense = [a for a in whole.values() if not isinstance(a, SparseImages)]
        size = sum(math.prod(a.shape[1:]) * a.dtype.itemsize for a in dense)
        most = min(most, max(1, MAX_BYTES // max(size, 1)))
        places = np.unique(np.linspace(0, len(self.rows) - 1, most).astype(np.int64))
        return self._chunk(whole, places, names)

    def names(self, name: str, n: int) -> list[str]:
        """Return the names of an input's n channels or features, with their units."""
        given, units = naming.described(self.spec, name, self.params)
        if len(given) != n:
            # a view changed the number of features, so their names no longer apply
            return [f"{name} {i}" for i in range(n)]
        return list(map(naming.with_unit, given, units or ("",) * n))

    def spectator_name(self, name: str) -> str:
        """Return the name of a spectator with its unit."""
        bare = name.removeprefix("spectator.")
        return naming.with_unit(bare, self.spec.spectators.get(bare, ""))

    def _chunk(self, whole: Mapping[str, Array], places: Array, names: Sequence[str]) -> Chunk:
        read = {name: array[self.rows[places]] for name, array in whole.items()}
        task = msgspec.structs.replace(self.task, inputs=tuple(names))
        made = inputs_stage.wanted_inputs(task, read) if names else {}
        columns = {name: array[places] for name, array in self.columns.items()}
        labels = columns.pop("labels")
        weights = columns.pop("weights", np.ones(len(labels)))
        return Chunk(labels, weights, made, columns)


def available(spec: Dataset) -> set[str]:
    """Return the names of the inputs that can be drawn, including those that views make."""
    return {*spec.inputs, *spec.views}


def opened(
    reference: str,
    *,
    data: Path | None,
    source: Wanted,
    report_progress: Callable[[str], None] = progress.ignore,
) -> LabelledExamples:
    """Open a dataset to draw its figures; files that the cache lacks are read first.

    Args:
        reference: the dataset's name, perhaps with parameters in brackets.
        data: the folder with original files.
        source: ``file``, ``sample``, or ``auto``: the file if it is found.
        report_progress: is called with a few words while examples are read.

    Raises:
        UsageError: the dataset or a parameter is unknown.
        DataError: files are missing or invalid.
    """
    from hepbench.planning import settings
    from hepbench.registry.plugins import installed
    from hepbench.running import session
    from hepbench.specs import references

    asked = references.reference(reference)
    entry = installed().entry("dataset", asked.name)
    params = settings.dataset_params(entry.spec, asked.params)
    local = session.LocalOptions(data=data, source=source)
    shown, found = _read(_combination(entry, params), local, report_progress)
    return replace(
        shown,
        name=reference,
        params=params,
        origin=found.source,
        notes=(*found.warnings, *found.notes, *shown.notes),
        report_progress=report_progress,
    )


def _read(
    combination: Combination, local: LocalOptions, report_progress: Callable[[str], None]
) -> tuple[LabelledExamples, DataFiles]:
    """Return the examples of a dataset with notes about its files, and the files that were read."""
    from hepbench.planning.stages import preparation
    from hepbench.running import session
    from hepbench.running.executor import Limits
    from hepbench.running.local import LocalExecutor
    from hepbench.running.validity import Validity
    from hepbench.storage.stage_cache import StageCache

    with session.local_environment(local) as environment:
        read, split, inputs = preparation(combination, SPLIT_SEED, environment)
        found = environment.found(combination.dataset)
    validity = Validity(environment.digests)
    cache = StageCache(session.cache_folder(), validity.holds)
    executor = LocalExecutor(cache, Limits(memory=session.default_memory(1)), validity)
    _prepare({stage.key: stage for stage in (read, split)}, executor, report_progress)
    assert isinstance(inputs.task, InputsTask)
    spec = combination.dataset.spec
    shown = gathered(spec, inputs.task, cache.folder(read.key), cache.folder(split.key))
    return replace(shown, notes=cache.result(read.key, ReadResult).warnings), found


def gathered(spec: Dataset, task: InputsTask, read: Path, split: Path) -> LabelledExamples:
    """Collect the examples of a dataset from its cached stages (reading and splitting).

    Args:
        spec: the dataset.
        task: settings of the stage that prepares inputs.
        read, split: folders of the two stages before it.
    """
    columns = _columns(split)
    rows = columns.pop("rows")
    with np.load(split / "test.npz", allow_pickle=False) as test:
        sealed = len(test["rows"])
    return LabelledExamples(
        spec=spec,
        name=spec.name,
        task=task,
        source=read,
        rows=rows,
        columns=columns,
        sealed=sealed,
        params=defaults(spec.params),
    )


def _columns(split: Path) -> dict[str, Array]:
    """Return labels, weights and spectators of training and validation, sorted by row."""
    parts = [_part(split / f"{part}.npz") for part in PARTS]
    whole = {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}
    # files are read from front to back
    order = np.argsort(whole["rows"], kind="stable")
    return {name: array[order] for name, array in whole.items()}


def _combination(entry: Entry, params: Mapping[str, Any]) -> Combination:
    """Combine the dataset to draw with an imaginary model that takes all its inputs."""
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
    """Return the row numbers and columns of one part of a split, without ids."""
    with np.load(path, allow_pickle=False) as kept:
        return {name: array for name, array in kept.items() if name != "ids"}


def _prepare(
    stages: Mapping[str, Stage], executor: LocalExecutor, report_progress: Callable[[str], None]
) -> None:
    """Run the stages that prepare a dataset for its figures, unless they are in the cache.

    Raises:
        DataError: files are invalid.
        PluginError: a stage failed for any other reason.
    """
    from hepbench.running import grouping

    missing = grouping.missing(stages, stages, executor.cache.usable)
    for outcome in executor.execute(missing, while_waiting=lambda: None):
        if outcome.progress:
            report_progress(f"read {outcome.progress}")
        if outcome.user_error:
            raise DataError(outcome.message)
        if outcome.status in {"failed", "timeout"}:
            msg = f"{stages[outcome.key].name}: {outcome.type}: {outcome.message}"
            raise PluginError(msg)
