"""Makes plans: the cells of a suite, and their stages with content keys. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from hepbench.planning import matrix
from hepbench.planning.stages import (
    Environment,
    Prepared,
    Stage,
    cost_stage,
    method_stage,
    preparation,
    with_key,
)
from hepbench.planning.suite_file import EACH_SEED, MOST_CELLS
from hepbench.specs.errors import UsageError
from hepbench.storage import keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hepbench.planning.matrix import Choice, Combination, Misfit
    from hepbench.planning.suite_file import SuiteFile
    from hepbench.registry.plugins import Entry, Registry
    from hepbench.specs.types import Json
    from hepbench.storage.records import Published


@dataclass(frozen=True)
class Cell:
    """A planned cell: one combination with one seed, which gives one record.

    Attributes:
        key: of the record.
        key_parts: what the keys of its stages were hashed from, by the stage's name.
        stage_keys: keys of its stages, parents first, by the same names.
        split, final: keys of the stage that divided the examples, and of the last method.
        cost: key of the stage that measures what the last method made, or empty.
    """

    combination: Combination
    seed: int
    key: str
    key_parts: Mapping[str, Mapping[str, Json]]
    stage_keys: Mapping[str, str]
    split: str
    final: str
    cost: str
    published: Published | None

    @property
    def needs(self) -> list[str]:
        """Keys of the stages that a cell's record needs: all except the inputs stage."""
        return [key for name, key in self.stage_keys.items() if name != "inputs"]

    @property
    def name(self) -> str:
        """The name of a planned cell, ``dataset/model/chain#seed``."""
        return f"{'/'.join(self.combination.labels)}#{self.seed}"


@dataclass(frozen=True)
class Plan:
    """The plan of a run: its cells and stages.

    Attributes:
        stages: of all cells, parents first.
        misfits: combinations that cannot be run.
        suite_file: path of the suite, where it was given as a file.
    """

    suite: SuiteFile
    preset: str
    cells: tuple[Cell, ...]
    stages: Mapping[str, Stage]
    misfits: tuple[Misfit, ...]
    metrics: tuple[Entry, ...]
    suite_file: str = ""

    @property
    def datasets(self) -> list[Entry]:
        """The datasets of the planned cells."""
        entries = {c.combination.dataset.spec.name: c.combination.dataset for c in self.cells}
        return list(entries.values())

    @cached_property
    def waiting(self) -> Mapping[str, list[Cell]]:
        """The planned cells that need each stage, by the stage's key."""
        cells: dict[str, list[Cell]] = {}
        for cell in self.cells:
            for key in lineage(self.stages, cell.needs[-1]):
                cells.setdefault(key, []).append(cell)
        return cells


def lineage(stages: Mapping[str, Stage], key: str) -> list[str]:
    """Return the keys of a planned stage and of all stages it depends on, parents first."""
    found: dict[str, None] = {}
    for parent in stages[key].parents:
        found |= dict.fromkeys(lineage(stages, parent))
    return [*found, key]


def make(suite: SuiteFile, registry: Registry, environment: Environment, choice: Choice) -> Plan:
    """Make the plan of a suite.

    Raises:
        UsageError: see ``matrix.expand``.
    """
    combinations, misfits = matrix.expand(suite, registry, choice)
    seeds = range(choice.seeds) if choice.seeds is not None else suite.seed_list()
    if len(combinations) * len(seeds) > MOST_CELLS:
        number = len(combinations) * len(seeds)
        msg = f"the plan has {number:,} cells; at most {MOST_CELLS:,} are allowed, lower --seeds"
        raise UsageError(msg)
    metrics = tuple(registry.entry("metric", name) for name in registry.names("metric"))
    preset = choice.preset or suite.preset
    builder = _Builder(suite=suite, preset=preset, environment=environment, metrics=metrics)
    cells = tuple(cell for c in combinations for cell in builder.cells(c, seeds))
    return Plan(suite, preset, cells, builder.stages, tuple(misfits), metrics)


