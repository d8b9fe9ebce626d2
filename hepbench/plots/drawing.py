"""Draw figures of results and save them as PNG, PDF or SVG. Figures of datasets: ``plots.datasets``.

Each figure has a module with pure, tested functions that compute its numbers, and a function
``draw`` that shows them as sheets, one for each file. Only ``draw`` and ``style`` import matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from hepbench.plots import selection, sheets
from hepbench.plots.results.pareto import COSTS
from hepbench.specs.errors import HepbenchError, UsageError
from hepbench.specs.text import unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hepbench.plots.request import Request
    from hepbench.plots.sheets import Sheet


FIGURES = {
    "roc": "roc",
    "significance": "significance",
    "scores": "scores",
    "efficiency": "efficiency",
    "sculpting": "sculpting",
    "error-vs-flops": "error_vs_cost",
    "training-size": "training_size",
    "training": "training",
    "overtraining": "overtraining",
    "latents": "latents",
    "reconstructions": "reconstructions",
}
"""The module that draws each figure."""


SUFFIXES = (".png", ".pdf", ".svg")


def check_figure(figure: str, output: Path | None) -> None:
    """Raise UsageError if a figure of results is unknown or cannot be saved."""
    if figure not in FIGURES:
        raise UsageError(unknown("figure", figure, FIGURES))
    check_output(output)


def check_request(request: Request) -> None:
    """Raise UsageError if a request has an unknown name, a glob without a match, or a wrong number."""
    selection.check_group(request)
    selection.chosen(request)
    if not 0 < request.efficiency < 1:
        msg = f"--efficiency {request.efficiency:g}: it must be above 0 and below 1"
        raise UsageError(msg)
    metrics = {*request.metrics, *(name for record in request.records for name in record.metrics)}
    if request.error not in metrics:
        raise UsageError(unknown("metric", request.error, metrics))
    if request.against not in {*metrics, *COSTS}:
        raise UsageError(unknown("cost", request.against, {*metrics, *COSTS}))


def check_output(output: Path | None) -> None:
    """Raise UsageError if plotting is not installed or ``--output`` has no known suffix."""
    from hepbench.plots import style

    if output is not None and output.suffix.lower() not in SUFFIXES:
        msg = f"--output {output}: unknown format; the suffix must be {', '.join(SUFFIXES)}"
        raise UsageError(msg)
    style.require_plotting()


def make(
    figure: str, request: Request, output: Path | None = None, *, caption: Path | None = None
) -> list[Path]:
    """Draw a figure of results, save its sheets, and return the paths of all files.

    Args:
        figure: a name among FIGURES.
        request: what to draw.
        output: the file of one sheet; several get the names of their datasets behind it.
        caption: where to write the captions, as LaTeX and as plain text.

    Raises:
        UsageError: the figure is unknown, or there is nothing to draw.
        ResultsError: its predictions or networks are missing or were changed, or a file cannot
            be written.
    """
    check_figure(figure, output)
    sheets.check_caption(caption)
    path = output or _beside(request.results.root, f"{figure}.png")
    return _save(drawn(figure, request), path, caption)


def drawn(figure: str, request: Request) -> list[Sheet]:
    """Draw a figure of results, and return its sheets.

    Raises:
        UsageError: the request has a mistake, or there is nothing to draw.
    """
    from hepbench.plots import style

    check_request(request)
    module = import_module(f"hepbench.plots.results.{FIGURES[figure]}")
    with style.applied():
        found: list[Sheet] = module.draw(request)
    return found


def _save(found: Sequence[Sheet], path: Path, caption: Path | None) -> list[Path]:
    from hepbench.plots import style

    with style.applied():
        files = sheets.save(found, path)
    if caption is None:
        return files
    return [*files, *sheets.write_captions(found, files, caption)]


def make_all(request: Request, folder: Path, suffix: str = ".png") -> Iterator[str]:
    """Draw every figure that the results allow; yield a line for each file and each left out.

    Args:
        request: what to draw.
        folder: for the figures, and for ``captions.tex`` and ``captions.txt``.
        suffix: one of SUFFIXES.

    Raises:
        UsageError: the request has a mistake, or the results allow no figure.
        ResultsError: a file cannot be written.
    """
    check_request(request)
    found: list[Sheet] = []
    files: list[Path] = []
    for figure in FIGURES:
        try:
            sheets_of_figure = drawn(figure, request)
        except HepbenchError as error:
            yield f"{figure}: left out: {error}"
            continue
        paths = _save(sheets_of_figure, folder / f"{figure}{suffix}", None)
        found += sheets_of_figure
        files += paths
        yield from map(str, paths)
    if not found:
        msg = f"{request.results} allows no figure"
        raise UsageError(msg)
    yield from map(str, sheets.write_captions(found, files, folder / "captions"))


def _beside(results: Path, name: str) -> Path:
    """Return the default path of a figure: in the results folder, or beside a packed file."""
    return results.with_name(f"{results.stem}-{name}") if results.is_file() else results / name
