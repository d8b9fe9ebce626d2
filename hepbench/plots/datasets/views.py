"""Draw one example of each class of a dataset as image, as cloud of pixels and as graph.

The example has the median number of hit pixels of its class. Cloud and image are aligned by their
contents: a pixel and a point with the same deposits are the same, which also checks that the cloud
belongs to the image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hepbench.data import naming
from hepbench.plots import style
from hepbench.specs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.plots.datasets.labelled_examples import LabelledExamples
    from hepbench.plots.style import Size
    from hepbench.specs.types import Array


INPUTS = ("image", "cloud", "mask", "neighbours")


UNIT = re.compile(r"([0-9.]+) (.+)")
"""Matches a unit with a factor, such as ``50 GeV``."""


SAMPLED = 100
"""Number of examples of a dataset from which the drawn ones are chosen."""


COLUMNS = ("image", "cloud", "graph", "graph, enlarged")


PANEL = 2.5
"""Size in inches of a panel for which the areas of points are given."""


LARGEST_PANEL = 2.0
"""Largest size of a panel in inches."""


QUANTILE = 0.02
"""This fraction of the hit pixels, the faintest ones, gets the lightest colour."""


LARGEST, SMALLEST = 26.0, 2.0
"""Largest and smallest area of a drawn point, in square typographic points."""


CLOSE = 10
"""The enlarged view extends this many pixels to each side of the brightest pixel."""


@dataclass(frozen=True)
class Example:
    """One example of a dataset as image, cloud and graph.

    Attributes:
        name: name of its class.
        image: (H, W), sum of the drawn channels in one unit.
        edges: first and last edge of the rows, then of the columns, in the units of the cloud.
        places: (n, 2) positions of the points: eta (rows) and phi (columns).
        amounts: (n,) sum of the drawn channels at each point.
        links: (L, 2) pairs of points of which one is a neighbour of the other, each pair once.
        k: number of neighbours of each point.
    """

    name: str
    image: Array
    edges: tuple[tuple[float, float], tuple[float, float]]
    places: Array
    amounts: Array
    links: Array
    k: int


def links(neighbours: Array, mask: Array) -> Array:
    """Return the edges (L, 2) of a graph: pairs of points that ``neighbours`` (P, k) links."""
    here = np.broadcast_to(np.arange(len(neighbours))[:, None], neighbours.shape)
    pairs = np.stack([here, neighbours.astype(np.int64)], axis=-1)[mask].reshape(-1, 2)
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(pairs, axis=0)


def image_edges(image: Array, points: Array) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return first and last edge of an image's rows, then of its columns, in the cloud's units.

    Args:
        image: (C, H, W).
        points: (n, 2 + C or more), position along rows and columns, then the deposit per channel.

    Raises:
        UsageError: the points are not pixels of the image, or too few to find the size of a pixel.
    """
    height, width = image.shape[1:]
    which, where = _matched(image, points)
    row, column = np.divmod(where, width)
    rows, columns = points[which, :2].astype(float).T
    return _span(row, rows, height), _span(column, columns, width)


def _matched(image: Array, points: Array) -> tuple[Array, Array]:
    """Match points of a cloud to pixels of an image by equal deposits; return both indices."""
    channels = len(image)
    pixels = image.reshape(channels, -1).T
    hit = np.flatnonzero(pixels.any(axis=1))
    contents, first, counts = np.unique(pixels[hit], axis=0, return_index=True, return_counts=True)
    alone = {c.tobytes(): hit[i] for c, i, n in zip(contents, first, counts, strict=True) if n == 1}
    keys = [point.tobytes() for point in points[:, 2 : 2 + channels].astype(image.dtype)]
    found = [(at, alone[key]) for at, key in enumerate(keys) if key in alone]
    if not found:
        msg = "cannot draw cloud and image together: no point has the deposits of a pixel"
        raise UsageError(msg)
    which, where = np.array(found).T
    return which, where


def _span(places: Array, positions: Array, size: int) -> tuple[float, float]:
    """Return the first and last edge of a row of pixels, from the positions of some pixels."""
    if np.ptp(places) == 0:
        msg = "cannot find the size of a pixel: all points of the cloud are in one row or column"
        raise UsageError(msg)
    step, start = np.polyfit(places, positions, 1)
    if abs(start + step * places - positions).max() > 0.01 * abs(step):
        msg = "points of the cloud are not where the pixels with the same deposits are in the image"
        raise UsageError(msg)
    return float(start - step / 2), float(start + step * (size - 0.5))


