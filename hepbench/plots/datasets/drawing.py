"""Figures of datasets: what their labelled examples look like, class by class.

Test examples are never among them: see ``labelled``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hepbench.plots import drawing, style
from hepbench.plots.datasets import distributions, histograms, labelled, means, views
from hepbench.running.progress import Ticker
from hepbench.specs.errors import UsageError
from hepbench.specs.text import unknown
from hepbench.storage.records import ORIGINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from hepbench.data.finding import Wanted
    from hepbench.plots.datasets.labelled import Labelled


WHAT = ("means", "views", *distributions.KINDS)


def make(
    reference: str,
    what: Sequence[str],
    *,
    data: Path | None,
    source: Wanted,
    compare: bool,
    output: Path | None,
) -> list[Path]:
    """Draw figures of a dataset, all that fit it where none is named, and return where they are.

    Args:
        reference: a dataset's name, perhaps with parameters in brackets.
        what: names among WHAT.
        compare: draw the original file over the simulated sample.
        output: of a single figure; ``<dataset>-<figure>.png`` otherwise, with the parameters given.

    Raises:
        UsageError: there is no such figure, or it does not fit, or no such dataset.
        DataError: files are missing, or not as they should be.
        ResultsError: a figure cannot be written.
    """
    for each in what:
        if each not in WHAT:
            raise UsageError(unknown("figure of a dataset", each, WHAT))
    if output is not None and len(what) != 1:
        msg = f"--output {output}: name one figure to be written there: {', '.join(WHAT)}"
        raise UsageError(msg)
    if compare and source != "auto":
        msg = f"--compare draws files and sample; leave --source {source} out"
        raise UsageError(msg)
    drawing.check_output(output)
    sources: Sequence[Wanted] = ("file", "sample") if compare else (source,)
    with Ticker(reference) as report_progress:
        several = [
            labelled.opened(reference, data=data, source=s, report_progress=report_progress)
            for s in sources
        ]
        return [_save(several, each, output) for each in _chosen(several[0], what)]


def _chosen(shown: Labelled, what: Sequence[str]) -> Sequence[str]:
    """Return the figures to be drawn: those that are named, or all that fit.

    Raises:
        UsageError: one that is named does not.
    """
    whys = {each: why_not(shown, each) for each in WHAT}
    fitting = [each for each, why in whys.items() if not why]
    if wrong := [whys[each] for each in what if whys[each]]:
        can = ", ".join(fitting) or "nothing"
        msg = f"nothing to draw: {wrong[0]}; what can be drawn is {can}"
        raise UsageError(msg)
    return what or fitting


def why_not(shown: Labelled, what: str) -> str:
    """Return why a figure cannot be drawn of a dataset, or nothing."""
    needs = {"means": ("image",), "views": views.INPUTS}
    if what not in needs:
        return distributions.why_not(shown, what)
    missing = [name for name in needs[what] if name not in shown.inputs]
    return f"{shown.spec.name} has no {missing[0]}" if missing else ""


def _save(several: Sequence[Labelled], what: str, output: Path | None) -> Path:
    # with its parameters, as a word: higgs[features=21] is another figure than higgs
    name = re.sub(r"[^\w.]+", "-", several[0].name).strip("-")
    path = output or Path(f"{name}-{what}.png")
    with style.applied():
        figure, notes = _drawn(several, what)
        _caption(figure, several, notes)
        style.save(figure, path)
    return path


def _drawn(several: Sequence[Labelled], what: str) -> tuple[Figure, list[str]]:
    if what == "means":
        return means.draw(several)
    return views.draw(several) if what == "views" else histograms.draw(several, what)


def _caption(figure: Figure, several: Sequence[Labelled], notes: Sequence[str]) -> None:
    """Say which dataset it is, simulated or not, and which examples are drawn."""
    name = several[0].name
    origins = " and ".join(ORIGINS[shown.origin] for shown in several)
    title = rf"$\bf{{{style.mathematical(name)}}}$  $\it{{{style.mathematical(origins)}}}$"
    figure.suptitle(title, x=0.01, ha="left", fontsize="medium")
    drawn = [f"{ORIGINS[shown.origin]}: {_examples(shown)}" for shown in several]
    odd = [note for shown in several for note in shown.notes]
    style.footer(figure, [*drawn, *notes, *odd])


def _examples(shown: Labelled) -> str:
    """Return how many examples are drawn, and how many are not."""
    counts = zip(shown.counts, shown.spec.classes, strict=True)
    listed = ", ".join(f"{n:,} {name}" for n, name in counts)
    weighted = ", weighted" if "weights" in shown.columns else ""
    return f"{listed}{weighted}; {shown.sealed:,} test examples stay sealed and are not drawn"
