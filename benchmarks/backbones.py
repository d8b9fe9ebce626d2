"""Try one small model of each family of timm, and each BasicGNN: the page ``docs/backbones.md``.

    .venv/bin/python benchmarks/backbones.py                 # try all, store the facts, write the page
    .venv/bin/python benchmarks/backbones.py --page          # write the page from the stored facts
    .venv/bin/python benchmarks/backbones.py --only NAME ... # try some again

Each is built for images of electrons and photons, or for graphs of quark and gluon jets, trained for one
step, counted by both counters, exported to ONNX, pruned by half, stored and built again: as a run does it,
on made-up examples, in a process of its own with a limit of time. The facts are stored in
``benchmarks/backbones.json`` after each.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from hepbench_methods import PRUNE_STRUCTURED, SCRATCH
from hepbench_models import PYG, TIMM
from tabulate import tabulate

from hepbench.specs.parameters import defaults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from hepbench import Context, Model, TrainingData
    from hepbench.training.networks.network import Network

HERE = Path(__file__).parent
FACTS, PAGE = HERE / "backbones.json", HERE.parent / "docs" / "backbones.md"

LIMIT = 90
"""Seconds of CPU time that trying one backbone may take."""

RATIO = 0.5

IMAGE = {"image": (2, 32, 32)}
GRAPH = {"cloud": (32, 6), "mask": (32,), "neighbours": (32, 8)}

EXAMPLES = 16

TIMM_MODELS: dict[str, dict[str, Any]] = {
    "beit_base_patch16_224": {"arguments": {"embed_dim": 96, "depth": 2, "num_heads": 3}},
    "cait_xxs24_224": {"arguments": {"depth": 2}},
    "coat_lite_tiny": {},
    "convit_tiny": {"arguments": {"depth": 2, "local_up_to_layer": 1}},
    "convnext_atto": {},
    "cs3darknet_focus_s": {},
    "deit_tiny_patch16_224": {"arguments": {"depth": 2}},
    "densenet121": {},
    "dla46_c": {},
    "edgenext_xx_small": {},
    "efficientformerv2_s0": {},
    "efficientvit_b0": {},
    "efficientvit_m0": {},
    "eva02_tiny_patch14_224": {"multiple": 14, "arguments": {"depth": 2}},
    "ghostnet_050": {},
    "inception_next_atto": {},
    "levit_128s": {},
    "mixer_s32_224": {},
    "mnasnet_small": {},
    "mobilenetv3_small_050": {},
    "mobilevit_xxs": {},
    "pit_ti_224": {},
    "poolformer_s12": {},
    "pvt_v2_b0": {},
    "regnetx_002": {},
    "repghostnet_050": {},
    "resnet10t": {},
    "shvit_s1": {},
    "starnet_s1": {},
    "swin_tiny_patch4_window7_224": {"arguments": {"embed_dim": 24, "depths": [2, 2, 2, 2]}},
    "vit_tiny_patch16_224": {"arguments": {"depth": 2}},
}
"""One small model of each family, with what makes it smaller."""

GNNS = ("EdgeCNN", "GAT", "GCN", "GIN", "GraphSAGE", "PNA")


class BackboneFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of one backbone.

    Attributes:
        family: module of the library that it comes from.
        parameters, macs: of the network with its head; macs of one example.
        cross_check, gaps: MACs by torch's counter, and what was not counted.
        trained: whether a step of training changed the loss and left all weights finite.
        exporter: ``older`` or ``newer``, the one that exported it to ONNX.
        pruned_parameters, pruned_macs: after half of the channels were removed.
        kept: layers that could not shrink.
        difference: largest difference of a score when it was stored and built again.
        errors: reasons of failures, by step.
        seconds: CPU time of all steps.
    """

    family: str = ""
    parameters: int | None = None
    macs: int | None = None
    cross_check: int | None = None
    gaps: list[str] = []
    trained: bool = False
    exporter: str = ""
    pruned_parameters: int | None = None
    pruned_macs: int | None = None
    kept: int = 0
    difference: float | None = None
    errors: dict[str, str] = {}
    seconds: float = 0.0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the page is written from: versions of the libraries, backbones by label."""

    versions: dict[str, str]
    backbones: dict[str, BackboneFacts]


def main() -> None:
    """Store the facts unless they are used as stored, and write the page."""
    parser = argparse.ArgumentParser(
        description="Try backbones.py's models of timm and torch-geometric; write docs/backbones.md"
    )
    parser.add_argument("--page", action="store_true", help="try nothing, use backbones.json")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="try these alone")
    given = parser.parse_args()
    if not given.page:
        for label, spec, params in backbones():
            if given.only is None or params["name"] in given.only:
                store(label, in_own_process(spec, params))
    PAGE.write_text(page(stored_facts()))


def backbones() -> Iterator[tuple[str, Model, dict[str, Any]]]:
    """Yield label, spec and chosen parameters of each backbone."""
    for name, more in TIMM_MODELS.items():
        yield f"timm[name={name}]", TIMM, {"name": name, **more}
    for name in GNNS:
        yield f"pyg[name={name}]", PYG, {"name": name}


def stored_facts() -> Facts:
    """Return the facts of ``backbones.json``; none of backbones that are not tried any more."""
    found = msgspec.json.decode(FACTS.read_bytes(), type=Facts)
    known = {label: found.backbones[label] for label, *_ in backbones() if label in found.backbones}
    return msgspec.structs.replace(found, backbones=known)


def store(label: str, found: BackboneFacts) -> None:
    """Write the facts of one backbone into ``backbones.json``."""
    from importlib.metadata import version

    print(label, found, flush=True)
    before = stored_facts().backbones if FACTS.exists() else {}
    versions = {
        name: version(name) for name in ("timm", "torch-geometric", "torch-pruning", "torch")
    }
    facts = Facts(versions=versions, backbones={**before, label: found})
    FACTS.write_bytes(msgspec.json.format(msgspec.json.encode(facts), indent=1) + b"\n")


# --- try


def in_own_process(spec: Model, params: dict[str, Any]) -> BackboneFacts:
    """Try a backbone in a process; what it found before the system ended it counts."""
    import hepbench_models.timm_import
    import hepbench_models.torch_geometric_import  # noqa: F401 - each process has them for nothing

    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=try_out, args=(spec, params, there))
    process.start()
    there.close()
    found, step = BackboneFacts(), "built"
    with suppress(EOFError):
        while step:
            found, step = here.recv()
    process.join()
    return with_error(found, step, f"not within {LIMIT} s of CPU time") if step else found


def try_out(spec: Model, params: dict[str, Any], results: Connection) -> None:
    """Try each step, and send the facts so far with the next step's name."""
    import torch

    from hepbench.training.networks import determinism

    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
    determinism.make_deterministic(threads=1)
    torch.manual_seed(0)
    found, start, lent = BackboneFacts(), time.process_time(), Trial(spec, params)
    for name, step in STEPS.items():
        if name != "built" and "built" in found.errors:
            break
        results.send((found, name))
        try:
            changes = step(lent)
        # whatever a backbone raises is a fact about it
        except Exception as error:  # noqa: BLE001
            found = with_error(found, name, f"{type(error).__name__}: {error}")
        else:
            found = msgspec.structs.replace(found, **changes)
    seconds = round(time.process_time() - start, 1)
    results.send((msgspec.structs.replace(found, seconds=seconds), ""))


