"""How figures look: mplhep's, in the size of a paper's column, in colours that all can tell apart."""

from __future__ import annotations

import re
import textwrap
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hepbench.specs.errors import ResultsError, UsageError
from hepbench.specs.references import chain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.plots.selection import Panel
    from hepbench.specs.references import Reference
    from hepbench.specs.types import Array


COLOURS = (
    *("#3f90da", "#bd1f01", "#ffa90e", "#832db6", "#a96b59", "#94a4a2"),
    *("#e76300", "#b9ac70", "#717581", "#92dadd"),
)
"""Petroff, arXiv:2107.02270: ten colours for readers of any vision, told apart in grey too; the
order puts the most different ones first."""


DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)), (0, (8, 3)))


MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")


GREY = "#717581"


BAND = 0.25
"""Opacity of a band of errors."""


WIDTH = 5.4
"""Inches of a figure with one panel: a column and a half, text of 10 pt as it stands."""


INSIDE = 6
"""Curves that a legend among or below them still leaves room for."""


DECADES = 1e-4
"""Of the highest pixel: what lies below is white."""


LONG = 36
"""Letters of a name that hides curves."""


BROADEST = 56
"""Letters of a line in a legend beside a figure; names go on in the next one."""


SETTINGS: dict[str, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "font.size": 11,
    "axes.labelsize": 12,
    "axes.titlesize": 10.5,
    "axes.linewidth": 0.9,
    "axes.unicode_minus": True,
    "legend.fontsize": 9,
    "legend.handlelength": 2.0,
    "legend.labelspacing": 0.35,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "xtick.major.size": 6,
    "xtick.minor.size": 3,
    "ytick.major.size": 6,
    "ytick.minor.size": 3,
    "xtick.major.pad": 4,
    "ytick.major.pad": 4,
    # an SVG's identifiers would be drawn at random
    "svg.hashsalt": "hepbench",
    # mplhep's font is OpenType, which matplotlib embeds as Type 42 in a way that readers complain of
    "pdf.fonttype": 3,
}


METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": "hepbench", "Producer": None},
    ".svg": {"Date": None, "Creator": "hepbench"},
}
"""Neither time nor version: the same records make the same bytes."""


def need() -> None:
    """Raise UsageError where what draws is not installed."""
    if missing := [name for name in ("matplotlib", "mplhep") if find_spec(name) is None]:
        msg = f"plots need {' and '.join(missing)}: pip install 'hepbench[plot]'"
        raise UsageError(msg)


@contextmanager
def applied() -> Iterator[None]:
    """Draw in this style, whatever the user's own is."""
    import matplotlib as mpl
    import mplhep

    with mpl.rc_context():
        mpl.rcdefaults()
        settings: Any = {**mplhep.style.ROOT, **SETTINGS}
        mpl.rcParams.update(settings)
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the suffix.

    Raises:
        ResultsError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part{path.suffix}")
    # once before: ticks, and so the room for them, are settled by the first layout
    figure.draw_without_rendering()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(part, metadata=METADATA[path.suffix.lower()])
        part.replace(path)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}; choose another --output"
        raise ResultsError(msg) from error
    finally:
        # where no folder is, there is no part either
        with suppress(OSError):
            part.unlink()


