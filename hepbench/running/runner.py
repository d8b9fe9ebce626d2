"""A run: what is missing is executed, evaluated and recorded; what is there is read."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import msgspec

from hepbench._version import __version__
from hepbench.running import grouping, local
from hepbench.running.executor import Outcome
from hepbench.running.recording import (
    cost,
    cost_warnings,
    example_counts,
    history,
    label_warnings,
    params,
)
from hepbench.storage import locks, machine
from hepbench.storage.records import (
    DataSummary,
    Device,
    Failure,
    Machine,
    Provenance,
    Record,
    Run,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hepbench.planning.matrix import Combination
    from hepbench.planning.plan import Cell, Plan
    from hepbench.planning.stages import Environment
    from hepbench.registry.plugins import Registry
    from hepbench.running.executor import Limits
    from hepbench.running.progress import Progress
    from hepbench.storage.results import ResultsFolder
    from hepbench.storage.stage_cache import StageCache


@dataclass(kw_only=True)
class Runner:
    """Carries out a plan.

    Attributes:
        users: a failure that the user can mend was seen; the command line then exits 2.
        finished: records by key of cell, failed ones too.
    """

    plan: Plan
    registry: Registry
    facts: Environment
    cache: StageCache
    store: ResultsFolder
    limits: Limits
    progress: Progress
    user_error: bool = False
    finished: dict[str, Record] = field(default_factory=dict)
    started: str = field(default_factory=machine.now)
    _ready: deque[Cell] = field(default_factory=deque)
    _labels: dict[str, Any] = field(default_factory=dict)

    def run(self, todo: list[Cell]) -> None:
        """Run the cells that have no record; each ends in a record, whatever becomes of it."""
        self._observe("hepbench_run_started")
        self.cache.sweep()
        wanted = {cell.key: set(cell.needs) for cell in todo}
        stages = grouping.missing(
            self.plan.stages, (key for keys in wanted.values() for key in sorted(keys)), self.cache
        )
        self.progress.planned(len(stages))
        cells = {cell.key: cell for cell in todo}
        for key, needs in wanted.items():
            needs.intersection_update(stages)
            if not needs:
                self._ready.append(cells[key])
        outcomes = local.execute(
            stages, cache=self.cache, limits=self.limits, alive=self._evaluate_if_free
        )
        for outcome in outcomes:
            self._show(outcome)
            if outcome.status in {"failed", "timeout"}:
                self._failed(outcome, cells, wanted)
            elif outcome.status == "ok":
                self._done(outcome.key, cells, wanted)
        with locks.machine(alone=False):
            while self._ready:
                self._evaluate(self._ready.popleft())
        self._observe("hepbench_run_finished")

    # --- as stages end

    def _show(self, outcome: Outcome) -> None:
        name = self.plan.stages[outcome.key].name
        if outcome.status in {"started", "working"}:
            self.progress.working(name, outcome.progress)
        else:
            self.progress.ended(name)

    def _done(self, key: str, cells: Mapping[str, Cell], wanted: Mapping[str, set[str]]) -> None:
        for cell in self.plan.waiting[key]:
            needs = wanted.get(cell.key, set())
            if key in needs:
                needs.discard(key)
                if not needs and cell.key not in self.finished:
                    self._ready.append(cells[cell.key])

    def _failed(
        self, outcome: Outcome, cells: Mapping[str, Cell], wanted: Mapping[str, set[str]]
    ) -> None:
        self.user_error |= outcome.user_error
        for cell in self.plan.waiting[outcome.key]:
            last = outcome.key in wanted.get(cell.key, set())
            if last and cell.key in cells and cell.key not in self.finished:
                self._record(self._failure(cell, outcome))

    def _failure(self, cell: Cell, outcome: Outcome) -> Record:
        stage = outcome.cause or outcome.key
        first = self.plan.waiting[stage][0]
        error = Failure(
            stage=self.plan.stages[stage].name,
            type=outcome.type,
            message=outcome.message,
            traceback=outcome.traceback,
            stderr=outcome.stderr,
            cell=first.name if outcome.cause and first is not cell else "",
        )
        late = outcome.status == "timeout"
        return Record(**self._identity(cell), status="timeout" if late else "failed", error=error)

    # --- evaluation

    def _evaluate_if_free(self) -> None:
        """Evaluate what is ready, unless a stage is or waits to be alone on the machine."""
        while self._ready:
            with locks.machine_now() as free:
                if not free:
                    return
                self._evaluate(self._ready.popleft())

    def _evaluate(self, cell: Cell) -> None:
        try:
            record = self._evaluated(cell)
        except (BadZipFile, EOFError, KeyError, ValueError, FileNotFoundError) as error:
            # sizes were right and the contents are not: build both again
            self.cache.remove(cell.final)
            self.cache.remove(cell.split)
            message = f"the cache held damaged scores or labels ({error}); removed: run again"
            failure = Outcome(
                key=cell.final, status="failed", type=type(error).__name__, message=message
            )
            record = self._failure(cell, failure)
        self._record(record)

    def _evaluated(self, cell: Cell) -> Record:
        from hepbench.data import duplicates, splits
        from hepbench.evaluation import joining, measure

        split = self.cache.find(cell.split) or {}
        read = self.cache.find(self.plan.stages[cell.split].parents[0]) or {}
        chain = self._chain_facts(cell)
        costs = (self.cache.find(cell.cost) or {}) if cell.cost else {}
        scores = self.cache.folder(cell.final) / "scores.npz"
        labels, labels_stored = self._labels_of(cell, scores)
        suite = self.plan.suite.name
        predictions = joining.join(labels, scores)
        stored = self.store.copy(scores, f"{suite}/predictions/{cell.key}.npz")
        by_part = {part: measure.measure(self.plan.metrics, p) for part, p in predictions.items()}
        found = self.facts.found(cell.combination.dataset)
        last = chain[-1]
        sizes = {part: split[f"n_{part}"] for part in (*splits.PARTS, "unlabelled")}
        warnings = [
            *found.warnings,
            *found.notes,
            *read.get("warnings", ()),
            *duplicates.describe_copies(split["duplicates"], sizes),
            *(w for facts in chain for w in facts.get("warnings", ())),
            *cost_warnings(costs.get("warnings", ())),
            *label_warnings(cell.combination, predictions["test"]),
            *measure.row_warnings(self.plan.metrics, predictions),
        ]
        return Record(
            **self._identity(cell),
            status="ok",
            metrics=by_part["test"],
            metrics_train=by_part["train"],
            metrics_validation=by_part["validation"],
            cost=cost(chain, costs, device=_device(), measured_on=cell.final),
            epochs=len(last["history"]) if "history" in last else None,
            best_epoch=last.get("best_epoch"),
            history=history(chain),
            data=DataSummary(
                source=found.source,
                fingerprint=found.fingerprint,
                files=[name.rpartition("/")[2] for name in found.files],
                **example_counts(split, trained=last["examples"]),
            ),
            warnings=warnings,
            published=cell.published,
            predictions=stored,
            labels=labels_stored,
        )

    def _chain_facts(self, cell: Cell) -> list[dict[str, Any]]:
        found = []
        key: str | None = cell.final
        while key is not None:
            found.append(self.cache.find(key) or {})
            before = self.plan.stages[key].parents[1:]
            key = before[0] if before else None
        return found[::-1]

    def _labels_of(self, cell: Cell, scores: Path) -> Any:
        """Return the labels of a split, opened once, and where they stand in the results."""
        from hepbench.evaluation import joining

        chosen = joining.chosen_rows(scores)
        name = cell.split
        if chosen is not None:
            fraction = cell.combination.dataset_params["label_fraction"]
            name = f"{cell.split}-{fraction}-{cell.seed}"
        if name not in self._labels:
            import numpy as np

            labels = joining.labels_of(self.cache.folder(cell.split), chosen)

            def write(path: Path) -> None:
                with path.open("wb") as file:
                    np.savez(file, allow_pickle=False, **labels)

            stored = self.store.create(f"{self.plan.suite.name}/labels/{name}.npz", write)
            self._labels[name] = labels, stored
        return self._labels[name]

    # --- records

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
            "params": params(c),
            "key": cell.key,
            "stage_keys": cell.stage_keys,
            "key_parts": cell.key_parts,
            "provenance": self._provenance(c),
        }

    def _provenance(self, c: Combination) -> Provenance:
        entries = (c.dataset, c.model, *c.methods)
        return Provenance(
            hepbench=__version__,
            plugins={e.plugin.distribution: e.plugin.version for e in entries},
            git=machine.git(),
            machine=msgspec.convert(machine.description(), Machine),
            libraries=dict(self.facts.libraries),
            device=_device(),
            threads=self.limits.threads,
            suite_file=self.plan.suite_file,
            started=self.started,
            finished=machine.now(),
        )

    def _record(self, record: Record) -> None:
        self.store.write(record)
        self.finished[record.key] = record
        self.progress.cell(record)
        for failure in self.registry.observe("hepbench_cell_finished", record=record):
            self.progress.note(failure)

    def _observe(self, hook: str) -> None:
        failed = sum(r.status != "ok" for r in self.finished.values())
        cells = len(self.plan.cells)
        run = Run(
            suite=self.plan.suite.name,
            results=str(self.store.root),
            cells=cells,
            cached=cells - len(self.finished),
            failed=failed,
        )
        for failure in self.registry.observe(hook, run=run):
            self.progress.note(failure)


def _device() -> Device:
    """Return the processor that trains and scores."""
    name = str(machine.description()["processor"])
    return Device(kind="cpu", name=name, precision="float32")
