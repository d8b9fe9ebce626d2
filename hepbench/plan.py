"""From combinations to stages with content keys: pure, but for the facts that it is handed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from hepbench import keys, matrix
from hepbench.specs import LIMITS, Dataset, Method, Model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hepbench.matrix import Choice, Combination, Misfit
    from hepbench.records import Origin, Published
    from hepbench.registry import Entry, Registry
    from hepbench.specs import Input
    from hepbench.suite import SuiteFile

NETWORK_IMPORTS = ("hepbench.encoders", "numpy.ctypeslib", "torch._dynamo")
"""What workers would import themselves where a model is a network; the last is what torch imports
when the first optimiser is made, and takes as long as torch itself."""


@dataclass(frozen=True)
class Found:
    """The files of a dataset at hand.

    Attributes:
        source: original files (``file``), those that a generator wrote in their format
            (``simulated``), or the simulated ``sample`` that a plugin ships.
        warnings: what is odd about them.
        notes: what they lack, as all of their form do.
    """

    source: Origin
    fingerprint: str
    folder: str = ""
    files: tuple[str, ...] = ()
    stamps: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """By path, of original files, as they were before their fingerprint was taken."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Facts(Protocol):
    """What a plan must know of the machine."""

    threads: int
    libraries: Mapping[str, str]
    measuring: Mapping[str, str]

    def sources(self, target: str, entry: Entry) -> Mapping[str, str]:
        """Return {module: digest} of what ``"module:function"`` is made of."""
        ...

    def found(self, entry: Entry) -> Found:
        """Return the files of a dataset."""
        ...


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One cached step.

    Attributes:
        run: ``"module:function"`` of ``(task, place) -> facts``, called in a worker.
        parts: what the key is hashed from, beside the parents' keys.
        task: what ``run`` is told; of JSON's types.
        parents: keys, in the order that ``run`` expects.
        group: stages of one group may share a process. The test labels that ``prepare`` reads are
            never in the memory of one that runs a method.
        imports: modules worth importing once, before any worker starts.
        exclusive: runs alone on the machine.
    """

    kind: str
    name: str
    run: str
    parts: Mapping[str, Any]
    task: Mapping[str, Any]
    group: str
    parents: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    exclusive: bool = False
    key: str = ""


Prepared = tuple[Stage, Stage, Stage]
"""What reads, divides and lays out the examples of a dataset."""


@dataclass(frozen=True)
class Cell:
    """One combination with one seed: one record.

    Attributes:
        split, final: keys of stages: what divided the examples, and the last method.
        cost: key of the stage that measures what the last method made, or empty.
    """

    combination: Combination
    seed: int
    key: str
    key_parts: Mapping[str, Mapping[str, Any]]
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


def stage_keys(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the keys of a cell's stages by their names, methods in their order, and under ``cell``
    its own, from what they are hashed from.
    """
    found = {"read": keys.key(["read", parts["read"], ()])}
    found["split"] = keys.key(["split", parts["split"], (found["read"],)])
    found["inputs"] = keys.key(["inputs", parts["inputs"], (found["read"], found["split"])])
    inputs = last = found["inputs"]
    # 'pretrain net' comes before 'pretrain+finetune net'
    for name in sorted((n for n in parts if "method" in parts[n]), key=lambda n: n.count("+")):
        parents = (inputs,) if last == inputs else (inputs, last)
        last = found[name] = keys.key(["method", parts[name], parents])
    if "cost" in parts:
        found["cost"] = keys.key(["cost", parts["cost"], (inputs, last)])
    evaluated = [parts["evaluate"], last, found["split"], found.get("cost", "")]
    return found | {"cell": keys.key(evaluated)}


def make(suite: SuiteFile, registry: Registry, facts: Facts, choice: Choice) -> Plan:
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
    facts: Facts
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
        parts = {stage.kind: stage.parts for stage in prepared}
        for i in range(len(c.methods)):
            parents = (inputs.key,) if i == 0 else (inputs.key, last.key)
            last = self._add(_method(c, i, seed, parents, self.facts))
            parts[last.name] = last.parts
        cost = ""
        if self.suite.cost:
            measured = self._add(_cost(last, inputs, self.facts))
            cost, parts["cost"] = measured.key, measured.parts
        published = _published(c, self.suite.published)
        parts["evaluate"] = self._evaluate(c, seed, published)
        key = keys.key([parts["evaluate"], last.key, split.key, cost])
        return Cell(c, seed, key, parts, split.key, last.key, cost, published)

    def _add(self, stage: Stage) -> Stage:
        made = _keyed(stage)
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


