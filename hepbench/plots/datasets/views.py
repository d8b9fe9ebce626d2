"""One example as all that networks may be given of it: image, cloud of pixels, and graph.

Drawn of each class is one with the median number of hit pixels. The cloud is laid over the image by
what both hold: a pixel and a point with the same deposits are one, which checks on the way that the
cloud is of that image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.data import naming
from hepbench.specs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.plots.datasets.labelled import Labelled
    from hepbench.specs.types import Array


INPUTS = ("image", "cloud", "mask", "neighbours")


UNIT = re.compile(r"([0-9.]+) (.+)")
"""As ``50 GeV``."""


SEEN = 100
"""Labelled examples, spread evenly over all, of which those that are drawn are chosen."""


COLUMNS = ("image", "cloud", "graph", "graph, enlarged")


PANEL = 2.5
"""Inches of a panel."""


QUANTILE = 0.02
"""Of the pixels: those below it have the lightest colour."""


LARGEST, SMALLEST = 26.0, 2.0
"""Areas of points, in square points of print."""


CLOSE = 10
"""Pixels on either side of the brightest that are enlarged."""


@dataclass(frozen=True)
class Example:
    """One example in three forms.

    Attributes:
        name: of its class.
        image: (H, W), what the channels that are drawn have in each pixel together, in one unit.
        edges: what rows and columns span, from and to, in the units of the cloud's positions.
        places: (n, 2) where the points are: along the rows (eta) and along the columns (phi).
        amounts: (n,) what is there, as in the image.
        links: (L, 2) pairs of points, each once, one of which is a neighbour of the other.
        k: how many neighbours each point has.
    """

    name: str
    image: Array
    edges: tuple[tuple[float, float], tuple[float, float]]
    places: Array
    amounts: Array
    links: Array
    k: int


def links(neighbours: Array, mask: Array) -> Array:
    """Return the pairs (L, 2) of real points that neighbours (P, k) join, smaller place first."""
    here = np.broadcast_to(np.arange(len(neighbours))[:, None], neighbours.shape)
    pairs = np.stack([here, neighbours.astype(np.int64)], axis=-1)[mask].reshape(-1, 2)
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(pairs, axis=0)


def laid_over(image: Array, points: Array) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return what the rows and the columns of an image span where its points are.

    Args:
        image: (C, H, W).
        points: (n, 2 + C or more), places along rows and columns, then what each channel has.

    Raises:
        UsageError: the points are no pixels of the image, or too few to tell.
    """
    height, width = image.shape[1:]
    which, where = _alike(image, points)
    row, column = np.divmod(where, width)
    rows, columns = points[which, :2].astype(float).T
    return _span(row, rows, height), _span(column, columns, width)


def _alike(image: Array, points: Array) -> tuple[Array, Array]:
    """Return which points have the deposits of a pixel that is like no other, and its place."""
    channels = len(image)
    pixels = image.reshape(channels, -1).T
    hit = np.flatnonzero(pixels.any(axis=1))
    contents, first, counts = np.unique(pixels[hit], axis=0, return_index=True, return_counts=True)
    alone = {c.tobytes(): hit[i] for c, i, n in zip(contents, first, counts, strict=True) if n == 1}
    keys = [point.tobytes() for point in points[:, 2 : 2 + channels].astype(image.dtype)]
    found = [(at, alone[key]) for at, key in enumerate(keys) if key in alone]
    if not found:
        msg = "no point of the cloud is a pixel of the image: one cannot be laid over the other"
        raise UsageError(msg)
    which, where = np.array(found).T
    return which, where


def _span(places: Array, positions: Array, size: int) -> tuple[float, float]:
    """Return from where to where so many pixels reach, some of which are at these positions."""
    if np.ptp(places) == 0:
        msg = "the pixels of one row or column alone do not tell how large they are"
        raise UsageError(msg)
    step, start = np.polyfit(places, positions, 1)
    if abs(start + step * places - positions).max() > 0.01 * abs(step):
        msg = "points of the cloud are elsewhere than the pixels of the image that they equal"
        raise UsageError(msg)
    return float(start - step / 2), float(start + step * (size - 0.5))