def with_error(found: BackboneFacts, step: str, text: str) -> BackboneFacts:
    """Return facts with the reason why a step failed, in one line."""
    line = " ".join(text.split())
    return msgspec.structs.replace(found, errors={**found.errors, step: line[:300]})


class Trial:
    """What the steps share: a network and made-up examples."""

    def __init__(self, spec: Model, params: dict[str, Any]) -> None:
        from hepbench.conformance import trials

        self.spec, self.params = spec, {**defaults(spec.params), **params}
        sizes = dict.fromkeys(("train", "validation", "test"), EXAMPLES)
        shapes = IMAGE if spec is TIMM else GRAPH
        self.trial = trials.made_up_trial(shapes, 2, sizes=sizes)
        self.network: Network | None = None

    @property
    def data(self) -> TrainingData:
        """Training and validation examples."""
        return self.trial.data()

    def context(self) -> Context:
        """Return what a method is lent."""
        from hepbench.training.context import NetworkContext

        return NetworkContext(seed=0)

    def inputs(self) -> dict[str, Any]:
        """Return preprocessed inputs of the test examples."""
        import torch

        from hepbench.training.networks import batches

        return batches.RawInputs(self.trial.inputs, torch.device("cpu"))(slice(None))


def built(lent: Trial) -> dict[str, Any]:
    """Build the network as a run does."""
    from hepbench.cost import counting
    from hepbench.training import network_runs
    from hepbench.training.messages import MethodTask, NetworkTask

    task = MethodTask(
        method="",
        run="",
        params={},
        model=lent.spec.name,
        build=lent.spec.build,
        model_params=lent.params,
        makes="classifier",
        classes=2,
        steps=[],
        seed=0,
        network=NetworkTask(preprocess=list(defaults(lent.spec.all_params)["preprocess"])),
    )
    lent.network = network_runs.fresh(task, lent.data.train.inputs, classes=2).with_head()
    parameters = counting.parameters(lent.network)
    return {"family": family(lent), "parameters": parameters}


