"""Compare revisions of a network whose latency did not change, and of one made 1.5 times slower.

    .venv/bin/python benchmarks/in_turn.py

A plugin in a git repository has networks of two widths. A commit makes both FACTOR times as deep,
another one changes their first weights alone. ``hepbench compare`` times the networks of two revisions
in turn: both must be called slower for the first commit, and none in ten comparisons of the other one.
The exit code is 0 if that is so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

FACTOR = 1.5

WIDTHS = (256, 1024)

LAYERS = 8

PROJECT = """
[project]
name = "hepbench-chain"
version = "1"

[project.entry-points.hepbench]
chain = "hepbench_chain"
"""

HOOKS = """
from hepbench import Model, hookimpl


@hookimpl
def hepbench_models():
    return [
        Model(
            name="chain",
            summary="Linear layers of equal width",
            inputs=("table",),
            build="hepbench_chain.network:Chain",
            params={"width": 64},
        )
    ]
"""

NETWORK = """
import torch
from torch import nn


class Chain(nn.Module):
    def __init__(self, shapes, *, width):
        super().__init__()
        sizes = [*shapes["table"], *[width] * {layers}]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        with torch.no_grad():
            self.layers[0].weight *= {scale}

    def encode(self, inputs):
        x = inputs["table"]
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x
"""

SUITE = f"""
name = "in-turn"
seeds = 1

[presets.quick.dataset]
n_train = 200

[[run]]
datasets = ["higgs"]
models = ["chain[width={{{",".join(map(str, WIDTHS))}}}]"]
methods = ["scratch[epochs=1]"]
"""


def main() -> int:
    """Print a line for each comparison; return 0 if they say what is true."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=10, help="of unchanged networks")
    n = parser.parse_args().comparisons
    print(
        "| NEW | factors of the widths "
        + ", ".join(map(str, WIDTHS))
        + " | verdict |\n|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        commit(repository, "base", scale=1.0)
        commit(repository, "slower", layers=round(FACTOR * LAYERS))
        commit(repository, "weights", scale=1.01)
        slower = compared(repository, "slower")
        unchanged = sum(compared(repository, "weights") for _ in range(n))
    print(
        f"\nunchanged: {unchanged} alarms; {FACTOR} times slower: {slower} of {len(WIDTHS)} found"
    )
    return int(bool(unchanged) or slower < len(WIDTHS))


def commit(repository: Path, tag: str, *, scale: float = 1.0, layers: int = LAYERS) -> None:
    """Write the plugin, and commit it under a tag."""
    package = repository / "hepbench_chain"
    package.mkdir(exist_ok=True)
    (repository / "pyproject.toml").write_text(PROJECT)
    (repository / "suite.toml").write_text(SUITE)
    (package / "__init__.py").write_text(HOOKS)
    (package / "network.py").write_text(NETWORK.format(layers=layers, scale=scale))
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", tag], ["tag", tag]):
        subprocess.run([*git, *arguments], cwd=repository, check=True)


def compared(repository: Path, new: str) -> int:
    """Compare a revision with ``base``, print a line, and return how many latencies differ."""
    command = [sys.executable, "-P", "-m", "hepbench", "compare", "base", new]
    command += ["--suite", "suite.toml", "--format", "json"]
    done = subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True)
    found = [cell["findings"]["latency"] for cell in json.loads(done.stdout)["cells"]]
    found.sort(key=lambda each: each["base"])
    factors = ", ".join(f"{each['new'] / each['base']:.2f}" for each in found)
    verdicts = [each["verdict"] for each in found if each["verdict"] != "no difference shown"]
    print(f"| {new} | {factors} | {', '.join(verdicts) or 'nothing'} |", flush=True)
    return len(verdicts)


if __name__ == "__main__":
    sys.exit(main())