def factors(images: Array, units: Sequence[str]) -> tuple[Array, str]:
    """Return by what channels of images (n, C, H, W) are multiplied to be added up, (C,), and in
    which unit: those in multiples of the first one's unit, ``50 GeV`` being 50 of ``GeV``, and 0
    for others; where no units are told, 1 for those that are nowhere below 0.
    """
    if len(units) != images.shape[1] or not any(units):
        return (images.min(axis=(0, 2, 3)) >= 0).astype(np.float64), ""
    parsed = [UNIT.fullmatch(unit) for unit in units]
    bare = [match[2] if match else unit for match, unit in zip(parsed, units, strict=True)]
    sizes = [float(match[1]) if match else 1.0 for match in parsed]
    found = [size if b == bare[0] else 0.0 for size, b in zip(sizes, bare, strict=True)]
    return np.array(found), bare[0]


def example(name: str, inputs: Mapping[str, Array], each: Array) -> Example:
    """Return one example, of ``INPUTS`` without their first axis, as it is drawn.

    Args:
        name: of its class.
        each: (C,) what channels are multiplied by to be added up.
    """
    image, mask = inputs["image"], inputs["mask"]
    points, near = inputs["cloud"][mask], inputs["neighbours"]
    return Example(
        name=name,
        image=np.tensordot(each, image, axes=1),
        edges=laid_over(image, points),
        places=points[:, :2],
        amounts=points[:, 2 : 2 + len(image)] @ each,
        links=links(near, mask),
        k=near.shape[1],
    )