def grid(
    n: int, *, across: int, width: float, heights: Sequence[float]
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure of n panels, each of axes one above another that share their x axis.

    Args:
        n: how many panels.
        across: how many of them side by side.
        width: of a panel, in inches.
        heights: of its axes, in inches, from above.
    """
    from matplotlib.figure import Figure

    across = min(n, across)
    down = -(-n // across)
    figure = Figure(figsize=(across * width, down * sum(heights)), layout="constrained")
    layout: Any = figure.get_layout_engine()
    layout.set(h_pad=0.03, hspace=0.0)
    # in rows of their own, so that a long label of one panel narrows no other
    parts: Any = figure.subfigures(down, 1) if down > 1 else figure
    lines = np.atleast_1d(parts)
    panels: list[list[Axes]] = []
    for line in lines:
        axes = line.subplots(
            len(heights), across, squeeze=False, sharex="col", height_ratios=heights
        )
        panels += [list(column) for column in axes.T]
    for panel in panels[n:]:
        for spare in panel:
            spare.set_axis_off()
    return figure, panels[:n]


class Look(NamedTuple):
    """Of a curve."""

    colour: str
    dashes: Any
    marker: str


def looks(names: Sequence[tuple[str, str]]) -> list[Look]:
    """Return a look for each (model, chain): a colour each where they suffice, else a colour for
    each model and a line style for each chain.
    """
    models = list(dict.fromkeys(model for model, _ in names))
    chains = list(dict.fromkeys(chain for _, chain in names))
    if len(names) <= INSIDE:
        return [
            Look(c, "-", m)
            for c, m in zip(COLOURS[: len(names)], MARKERS[: len(names)], strict=True)
        ]
    if len(models) <= len(COLOURS) and len(chains) <= len(DASHES):
        return [
            Look(COLOURS[models.index(m)], DASHES[chains.index(c)], MARKERS[chains.index(c)])
            for m, c in names
        ]
    n, m = len(COLOURS), len(MARKERS)
    return [
        # each round of the colours begins at another marker
        Look(COLOURS[i % n], DASHES[i // n % len(DASHES)], MARKERS[(i + i // n) % m])
        for i in range(len(names))
    ]


def beside(names: Sequence[str]) -> float:
    """Return the inches that a legend of so many names takes on the right; 0: it goes elsewhere."""
    longest = max(map(len, names), default=0)
    return 0.7 + 0.068 * min(longest, BROADEST) if len(names) > INSIDE else 0.0


def legend(axes: Axes, lowest: Axes | None = None, *, right: bool = False, **how: Any) -> None:
    """Add a legend: on the right where that is wanted, below where its names are long, else inside.

    Args:
        axes: whose curves it names.
        lowest: those that stand below them, on the same x axis.
        right: whether the figure has room on the right.
        how: further arguments of matplotlib's.
    """
    handles, labels = axes.get_legend_handles_labels()
    how = {"title_fontsize": SETTINGS["legend.fontsize"], "alignment": "left", **how}
    if right:
        labels = [textwrap.fill(label, BROADEST, subsequent_indent="  ") for label in labels]
        how |= {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    elif max(map(len, labels), default=0) > LONG:
        axes = lowest or axes
        inches = axes.get_position().height * axes.figure.bbox.height / axes.figure.dpi
        how |= {"loc": "upper left", "bbox_to_anchor": (0.0, -0.54 / inches), "borderaxespad": 0.0}
        grow(axes, (len(labels) + 1) * 1.35 * SETTINGS["legend.fontsize"] / 72)
    axes.legend(handles, labels, **how)


def whole(axes: Axes) -> None:
    """Put ticks of the x axis at whole numbers alone."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def grow(axes: Axes, inches: float) -> None:
    """Make a figure higher, for what stands below its axes."""
    figure: Any = axes.figure
    whole = figure.get_figure(root=True)
    whole.set_figheight(whole.get_figheight() + inches)


def pixels(images: Array) -> dict[str, Any]:
    """Return colours for images, on white, and their logarithmic scale: what is empty, or below the
    scale, is white; of values with a sign, what is near zero.
    """
    import matplotlib as mpl
    from matplotlib.colors import LogNorm, SymLogNorm

    known = images[np.isfinite(images)]
    high = float(abs(known).max(initial=0)) or 1.0
    if known.min(initial=0) < 0 or not known.any():
        norm = SymLogNorm(0.03 * high, vmin=-high, vmax=high)
        return {"cmap": "PuOr_r", "norm": norm}
    low = max(float(np.quantile(known[known > 0], 0.02)), DECADES * high)
    colours = mpl.colormaps["viridis_r"].with_extremes(under="white", bad="white")
    return {"cmap": colours, "norm": LogNorm(min(low, high / 10), high)}


def title(part: Any, text: str) -> None:
    """Write what a part of a figure shows above it."""
    part.suptitle(plain(text), x=0.01, ha="left", fontweight="bold", fontsize="medium")


def heading(axes: Axes, panel: Panel, inches: float) -> None:
    """Say above axes so wide which dataset they show, simulated or not, and of how many examples."""
    name, source = plain(panel.title), plain(panel.source)
    axes.set_title(rf"$\bf{{{mathematical(name)}}}$  $\it{{{mathematical(source)}}}$", loc="left")
    if len(name) + len(source) + len(panel.facts) + 6 < 13 * inches:
        axes.set_title(plain(panel.facts), loc="right", fontsize="small")


def footer(figure: Figure, notes: Iterable[str], *, size: float = 8.5) -> None:
    """Write what must be said below a figure, one paragraph for each note."""
    width = int(figure.get_figwidth() * 72 / (0.5 * size))
    paragraphs = ("\n".join(textwrap.wrap(note, width)) for note in dict.fromkeys(notes))
    text = "\n".join(plain(paragraph) for paragraph in paragraphs)
    if text:
        lines = text.count("\n") + 1
        figure.set_figheight(figure.get_figheight() + lines * 1.25 * size / 72)
        figure.supxlabel(text, x=0.01, ha="left", fontsize=size, linespacing=1.25)


def plain(text: str) -> str:
    """Return a text as matplotlib shows it literally."""
    return text.replace("$", r"\$")


def mathematical(text: str) -> str:
    """Return a text for use inside mathematics, where spaces and signs mean something else."""
    text = text.replace("-", "\N{HYPHEN}")
    return re.sub(r"([\\{}_^%#&~ ])", r"\\\1", text)


def spelt(label: str) -> str:
    """Return a label with its parameters in words: ``prune[ratio=0.8]`` is prune (ratio = 0.8)."""
    return " + ".join(map(in_words, chain(label)))


def in_words(step: Reference) -> str:
    """Return a name with its parameters."""
    given = ", ".join(f"{name} = {value}" for name, value in step.params.items())
    return f"{step.name} ({given})" if given else step.name
