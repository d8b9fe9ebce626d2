"""Plans stages: the task of each cached step, and the parts that its key is made of. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import msgspec

from hepbench.cost.messages import CostTask
from hepbench.data.messages import inputs_task, read_task, split_task
from hepbench.specs.dataset import without_later_defaults
from hepbench.storage import keys
from hepbench.storage.devices import Device
from hepbench.training.messages import MethodTask, NetworkTask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hepbench.data.finding import DataFiles
    from hepbench.planning.matrix import Combination
    from hepbench.registry.plugins import Entry
    from hepbench.specs.dataset import Dataset
    from hepbench.specs.method import Method
    from hepbench.specs.model import Model
    from hepbench.specs.types import Json

NETWORK_IMPORTS = ("hepbench.training.network_runs", "numpy.ctypeslib", "torch._dynamo")
"""Modules that every worker would import for a network; torch imports the last one when the first
optimiser is made, which takes as long as importing torch."""

Digests = dict[str, str]
"""Module -> digest of its source."""


class Environment(Protocol):
    """Interface of the environment: facts about machine and files that a plan needs.

    Attributes:
        threads: of each worker.
        device: that networks are trained and scored on.
        libraries: versions of those that compute, by name.
        measuring: host, processor and versions that a measured cost depends on.
    """

    threads: int
    device: Device
    libraries: Mapping[str, str]
    measuring: Mapping[str, str]

    def sources(self, target: str, entry: Entry) -> Mapping[str, str]:
        """Return source digests of a plugin's function and its imports, for a stage's key."""
        ...

    def found(self, entry: Entry) -> DataFiles:
        """Return the files of a dataset, for the keys of its planned stages."""
        ...

    def declared(self, files: Sequence[str], entry: Entry) -> tuple[str, ...]:
        """Return labels of the files that a spec declares, for the keys of planned stages.

        Raises:
            PluginError: a file is missing.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A planned stage: one step whose result is cached.

    Attributes:
        kind: ``read``, ``split``, ``inputs``, ``method`` or ``cost``.
        run: ``"module:function"`` of ``(task, workspace) -> result``, called in a worker.
        task: what the function is given.
        parts: what the key is hashed from, beside the parents' keys.
        parents: keys, in the order that the function expects.
        group: stages of one group may share a process. A process that runs a method never holds
            the test labels, which the group ``prepare`` reads.
        imports: modules worth importing once, before any worker starts.
        exclusive: whether it runs alone on the machine for a part of its time. It starts when no
            other stage runs or could start.
        files: labels of the files that specs declare for its functions; their names are part of the
            key, their contents are of what it used.
    """

    kind: str
    name: str
    run: str
    task: msgspec.Struct
    parts: Mapping[str, Json]
    group: str
    parents: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    exclusive: bool = False
    files: tuple[str, ...] = ()
    key: str = ""

    @property
    def source_digests(self) -> Digests:
        """The source digests among the key parts of a stage, by module."""
        parts = (self.parts.get(name, {}) for name in ("code", "model_code", "network_code"))
        return {module: digest for part in parts for module, digest in part.items()}


Prepared = tuple[Stage, Stage, Stage]
"""The read, split and inputs stage of a dataset."""


def with_key(stage: Stage) -> Stage:
    """Return a planned stage with its content key."""
    named = {"files": list(stage.files)} if stage.files else {}
    parts = {**stage.parts, **named}
    return replace(stage, parts=parts, key=keys.key([stage.kind, parts, stage.parents]))


def preparation(c: Combination, split_seed: int, environment: Environment) -> Prepared:
    """Plan the stages that prepare the data of a combination: read, split and inputs."""
    read = with_key(_read_stage(c, environment))
    split = with_key(_split_stage(c, read, split_seed, environment))
    return read, split, with_key(_inputs_stage(c, read, split, environment))


def _task_as_json(task: msgspec.Struct, without: Iterable[str] = ()) -> dict[str, Json]:
    """Return a stage's task as JSON values, for its key."""
    built: dict[str, Json] = msgspec.to_builtins(task)
    return {name: value for name, value in built.items() if name not in without}