def family(lent: Trial) -> str:
    """Return the module of the library that a backbone comes from."""
    if lent.spec is PYG:
        return "basic_gnn"
    from hepbench_models.timm_backbone import models

    return models.model_entrypoint(lent.params["name"]).__module__.rpartition(".")[2]


def trained(lent: Trial) -> dict[str, Any]:
    """Train for one step."""
    from hepbench.registry.resolve import resolve

    settings = {**defaults(SCRATCH.params), "epochs": 1, "batch_size": EXAMPLES, "min_steps": 1}
    network = resolve(SCRATCH.run)(lent.network, lent.data, lent.context(), **settings)
    lent.network = network.eval()
    return {"trained": all(bool(p.isfinite().all()) for p in network.parameters())}


def counted(lent: Trial) -> dict[str, Any]:
    """Count the MACs of one example by both counters."""
    from hepbench.cost import counting

    found = counting.count(lent.network, lent.inputs())
    return {"macs": found.macs, "cross_check": found.cross_check, "gaps": list(found.gaps)}


def exported(lent: Trial) -> dict[str, Any]:
    """Export to ONNX; the scores of the graph are compared at another batch size."""
    import onnx

    from hepbench.cost import export

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export.export(lent.network, lent.inputs(), path)
        opset = onnx.load(path).opset_import[0].version
    return {"exporter": {export.OPSET: "older", export.NEWER_OPSET: "newer"}[opset]}


def pruned(lent: Trial) -> dict[str, Any]:
    """Remove half of the channels, without training after it."""
    from hepbench.cost import counting
    from hepbench.registry.resolve import resolve

    context = lent.context()
    settings = {**defaults(PRUNE_STRUCTURED.params), "ratio": RATIO, "after": "nothing"}
    small = resolve(PRUNE_STRUCTURED.run)(lent.network, lent.data, context, **settings).eval()
    lent.network = small
    layers = [w.removeprefix("pruning: cannot shrink ") for w in context.warnings]
    return {
        "pruned_parameters": counting.parameters(small),
        "pruned_macs": counting.count(small, lent.inputs()).macs,
        "kept": sum(len(each.split(", ")) for each in layers),
    }


def rebuilt(lent: Trial) -> dict[str, Any]:
    """Store the network, pruned if it could be, build it again, and compare scores."""
    from hepbench.training.networks import scoring, stored_networks

    assert lent.network is not None
    with tempfile.TemporaryDirectory() as folder:
        stored_networks.save(lent.network, Path(folder))
        again = stored_networks.load(Path(folder), lent.network.known)
    scores = [scoring.scores(network, lent.trial.inputs) for network in (lent.network, again)]
    return {"difference": float(np.abs(scores[0] - scores[1]).max())}


