"""Write the names of curves and points beside them, where nothing else is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from hepbench.specs.types import Array


DISTANCES = (3.0, 8.0, 14.0, 22.0, 32.0, 44.0, 58.0, 74.0, 92.0, 112.0)
"""Distances between a label and what it names, in typographic points; the nearest is best."""


DIRECTIONS = np.array([(1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1)], float)
"""Where a label may be, seen from what it names; the first is best."""


FAR = 10.0
"""A label that is farther away gets a thin line to what it names."""


NEARBY = 22.0
"""Largest distance of labels that have to be near, in typographic points."""


GAP = 1.5
"""Room around a label, in typographic points."""


EDGE = 4.0
"""Room between a label and the frame of the axes, in typographic points."""


GID = "label"
"""The identifier of a label in an SVG."""


class Box(NamedTuple):
    """A rectangle."""

    left: float
    low: float
    right: float
    high: float


class Placed(NamedTuple):
    """The place of a label: its rectangle, and the point that it names."""

    box: Box
    anchor: tuple[float, float]

    @property
    def start(self) -> Array:
        """The point of the rectangle that is nearest to what the label names."""
        (x, y), box = self.anchor, self.box
        return np.array([min(max(x, box.left), box.right), min(max(y, box.low), box.high)])

    @property
    def has_line(self) -> bool:
        """Whether it is so far from what it names that a line joins them."""
        return bool(np.hypot(*(self.start - self.anchor)) > FAR)


@dataclass(frozen=True)
class Wanted:
    """A label to place.

    Attributes:
        width, height: of the label.
        anchors: points (n, 2), of which it names one.
        owner: the number of the curve or point that it names.
        farthest: its largest distance from what it names.
    """

    width: float
    height: float
    anchors: Array
    owner: int = -1
    farthest: float = DISTANCES[-1]


class Drawn(NamedTuple):
    """Points (K, 2) of all that is drawn, and the number of what each belongs to (K,)."""

    points: Array
    owners: Array


def place(wanted: Sequence[Wanted], drawn: Drawn, inside: Box) -> list[Placed | None]:
    """Place labels so that they cover neither what is drawn nor each other.

    A label without a line to what it names is nearer to it than to anything else; a line crosses no
    label and no other line.

    Args:
        wanted: the labels, the most important first.
        drawn: what must not be covered.
        inside: no label leaves this rectangle.

    Returns:
        The place of each label, None where there is none.
    """
    found: list[Placed | None] = []
    for label in wanted:
        taken = [placed for placed in found if placed is not None]
        found.append(_best(label, drawn, inside, taken))
    return found


def _best(label: Wanted, drawn: Drawn, inside: Box, taken: Sequence[Placed]) -> Placed | None:
    boxes, anchors = _candidates(label)
    left, low, right, high = boxes.T
    free = (left >= inside.left) & (right <= inside.right)
    free &= (low >= inside.low) & (high <= inside.high)
    for box, _ in taken:
        apart = (left > box.right + GAP) | (right < box.left - GAP)
        free &= apart | (low > box.high + GAP) | (high < box.low - GAP)
    for i in np.flatnonzero(free):
        anchor = (float(anchors[i, 0]), float(anchors[i, 1]))
        placed = Placed(Box(*boxes[i].tolist()), anchor)
        if _is_clear(placed, label.owner, drawn) and not _is_crossed(placed, taken):
            return placed
    return None


def _is_clear(placed: Placed, owner: int, drawn: Drawn) -> bool:
    """Return whether a label covers nothing and, without a line, is nearest to what it names."""
    if not len(drawn.points):
        return True
    box = np.array(placed.box)
    away = np.maximum(0, np.maximum(box[:2] - drawn.points, drawn.points - box[2:]))
    distances = np.hypot(*away.T)
    nearest = int(np.argmin(distances))
    if distances[nearest] < GAP:
        return False
    return owner < 0 or placed.has_line or int(drawn.owners[nearest]) == owner


def _is_crossed(placed: Placed, taken: Sequence[Placed]) -> bool:
    """Return whether the line of a label crosses other labels or lines, or theirs cross it."""
    steps = np.linspace(0, 1, 60)[:, None]
    mine = placed.start + steps * (np.array(placed.anchor) - placed.start)
    for other in taken:
        theirs = other.start + steps * (np.array(other.anchor) - other.start)
        if placed.has_line and _any_inside(mine, other.box):
            return True
        if other.has_line and _any_inside(theirs, placed.box):
            return True
        if placed.has_line and other.has_line and _cross(mine[[0, -1]], theirs[[0, -1]]):
            return True
    return False


def _any_inside(points: Array, box: Box) -> bool:
    x, y = points.T
    inside = (x > box.left - GAP) & (x < box.right + GAP) & (y > box.low - GAP)
    return bool((inside & (y < box.high + GAP)).any())


def _cross(one: Array, other: Array) -> bool:
    """Return whether two segments, each from its first to its last point, cross."""

    def side(a: Array, b: Array, c: Array) -> float:
        return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    (a, b), (c, d) = one, other
    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def _candidates(label: Wanted) -> tuple[Array, Array]:
    """Return rectangles (M, 4) for a label, the best first, and the point that each names."""
    size = np.array([label.width, label.height])
    boxes, anchors = [], []
    for distance in (each for each in DISTANCES if each <= label.farthest):
        for direction in DIRECTIONS:
            length = float(np.hypot(*direction))
            middle = label.anchors + direction * (distance / length + size / 2)
            boxes.append(np.concatenate([middle - size / 2, middle + size / 2], axis=1))
            anchors.append(label.anchors)
    return np.concatenate(boxes), np.concatenate(anchors)


@dataclass(frozen=True)
class Label:
    """A label of something drawn.

    Attributes:
        text, colour: of the label.
        anchors: points (n, 2) of which it names one, in the units of the data.
        owner: the index of the named curve or point among all that is drawn.
        farthest: its largest distance from what it names, in typographic points.
    """

    text: str
    colour: str
    anchors: Array
    owner: int = -1
    farthest: float = DISTANCES[-1]


def write(
    axes: Axes, labels: Sequence[Label], drawn: Sequence[Array], *, needed: bool = False
) -> list[Label]:
    """Write labels into axes; return those for which there is no place.

    Args:
        axes: with final limits.
        labels: the most important first.
        drawn: points (n, 2) of each curve and marker, in the units of the data.
        needed: write none of them if one has no place.
    """
    places = _places(axes, labels, drawn)
    if needed and None in places:
        return list(labels)
    for label, placed in zip(labels, places, strict=True):
        if placed is not None:
            _write(axes, label, placed)
    return [label for label, placed in zip(labels, places, strict=True) if placed is None]


def _places(axes: Axes, labels: Sequence[Label], drawn: Sequence[Array]) -> list[Placed | None]:
    """Return places for labels, in typographic points from the lower left of the figure."""
    figure: Any = axes.figure.get_figure(root=True)
    figure.draw_without_rendering()
    scale = 72 / figure.dpi
    lines = [_densely(axes.transData.transform(each)) for each in drawn]
    points = np.concatenate([*lines, np.empty((0, 2))]) * scale
    owners = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    left, low, right, high = (edge * scale for edge in axes.get_window_extent().extents)
    inside = Box(left + EDGE, low + EDGE, right - EDGE, high - EDGE)
    wanted = [
        Wanted(
            *_extent(axes, label.text),
            axes.transData.transform(label.anchors) * scale,
            label.owner,
            label.farthest,
        )
        for label in labels
    ]
    return place(wanted, Drawn(points, owners), inside)


def _densely(line: Array) -> Array:
    """Return points on a line, in pixels, so close together that no label fits between them."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    if not steps.any():
        return np.asarray(line)
    along = np.append(0.0, np.cumsum(steps))
    places = np.linspace(0, along[-1], int(along[-1] / 3) + 2)
    return np.stack([np.interp(places, along, column) for column in line.T], axis=1)


