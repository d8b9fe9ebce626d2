"""The runner runs the stages of a plan and stores a record for each finished cell."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hepbench.running import grouping, reproducing
from hepbench.storage import locks
from hepbench.storage.records import Record, Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.planning.plan import Cell, Plan
    from hepbench.planning.stages import Stage
    from hepbench.registry.plugins import Registry
    from hepbench.running.executor import Executor, Outcome
    from hepbench.running.progress import Progress
    from hepbench.running.recording import Recorder
    from hepbench.running.stage_times import StageTimes
    from hepbench.storage.results import ResultsFolder
    from hepbench.storage.stage_cache import StageCache


@dataclass(kw_only=True)
class Runner:
    """Runs the stages of a plan and stores a record for each finished cell.

    Attributes:
        executor: runs the missing stages.
        recorder: makes the records.
        times: of stages that ran before, from which the end of the run is estimated.
        jobs: number of workers.
        replaced: records, by key of cell, that new ones replace and are compared with.
        user_error: whether the user can mend a failure; the command line then exits 2.
        finished: records by key of cell, failed ones too.
    """

    plan: Plan
    registry: Registry
    cache: StageCache
    results: ResultsFolder
    executor: Executor
    recorder: Recorder
    progress: Progress
    times: StageTimes
    jobs: int
    replaced: Mapping[str, Record] = field(default_factory=dict)
    user_error: bool = False
    finished: dict[str, Record] = field(default_factory=dict)
    _ready: deque[Cell] = field(default_factory=deque)
    _waiting: dict[str, Stage] = field(default_factory=dict)

    def run(self, todo: list[Cell]) -> None:
        """Run the cells that have no record, and store a record of each result or failure."""
        self._observe("hepbench_run_started")
        wanted = {cell.key: set(cell.needs) for cell in todo}
        keys = (key for keys in wanted.values() for key in sorted(keys))
        # what stages and evaluation will read is looked at before, so that damage is mended now
        stages = grouping.missing(self.plan.stages, keys, self.cache.usable)
        self.progress.planned(len(stages))
        self._waiting = dict(stages)
        self._show_time_left()
        cells = {cell.key: cell for cell in todo}
        for key, needs in wanted.items():
            needs.intersection_update(stages)
            if not needs:
                self._ready.append(cells[key])
        for outcome in self.executor.execute(stages, while_waiting=self._evaluate_if_free):
            self._handle(outcome, cells, wanted)
        with locks.machine():
            while self._ready:
                self._evaluate(self._ready.popleft())
        self.times.save()
        self._observe("hepbench_run_finished")

    def _handle(
        self, outcome: Outcome, cells: Mapping[str, Cell], wanted: Mapping[str, set[str]]
    ) -> None:
        name = self.plan.stages[outcome.key].name
        if outcome.status in {"started", "working"}:
            self.progress.working(name, outcome.progress)
            return
        self.progress.ended(name)
        self._note_time(outcome)
        if outcome.status == "ok":
            self._stage_finished(outcome.key, cells, wanted)
        else:
            self._stage_failed(outcome, cells, wanted)

    def _note_time(self, outcome: Outcome) -> None:
        """Note how long a stage took, and show how long the others will take."""
        stage = self._waiting.pop(outcome.key, None)
        manifest = self.cache.find(outcome.key) if outcome.status == "ok" else None
        if stage and manifest:
            self.times.note(stage, self.plan.stages, manifest.took_seconds)
        self._show_time_left()

    def _show_time_left(self) -> None:
        left = self.times.left(self._waiting.values(), self.plan.stages, self.jobs)
        self.progress.time_left(left)

    def _stage_finished(
        self, key: str, cells: Mapping[str, Cell], wanted: Mapping[str, set[str]]
    ) -> None:
        for cell in self.plan.waiting[key]:
            needs = wanted.get(cell.key, set())
            if key in needs:
                needs.discard(key)
                if not needs and cell.key not in self.finished:
                    self._ready.append(cells[cell.key])

    def _stage_failed(
        self, outcome: Outcome, cells: Mapping[str, Cell], wanted: Mapping[str, set[str]]
    ) -> None:
        self.user_error |= outcome.user_error
        for cell in self.plan.waiting[outcome.key]:
            needed = outcome.key in wanted.get(cell.key, set())
            if needed and cell.key in cells and cell.key not in self.finished:
                self._store_record(self.recorder.failure(cell, outcome))

    def _evaluate_if_free(self) -> None:
        """Evaluate finished cells, unless a cost measurement needs the machine for itself."""
        while self._ready:
            with locks.machine_now() as free:
                if not free:
                    return
                self._evaluate(self._ready.popleft())

    def _evaluate(self, cell: Cell) -> None:
        record, before = self.recorder.record(cell), self.replaced.get(cell.key)
        self._store_record(record if before is None else reproducing.compared(record, before))

    def _store_record(self, record: Record) -> None:
        record = self.results.write(record)
        self.finished[record.key] = record
        self.progress.cell(record)
        for failure in self.registry.observe("hepbench_cell_finished", record=record):
            self.progress.note(failure)

    def _observe(self, hook: str) -> None:
        failed = sum(r.status != "ok" for r in self.finished.values())
        cells = len(self.plan.cells)
        run = Run(
            suite=self.plan.suite.name,
            results=str(self.results.root),
            cells=cells,
            cached=cells - len(self.finished),
            failed=failed,
        )
        for failure in self.registry.observe(hook, run=run):
            self.progress.note(failure)
