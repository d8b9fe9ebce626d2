"""The style of all figures: mplhep's, with colours that colour-blind readers can tell apart."""

from __future__ import annotations

import itertools
import math
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hepbench.specs.errors import ResultsError, UsageError
from hepbench.specs.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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


def colour(i: int) -> str:
    """Return the colour of the i-th curve; from the eleventh on they are darker."""
    plain_colour = COLOURS[i % len(COLOURS)]
    parts = [int(plain_colour[k : k + 2], 16) for k in (1, 3, 5)]
    darker = 0.55 ** (i // len(COLOURS))
    return "#" + "".join(f"{round(part * darker):02x}" for part in parts)


DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)), (0, (8, 3)))


MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")


GREY = "#717581"


BAND = 0.25
"""Opacity of an error band."""


LINES = 8.5
"""Height of a line of small text, in typographic points."""


LETTER = 0.5
"""Mean width of a letter of the font, as a fraction of its size."""


SMALL, NORMAL = 7.0, 8.0
"""Sizes of text in typographic points: ticks, keys and labels; axis labels and titles."""


@dataclass(frozen=True)
class Size:
    """The printed size of a figure.

    Attributes:
        width: in inches; figures are saved exactly as wide, so text keeps its size.
        height: the largest height in inches that a page has room for.
    """

    width: float
    height: float

    @property
    def letters(self) -> int:
        """Number of small letters in a line that is as wide as the figure."""
        return int(self.width * 72 / (LETTER * SMALL))


SIZES = {"column": Size(3.4, 8.2), "full": Size(7.0, 8.6)}
"""Widths of one column and of both columns of a journal, by name."""


FAINTEST = 1e-4
"""Pixels below this fraction of the brightest pixel are white."""


FONT = "Fira Sans"
"""The font of all text: TrueType, so PDF files hold it as Type 42; mplhep brings it."""


SETTINGS: dict[str, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "font.sans-serif": [FONT],
    "mathtext.rm": FONT,
    "mathtext.sf": FONT,
    "mathtext.tt": FONT,
    "mathtext.cal": FONT,
    "mathtext.it": f"{FONT}:italic",
    "mathtext.bf": f"{FONT}:bold",
    "font.size": NORMAL,
    "axes.labelsize": NORMAL,
    "axes.titlesize": NORMAL,
    "axes.titlepad": 3,
    "axes.labelpad": 2,
    "axes.linewidth": 0.6,
    "axes.unicode_minus": True,
    "legend.fontsize": SMALL,
    "legend.title_fontsize": SMALL,
    "legend.handlelength": 1.8,
    "legend.handletextpad": 0.5,
    "legend.labelspacing": 0.25,
    "legend.borderpad": 0.2,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "lines.markeredgewidth": 0.8,
    "errorbar.capsize": 0,
    "hatch.linewidth": 0.5,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    **{f"{axis}tick.major.{name}": x for axis in "xy" for name, x in (("size", 3.5), ("pad", 2.5))},
    **{f"{axis}tick.minor.size": 2 for axis in "xy"},
    **{f"{axis}tick.{rank}.width": 0.6 for axis in "xy" for rank in ("major", "minor")},
    # without it the identifiers in an SVG would be random
    "svg.hashsalt": "hepbench",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}


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


def metadata(suffix: str, caption: str) -> dict[str, Any]:
    """Return what a saved figure says of itself: its caption.

    It holds no time and no version: equal records give equal bytes.
    """
    return {
        ".png": {"Software": None, "Description": caption},
        ".pdf": {"CreationDate": None, "Creator": "hepbench", "Producer": None, "Subject": caption},
        ".svg": {"Date": None, "Creator": "hepbench", "Description": caption},
    }[suffix]


