"""The style of all figures: mplhep's, with colours that colour-blind readers can tell apart."""

from __future__ import annotations

import textwrap
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hepbench.specs.errors import ResultsError, UsageError
from hepbench.specs.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.specs.types import Array


COLOURS = (
    *("#3f90da", "#bd1f01", "#ffa90e", "#832db6", "#a96b59", "#94a4a2"),
    *("#e76300", "#b9ac70", "#717581", "#92dadd"),
)
"""Ten colours that colour-blind readers can tell apart, the most different ones first.

Source: Petroff, arXiv:2107.02270.
"""


DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)), (0, (8, 3)))


MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")


GREY = "#717581"


BAND = 0.25
"""Opacity of an error band."""


WIDTH = 5.4
"""Width in inches of a figure with one panel: one and a half columns of a paper."""


INSIDE = 6
"""The largest number of curves whose legend fits inside or below the axes."""


FAINTEST = 1e-4
"""Pixels below this fraction of the brightest pixel are white."""


LONG = 36
"""If a legend's name has more letters, the legend is below the axes."""


LEGEND_LETTERS = 56
"""Largest number of letters in a line of a legend on the right."""


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
    # without it the identifiers in an SVG would be random
    "svg.hashsalt": "hepbench",
    # mplhep's font is OpenType: PDF readers warn when matplotlib embeds it as Type 42
    "pdf.fonttype": 3,
}


METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": "hepbench", "Producer": None},
    ".svg": {"Date": None, "Creator": "hepbench"},
}
"""Metadata of saved figures without time or version: equal records give equal bytes."""


def require_plotting() -> None:
    """Raise UsageError if matplotlib or mplhep is not installed."""
    if missing := [name for name in ("matplotlib", "mplhep") if find_spec(name) is None]:
        msg = f"plots need {' and '.join(missing)}: pip install 'hepbench[plot]'"
        raise UsageError(msg)


@contextmanager
def applied() -> Iterator[None]:
    """Use hepbench's figure style in the body, whatever matplotlib's settings are."""
    import matplotlib as mpl
    import mplhep

    with mpl.rc_context():
        mpl.rcdefaults()
        settings: Any = {**mplhep.style.ROOT, **SETTINGS}
        mpl.rcParams.update(settings)
        yield