@dataclass(frozen=True, kw_only=True)
class _Builder:
    """Builds the cells of a plan and their stages; cells share equal stages."""

    suite: SuiteFile
    preset: str
    environment: Environment
    metrics: tuple[Entry, ...]
    stages: dict[str, Stage] = field(default_factory=dict)

    def cells(self, c: Combination, seeds: Iterable[int]) -> Iterator[Cell]:
        """Yield a planned cell for each seed; they share the stages that prepare data."""
        prepared = preparation(c, self.suite.split_seed, self.environment)
        for stage in prepared:
            self.stages.setdefault(stage.key, stage)
        for seed in seeds:
            yield self._cell_with_seed(c, seed, prepared)

    def _cell_with_seed(self, c: Combination, seed: int, prepared: Prepared) -> Cell:
        stages = {stage.kind: stage for stage in prepared}
        inputs = last = stages["inputs"]
        for i in range(len(c.methods)):
            parents = (inputs.key,) if i == 0 else (inputs.key, last.key)
            last = self._add_stage(method_stage(c, i, seed, parents, self.environment))
            stages[last.name] = last
        if self.suite.cost:
            shared = self.suite.cost != EACH_SEED
            cost = cost_stage(c, last, inputs, environment=self.environment, shared=shared)
            stages["cost"] = self._add_stage(cost)
        published = _matching_published(c, self.suite.published)
        evaluation = self._evaluation_parts(c, seed, published)
        stage_keys = {name: stage.key for name, stage in stages.items()}
        split, cost_key = stage_keys["split"], stage_keys.get("cost", "")
        return Cell(
            combination=c,
            seed=seed,
            key=keys.key([evaluation, last.key, split, cost_key]),
            key_parts={**{n: s.parts for n, s in stages.items()}, "evaluate": evaluation},
            stage_keys=stage_keys,
            split=split,
            final=last.key,
            cost=cost_key,
            published=published,
        )

    def _add_stage(self, stage: Stage) -> Stage:
        keyed = with_key(stage)
        return self.stages.setdefault(keyed.key, keyed)

    def _evaluation_parts(
        self, c: Combination, seed: int, published: Published | None
    ) -> dict[str, Json]:
        """Return the key parts of a record's evaluation: metrics, labels and published results."""
        return {
            "suite": self.suite.name,
            "preset": self.preset,
            "cell": [*c.labels, seed],
            **self._metric_parts,
            "published": msgspec.to_builtins(published),
            "numerics": keys.NUMERICS["evaluate"],
        }

    @cached_property
    def _metric_parts(self) -> dict[str, Json]:
        """Key parts of the metrics, which are those of all cells."""
        # the core's own metrics are covered by its numerics version
        plugins = [e for e in self.metrics if not e.spec.compute.startswith("hepbench.")]
        return {
            # those of the core that need event weights came later, and change no other value
            "metrics": [
                e.spec.name for e in self.metrics if e in plugins or not e.spec.physical_weights
            ],
            "computed": {e.spec.name: e.spec.compute for e in plugins},
            "code": {e.spec.name: self.environment.sources(e.spec.compute, e) for e in plugins},
            **({"files": self._metric_files} if self._metric_files else {}),
        }

    @cached_property
    def _metric_files(self) -> dict[str, Json]:
        """Labels of the files that plugins' metrics declare, by metric."""
        declared = self.environment.declared
        return {e.spec.name: list(declared(e.spec.files, e)) for e in self.metrics if e.spec.files}


def _matching_published(c: Combination, published: Iterable[Published]) -> Published | None:
    """Return the published result whose cell or glob matches a combination, or None."""
    name = "/".join(c.labels)
    for result in published:
        # brackets hold parameters here, not a set of characters
        if fnmatchcase(name, result.cell.replace("[", "[[]")):
            return result
    return None