def save(figure: Figure, path: Path, caption: str = "") -> None:
    """Save a figure in the format that its file's suffix names, with its caption inside.

    Raises:
        ResultsError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part{path.suffix}")
    # a first layout sets the ticks; the second one then leaves the right space for them
    figure.draw_without_rendering()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(part, metadata=metadata(path.suffix.lower(), caption))
        part.replace(path)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}; choose another --output"
        raise ResultsError(msg) from error
    finally:
        # the part does not exist if its folder could not be made
        with suppress(OSError):
            part.unlink()


def grid(size: Size, n: int, *, across: int, heights: Sequence[float]) -> list[list[Axes]]:
    """Return n panels of a new figure, each a column of axes with a common x axis.

    Args:
        size: of the figure.
        n: number of panels.
        across: largest number of panels side by side.
        heights: heights of a panel's axes in inches, from the top.
    """
    across = min(n, across)
    down = -(-n // across)
    figure = blank(size, down * (sum(heights) + ABOVE))
    ratios = [height for _ in range(down) for height in heights]
    axes = figure.subplots(down * len(heights), across, squeeze=False, height_ratios=ratios)
    panels = [
        list(axes[line * len(heights) : (line + 1) * len(heights), i])
        for line in range(down)
        for i in range(across)
    ]
    for panel in panels[:n]:
        for below in panel[1:]:
            below.sharex(panel[0])
        for above in panel[:-1]:
            above.tick_params(labelbottom=False)
    for spare in (each for panel in panels[n:] for each in panel):
        spare.remove()
    return panels[:n]


ABOVE = 0.24
"""Room for the title above a panel, in inches."""


def blank(size: Size, height: float) -> Figure:
    """Return an empty figure of a size, ``height`` inches high."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size.width, height), layout="constrained")
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.02, h_pad=0.02, hspace=0.02, wspace=0.02)
    return figure


class Look(NamedTuple):
    """Colour, dashes and marker of a curve."""

    colour: str
    dashes: Any
    marker: str