def _read_stage(c: Combination, environment: Environment) -> Stage:
    found = environment.found(c.dataset)
    task = read_task(c.dataset.spec, found, c.dataset_params)
    # the fingerprint stands for the files, wherever they are
    parts = {
        **_task_as_json(task, without=("folder", "files", "stamps")),
        "source": found.source,
        "fingerprint": found.fingerprint,
        "code": environment.sources(task.reader, c.dataset),
        "numerics": keys.NUMERICS["read"],
    }
    return Stage(
        kind="read",
        name=f"read {task.dataset}",
        run="hepbench.data.read_stage:read",
        task=task,
        parts=parts,
        group="prepare",
        files=_side_files(c, found, environment),
    )


def _side_files(c: Combination, found: DataFiles, environment: Environment) -> tuple[str, ...]:
    """Return labels of the files that a dataset declares beside its original files."""
    original = c.dataset.spec.original
    if original is None or found.source == "sample":
        return ()
    return environment.declared(original.side_files, c.dataset)


def _split_stage(c: Combination, read: Stage, seed: int, environment: Environment) -> Stage:
    task = split_task(c.dataset.spec, c.dataset_params, seed)
    code = environment.sources(task.official, c.dataset) if task.official else {}
    return Stage(
        kind="split",
        name=f"split {task.dataset}",
        run="hepbench.data.split_stage:split",
        task=task,
        parts={**_task_as_json(task), "code": code, "numerics": keys.NUMERICS["split"]},
        parents=(read.key,),
        group="prepare",
        files=environment.declared(c.dataset.spec.split.files, c.dataset),
    )


def _inputs_stage(c: Combination, read: Stage, split: Stage, environment: Environment) -> Stage:
    task = inputs_task(c.dataset.spec, c.model.spec.inputs, c.dataset_params)
    code = _source_digests(environment, ((call.run, c.dataset) for call in task.views.values()))
    files = [file for name in task.views for file in c.dataset.spec.views[name].files]
    return Stage(
        kind="inputs",
        name=f"inputs {task.dataset}",
        run="hepbench.data.inputs_stage:inputs",
        task=task,
        parts={**_task_as_json(task), "code": code, "numerics": keys.NUMERICS["inputs"]},
        parents=(read.key, split.key),
        group="prepare",
        files=environment.declared(files, c.dataset),
    )


def method_stage(
    c: Combination, i: int, seed: int, parents: tuple[str, ...], environment: Environment
) -> Stage:
    """Plan the stage of the method at position ``i`` of a chain."""
    model, method = c.model.spec, c.methods[i].spec
    task = _method_task(c, i, seed, environment)
    return Stage(
        kind="method",
        name=f"{'+'.join(task.steps)} {model.name}",
        run="hepbench.training.method_stage:method",
        task=task,
        parts=_method_key_parts(c, i, task, environment),
        parents=parents,
        group="methods",
        files=_method_files(c, i, environment),
        imports=(*(NETWORK_IMPORTS if task.network else ()), *model.imports, *method.imports),
    )


def _method_task(c: Combination, i: int, seed: int, environment: Environment) -> MethodTask:
    model: Model = c.model.spec
    method: Method = c.methods[i].spec
    return MethodTask(
        method=method.name,
        run=method.run,
        params=dict(c.method_params[i]),
        model=model.name,
        build=model.build,
        model_params={n: v for n, v in c.model_params.items() if n != "preprocess"},
        makes=method.makes,
        classes=len(c.dataset.spec.classes),
        steps=[entry.spec.name for entry in c.methods[: i + 1]],
        seed=seed,
        threads=environment.threads,
        labels=method.labels,
        training_size=c.dataset_params["training_size"],
        # a method that sees no label is shared by all fractions
        label_fraction=float(c.dataset_params["label_fraction"]) if method.labels else 1.0,
        training_weights=_training_weights(c, method),
        own_loss=method.makes == "classifier" and _keeps_encoder_of_own_loss(c.methods[: i + 1]),
        network=_network_task(c, i, environment) if "encode" in model.offers else None,
    )


def _training_weights(c: Combination, method: Method) -> str:
    """Return the rule for the weights that a method sees; one without labels sees none."""
    return str(c.dataset_params["training_weights"] or "none") if method.labels else "physical"


