"""Lay out panels of score distributions: one for each row, or for each class if they are many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.plots import labels, selection, style
from hepbench.plots.sheets import Sheet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matplotlib.axes import Axes

    from hepbench.plots.request import Request
    from hepbench.plots.selection import Panel
    from hepbench.specs.types import Array
    from hepbench.tables.rows import Row


MANY = 3
"""With more classes, each has its own panel."""


STEEP = 30
"""A y axis is logarithmic if the highest bin exceeds the median bin by more than this factor."""


BINS = 30
"""Largest number of bins of a distribution; few examples get fewer."""


@dataclass(frozen=True)
class ScorePanel:
    """One panel of score distributions.

    Attributes:
        row, title: the row, and what stands above the panel.
        classes: the classes to draw.
        names: of all classes.
    """

    row: Row
    title: str
    classes: Sequence[int]
    names: Sequence[str]

    @property
    def two(self) -> bool:
        """Whether the dataset has two classes."""
        return len(self.names) == 2


@dataclass(frozen=True)
class Layout:
    """How the panels of a kind of score distributions are laid out.

    Attributes:
        title: what the figure shows.
        heights: of the axes of a panel, in inches.
        draw: draws a panel into its axes.
        note: a sentence for the caption.
    """

    title: str
    heights: tuple[float, ...]
    draw: Callable[[Sequence[Axes], ScorePanel], None]
    note: str


def draw(request: Request, layout: Layout) -> list[Sheet]:
    """Draw the scores of all rows of each dataset; many classes get a figure for each row."""
    return [
        sheet
        for panel in selection.panels(request, "auc")
        for each in _groups(panel)
        for sheet in _sheets(panel, each, request, layout)
    ]


def _sheets(
    panel: Panel, each: Sequence[ScorePanel], request: Request, layout: Layout
) -> Iterator[Sheet]:
    """Yield the figures of some panels, as many as they need."""
    size = request.sized("full" if len(each) > 1 else "column")
    across = 3 if size.width > 5 else 1
    down = max(1, int((size.height - 0.5) / (sum(layout.heights) + style.ABOVE + 0.3)))
    for places in style.chunks(len(each), across * down):
        yield _sheet(panel, [each[i] for i in places], layout, size, across)


def _groups(panel: Panel) -> list[list[ScorePanel]]:
    """Return the panels of each figure of a dataset."""
    n = max(len(panel.rows[0].aspects["labels"]), 2)
    names = labels.class_names(panel.rows[0].aspects["labels"], n)
    pairs = list(zip(panel.rows, panel.names, strict=True))
    if n <= MANY:
        return [[ScorePanel(row, name, range(n), names) for row, name in pairs]]
    return [
        [ScorePanel(row, f"{name}: {names[i]}", [i], names) for i in range(n)]
        for row, name in pairs
    ]


def _sheet(
    panel: Panel, some: Sequence[ScorePanel], layout: Layout, size: style.Size, across: int
) -> Sheet:
    across = min(across, len(some)) if len(some) != 4 or across == 1 else 2
    axes = style.grid(size, len(some), across=across, heights=layout.heights)
    for mine, each in zip(axes, some, strict=True):
        layout.draw(mine, each)
        style.panel_title(mine[0], each.title, size.width / across - 0.4)
    figure: Any = axes[0][0].figure
    style.heading(figure, panel.title, panel.header)
    many = len(some[0].classes) == 1
    name = f"{panel.title}-{some[0].title.rpartition(':')[0]}" if many else panel.title
    notes = [panel.caption, layout.note, *panel.notes]
    return Sheet(figure, f"{layout.title}, {panel.title}", name, notes)


def edges(scores: Sequence[Array]) -> Array:
    """Return bin edges for scores between 0 and 1 that cover all but their farthest tails."""
    values = np.concatenate(scores)
    low, high = np.quantile(values, [0.001, 0.999])
    low, high = np.floor(low * 20) / 20, np.ceil(high * 20) / 20
    n = int(np.clip(1.5 * np.sqrt(min(map(len, scores))), 8, BINS))
    return np.linspace(low, max(high, low + 0.05), n + 1)


def finish(axes: Axes, densities: Sequence[Array], where: Array, *, lines: int) -> None:
    """Set the scale of a panel and write its key, with room for it above all bins.

    Args:
        axes: of the distributions.
        densities: positive densities of each class.
        where: edges of the bins.
        lines: number of lines of the key.
    """
    highest = max(float(each.max(initial=1e-9)) for each in densities)
    typical = min(float(np.median(each)) for each in densities if len(each))
    inches = axes.get_position().height * axes.figure.bbox.height / axes.figure.dpi
    # the fraction of the axes below the key
    free = 1 - min((lines * 1.3 * style.LINES / 72 + 0.06) / max(inches, 0.5), 0.6)
    if highest > STEEP * typical:
        low = typical / 10
        style.logarithmic(axes.yaxis, low, low * (1.2 * highest / low) ** (1 / free))
    else:
        axes.set_ylim(0, 1.03 * highest / free)
    axes.set(xlim=(where[0], where[-1]), ylabel="density")
    axes.legend(loc="upper left", borderaxespad=0.2, ncols=1)