def _extent(axes: Axes, text: str) -> tuple[float, float]:
    """Return width and height of a label in typographic points."""
    from hepbench.plots import style

    figure: Any = axes.figure.get_figure(root=True)
    trial = axes.text(0, 0, style.plain(text), fontsize=style.SMALL)
    box = trial.get_window_extent()
    trial.remove()
    return box.width * 72 / figure.dpi, box.height * 72 / figure.dpi


def _write(axes: Axes, label: Label, placed: Placed) -> None:
    from hepbench.plots import style

    figure: Any = axes.figure.get_figure(root=True)
    to_data = axes.transData.inverted().transform
    pixels = figure.dpi / 72
    box = placed.box
    if placed.has_line:
        ends = to_data(np.array([placed.start, placed.anchor]) * pixels)
        (line,) = axes.plot(*ends.T, color=label.colour, linewidth=0.5, zorder=1.5)
        line.set_in_layout(False)
    x, y = to_data(np.array([(box.left + box.right) / 2, (box.low + box.high) / 2]) * pixels)
    how: dict[str, Any] = {"fontsize": style.SMALL, "ha": "center", "va": "center"}
    text = axes.text(x, y, style.plain(label.text), color=label.colour, **how)
    text.set_in_layout(False)
    text.set_gid(GID)