def key(figure: Figure, handles: Sequence[Any], texts: Sequence[str], **how: Any) -> None:
    """Write a key below all axes of a figure, and make the figure higher by as much.

    Args:
        figure: its width decides how many entries are side by side.
        handles: lines and patches of matplotlib.
        texts: one for each; long ones are wrapped.
        how: further arguments of matplotlib's ``legend``.
    """
    points = figure.get_figwidth() * 72
    room = int((points - 30) / (LETTER * SMALL))
    wrapped = ["\n  ".join(map(plain, wrap(text, room))) for text in texts]
    longest = max(max(map(len, text.split("\n"))) for text in wrapped)
    columns = max(1, min(len(texts), int(points / (LETTER * SMALL * longest + 34))))
    per_column = -(-len(wrapped) // columns)
    blocks = [wrapped[i : i + per_column] for i in range(0, len(wrapped), per_column)]
    lines = max(sum(text.count("\n") + 1 for text in block) for block in blocks)
    add_height(figure, (lines + ("title" in how)) * 1.27 * LINES / 72 + 0.08)
    how = {"alignment": "left", "borderaxespad": 0.2, **how}
    figure.legend(handles, wrapped, loc="outside lower left", ncols=columns, **how)


def add_height(figure: Figure, inches: float) -> None:
    """Increase the height of a figure, to leave room beside its axes."""
    figure.set_figheight(figure.get_figheight() + inches)


def whole_ticks(axes: Axes) -> None:
    """Put the ticks of an x axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def logarithmic(axis: Any, low: float, high: float) -> None:
    """Make an axis logarithmic, with ticks at few round numbers.

    Args:
        axis: ``axes.xaxis`` or ``axes.yaxis``.
        low, high: its ends; below a factor of 8 all round numbers get ticks.
    """
    from matplotlib.ticker import FixedLocator, NullFormatter

    name = axis.axis_name
    getattr(axis.axes, f"set_{name}scale")("log")
    getattr(axis.axes, f"set_{name}lim")(low, high)
    axis.set_major_locator(FixedLocator(round_ticks(low, high)))
    axis.set_major_formatter(formatter())
    axis.set_minor_formatter(NullFormatter())


def formatter() -> Any:
    """Return a formatter of ticks that writes numbers without small exponents."""
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: short_number(value))


def number_bar(bar: Any) -> None:
    """Write the ticks of a colour bar as short numbers, on a logarithmic scale at round ones."""
    from matplotlib.colors import LogNorm

    norm = bar.norm
    if isinstance(norm, LogNorm):
        bar.set_ticks(round_ticks(float(norm.vmin or 1), float(norm.vmax or 1)))
    bar.ax.tick_params(which="both", length=2)
    bar.minorticks_off()
    bar.formatter = formatter()
    bar.update_ticks()


MOST_TICKS = 6


def round_ticks(low: float, high: float) -> list[float]:
    """Return at most MOST_TICKS round numbers for a logarithmic axis from ``low`` to ``high``."""
    from matplotlib.ticker import MaxNLocator

    if high < 8 * low:
        inside = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
        return [float(tick) for tick in inside if low <= tick <= high]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [factor * 10.0**power for power in powers for factor in factors]
        found = [tick for tick in found if low <= tick <= high]
        if len(found) <= MOST_TICKS:
            break
    return found[:: -(-len(found) // MOST_TICKS)]


def short_number(value: float) -> str:
    """Return a number as ticks show it: 0.05, 20, 300 k, 2 M."""
    for size, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / min(size, 1e3 if letter == ' k' else size):g}{letter}"
    if value == 0 or abs(value) >= 1e-3:
        text = f"{value:g}"
    else:
        digits, power = f"{value:.0e}".split("e")
        text = f"{digits}e{int(power)}"
    return text.replace("-", "\N{MINUS SIGN}")


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


def heading(figure: Figure, name: str, about: str = "") -> None:
    """Write a bold name above a figure, and smaller text below it.

    The figure becomes higher by as much.
    """
    points = figure.get_figwidth() * 72
    names = wrap(name, int(points / (1.08 * LETTER * NORMAL)))
    lines = wrap(about, int(points / (LETTER * SMALL)))
    add_height(figure, (len(names) + len(lines)) * 1.3 * NORMAL / 72)
    # the layout leaves room for the bold text alone: it gets empty lines for the other text
    bold = plain("\n".join(names)) + "\n" * len(lines)
    how: dict[str, Any] = {"ha": "left", "linespacing": 1.25}
    above = figure.suptitle(bold, x=0.005, fontsize=NORMAL, fontweight="bold", **how)
    if lines:
        small: Any = figure.axes[0].annotate(
            plain("\n".join(lines)), (0, 0), xycoords=above, fontsize=SMALL, va="bottom", **how
        )
        small.set(in_layout=False, annotation_clip=False)


def panel_title(axes: Axes, text: str, inches: float, **how: Any) -> None:
    """Write a title above a panel, wrapped to its width in inches."""
    letters = int(inches * 72 / (LETTER * SMALL))
    axes.set_title(plain("\n".join(wrap(text, letters))), loc="left", fontsize=SMALL, **how)


def wrap(text: str, letters: int) -> list[str]:
    """Divide a text into lines of at most so many letters, behind spaces, commas and plus signs."""
    lines = [""]
    for token in re.split(r"(?<=[ ,+])", one_line(text)):
        part = token
        while len(lines[-1]) + len(part.rstrip()) > letters:
            if not lines[-1]:
                lines[-1], part = part[:letters], part[letters:]
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines if line.strip()]


def chunks(n: int, most: int) -> list[range]:
    """Divide n things into as few parts of at most ``most`` as needed, about equally large."""
    parts = max(1, -(-n // most))
    bounds = [round(i * n / parts) for i in range(parts + 1)]
    return [range(a, b) for a, b in itertools.pairwise(bounds)]


def plain(text: str) -> str:
    """Escape a text so that matplotlib shows it literally."""
    # fonts have no sign for a control character, and an SVG may not hold one
    return printable(text).replace("$", r"\$")