def save(figure: Figure, path: Path) -> None:
    """Save a figure in the format that its file's suffix names.

    Raises:
        ResultsError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part{path.suffix}")
    # a first layout sets the ticks; the second one then leaves the right space for them
    figure.draw_without_rendering()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(part, metadata=METADATA[path.suffix.lower()])
        part.replace(path)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}; choose another --output"
        raise ResultsError(msg) from error
    finally:
        # the part does not exist if its folder could not be made
        with suppress(OSError):
            part.unlink()


def grid(
    n: int, *, across: int, width: float, heights: Sequence[float]
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with n panels, each a column of axes with a common x axis.

    Args:
        n: number of panels.
        across: number of panels side by side.
        width: width of a panel in inches.
        heights: heights of its axes in inches, from the top.
    """
    from matplotlib.figure import Figure

    across = min(n, across)
    down = -(-n // across)
    figure = Figure(figsize=(across * width, down * sum(heights)), layout="constrained")
    layout: Any = figure.get_layout_engine()
    layout.set(h_pad=0.03, hspace=0.0)
    # each row is a subfigure, so that a long label narrows only the panels of its own row
    parts: Any = figure.subfigures(down, 1) if down > 1 else figure
    panels: list[list[Axes]] = []
    shape = (len(heights), across)
    for part in np.atleast_1d(parts):
        axes = part.subplots(*shape, squeeze=False, sharex="col", height_ratios=heights)
        panels += [list(column) for column in axes.T]
    for panel in panels[n:]:
        for spare in panel:
            spare.set_axis_off()
    return figure, panels[:n]


class Look(NamedTuple):
    """Colour, dashes and marker of a curve."""

    colour: str
    dashes: Any
    marker: str


def looks(names: Sequence[tuple[str, str]]) -> list[Look]:
    """Return colour, dashes and marker for the curve of each (model, chain).

    If there are few, each gets its own colour; otherwise the colour shows the model, and the line
    style the chain.
    """
    models = list(dict.fromkeys(model for model, _ in names))
    chains = list(dict.fromkeys(chain for _, chain in names))
    if len(names) <= INSIDE:
        return [Look(COLOURS[i], "-", MARKERS[i]) for i in range(len(names))]
    if len(models) <= len(COLOURS) and len(chains) <= len(DASHES):
        return [
            Look(COLOURS[models.index(m)], DASHES[chains.index(c)], MARKERS[chains.index(c)])
            for m, c in names
        ]
    n, m = len(COLOURS), len(MARKERS)
    return [
        # the marker is shifted each time the colours start again
        Look(COLOURS[i % n], DASHES[i // n % len(DASHES)], MARKERS[(i + i // n) % m])
        for i in range(len(names))
    ]


def legend_width(names: Sequence[str]) -> float:
    """Return the width in inches that a legend needs on the right; 0 if it fits elsewhere."""
    longest = max(map(len, names), default=0)
    return 0.7 + 0.068 * min(longest, LEGEND_LETTERS) if len(names) > INSIDE else 0.0


def legend(axes: Axes, lowest: Axes | None = None, *, right: bool = False, **how: Any) -> None:
    """Add a legend to axes: on the right if asked, below if its names are long, else inside.

    Args:
        axes: the axes with the curves.
        lowest: the lowest axes of the same panel, if there are several.
        right: put it on the right; the figure must have room there.
        how: further arguments of matplotlib's ``legend``.
    """
    handles, labels = axes.get_legend_handles_labels()
    how = {"title_fontsize": SETTINGS["legend.fontsize"], "alignment": "left", **how}
    if right:
        labels = [textwrap.fill(label, LEGEND_LETTERS, subsequent_indent="  ") for label in labels]
        how |= {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    elif max(map(len, labels), default=0) > LONG:
        axes = lowest or axes
        inches = axes.get_position().height * axes.figure.bbox.height / axes.figure.dpi
        how |= {"loc": "upper left", "bbox_to_anchor": (0.0, -0.54 / inches), "borderaxespad": 0.0}
        add_height(axes, (len(labels) + 1) * 1.35 * SETTINGS["legend.fontsize"] / 72)
    axes.legend(handles, labels, **how)


def whole_ticks(axes: Axes) -> None:
    """Put the ticks of an x axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def add_height(axes: Axes, inches: float) -> None:
    """Increase the height of a figure, to leave room below its axes."""
    part: Any = axes.figure
    figure = part.get_figure(root=True)
    figure.set_figheight(figure.get_figheight() + inches)


def pixel_colours(images: Array) -> dict[str, Any]:
    """Return a colour map and a logarithmic colour scale for images.

    Empty pixels and those below the scale are white; if some values are negative, those near 0.
    """
    import matplotlib as mpl
    from matplotlib.colors import LogNorm, SymLogNorm

    known = images[np.isfinite(images)]
    high = float(abs(known).max(initial=0)) or 1.0
    if known.min(initial=0) < 0 or not known.any():
        norm = SymLogNorm(0.03 * high, vmin=-high, vmax=high)
        return {"cmap": "PuOr_r", "norm": norm}
    low = max(float(np.quantile(known[known > 0], 0.02)), FAINTEST * high)
    colours = mpl.colormaps["viridis_r"].with_extremes(under="white", bad="white")
    return {"cmap": colours, "norm": LogNorm(min(low, high / 10), high)}


def title(part: Any, text: str) -> None:
    """Write a title above a part of a figure."""
    part.suptitle(plain(text), x=0.01, ha="left", fontweight="bold", fontsize="medium")


def heading(axes: Axes, title: str, *, source: str, sizes: str, inches: float) -> None:
    """Write dataset, source and, if they fit, numbers of examples above axes."""
    name, source = one_line(title), one_line(source)
    axes.set_title(rf"$\bf{{{mathematical(name)}}}$  $\it{{{mathematical(source)}}}$", loc="left")
    if len(name) + len(source) + len(sizes) + 6 < 13 * inches:
        axes.set_title(plain(sizes), loc="right", fontsize="small")


def footer(figure: Figure, notes: Iterable[str], *, size: float = 8.5) -> None:
    """Write notes below a figure, one paragraph for each."""
    width = int(figure.get_figwidth() * 72 / (0.5 * size))
    paragraphs = ("\n".join(textwrap.wrap(note, width)) for note in dict.fromkeys(notes))
    text = "\n".join(plain(paragraph) for paragraph in paragraphs)
    if text:
        lines = text.count("\n") + 1
        figure.set_figheight(figure.get_figheight() + lines * 1.25 * size / 72)
        figure.supxlabel(text, x=0.01, ha="left", fontsize=size, linespacing=1.25)


def plain(text: str) -> str:
    """Escape a text so that matplotlib shows it literally."""
    # fonts have no sign for a control character, and an SVG may not hold one
    return printable(text).replace("$", r"\$")


def mathematical(text: str) -> str:
    """Escape a text for matplotlib's math mode."""
    return "".join(_MATHEMATICAL.get(sign, sign) for sign in one_line(text))


_MATHEMATICAL = {
    **{sign: rf"\{sign}" for sign in "{}_%#$ "},
    **{sign: rf"\text{{{sign}}}" for sign in '^~`"'},
    "-": "\N{HYPHEN}",
    "\\": r"\backslash{}",
}