def preparation(c: Combination, split_seed: int, facts: Facts) -> Prepared:
    """Return what prepares the examples of a combination: the stages that read, divide and lay them
    out.
    """
    read = _keyed(_read(c, facts))
    split = _keyed(_split(c, read, split_seed, facts))
    return read, split, _keyed(_inputs(c, read, split, facts))


def _keyed(stage: Stage) -> Stage:
    return replace(stage, key=keys.key([stage.kind, stage.parts, stage.parents]))


def reading(spec: Dataset, found: Found, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``prepare.read`` is told: how to read a dataset's files or its sample."""
    target = spec.sample if found.source == "sample" else spec.read
    return {
        "dataset": spec.name,
        "params": {name: params[name] for name in sorted(spec.reads)},
        "inputs": {name: _declared(given) for name, given in spec.inputs.items()},
        "classes": spec.classes,
        "target": target or "",
        "folder": found.folder,
        "files": found.files,
        "stamps": found.stamps,
    }


def _read(c: Combination, facts: Facts) -> Stage:
    found = facts.found(c.dataset)
    task = reading(c.dataset.spec, found, c.dataset_params)
    parts = {
        **{name: task[name] for name in ("dataset", "target", "params", "inputs", "classes")},
        "source": found.source,
        "fingerprint": found.fingerprint,
        "code": facts.sources(task["target"], c.dataset),
        "numerics": keys.NUMERICS["read"],
    }
    return Stage(
        kind="read",
        name=f"read {c.dataset.spec.name}",
        run="hepbench.prepare:read",
        parts=parts,
        task=task,
        group="prepare",
    )


def _declared(given: Input) -> dict[str, Any]:
    found = {"shape": given.shape, "names": given.names}
    # said only where it is so: keys of dense inputs stay as they are
    return {**found, "sparse": True} if given.sparse else found


def dividing(spec: Dataset, params: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return what ``prepare.split`` is told: how to divide the examples."""
    return {
        "shares": [spec.split.train, spec.split.validation, spec.split.test],
        "seed": seed,
        "limits": {name: params[name] for name in LIMITS},
        "official": spec.split.official,
        "params": {name: params[name] for name in sorted(spec.split.uses)},
        "dataset": spec.name,
        "classes": spec.classes,
    }


def _split(c: Combination, read: Stage, seed: int, facts: Facts) -> Stage:
    spec: Dataset = c.dataset.spec
    task = dividing(spec, c.dataset_params, seed)
    # the key of what was read tells these two
    shared = {name: value for name, value in task.items() if name not in {"dataset", "classes"}}
    official = spec.split.official
    code = facts.sources(official, c.dataset) if official else {}
    return Stage(
        kind="split",
        name=f"split {spec.name}",
        run="hepbench.prepare:split",
        parts={**shared, "code": code, "numerics": keys.NUMERICS["split"]},
        task=task,
        parents=(read.key,),
        group="prepare",
    )


def _inputs(c: Combination, read: Stage, split: Stage, facts: Facts) -> Stage:
    spec: Dataset = c.dataset.spec
    wanted = c.model.spec.inputs
    views = {name: spec.views[name] for name in wanted if name in spec.views}
    handed = {name: spec.handed(name) for name in views}
    known = frozenset().union(*handed.values())
    params = {k: v for k, v in c.dataset_params.items() if k in known}
    shared = {"inputs": wanted, "views": views, "params": params}
    if any(each != known for each in handed.values()):
        # said only where it is so: keys of views that are handed all stay as they are
        shared["handed"] = {name: sorted(each) for name, each in handed.items()}
    code = {k: v for view in views.values() for k, v in facts.sources(view, c.dataset).items()}
    return Stage(
        kind="inputs",
        name=f"inputs {spec.name}",
        run="hepbench.prepare:inputs",
        parts={**shared, "code": code, "numerics": keys.NUMERICS["inputs"]},
        task={**shared, "dataset": spec.name},
        parents=(read.key, split.key),
        group="prepare",
    )


def _method(c: Combination, i: int, seed: int, parents: tuple[str, ...], facts: Facts) -> Stage:
    model: Model = c.model.spec
    method: Method = c.methods[i].spec
    built = {name: value for name, value in c.model_params.items() if name != "preprocess"}
    steps = [entry.spec.name for entry in c.methods[: i + 1]]
    shared = {
        "method": method.name,
        "run": method.run,
        "params": c.method_params[i],
        "model": model.name,
        "build": model.build,
        "model_params": built,
        "labels": method.labels,
        "seed": seed,
        "threads": facts.threads,
    }
    if method.makes == "classifier" and _is_pretrained(c.methods[: i + 1]):
        shared["values"] = True
    if method.makes != "classifier":
        shared["makes"] = method.makes
    if method.labels:
        shared["label_fraction"] = float(c.dataset_params["label_fraction"])
    parts = {
        **shared,
        "code": facts.sources(method.run, c.methods[i]),
        "model_code": facts.sources(model.build, c.model),
        "device": "cpu",
        "precision": "float32",
        "libraries": facts.libraries,
        "numerics": keys.NUMERICS["method"],
    }
    task = {
        **shared,
        "makes": method.makes,
        "classes": len(c.dataset.spec.classes),
        "steps": steps,
    }
    imports = (*model.imports, *method.imports)
    if "encode" in model.offers:
        extra, code = _network(c, i, facts)
        parts |= {**extra, "network_code": code}
        task |= {**extra, "network": True, "device": "cpu"}
        imports = (*NETWORK_IMPORTS, *imports)
    else:
        parts["libraries"] = {n: v for n, v in facts.libraries.items() if n != "torch"}
    return Stage(
        kind="method",
        name=f"{'+'.join(steps)} {model.name}",
        run="hepbench.stages:method",
        parts=parts,
        task=task,
        parents=parents,
        group="methods",
        imports=imports,
    )


def _is_pretrained(methods: Sequence[Entry]) -> bool:
    """Whether an encoder is as its own loss left it: nothing has changed it since."""
    for entry in reversed(methods):
        method: Method = entry.spec
        if "pretrain" in method.needs:
            return True
        if "encoder" not in method.freezes:
            return False
    return False


def _network(c: Combination, i: int, facts: Facts) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a method stage says of a network beside what it says of any model, and the
    digests of the code that this names.
    """
    dataset: Dataset = c.dataset.spec
    heads = {e.spec.name: (e.spec.head, e) for e in c.methods[: i + 1] if e.spec.head}
    preprocess = c.model_params["preprocess"]
    own = [(step, c.model) for step in preprocess if ":" in step]
    theirs = [(target, c.dataset) for target in dataset.augmentations.values()]
    extra = {
        "preprocess": preprocess,
        "heads": {name: head for name, (head, _) in heads.items()},
        "freezes": sorted(c.methods[i].spec.freezes),
        "augmentations": dataset.augmentations,
    }
    targets = [*own, *heads.values(), *theirs]
    code = {k: v for t, entry in targets for k, v in facts.sources(t, entry).items()}
    return extra, code


def _cost(scored: Stage, inputs: Stage, facts: Facts) -> Stage:
    return Stage(
        kind="cost",
        name=f"cost of {scored.name}",
        run="hepbench.stages:cost",
        parts={
            "machine": facts.measuring,
            "threads": facts.threads,
            "numerics": keys.NUMERICS["cost"],
        },
        task=scored.task,
        parents=(inputs.key, scored.key),
        group="cost",
        imports=("hepbench.cost", *scored.imports),
        exclusive=True,
    )


def _published(c: Combination, published: Iterable[Published]) -> Published | None:
    """Return the published figure whose cell, perhaps a glob, means this combination."""
    name = "/".join(c.labels)
    for figure in published:
        # brackets hold parameters here, not characters to choose from
        if fnmatchcase(name, figure.cell.replace("[", "[[]")):
            return figure
    return None
