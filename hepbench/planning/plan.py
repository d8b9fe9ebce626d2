"""From combinations to stages with content keys: pure, but for the facts that it is handed."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.planning import matrix
from hepbench.planning.stages import (
    Environment,
    Prepared,
    Stage,
    cost_stage,
    keyed,
    method_stage,
    preparation,
)
from hepbench.storage import keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hepbench.planning.matrix import Choice, Combination, Misfit
    from hepbench.planning.suite_file import SuiteFile
    from hepbench.registry.plugins import Entry, Registry
    from hepbench.storage.records import Published


@dataclass(frozen=True)
class Cell:
    """One combination with one seed: one record.

    Attributes:
        stage_keys: keys of its stages by name, as in ``key_parts``.
        split, final: keys of stages: what divided the examples, and the last method.
        cost: key of the stage that measures what the last method made, or empty.
    """

    combination: Combination
    seed: int
    key: str
    key_parts: Mapping[str, Mapping[str, Any]]
    stage_keys: Mapping[str, str]
    split: str
    final: str
    cost: str
    published: Published | None

    @property
    def needs(self) -> list[str]:
        """The stages that the record is made from; the others are what these stand on."""
        return [key for key in (self.split, self.final, self.cost) if key]

    @property
    def name(self) -> str:
        """``dataset/model/chain#seed``."""
        return f"{'/'.join(self.combination.labels)}#{self.seed}"


@dataclass(frozen=True)
class Plan:
    """What a run would do: cells, their stages with parents first, and what does not fit."""

    suite: SuiteFile
    preset: str
    cells: tuple[Cell, ...]
    stages: Mapping[str, Stage]
    misfits: tuple[Misfit, ...]
    metrics: tuple[Entry, ...]
    suite_file: str = ""

    @cached_property
    def waiting(self) -> Mapping[str, list[Cell]]:
        """The cells that need each stage, in their order."""
        cells: dict[str, list[Cell]] = {}
        for cell in self.cells:
            for key in lineage(self.stages, cell.needs[-1]):
                cells.setdefault(key, []).append(cell)
        return cells


def lineage(stages: Mapping[str, Stage], key: str) -> list[str]:
    """Return a stage and all that it stands on, parents first."""
    found: dict[str, None] = {}
    for parent in stages[key].parents:
        found |= dict.fromkeys(lineage(stages, parent))
    return [*found, key]


def make(suite: SuiteFile, registry: Registry, facts: Environment, choice: Choice) -> Plan:
    """Return the plan of a suite.

    Raises:
        UsageError: see ``matrix.expand``.
    """
    combinations, misfits = matrix.expand(suite, registry, choice)
    seeds = suite.seed_list() if choice.seeds is None else list(range(choice.seeds))
    metrics = tuple(registry.entry("metric", name) for name in registry.names("metric"))
    preset = choice.preset or suite.preset
    builder = _Builder(suite=suite, preset=preset, facts=facts, metrics=metrics)
    cells = tuple(cell for c in combinations for cell in builder.cells(c, seeds))
    return Plan(suite, preset, cells, builder.stages, tuple(misfits), metrics)


@dataclass(frozen=True, kw_only=True)
class _Builder:
    """Builds stages and cells; equal stages are one."""

    suite: SuiteFile
    preset: str
    facts: Environment
    metrics: tuple[Entry, ...]
    stages: dict[str, Stage] = field(default_factory=dict)

    def cells(self, c: Combination, seeds: Iterable[int]) -> Iterator[Cell]:
        """Yield a cell for each seed; they share their preparation."""
        prepared = preparation(c, self.suite.split_seed, self.facts)
        for stage in prepared:
            self.stages.setdefault(stage.key, stage)
        for seed in seeds:
            yield self._cell(c, seed, prepared)

    def _cell(self, c: Combination, seed: int, prepared: Prepared) -> Cell:
        _, split, inputs = prepared
        last = inputs
        stages = {stage.kind: stage for stage in prepared}
        for i in range(len(c.methods)):
            parents = (inputs.key,) if i == 0 else (inputs.key, last.key)
            last = self._add(method_stage(c, i, seed, parents, self.facts))
            stages[last.name] = last
        cost = ""
        if self.suite.cost:
            stages["cost"] = self._add(cost_stage(last, inputs, self.facts))
            cost = stages["cost"].key
        parts = {name: stage.parts for name, stage in stages.items()}
        keys_by_name = {name: stage.key for name, stage in stages.items()}
        published = _published(c, self.suite.published)
        parts["evaluate"] = self._evaluate(c, seed, published)
        key = keys.key([parts["evaluate"], last.key, split.key, cost])
        return Cell(c, seed, key, parts, keys_by_name, split.key, last.key, cost, published)

    def _add(self, stage: Stage) -> Stage:
        made = keyed(stage)
        return self.stages.setdefault(made.key, made)

    def _evaluate(self, c: Combination, seed: int, published: Published | None) -> dict[str, Any]:
        # the core's own metrics are covered by its numerics version
        theirs = [e for e in self.metrics if not e.spec.compute.startswith("hepbench.")]
        return {
            "suite": self.suite.name,
            "preset": self.preset,
            "cell": [*c.labels, seed],
            "metrics": [e.spec.name for e in self.metrics],
            "computed": {e.spec.name: e.spec.compute for e in theirs},
            "code": {e.spec.name: self.facts.sources(e.spec.compute, e) for e in theirs},
            "published": msgspec.to_builtins(published),
            "numerics": keys.NUMERICS["evaluate"],
        }


def _published(c: Combination, published: Iterable[Published]) -> Published | None:
    """Return the published figure whose cell, perhaps a glob, means this combination."""
    name = "/".join(c.labels)
    for figure in published:
        # brackets hold parameters here, not characters to choose from
        if fnmatchcase(name, figure.cell.replace("[", "[[]")):
            return figure
    return None
