"""Figures for papers, from records: ``make`` draws one of WHAT into a PNG, PDF or SVG file. Those of
datasets are in ``datasets``.

Each figure has a module: first the numbers, pure and tested; then ``draw``, which shows them.
matplotlib is imported by ``draw`` and ``style`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from hepbench.specs.errors import UsageError
from hepbench.specs.text import unknown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hepbench.storage.records import Record
    from hepbench.tables.columns import Metrics


WHAT = {
    "roc": "roc",
    "training": "training",
    "overtraining": "overtraining",
    "latents": "latents",
    "reconstructions": "reconstructions",
    "error-vs-flops": "tradeoff",
}
"""Figures, and the modules that draw them."""


SUFFIXES = (".png", ".pdf", ".svg")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be drawn.

    Attributes:
        results: where the records are.
        records: all of them; those to draw are chosen by the globs.
        metrics: direction and comparability of each metric.
        datasets, models, methods: globs; none: all.
        group: there is a panel for each of its values; one of ``tables.GROUPS``.
        error, against: the axes of ``error-vs-flops``.
        channels: draw each channel of an image by itself, not their sum.
    """

    results: Path
    records: Sequence[Record]
    metrics: Metrics
    datasets: Sequence[str] = ()
    models: Sequence[str] = ()
    methods: Sequence[str] = ()
    group: str = "dataset"
    error: str = "auc"
    against: str = "flops"
    channels: bool = False


def check(what: str, output: Path | None) -> None:
    """Raise UsageError, before any work is done, where a figure cannot be made."""
    if what not in WHAT:
        raise UsageError(unknown("figure", what, WHAT))
    check_output(output)


def check_output(output: Path | None) -> None:
    """Raise UsageError where no figure can be made, or not in the format of this file."""
    from hepbench.plots import style

    if output is not None and output.suffix.lower() not in SUFFIXES:
        msg = f"--output {output}: the format is told by the suffix: {', '.join(SUFFIXES)}"
        raise UsageError(msg)
    style.need()


def make(what: str, request: Request, output: Path | None = None) -> Path:
    """Draw a figure, and return where it is.

    Raises:
        UsageError: there is no such figure, or nothing to draw.
        ResultsError: what it is drawn from is missing or was changed, or it cannot be written.
    """
    from hepbench.plots import style

    check(what, output)
    path = output or request.results / f"{what}.png"
    with style.applied():
        style.save(import_module(f"hepbench.plots.results.{WHAT[what]}").draw(request), path)
    return path
