"""Count, prune, rebuild and export networks of other kinds, and write ``docs/foreign-networks.md``.

    .venv/bin/python benchmarks/foreign_networks_page.py

The networks are in ``tests/plugins/foreign_networks.py``, untrained, with two classes. It takes a minute;
``tests/plugins/test_foreign_networks.py`` makes the rows anew and compares them with the page.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hepbench_methods import hepbench_methods, pruning
from tabulate import tabulate

from hepbench import Examples, TrainingData
from hepbench.cost import counting, export, tracing
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import ExportError
from hepbench.specs.parameters import defaults
from hepbench.training import network_runs
from hepbench.training.context import NetworkContext
from hepbench.training.messages import MethodTask, NetworkTask
from hepbench.training.networks import scoring, stored_networks
from hepbench.training.networks.recipes import TrustedCode

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "foreign-networks.md"
sys.path.insert(0, str(ROOT / "tests" / "plugins"))

from foreign_networks import NETWORKS

RATIO = 0.5

METHODS = {method.name: method for method in hepbench_methods()}

KNOWN = TrustedCode(
    models={name: f"foreign_networks:{kind.__name__}" for name, (kind, _) in NETWORKS.items()}
)

HEAD = """# Networks of other kinds

Small networks as other people write them ([source](../tests/plugins/foreign_networks.py)), untrained, are
counted, pruned at ratio .5, stored and rebuilt, and exported. `.venv/bin/python
benchmarks/foreign_networks_page.py` makes this page; a test makes its rows anew.

- **MACs**: multiply-accumulates for scoring one example; each agrees with a count by hand.
- **masked**: fraction of the weights that `prune-unstructured` sets to zero; recurrent weights count too.
- **structured**: MACs that `prune-structured` leaves, and what is left of them. **cannot shrink** names the
  layers whose channels it cannot remove: it has not seen how they use each channel, or a removal would
  change the scores.
- **rebuilt**: whether the pruned network scores the same after it was stored and loaded.
- **ONNX**: whether the pruned network is exported and scores the same; if not, latency is measured in torch
  alone, and the reason is in the record.
"""


def main() -> None:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    PAGE.write_text(page([row(name) for name in NETWORKS]))


def page(rows: list[list[str]]) -> str:
    """Return the page with these rows."""
    heads = [
        "network",
        "what it is",
        "MACs",
        "masked",
        "structured",
        "cannot shrink",
        "rebuilt",
        "ONNX",
    ]
    table = tabulate(rows, heads, "github", disable_numparse=True)
    return f"{HEAD}\n{table}\n"


def row(name: str) -> list[str]:
    """Return the row of a network."""
    found = facts(name)
    left = found["structured"]
    return [
        name,
        inspect.getdoc(NETWORKS[name][0]).splitlines()[0].rstrip("."),
        f"{found['macs']:,}",
        f"{found['masked']:.3f}"[1:],
        f"{left:,} ({left / found['macs']:.0%})",
        ", ".join(found["cannot shrink"]) or "-",
        "equal" if found["rebuilt"] else "differs",
        found["onnx"],
    ]


def facts(name: str) -> dict[str, Any]:
    """Return what is counted of a network, before and after its prunings."""
    inputs = part(name, 9, seed=2).inputs
    masked, _ = pruned("prune-unstructured", name)
    small, warnings = pruned("prune-structured", name, after="nothing")
    with tempfile.TemporaryDirectory() as folder:
        stored_networks.save(small, Path(folder))
        again = stored_networks.load(Path(folder), KNOWN)
        onnx = _exported(small, inputs, Path(folder))
    return {
        "macs": _count(fresh(name), inputs),
        "weights": sum(weight.numel() for weight in pruning.prunable(masked).values()),
        "masked": _zeros(masked),
        "structured": _count(small, inputs),
        "cannot shrink": _names(warnings),
        "rebuilt": np.array_equal(scoring.scores(again, inputs), scoring.scores(small, inputs)),
        "onnx": onnx,
    }


def fresh(name: str) -> Any:
    """Return a new network with a head of two classes."""
    task = MethodTask(
        method="", run="", params={}, model=name, build=KNOWN.models[name], model_params={},
        makes="classifier", classes=2, steps=[], seed=0,
        network=NetworkTask(preprocess=[], heads={}),
    )  # fmt: skip
    torch.manual_seed(0)
    network = network_runs.fresh(task, part(name, 50).inputs, classes=2).with_head()
    network.known = KNOWN
    return network.eval()


def part(name: str, n: int, *, seed: int = 0) -> Examples:
    """Return examples with the inputs that a network takes; places are those of real particles."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    if 'inputs["image"]' in inspect.getsource(NETWORKS[name][0]):
        image = rng.normal(size=(n, 2, 16, 16)) + 0.2 * labels[:, None, None, None]
        inputs = {"image": image.astype(np.float32)}
    else:
        mask = np.arange(12) < rng.integers(3, 13, n)[:, None]
        cloud = (rng.normal(size=(n, 12, 4)) + 0.5 * labels[:, None, None]) * mask[..., None]
        near = rng.integers(0, 3, (n, 12, 4)).astype(np.uint8)
        inputs = {"cloud": cloud.astype(np.float32), "mask": mask, "neighbours": near}
    return Examples(inputs=inputs, ids=1000 * seed + np.arange(n), labels=labels)


def pruned(method: str, name: str, **params: Any) -> tuple[Any, list[str]]:
    """Return a new network after a pruning, and the warnings about it."""
    spec, context = METHODS[method], NetworkContext(seed=0)
    data = TrainingData(train=part(name, 60), validation=part(name, 40, seed=1))
    params = {**defaults(spec.params), "ratio": RATIO, **params}
    return resolve(spec.run)(fresh(name), data, context, **params).eval(), context.warnings


def _count(network: Any, inputs: Any) -> int:
    counted = counting.count(network, tracing.batch(inputs, 1))
    if counted.gaps or not counted.agrees:
        raise ValueError(counted.warnings)
    return counted.macs


def _zeros(network: Any) -> float:
    weights = pruning.prunable(network).values()
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


def _names(warnings: list[str]) -> list[str]:
    named = [each.removeprefix("pruning: cannot shrink ") for each in warnings]
    return [name.removeprefix("encoder.") for each in named for name in each.split(", ")]


def _exported(network: Any, inputs: Any, folder: Path) -> str:
    try:
        export.export(network, inputs, folder / "network.onnx")
    except ExportError as error:
        return "no: LSTMs with projections" if "LSTMs with projections" in str(error) else "no"
    return "yes"


if __name__ == "__main__":
    main()