STEPS: dict[str, Callable[[Trial], dict[str, Any]]] = {
    "built": built,
    "trained": trained,
    "counted": counted,
    "exported": exported,
    "pruned": pruned,
    "rebuilt": rebuilt,
}
"""Name of each step -> what it does; it returns fields of BackboneFacts."""


# --- page


def page(facts: Facts) -> str:
    """Return the page."""
    versions = ", ".join(f"{name} {v}" for name, v in facts.versions.items())
    tried = facts.backbones
    families = len({f.family for label, f in tried.items() if label.startswith("timm")})
    failures = [
        f"- `{label}`, {step}: {error}"
        for label, found in tried.items()
        for step, error in found.errors.items()
    ]
    heads = ("model", "family", "parameters", "MACs", "both counters", "ONNX", "pruned", "rebuilt")
    rows = [row(label, found) for label, found in tried.items()]
    text = f"""# Backbones of timm and torch-geometric

`timm[name=...]` takes any image model of [timm](https://github.com/huggingface/pytorch-image-models) by its
name, `pyg[name=...]` any BasicGNN of [torch-geometric](https://pytorch-geometric.readthedocs.io); weights are
drawn, never fetched. An unknown name is answered with near ones. Arguments of the library's function go into
a table:

```sh
hepbench run -d electron-photon -m 'timm[name=resnet10t,arguments={{drop_rate=0.1}}]' -x scratch
hepbench run -d quark-gluon -m 'pyg[name=GAT,arguments={{heads=4,norm="layer"}}]' -x scratch
```

Images are padded with zeros to a multiple of 32 in height and width (`multiple`). Here one small model of
{families} families of timm, on images of 2 x 32 x 32, and each BasicGNN, on graphs of 32 points with 8
neighbours, were built, trained for one step, counted, exported, pruned and built again; `.venv/bin/python
benchmarks/backbones.py` makes this page ({versions}). It does not show how well they classify.

- **parameters**, **MACs**: with a linear head for two classes; MACs for one example.
- **both counters**: fvcore's count and torch's, or what is not counted.
- **ONNX**: the exporter; the graph was compared with torch at another batch size.
- **pruned**: what `prune-structured[ratio={RATIO}]` leaves of parameters and MACs, and layers that it could not
  shrink.
- **rebuilt**: scores of the network, pruned if it could be, built again from its stored recipe and weights.

"""
    table = tabulate(rows, heads, tablefmt="github", disable_numparse=True)
    named = ["## What failed", "", *(failures or ["Nothing."])]
    return "\n".join([text + table, "", *named, ""])


def row(label: str, found: BackboneFacts) -> list[str]:
    """Return the entries of a backbone."""
    failed = dict.fromkeys(found.errors, "**failed**")
    return [
        f"`{label}`",
        found.family,
        failed.get("built", f"{found.parameters or 0:,}"),
        failed.get("counted", f"{(found.macs or 0) / 1e6:.3g} M"),
        failed.get("counted", counters(found)),
        failed.get("exported", found.exporter),
        failed.get("pruned", left(found)),
        failed.get("rebuilt", "equal" if found.difference == 0 else f"{found.difference:.1g} apart")
        if found.difference is not None or "rebuilt" in found.errors
        else "",
    ]


def counters(found: BackboneFacts) -> str:
    """Return whether both counters agree, or what is not counted."""
    if found.gaps:
        return f"not counted: {'; '.join(found.gaps)}"
    if not found.macs or not found.cross_check:
        return ""
    apart = abs(found.macs / found.cross_check - 1)
    return "equal" if apart == 0 else f"{apart:.1%} apart"


def left(found: BackboneFacts) -> str:
    """Return what is left after pruning."""
    if not found.parameters or found.pruned_parameters is None:
        return ""
    parameters = found.pruned_parameters / found.parameters
    macs = (found.pruned_macs or 0) / found.macs if found.macs else 0
    kept = f", {found.kept} layers kept" if found.kept else ""
    return f"{parameters:.0%}, {macs:.0%}{kept}"


if __name__ == "__main__":
    main()
