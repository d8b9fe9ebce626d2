"""Draw a figure of results and save it as PNG, PDF or SVG. Figures of datasets: ``plots.datasets``.

Each figure has a module with pure, tested functions that compute its numbers, and a function
``draw`` that shows them. Only ``draw`` and ``style`` import matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from hepbench.specs.errors import UsageError
from hepbench.specs.text import unknown

if TYPE_CHECKING:
    from pathlib import Path

    from hepbench.plots.request import Request


FIGURES = {
    "roc": "roc",
    "training": "training",
    "overtraining": "overtraining",
    "latents": "latents",
    "reconstructions": "reconstructions",
    "error-vs-flops": "error_vs_cost",
    "training-size": "training_size",
}
"""The module that draws each figure."""


SUFFIXES = (".png", ".pdf", ".svg")


def check_figure(figure: str, output: Path | None) -> None:
    """Raise UsageError if a figure of results is unknown or cannot be saved."""
    if figure not in FIGURES:
        raise UsageError(unknown("figure", figure, FIGURES))
    check_output(output)


def check_output(output: Path | None) -> None:
    """Raise UsageError if plotting is not installed or ``--output`` has no known suffix."""
    from hepbench.plots import style

    if output is not None and output.suffix.lower() not in SUFFIXES:
        msg = f"--output {output}: unknown format; the suffix must be {', '.join(SUFFIXES)}"
        raise UsageError(msg)
    style.require_plotting()


def make(figure: str, request: Request, output: Path | None = None) -> Path:
    """Draw a figure of results, save it, and return the path of its file.

    Raises:
        UsageError: the figure is unknown, or there is nothing to draw.
        ResultsError: its predictions or networks are missing or were changed, or the file cannot
            be written.
    """
    from hepbench.plots import style

    check_figure(figure, output)
    path = output or _beside(request.results.root, f"{figure}.png")
    module = import_module(f"hepbench.plots.results.{FIGURES[figure]}")
    with style.applied():
        style.save(module.draw(request), path)
    return path


def _beside(results: Path, name: str) -> Path:
    """Return the default path of a figure: in the results folder, or beside a packed file."""
    return results.with_name(f"{results.stem}-{name}") if results.is_file() else results / name