def typical(shown: Labelled) -> dict[int, Mapping[str, Array]]:
    """Return the inputs of an example of each class: of those among SEEN the one with the median
    number of hit pixels.

    Raises:
        UsageError: it has none.
    """
    some = shown.some(SEEN, *INPUTS)
    inputs = {name: np.asarray(array) for name, array in some.inputs.items()}
    hits = inputs["image"].any(axis=1).sum(axis=(1, 2))
    found: dict[int, Mapping[str, Array]] = {}
    for label in np.unique(some.labels[some.labels >= 0]).tolist():
        mine = np.flatnonzero(some.labels == label)
        row = mine[np.argsort(hits[mine], kind="stable")[len(mine) // 2]]
        if not hits[row]:
            name = f"{shown.name}: the usual image of class '{shown.spec.classes[label]}'"
            msg = f"{name} is empty: 'views' has nothing to draw"
            raise UsageError(msg)
        found[label] = {name: array[row] for name, array in inputs.items()}
    return found


def examples(shown: Labelled) -> tuple[list[Example], str, str]:
    """Return an example of each class, of which channels they show the sum, and its unit."""
    found = typical(shown)
    images = np.stack([inputs["image"] for inputs in found.values()])
    _, units = naming.described(shown.spec, "image", shown.params)
    each, unit = factors(images, units)
    named = zip(shown.names("image", len(each)), each, strict=True)
    # all of them in the one unit that is told
    names = ", ".join(name.partition(" [")[0] for name, factor in named if factor)
    made = [example(shown.spec.classes[label], inputs, each) for label, inputs in found.items()]
    return made, names, unit


def draw(several: Sequence[Labelled]) -> tuple[Figure, list[str]]:
    """Draw an example of each class of a dataset, perhaps of its files and of its sample; return
    what must be said below.
    """
    from matplotlib.figure import Figure

    found = [(shown, *examples(shown)) for shown in several]
    blocks = [(shown, one) for shown, ones, *_ in found for one in ones]
    every = [one for _, one in blocks]
    look, reach = _colours(every), max(map(_reach, every))
    # of small images nothing is left to be enlarged
    small = any(CLOSE * max(_pixel(one)) > reach / 2 for one in every)
    columns = COLUMNS[:-1] if small else COLUMNS
    size = (len(columns) * PANEL + 1.2, len(blocks) * PANEL + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    lines: Any = figure.subplots(len(blocks), len(columns), squeeze=False)
    for axes, (shown, one) in zip(lines, blocks, strict=True):
        source = f", {shown.source_name}" if len(several) > 1 else ""
        points = _draw_example(axes[:3], one, look, reach)
        if not small:
            _draw_enlarged(axes[2], axes[3], one, look)
        _name(axes[0], one.name + source)
        axes[0].set_ylabel(r"$\Delta\eta$")
    for ax, what in zip(lines[0], columns, strict=True):
        ax.set_title(what, loc="center")
    for ax in lines[-1]:
        ax.set_xlabel(r"$\Delta\phi$")
    bar = figure.colorbar(points, ax=lines, pad=0.01, aspect=16 * len(blocks), extend="min")
    bar.set_label(naming.with_unit("sum of channels", found[0][-1]))
    sums = [f"colours: sum of channels {names}" for _, _, names, _ in found]
    return figure, [*(_note(one) for _, one in blocks), *sums]


def _note(one: Example) -> str:
    height, width = one.image.shape
    hit = np.count_nonzero(one.image)
    return (
        f"{one.name}: an image of {height} x {width} pixels, {hit:,} of them hit; a cloud of "
        f"{len(one.places):,} of these; {len(one.links):,} edges to {one.k} neighbours each"
    )


def _pixel(one: Example) -> tuple[float, float]:
    """Return the height and the width of a pixel, in the units of the cloud's positions."""
    height, width = one.image.shape
    (low, high), (left, right) = one.edges
    return (high - low) / height, (right - left) / width


def _reach(one: Example) -> float:
    """Return how far from the middle all pixels of the cloud are seen whole."""
    return float(abs(one.places).max(initial=0)) + max(_pixel(one))


def _draw_example(axes: Sequence[Axes], one: Example, look: Mapping[str, Any], reach: float) -> Any:
    """Draw one example into three axes; return its points."""
    image, cloud, graph = axes
    _draw_image(image, one, look)
    points = [_draw_points(cloud, one, look), _draw_points(graph, one, look)]
    _draw_links(graph, one, 0.25)
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
    share = np.clip(look["norm"](amounts), 0, 1)
    areas = larger * (SMALLEST + (LARGEST - SMALLEST) * share**2)
    # the brightest last, on top
    order = np.argsort(amounts, kind="stable")
    y, x = one.places[order].T
    return ax.scatter(x, y, s=areas[order], c=amounts[order], linewidths=0, zorder=3, **look)


def _draw_links(ax: Axes, one: Example, width: float) -> None:
    from matplotlib.collections import LineCollection

    from hepbench.plots import style

    ends = one.places[:, ::-1][one.links]
    ax.add_collection(LineCollection(ends, colors=style.GREY, linewidths=width, zorder=2))


def _draw_enlarged(whole: Axes, close: Axes, one: Example, look: Mapping[str, Any]) -> None:
    """Show what is around the brightest point in axes of its own, and where that is."""
    _draw_image(close, one, look, alpha=0.5)
    _draw_points(close, one, look, larger=5.0)
    _draw_links(close, one, 0.4)
    y, x = one.places[np.argmax(one.amounts)]
    up, aside = (CLOSE * size for size in _pixel(one))
    close.set(xlim=(x - aside, x + aside), ylim=(y - up, y + up), aspect="equal")
    close.yaxis.tick_right()
    close.tick_params(axis="y", which="both", left=True, right=True)
    whole.indicate_inset_zoom(close, edgecolor="black", alpha=1, linewidth=0.8)


def _name(ax: Axes, name: str) -> None:
    from hepbench.plots import style

    at: dict[str, Any] = {"xy": (0.05, 0.94), "xycoords": "axes fraction", "va": "top"}
    box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
    ax.annotate(style.plain(name), **at, fontweight="bold", fontsize="small", bbox=box)


def _colours(several: Sequence[Example]) -> dict[str, Any]:
    """Return colours on white, and a logarithmic scale for all of them."""
    import matplotlib as mpl
    from matplotlib.colors import LogNorm

    some = np.concatenate([one.image[one.image > 0] for one in several])
    high = float(some.max(initial=0)) or 1.0
    low = float(np.quantile(some, QUANTILE)) if len(some) else high / 10
    return {"cmap": mpl.colormaps["viridis_r"], "norm": LogNorm(min(low, high / 10), high)}
