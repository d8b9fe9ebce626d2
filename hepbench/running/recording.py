"""Make the record of a cell: its metrics, costs and warnings, or the failure of a stage."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import msgspec

from hepbench._version import __version__
from hepbench.cost.messages import CostResult
from hepbench.data import duplicates, event_weights
from hepbench.data.leaks import audit
from hepbench.evaluation import effective_examples, joining, measure
from hepbench.planning.stages import device_of
from hepbench.registry.syntax import DIGEST_LENGTH
from hepbench.running import recorded_cost
from hepbench.running.executor import Outcome
from hepbench.running.stage_results import StageResults
from hepbench.specs.dataset import without_later_defaults
from hepbench.specs.references import uses
from hepbench.storage import machine
from hepbench.storage.costs import Device
from hepbench.storage.records import (
    DataSummary,
    EventWeights,
    Failure,
    Machine,
    Provenance,
    Record,
    Usage,
)
from hepbench.training.messages import MethodTask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from hepbench.data.messages import ReadResult, SplitResult
    from hepbench.planning.matrix import Combination
    from hepbench.planning.plan import Cell, Plan
    from hepbench.planning.stages import Environment
    from hepbench.running.validity import Validity
    from hepbench.specs.metric import Predictions
    from hepbench.specs.types import Json
    from hepbench.storage.records import Leak, Stored
    from hepbench.storage.results import ResultsFolder
    from hepbench.storage.stage_cache import StageCache
    from hepbench.training.messages import MethodResult

DAMAGED = (BadZipFile, EOFError, KeyError, ValueError, FileNotFoundError)
"""Errors that reading a damaged cache file may raise, among them those of msgspec."""


@dataclass(kw_only=True)
class Recorder:
    """Makes the records of a run from the results of its stages in the cache.

    Attributes:
        validity: knows the digests of files.
        threads: of each worker.
        name: of the run; empty: it is called by its start.
        started: when the run began.
    """

    plan: Plan
    environment: Environment
    cache: StageCache
    results: ResultsFolder
    validity: Validity
    threads: int
    name: str = ""
    started: str = field(default_factory=machine.now)
    _labels: dict[str, tuple[joining.Arrays, Stored]] = field(default_factory=dict)

    @cached_property
    def _stages(self) -> StageResults:
        return StageResults(self.plan.stages, self.cache)

    def record(self, cell: Cell) -> Record:
        """Return the record of a cell whose stages are finished.

        Damaged stages are removed from the cache; the record is then one of a failure.
        """
        try:
            return self._evaluated_record(cell)
        except DAMAGED as error:
            # their sizes were right, their contents are not: the next run builds both again
            self.cache.remove(cell.final)
            self.cache.remove(cell.split)
            message = f"damaged scores or labels were removed from the cache ({error}); run again"
            kind = type(error).__name__
            return self.failure(
                cell, Outcome(key=cell.final, status="failed", type=kind, message=message)
            )

    def failure(self, cell: Cell, outcome: Outcome) -> Record:
        """Return the record of a cell in which a stage failed."""
        stage = outcome.cause or outcome.key
        first = self.plan.waiting[stage][0]
        error = Failure(
            stage=self.plan.stages[stage].name,
            type=outcome.type,
            message=outcome.message,
            traceback=outcome.traceback,
            stderr=outcome.stderr,
            cell="" if first is cell else first.name,
        )
        late = outcome.status == "timeout"
        return Record(**self._identity(cell), status="timeout" if late else "failed", error=error)

    def _evaluated_record(self, cell: Cell) -> Record:
        split, read = self._stages.of_split(cell.split)
        chain = self._stages.of_chain(cell.final)
        cost = self.cache.result(cell.cost, CostResult) if cell.cost else None
        scores = self.cache.folder(cell.final) / "scores.npz"
        labels, labels_stored = self._labels_of(cell, scores)
        predictions = joining.join(labels, scores)
        stored = self.results.copy(scores, self.plan.suite.name, f"predictions/{cell.key}.npz")
        metrics = measure.measure(self.plan.metrics, predictions)
        last = chain[-1].trained
        return Record(
            **self._identity(cell),
            status="ok",
            metrics=metrics["test"],
            metrics_train=metrics["train"],
            metrics_validation=metrics["validation"],
            cost=recorded_cost.cost(
                *(chain, cost, self._device(cell)),
                measured_on=cell.final,
                pretraining=_pretraining_methods(cell.combination),
            ),
            epochs=None if last.history is None else len(last.history),
            best_epoch=last.best_epoch,
            history=_history(chain),
            used=self._used_by_stage(cell),
            data=self._data(cell, split, chain[-1]),
            event_weights=_event_weights(cell.combination, predictions),
            warnings=[
                *self._data_warnings(cell, split, read),
                *(warning for result in chain for warning in result.warnings),
                *(cost.warnings if cost else ()),
                *_supervision_warnings(cell.combination, predictions["test"]),
                *_few_examples(cell.combination, predictions["test"]),
                *measure.row_warnings(
                    self.plan.metrics, predictions, metrics["test"], parameters=last.parameters
                ),
            ],
            published=cell.published,
            predictions=stored,
            labels=labels_stored,
        )

    def _used_by_stage(self, cell: Cell) -> dict[str, Usage]:
        """Return what each stage of a cell used that the stages before it did not use."""
        by_stage = {name: self._stages.used_by(key) for name, key in cell.stage_keys.items()}
        labels = _metric_files(cell)
        evaluate = Usage(files={label: self.validity.digest(label) for label in labels})
        return by_stage | ({"evaluate": evaluate} if labels else {})

    def _data_warnings(self, cell: Cell, split: SplitResult, read: ReadResult) -> list[str]:
        found = self.environment.found(cell.combination.dataset)
        return [*found.warnings, *found.notes, *read.warnings, *_split_warnings(cell, split)]

    def _data(self, cell: Cell, split: SplitResult, last: MethodResult) -> DataSummary:
        """Return the data summary of a cell; examples with hidden labels count as unlabelled."""
        found = self.environment.found(cell.combination.dataset)
        return DataSummary(
            source=found.source,
            fingerprint=found.fingerprint,
            files=[name.rpartition("/")[2] for name in found.files],
            n_train=last.examples,
            n_validation=split.n_validation,
            n_test=split.n_test,
            n_unlabelled=_seen_examples(cell, split) - last.examples,
            split_hash=split.split_hash,
            contents=split.contents,
            test_contents=split.test_contents,
            duplicates=split.duplicates,
            leaks=_named_leaks(cell, split),
        )

    def _labels_of(self, cell: Cell, scores: Path) -> tuple[joining.Arrays, Stored]:
        """Return the labels of a split, read once per run, and their file in the results folder."""
        rows = joining.chosen_rows(scores)
        name = cell.split if rows is None else f"{cell.split}-{_digest(rows)}"
        if name not in self._labels:
            labels = joining.labels_of(self.cache.folder(cell.split), rows)
            self._labels[name] = labels, self._store_labels(name, labels)
        return self._labels[name]

    def _store_labels(self, name: str, labels: Mapping[str, NDArray[Any]]) -> Stored:
        import numpy as np

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.savez(file, allow_pickle=False, **labels)

        return self.results.create(self.plan.suite.name, f"labels/{name}.npz", write)

    def _identity(self, cell: Cell) -> dict[str, Any]:
        c = cell.combination
        dataset, model, chain = c.labels
        return {
            "suite": self.plan.suite.name,
            "dataset": dataset,
            "model": model,
            "method": c.methods[-1].spec.name,
            "chain": chain,
            "preset": self.plan.preset,
            "seed": cell.seed,
            "params": _cell_params(c),
            "key": cell.key,
            "key_parts": cell.key_parts,
            "stage_keys": cell.stage_keys,
            "provenance": self._provenance(cell),
        }

    def _provenance(self, cell: Cell) -> Provenance:
        c = cell.combination
        entries = (c.dataset, c.model, *c.methods)
        return Provenance(
            hepbench=__version__,
            plugins={e.plugin.distribution: e.plugin.version for e in entries},
            git=machine.git(),
            machine=msgspec.convert(machine.description(), Machine),
            libraries=dict(self.environment.libraries),
            device=self._device(cell),
            threads=self.threads,
            suite_file=self.plan.suite_file,
            run=self.name,
            started=self.started,
            finished=machine.now(),
        )

    def _device(self, cell: Cell) -> Device:
        """Return the device on which a cell was trained and scored, as its record names it."""
        task = self.plan.stages[cell.final].task
        assert isinstance(task, MethodTask)
        chosen = device_of(task, self.environment)
        return Device(
            kind=chosen.kind,
            name=chosen.name or str(machine.description()["processor"]),
            precision=str(task.params.get("precision", "float32")),
        )


def _digest(rows: NDArray[np.int64]) -> str:
    """Return a digest of the training examples that are chosen, for the name of a file."""
    return hashlib.sha256(rows.tobytes()).hexdigest()[:DIGEST_LENGTH]


def _pretraining_methods(c: Combination) -> int:
    """Return how many methods at the beginning of a chain train an encoder without labels."""
    pretraining = (m.spec.makes == "encoder" and not m.spec.labels for m in c.methods)
    return sum(1 for _ in takewhile(bool, pretraining))


def _seen_examples(cell: Cell, split: SplitResult) -> int:
    """Return the number of training examples that methods see, with and without labels."""
    size: int | None = cell.combination.dataset_params["training_size"]
    return split.n_unlabelled + split.n_train if size is None else size


def _split_warnings(cell: Cell, split: SplitResult) -> list[str]:
    """Return warnings about the sizes of parts, copies across them, and leaks."""
    return [
        *_unmet_limits(cell.combination, split),
        *duplicates.describe_copies(split.duplicates, split.sizes),
        *audit.describe(_named_leaks(cell, split) or []),
    ]


def _named_leaks(cell: Cell, split: SplitResult) -> list[Leak] | None:
    """Return the leaks of a split, with features by name; None if it was not looked at."""
    inputs = cell.combination.dataset.spec.inputs
    return None if split.leaks is None else audit.named(split.leaks, inputs)


def _unmet_limits(c: Combination, split: SplitResult) -> list[str]:
    """Return a warning for each part that has fewer examples than a limit asks for."""
    asked = {part: c.dataset_params[f"n_{part}"] for part in ("train", "validation", "test")}
    return [
        f"limits: n_{part} is {limit:,}, but the {part} part has only {split.sizes[part]:,} examples"
        for part, limit in asked.items()
        if limit is not None and split.sizes[part] < limit
    ]


def _few_examples(c: Combination, test: Predictions) -> Iterator[str]:
    """Yield warnings about few test examples, or one that weighs too much."""
    return effective_examples.describe_few(test, c.dataset.spec.classes)


def _event_weights(c: Combination, predictions: Mapping[str, Predictions]) -> EventWeights:
    """Return where event weights of a cell were used; nothing if there are none."""
    train, test = predictions["train"], predictions["test"]
    rule = str(c.dataset_params["training_weights"] or "none")
    training = event_weights.of_training(rule, train.labels, train.physical_weights) is not None
    metrics = test.weights is not None
    if not training and not metrics:
        return EventWeights()
    effective = effective_examples.by_class(test) if metrics else []
    names = c.dataset.spec.classes[: len(effective)]
    return EventWeights(
        training=training,
        metrics=metrics,
        rule=rule,
        effective_test=dict(zip(names, effective, strict=True)),
    )


def _metric_files(cell: Cell) -> list[str]:
    """Return the paths (as in keys) of the files that the metrics of a cell declare."""
    declared: Any = cell.key_parts["evaluate"].get("files", {})
    return [label for labels in declared.values() for label in labels]


def _history(chain: Sequence[MethodResult]) -> list[dict[str, float]]:
    """Return the epochs of all methods of a chain, each with the position of its method."""
    return [
        {"step": float(step), **row}
        for step, result in enumerate(chain)
        for row in result.trained.history or ()
    ]


def _cell_params(c: Combination) -> dict[str, Json]:
    names = uses(entry.spec.name for entry in c.methods)
    return {
        "dataset": without_later_defaults(c.dataset_params),
        "model": dict(c.model_params),
        "methods": {n: dict(params) for n, params in zip(names, c.method_params, strict=True)},
    }


def _supervision_warnings(c: Combination, test: Predictions) -> list[str]:
    """Return a warning if the encoder's own loss, used as an anomaly score, depends on labels."""
    jointly = [
        m.spec.name
        for m in c.methods
        if "pretrain" in m.spec.needs and m.spec.labels and m.spec.makes == "classifier"
    ]
    if not (test.values and jointly):
        return []
    return [f"values: the encoder saw labels too ({jointly[-1]}): no unsupervised anomaly score"]
