"""Print the MACs of every installed network from both counters, for each preset, in Markdown.

    .venv/bin/python benchmarks/counts.py

Networks have their own head for two classes and the input shapes of the reference experiments; parts
that scoring does not use (decoders) are not counted.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import torch
from networks import NETWORKS
from tabulate import tabulate

from hepbench.cost import counting
from hepbench.planning.input_shapes import shapes_of
from hepbench.planning.settings import dataset_params
from hepbench.registry import plugins
from hepbench.specs.parameters import defaults
from hepbench.training.networks.network import build
from hepbench.training.networks.recipes import Recipe, TrustedCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.training.networks.network import Network

SETTINGS = {
    "quick": {
        "higgs": {"features": 21},
        "boosted-jets": {"size": 64},
        "quark-gluon": {"size": 64, "points": 64, "k": 8},
        "electron-photon": {},
        "top-tagging": {"particles": 64, "features": "kinematic", "k": 7},
    },
    "paper": {
        "higgs": {"features": 21},
        "boosted-jets": {},
        "quark-gluon": {"points": 512, "k": 16},
        "electron-photon": {},
        "top-tagging": {"particles": 128, "features": "kinematic", "k": 16},
    },
}
"""Parameters of the datasets in each preset."""


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    datasets = {name: d.partition("[")[0] for d, names in NETWORKS.items() for name in names}
    rows = [row(name, datasets[name], p) for name in sorted(datasets) for p in SETTINGS]
    heads = ("model", "preset", "input", "fvcore", "torch", "difference", "not counted")
    print(tabulate(rows, heads, tablefmt="github", intfmt=","))


def row(name: str, dataset_name: str, preset: str) -> list[str | int]:
    """Return a line about one network in one preset."""
    built = network(name, dataset_name, SETTINGS[preset][dataset_name], preset)
    counted = counting.count(built, built.example_inputs())
    macs, check = counted.macs or 0, counted.cross_check
    size = "; ".join(" x ".join(map(str, shape)) for shape in built.recipe.shapes.values())
    gaps = "; ".join(counted.gaps) or "none"
    return [name, preset, size, macs, check, f"{macs / check - 1:.2%}", gaps]


def network(name: str, dataset_name: str, settings: Mapping[str, Any], preset: str) -> Network:
    """Return an untrained network with a head for two classes, for the inputs of a dataset."""
    installed = plugins.installed()
    spec = installed.entry("model", name).spec
    dataset = installed.entry("dataset", dataset_name).spec
    found = shapes_of(dataset, spec.inputs, dataset_params(dataset, settings))
    shapes = {i: list(found[i]) for i in spec.inputs}
    params = defaults(spec.params, preset)
    recipe = Recipe(model=name, params=params, preprocess=[], shapes=shapes, classes=2, head=None)
    torch.manual_seed(0)
    built = build(recipe, TrustedCode(models={name: spec.build}, heads={}, steps=frozenset()))
    return built.with_head().eval()


if __name__ == "__main__":
    main()
