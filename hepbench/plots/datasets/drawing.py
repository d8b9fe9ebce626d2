"""Draw figures of a dataset's labelled examples, class by class, and save them.

Test examples are never drawn: see ``labelled_examples``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hepbench.plots import drawing, sheets, style
from hepbench.plots.datasets import distributions, histograms, labelled_examples, means, views
from hepbench.plots.sheets import Sheet
from hepbench.running.progress import Ticker
from hepbench.specs.errors import UsageError
from hepbench.specs.text import unknown
from hepbench.storage.records import ORIGINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from hepbench.data.finding import Wanted
    from hepbench.plots.datasets.labelled_examples import LabelledExamples
    from hepbench.plots.style import Size


FIGURES = ("means", "views", *distributions.KINDS)


def make(
    reference: str,
    figures: Sequence[str],
    *,
    data: Path | None,
    source: Wanted,
    compare: bool,
    output: Path | None,
    size: str | None = None,
    caption: Path | None = None,
) -> list[Path]:
    """Draw figures of a dataset, and return the paths of their files.

    Args:
        reference: the dataset's name, perhaps with parameters in brackets.
        figures: names among FIGURES; empty means all that the dataset has the inputs for.
        data: the folder with original files.
        source: ``file``, ``sample``, or ``auto``: the file if it is found.
        compare: draw the original file over the bundled sample.
        output: the file of a single figure; otherwise ``<dataset>-<figure>.png``. If a figure needs
            several files, they are numbered.
        size: the printed width, a name in ``style.SIZES``; None: full.
        caption: where to write the captions, as LaTeX and as plain text.

    Raises:
        UsageError: a figure or the dataset is unknown, or the dataset lacks inputs for a figure.
        DataError: files are missing or invalid.
        ResultsError: a figure cannot be written.
    """
    _check(figures, source, compare=compare, output=output)
    sheets.check_caption(caption)
    sources: Sequence[Wanted] = ("file", "sample") if compare else (source,)
    with Ticker(reference) as report_progress:
        several = [
            labelled_examples.opened(
                reference, data=data, source=s, report_progress=report_progress
            )
            for s in sources
        ]
        chosen = _chosen(several[0], figures)
        saved = [pair for each in chosen for pair in _save(several, each, size, output)]
    drawn, paths = map(list, zip(*saved, strict=True))
    if caption is not None:
        paths += sheets.write_captions(drawn, paths, caption)
    return paths


def _check(figures: Sequence[str], source: Wanted, *, compare: bool, output: Path | None) -> None:
    """Raise UsageError if these arguments are unknown or contradict each other."""
    for figure in figures:
        if figure not in FIGURES:
            raise UsageError(unknown("figure of a dataset", figure, FIGURES))
    if output is not None and len(figures) != 1:
        msg = f"--output {output}: name exactly one figure to write there: {', '.join(FIGURES)}"
        raise UsageError(msg)
    if compare and source != "auto":
        msg = f"--compare draws both files and sample; leave out --source {source}"
        raise UsageError(msg)
    drawing.check_output(output)


def _chosen(shown: LabelledExamples, figures: Sequence[str]) -> Sequence[str]:
    """Return the figures of a dataset that the user named, or all that can be drawn.

    Raises:
        UsageError: a named figure cannot be drawn.
    """
    reasons = {figure: why_not(shown, figure) for figure in FIGURES}
    possible = [figure for figure, why in reasons.items() if not why]
    if impossible := [reasons[figure] for figure in figures if reasons[figure]]:
        allowed = ", ".join(possible) or "none"
        msg = f"nothing to draw: {impossible[0]}; possible figures: {allowed}"
        raise UsageError(msg)
    return figures or possible


def why_not(shown: LabelledExamples, figure: str) -> str:
    """Return why a figure cannot be drawn for a dataset, or ""."""
    needs = {"means": ("image",), "views": views.INPUTS}
    if figure not in needs:
        return distributions.why_not(shown, figure)
    missing = [name for name in needs[figure] if name not in shown.inputs]
    return f"{shown.spec.name} has no {missing[0]}" if missing else ""


def _save(
    several: Sequence[LabelledExamples], name: str, size: str | None, output: Path | None
) -> list[tuple[Sheet, Path]]:
    # the name includes parameters, so that higgs[features=21] does not overwrite higgs
    path = output or Path(f"{sheets.slug(several[0].name)}-{name}.png")
    with style.applied():
        drawn = _sheets(several, name, style.SIZES[size or "full"])
        return list(zip(drawn, sheets.save(drawn, path), strict=True))


def _sheets(several: Sequence[LabelledExamples], name: str, size: Size) -> list[Sheet]:
    """Draw a figure of a dataset; several files of it are numbered."""
    figures, notes = _draw(several, name, size)
    origins = " and ".join(ORIGINS[shown.origin] for shown in several)
    for figure in figures:
        style.heading(figure, several[0].name, origins)
    caption = _caption(several, notes)
    title = f"{several[0].name}, {origins}: {name}"
    return [Sheet(each, title, str(i), caption) for i, each in enumerate(figures, 1)]


def _draw(
    several: Sequence[LabelledExamples], name: str, size: Size
) -> tuple[list[Figure], list[str]]:
    if name == "means":
        return means.draw(several, size)
    return views.draw(several, size) if name == "views" else histograms.draw(several, name, size)


def _caption(several: Sequence[LabelledExamples], notes: Sequence[str]) -> list[str]:
    """Return the sentences of the caption of a dataset's figure."""
    drawn = [f"{ORIGINS[shown.origin]}: {_examples(shown)}" for shown in several]
    about_files = [note for shown in several for note in shown.notes]
    return [*drawn, *notes, *about_files]


def _examples(shown: LabelledExamples) -> str:
    """Return a caption's text with the numbers of examples in each class, and of test examples."""
    counts = zip(shown.counts, shown.spec.classes, strict=True)
    listed = ", ".join(f"{n:,} {name}" for n, name in counts)
    weighted = ", weighted" if "weights" in shown.columns else ""
    return f"{listed}{weighted}; {shown.sealed:,} test examples stay sealed and are not drawn"