def factors(images: Array, units: Sequence[str]) -> tuple[Array, str]:
    """Return the factors that bring all image channels to one unit, and that unit.

    A channel in ``50 GeV`` has the factor 50, and the sum is in ``GeV``. Channels in another unit
    than the first have the factor 0. Without units, channels with negative values have the factor
    0, others 1.
    """
    if len(units) != images.shape[1] or not any(units):
        return (images.min(axis=(0, 2, 3)) >= 0).astype(np.float64), ""
    parsed = [UNIT.fullmatch(unit) for unit in units]
    bare = [match[2] if match else unit for match, unit in zip(parsed, units, strict=True)]
    sizes = [float(match[1]) if match else 1.0 for match in parsed]
    found = [size if b == bare[0] else 0.0 for size, b in zip(sizes, bare, strict=True)]
    return np.array(found), bare[0]


def example(name: str, inputs: Mapping[str, Array], each: Array) -> Example:
    """Return one example of a dataset as image, cloud and graph to draw.

    Args:
        name: name of its class.
        inputs: ``INPUTS`` of this example, without the first axis.
        each: (C,) factors of the channels before they are summed.
    """
    image, mask = inputs["image"], inputs["mask"]
    points, near = inputs["cloud"][mask], inputs["neighbours"]
    return Example(
        name=name,
        image=np.tensordot(each, image, axes=1),
        edges=image_edges(image, points),
        places=points[:, :2],
        amounts=points[:, 2 : 2 + len(image)] @ each,
        links=links(near, mask),
        k=near.shape[1],
    )


