"""Mean images of a dataset by class and channel, and where two means differ by more than chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.plots import style
from hepbench.specs.sparse_images import SparseImages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.plots.datasets.labelled import Labelled
    from hepbench.specs.types import Array


LAYOUT = (4, 2.1)
"""Images side by side, and the inches of each."""


CROWDED = (8, 1.45)
"""The same where there are more than FEW lines of them."""


FEW = 3


NARROWEST = 4.2


ENOUGH = 5
"""Hits that a mean of a pixel needs before a difference from it is a matter of its error."""


GREY = "#dadada"


REACH = 0.998
"""Share of the pixels whose differences the colours tell apart."""


@dataclass(frozen=True)
class Means:
    """Mean images.

    Attributes:
        channels: their names, with units.
        means, errors: (classes, C, H, W), and the standard errors of the means; NaN of a class
            without any example.
        hits: (classes, C, H, W), how many examples have a value there that is not 0.
    """

    channels: Sequence[str]
    means: Array
    errors: Array
    hits: Array


def means(shown: Labelled) -> Means:
    """Return the mean images of each class, over all examples, chunk by chunk."""
    classes = len(shown.spec.classes)
    weights, squares = np.zeros((2, classes, 1))
    sums: Any = 0
    image: tuple[int, ...] = ()
    for chunk in shown.chunks("image"):
        images = chunk.inputs["image"]
        image = tuple(images.shape[1:])
        weights[:, 0] += np.bincount(chunk.labels, chunk.weights, classes)
        squares[:, 0] += np.bincount(chunk.labels, chunk.weights**2, classes)
        parts = [chunk.labels == label for label in range(classes)]
        sums = sums + np.stack([_sums(images[mine], chunk.weights[mine]) for mine in parts], axis=1)
    first, mixed, second, hits = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first / weights
        left = second - 2 * mean * mixed + mean**2 * squares
        errors = np.sqrt(np.maximum(left, 0)) / weights
    shape = (classes, *image)
    whole = (each.reshape(shape) for each in (mean, errors, hits))
    return Means(shown.names("image", image[0]), *whole)


def _sums(images: Array, weights: Array) -> Array:
    """Return the sums over images of w x, w^2 x and w^2 x^2, and of hits, (4, pixels)."""
    size = int(np.prod(images.shape[1:]))
    if isinstance(images, SparseImages):
        rows, positions, values = images.hits()
        w, x = weights[rows], values.astype(np.float64)
        summed = (w * x, w**2 * x, (w * x) ** 2, (x != 0).astype(np.float64))
        return np.stack([np.bincount(positions, values, size) for values in summed])
    flat = np.asarray(images, np.float64).reshape(len(images), size)
    squares = weights**2
    hits = np.count_nonzero(flat, axis=0)
    return np.stack([weights @ flat, squares @ flat, squares @ flat**2, hits])


def pull(one: Means, other: Means, label: int, reference: int) -> Array:
    """Return (C, H, W) differences of the means of two classes in units of their errors: one's of
    ``label`` less the other's of ``reference``; NaN where there are not ENOUGH hits of both.
    """
    error = np.hypot(one.errors[label], other.errors[reference])
    known = np.minimum(one.hits[label], other.hits[reference]) >= ENOUGH
    difference = one.means[label] - other.means[reference]
    return np.divide(difference, error, out=np.full(error.shape, np.nan), where=known & (error > 0))


@dataclass(frozen=True)
class Line:
    """A line of images, one for each channel; ``pulls`` are differences in units of their errors."""

    name: str
    images: Array
    pulls: bool = False


def lines(found: Sequence[tuple[str, Means]], classes: Sequence[str]) -> list[Line]:
    """Return what is drawn: of one dataset its classes, and each against the first; of two each
    class of both, and the second against the first.
    """
    minus = " \N{MINUS SIGN} "
    if len(found) == 1:
        ((_, only),) = found
        plain = [Line(name, only.means[i]) for i, name in enumerate(classes)]
        return plain + [
            Line(f"{name}{minus}{classes[0]}", pull(only, only, i, 0), pulls=True)
            for i, name in enumerate(classes)
            if i
        ]
    (one, a), (two, b) = found
    made = []
    for i, name in enumerate(classes):
        made += [Line(f"{name}, {one}", a.means[i]), Line(f"{name}, {two}", b.means[i])]
        made.append(Line(f"{name}, {two}{minus}{one}", pull(b, a, i, i), pulls=True))
    return made


def draw(several: Sequence[Labelled]) -> tuple[Figure, list[str]]:
    """Draw the mean images of one dataset, or of its sample against its files; return what must be
    said below.
    """
    from matplotlib.figure import Figure

    found = [(shown.source_name, means(shown)) for shown in several]
    drawn = lines(found, several[0].spec.classes)
    channels = found[0][1].channels
    most, panel = LAYOUT if len(drawn) <= FEW else CROWDED
    across = min(most, len(channels))
    blocks = [range(i, min(i + across, len(channels))) for i in range(0, len(channels), across)]
    # more lines than channels: they stand side by side
    turned = len(drawn) > FEW >= len(channels)
    wide, tall = (len(drawn), across) if turned else (across, len(drawn))
    size = max(wide * panel + 1.4, NARROWEST), len(blocks) * (tall * panel + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    parts: Any = figure.subfigures(len(blocks), 1)
    high = _reach([line.images for line in drawn if line.pulls])
    for part, block in zip(np.atleast_1d(parts), blocks, strict=True):
        axes = part.subplots(tall, wide, squeeze=False)
        axes = axes.T if turned else axes
        _draw_block(axes, drawn, block, high)
        _draw_names(axes, drawn, [channels[i] for i in block], turned=turned)
        _draw_bars(part, axes[:, : len(block)], drawn, turned=turned)
    shape = found[0][1].means.shape[2:]
    notes = [
        f"images of {shape[0]} x {shape[1]} pixels: means over examples, on a logarithmic scale",
        (
            "differences of two means: in units of their statistical error; grey where fewer than "
            f"{ENOUGH} examples of one of them have a hit"
        ),
    ]
    return figure, notes


def _reach(images: Sequence[Array]) -> float:
    """Return the largest difference that colours tell apart."""
    sizes = np.abs(np.concatenate([each[np.isfinite(each)] for each in images] or [np.ones(1)]))
    return max(float(np.quantile(sizes, REACH)), 3.0) if len(sizes) else 3.0


def _draw_block(axes: Array, drawn: Sequence[Line], channels: Sequence[int], high: float) -> None:
    """Draw some channels; their axes are [line, channel]."""
    for column, channel in enumerate(channels):
        means = np.stack([line.images[channel] for line in drawn if not line.pulls])
        scale = style.pixels(means)
        for i, line in enumerate(drawn):
            how = _differences(high) if line.pulls else scale
            _image(axes[i, column], line.images[channel], how)
    for spare in axes[:, len(channels) :].ravel():
        spare.set_axis_off()


def _draw_names(
    axes: Array, drawn: Sequence[Line], channels: Sequence[str], *, turned: bool
) -> None:
    """Name lines and channels at the edges; the lines at the top where they were turned."""
    for at, name in zip(axes[0], channels, strict=False):
        if turned:
            at.set_ylabel(style.plain(name), loc="center", fontsize="small")
        else:
            at.set_title(style.plain(name), fontsize="small")
    for at, line in zip(axes[:, 0], drawn, strict=True):
        if turned:
            at.set_title(style.plain(line.name.replace(", ", "\n")), fontsize="x-small")
        else:
            at.set_ylabel(style.plain(line.name), loc="center", fontsize="small")


def _draw_bars(part: Any, axes: Array, drawn: Sequence[Line], *, turned: bool) -> None:
    """Add the scale of each channel, and that of all differences."""
    last = max(i for i, line in enumerate(drawn) if not line.pulls)
    for column in axes.T:
        beside = list(column) if turned else [column[last]]
        _bar(part, column[last].images[0], beside, location="right" if turned else "bottom")
    if pulls := [i for i, line in enumerate(drawn) if line.pulls]:
        # beside all of them, for columns of one width
        share = 1 / len(drawn)
        how: dict[str, Any] = {"location": "right", "shrink": share, "anchor": (0, 0)}
        if turned:
            how = {"location": "bottom", "shrink": 2 * share, "anchor": (1, 0)}
        bar = _bar(part, axes[pulls[0], 0].images[0], list(axes.ravel()), extend="both", **how)
        bar.set_label("difference / error", loc="center", fontsize="x-small")


def _differences(high: float) -> dict[str, Any]:
    import matplotlib as mpl

    colours = mpl.colormaps["RdBu_r"].with_extremes(bad=GREY)
    return {"cmap": colours, "vmin": -high, "vmax": high}


def _image(axes: Axes, image: Array, how: dict[str, Any]) -> Any:
    axes.set(xticks=[], yticks=[])
    axes.minorticks_off()
    return axes.imshow(image, origin="lower", interpolation="nearest", **how)


def _bar(part: Any, shown: Any, axes: Sequence[Axes], **how: Any) -> Any:
    from matplotlib.colors import SymLogNorm

    bar = part.colorbar(shown, ax=axes, pad=0.02, aspect=18, **how)
    if isinstance(shown.norm, SymLogNorm):
        power = 10.0 ** np.floor(np.log10(float(shown.norm.vmax or 1)))
        bar.set_ticks([-power, 0, power])
    bar.ax.tick_params(labelsize="xx-small", which="both", length=2, pad=1)
    bar.ax.minorticks_off()
    return bar
