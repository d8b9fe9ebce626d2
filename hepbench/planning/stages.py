"""Stages: what each cached step is told, and what its key is hashed from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from hepbench.data.messages import dividing, reading
from hepbench.storage import keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hepbench.data.finding import DataFiles
    from hepbench.planning.matrix import Combination
    from hepbench.registry.plugins import Entry
    from hepbench.specs.dataset import Dataset
    from hepbench.specs.method import Method
    from hepbench.specs.model import Model


NETWORK_IMPORTS = ("hepbench.training.network_runs", "numpy.ctypeslib", "torch._dynamo")
"""What workers would import themselves where a model is a network; the last is what torch imports
when the first optimiser is made, and takes as long as torch itself."""


class Environment(Protocol):
    """What a plan must know of the machine."""

    threads: int
    libraries: Mapping[str, str]
    measuring: Mapping[str, str]

    def sources(self, target: str, entry: Entry) -> Mapping[str, str]:
        """Return {module: digest} of what ``"module:function"`` is made of."""
        ...

    def found(self, entry: Entry) -> DataFiles:
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


def preparation(c: Combination, split_seed: int, facts: Environment) -> Prepared:
    """Return what prepares the examples of a combination: the stages that read, divide and lay them
    out.
    """
    read = keyed(_read(c, facts))
    split = keyed(_split(c, read, split_seed, facts))
    return read, split, keyed(_inputs(c, read, split, facts))


def keyed(stage: Stage) -> Stage:
    return replace(stage, key=keys.key([stage.kind, stage.parts, stage.parents]))


def _read(c: Combination, facts: Environment) -> Stage:
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
        run="hepbench.data.read_stage:read",
        parts=parts,
        task=task,
        group="prepare",
    )


def _split(c: Combination, read: Stage, seed: int, facts: Environment) -> Stage:
    spec: Dataset = c.dataset.spec
    task = dividing(spec, c.dataset_params, seed)
    # the key of what was read tells these two
    shared = {name: value for name, value in task.items() if name not in {"dataset", "classes"}}
    official = spec.split.official
    code = facts.sources(official, c.dataset) if official else {}
    return Stage(
        kind="split",
        name=f"split {spec.name}",
        run="hepbench.data.split_stage:split",
        parts={**shared, "code": code, "numerics": keys.NUMERICS["split"]},
        task=task,
        parents=(read.key,),
        group="prepare",
    )


def _inputs(c: Combination, read: Stage, split: Stage, facts: Environment) -> Stage:
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
        run="hepbench.data.inputs_stage:inputs",
        parts={**shared, "code": code, "numerics": keys.NUMERICS["inputs"]},
        task={**shared, "dataset": spec.name},
        parents=(read.key, split.key),
        group="prepare",
    )


def method_stage(
    c: Combination, i: int, seed: int, parents: tuple[str, ...], facts: Environment
) -> Stage:
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
        run="hepbench.training.method_stage:method",
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


def _network(c: Combination, i: int, facts: Environment) -> tuple[dict[str, Any], dict[str, Any]]:
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


def cost_stage(scored: Stage, inputs: Stage, facts: Environment) -> Stage:
    return Stage(
        kind="cost",
        name=f"cost of {scored.name}",
        run="hepbench.cost.cost_stage:cost",
        parts={
            "machine": facts.measuring,
            "threads": facts.threads,
            "numerics": keys.NUMERICS["cost"],
        },
        task=scored.task,
        parents=(inputs.key, scored.key),
        group="cost",
        imports=("hepbench.cost.measure", *scored.imports),
        exclusive=True,
    )