def typical(shown: LabelledExamples) -> dict[int, Mapping[str, Array]]:
    """Return the inputs of one example of each class, the one with the median number of hits.

    Raises:
        UsageError: that example has no hit.
    """
    some = shown.some(SAMPLED, *INPUTS)
    inputs = {name: np.asarray(array) for name, array in some.inputs.items()}
    hits = inputs["image"].any(axis=1).sum(axis=(1, 2))
    found: dict[int, Mapping[str, Array]] = {}
    for label in np.unique(some.labels[some.labels >= 0]).tolist():
        mine = np.flatnonzero(some.labels == label)
        row = mine[np.argsort(hits[mine], kind="stable")[len(mine) // 2]]
        if not hits[row]:
            name = shown.spec.classes[label]
            msg = f"{shown.name}: nothing to draw: the median image of class '{name}' is empty"
            raise UsageError(msg)
        found[label] = {name: array[row] for name, array in inputs.items()}
    return found


def examples(shown: LabelledExamples) -> tuple[list[Example], str, str]:
    """Return an example of each class to draw, with the names and unit of its summed channels."""
    found = typical(shown)
    images = np.stack([inputs["image"] for inputs in found.values()])
    _, units = naming.described(shown.spec, "image", shown.params)
    each, unit = factors(images, units)
    named = zip(shown.names("image", len(each)), each, strict=True)
    # without units: they share one, which the colour bar shows
    names = ", ".join(name.partition(" [")[0] for name, factor in named if factor)
    made = [example(shown.spec.classes[label], inputs, each) for label, inputs in found.items()]
    return made, names, unit


def draw(several: Sequence[LabelledExamples], size: Size) -> tuple[list[Figure], list[str]]:
    """Draw an example of each class from each source of a dataset.

    Returns:
        As many figures as the examples need, and sentences for the caption.
    """
    found = [(shown, *examples(shown)) for shown in several]
    drawn = [(shown, one) for shown, ones, *_ in found for one in ones]
    every = [one for _, one in drawn]
    look, reach = _colours(every), max(map(_reach, every))
    # in small images the enlarged part would be nearly the whole
    small = any(CLOSE * max(_pixel(one)) > reach / 2 for one in every) or size.width < 5
    columns = COLUMNS[:-1] if small else COLUMNS
    panel = min((size.width - 0.9) / len(columns), LARGEST_PANEL)
    most = max(1, int((size.height - 1.0) / panel))
    scale = Scale(look, reach, panel, size)
    named = [
        (f"{one.name}, {shown.source_name}" if len(several) > 1 else one.name, one)
        for shown, one in drawn
    ]
    figures = [
        _figure([named[i] for i in places], columns, scale, naming.with_unit("sum", found[0][-1]))
        for places in style.chunks(len(named), most)
    ]
    sums = [f"colours: sum of channels {names}" for _, _, names, _ in found]
    return figures, [*(_note(one) for one in every), *sums]


class Scale(NamedTuple):
    """What all examples of a figure share.

    Attributes:
        look: colour map and scale.
        reach: half of the width of a panel, in units of the positions.
        panel: width and height of a panel in inches.
        size: of the figure.
    """

    look: Mapping[str, Any]
    reach: float
    panel: float
    size: Size


def _figure(
    named: Sequence[tuple[str, Example]], columns: Sequence[str], scale: Scale, bar_label: str
) -> Figure:
    figure = style.blank(scale.size, len(named) * scale.panel + 0.45)
    lines: Any = figure.subplots(len(named), len(columns), squeeze=False)
    for ax, column in zip(lines[0], columns, strict=True):
        ax.set_title(column, loc="center", fontsize=style.SMALL)
    for ax in lines[:, 0]:
        ax.set_ylabel(r"$\Delta\eta$", fontsize=style.SMALL)
    for ax in lines[-1]:
        ax.set_xlabel(r"$\Delta\phi$", fontsize=style.SMALL)
    for axes, (name, one) in zip(lines, named, strict=True):
        points = _draw_example(axes[:3], one, scale)
        if len(columns) > 3:
            _draw_enlarged(axes[2], axes[3], one, scale)
        _write_name(axes[0], name)
        for ax in axes if axes is not lines[-1] else ():
            ax.tick_params(labelbottom=ax is axes[-1] and len(columns) > 3)
    bar = figure.colorbar(points, ax=lines, pad=0.01, aspect=14 * len(named), extend="min")
    style.number_bar(bar)
    bar.set_label(bar_label)
    return figure


def _note(one: Example) -> str:
    height, width = one.image.shape
    hit = np.count_nonzero(one.image)
    return (
        f"{one.name}: image of {height} x {width} pixels, {hit:,} of them hit; cloud of "
        f"{len(one.places):,} hit pixels; graph of {len(one.links):,} edges, {one.k} neighbours each"
    )


def _pixel(one: Example) -> tuple[float, float]:
    """Return the height and the width of a pixel, in the units of the cloud's positions."""
    height, width = one.image.shape
    (low, high), (left, right) = one.edges
    return (high - low) / height, (right - left) / width


def _reach(one: Example) -> float:
    """Return the distance from the centre to the farthest pixel of an example."""
    return float(abs(one.places).max(initial=0)) + max(_pixel(one))


def _draw_example(axes: Sequence[Axes], one: Example, scale: Scale) -> Any:
    """Draw image, cloud and graph of one example into three axes; return the drawn points."""
    image, cloud, graph = axes
    look, reach = scale.look, scale.reach
    _draw_image(image, one, look)
    area = (scale.panel / PANEL) ** 2
    points = [_draw_points(each, one, look, larger=area) for each in (cloud, graph)]
    _draw_links(graph, one, 0.2)
    for ax in axes:
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    for ax in axes[1:]:
        ax.tick_params(labelleft=False)
    return points[0]


def _draw_image(ax: Axes, one: Example, look: Mapping[str, Any], **how: Any) -> None:
    (low, high), (left, right) = one.edges
    span = (left, right, low, high)
    hit = np.where(one.image > 0, one.image, np.nan)
    ax.imshow(hit, origin="lower", extent=span, interpolation="nearest", **look, **how)


def _draw_points(ax: Axes, one: Example, look: Mapping[str, Any], *, larger: float = 1.0) -> Any:
    amounts = np.maximum(one.amounts, look["norm"].vmin)
    brightness = np.clip(look["norm"](amounts), 0, 1)
    areas = larger * (SMALLEST + (LARGEST - SMALLEST) * brightness**2)
    # the brightest last, so that it is on top
    order = np.argsort(amounts, kind="stable")
    y, x = one.places[order].T
    return ax.scatter(x, y, s=areas[order], c=amounts[order], linewidths=0, zorder=3, **look)


def _draw_links(ax: Axes, one: Example, width: float) -> None:
    from matplotlib.collections import LineCollection

    ends = one.places[:, ::-1][one.links]
    ax.add_collection(LineCollection(ends, colors=style.GREY, linewidths=width, zorder=2))


def _draw_enlarged(whole: Axes, close: Axes, one: Example, scale: Scale) -> None:
    """Draw the surroundings of the brightest point enlarged, and mark them in the full graph."""
    _draw_image(close, one, scale.look, alpha=0.5)
    _draw_points(close, one, scale.look, larger=5.0 * (scale.panel / PANEL) ** 2)
    _draw_links(close, one, 0.4)
    y, x = one.places[np.argmax(one.amounts)]
    up, aside = (CLOSE * size for size in _pixel(one))
    close.set(xlim=(x - aside, x + aside), ylim=(y - up, y + up), aspect="equal")
    close.yaxis.tick_right()
    close.tick_params(axis="y", which="both", left=True, right=True)
    whole.indicate_inset_zoom(close, edgecolor="black", alpha=1, linewidth=0.8)


def _write_name(ax: Axes, name: str) -> None:
    at: dict[str, Any] = {"xy": (0.05, 0.94), "xycoords": "axes fraction", "va": "top"}
    box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
    ax.annotate(style.plain(name), **at, fontweight="bold", fontsize=style.SMALL, bbox=box)


def _colours(several: Sequence[Example]) -> dict[str, Any]:
    """Return the colour map and logarithmic colour scale that all examples share."""
    import matplotlib as mpl
    from matplotlib.colors import LogNorm

    some = np.concatenate([one.image[one.image > 0] for one in several])
    high = float(some.max(initial=0)) or 1.0
    low = float(np.quantile(some, QUANTILE)) if len(some) else high / 10
    return {"cmap": mpl.colormaps["viridis_r"], "norm": LogNorm(min(low, high / 10), high)}