def _keeps_encoder_of_own_loss(methods: Sequence[Entry]) -> bool:
    """Return whether a chain keeps its encoder unchanged after training it by its own loss."""
    for entry in reversed(methods):
        method: Method = entry.spec
        if "pretrain" in method.needs:
            return True
        if "encoder" not in method.freezes:
            return False
    return False


def _network_task(c: Combination, i: int, environment: Environment) -> NetworkTask:
    dataset: Dataset = c.dataset.spec
    return NetworkTask(
        preprocess=list(c.model_params["preprocess"]),
        heads={e.spec.name: e.spec.head for e in c.methods[: i + 1] if e.spec.head},
        freezes=sorted(c.methods[i].spec.freezes),
        augmentations=dict(dataset.augmentations),
        device=str(environment.device),
    )


def _method_key_parts(
    c: Combination, i: int, task: MethodTask, environment: Environment
) -> dict[str, Json]:
    parts = {
        **without_later_defaults(_task_as_json(task)),
        "code": environment.sources(task.run, c.methods[i]),
        "model_code": environment.sources(task.build, c.model),
        "libraries": dict(environment.libraries),
        "numerics": keys.NUMERICS["method"],
    }
    if task.network is None:
        del parts["libraries"]["torch"]
        return parts
    device = environment.device
    # which of several equal GPUs changes no result
    parts["network"] |= {"device": {"kind": device.kind, "name": device.name}}
    return {**parts, "network_code": _network_source_digests(c, i, task.network, environment)}


def _method_files(c: Combination, i: int, environment: Environment) -> tuple[str, ...]:
    """Return labels of the files that a model and the methods up to position ``i`` declare."""
    entries = (c.model, *c.methods[: i + 1])
    files = (f for entry in entries for f in environment.declared(entry.spec.files, entry))
    return tuple(dict.fromkeys(files))


def _network_source_digests(
    c: Combination, i: int, task: NetworkTask, environment: Environment
) -> dict[str, str]:
    """Return the source digests of preprocessing steps, heads and augmentations."""
    steps = [(step, c.model) for step in task.preprocess if ":" in step]
    heads = [(e.spec.head, e) for e in c.methods[: i + 1] if e.spec.head]
    augmentations = [(target, c.dataset) for target in task.augmentations.values()]
    return _source_digests(environment, (*steps, *heads, *augmentations))


def _source_digests(environment: Environment, targets: Iterable[tuple[str, Entry]]) -> Digests:
    return {k: v for t, entry in targets for k, v in environment.sources(t, entry).items()}


def device_of(task: MethodTask, environment: Environment) -> Device:
    """Return the device that a model is trained and scored on; estimators use the CPU."""
    return environment.device if task.network else Device()


def cost_stage(
    c: Combination, scored: Stage, inputs: Stage, *, environment: Environment, shared: bool
) -> Stage:
    """Plan the stage that measures the cost of scoring with the model that a method made.

    Args:
        shared: whether counts and latencies of another network of the same form will do.
    """
    onnx = c.model.spec.onnx
    code: dict[str, Json] = {"code": environment.sources(onnx, c.model)} if onnx else {}
    assert isinstance(scored.task, MethodTask)
    device = device_of(scored.task, environment)
    conditions: dict[str, Json] = {
        "machine": dict(environment.measuring),
        "device": {"kind": device.kind, "name": device.name},
        "threads": environment.threads,
        "numerics": keys.NUMERICS["cost"],
    }
    # in the key of a cost stage, that of the method stage stands for them
    of_network = {
        n: scored.parts[n] for n in ("libraries", "model_code", "network_code") if n in scored.parts
    }
    if not shared:
        of_network["network"] = scored.key
    return Stage(
        kind="cost",
        name=f"cost of {scored.name}",
        run="hepbench.cost.cost_stage:cost",
        task=CostTask(scored.task, onnx=onnx, conditions={**conditions, **of_network}),
        parts={**conditions, **code, **({} if shared else {"shared": False})},
        parents=(inputs.key, scored.key),
        group="cost",
        imports=("hepbench.cost.measure", *scored.imports),
        exclusive=True,
        files=scored.files,
    )
