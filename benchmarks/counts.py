"""Print the MACs of every installed network from both counters, for each preset, in Markdown.

    .venv/bin/python benchmarks/counts.py

Networks have their own head for two classes and the input shapes of the reference experiments; parts
that scoring does not use (decoders) are not counted.
"""

from __future__ import annotations

import argparse

import torch
from tabulate import tabulate

from hepbench.cost import counting
from hepbench.registry import plugins
from hepbench.specs.parameters import defaults
from hepbench.training.networks.network import build
from hepbench.training.networks.recipes import Recipe, TrustedCode

SHAPES = {
    ("table", "quick"): (21,),
    ("table", "paper"): (21,),
    ("image", "quick"): (8, 64, 64),
    ("image", "paper"): (8, 125, 125),
}


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    installed = plugins.installed()
    rows = []
    for name in installed.names("model"):
        spec = installed.entry("model", name).spec
        if "encode" not in spec.offers:
            continue
        for preset in ("quick", "paper"):
            params = defaults(spec.params, preset)
            shapes = {i: list(SHAPES[i, preset]) for i in spec.inputs}
            recipe = Recipe(
                model=name, params=params, preprocess=[], shapes=shapes, classes=2, head=None
            )
            torch.manual_seed(0)
            network = build(
                recipe, TrustedCode(models={name: spec.build}, heads={}, steps=frozenset())
            )
            counted = counting.count(network.with_head().eval(), network.example_inputs())
            macs, check = counted.macs or 0, counted.cross_check
            size = " x ".join(map(str, *shapes.values()))
            gaps = "; ".join(counted.gaps) or "none"
            rows.append([name, preset, size, macs, check, f"{macs / check - 1:.2%}", gaps])
    heads = ("model", "preset", "input", "fvcore", "torch", "difference", "not counted")
    print(tabulate(rows, heads, tablefmt="github", intfmt=","))


if __name__ == "__main__":
    main()
