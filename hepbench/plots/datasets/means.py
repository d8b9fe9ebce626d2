"""Draw a dataset's mean images by class and channel, and their differences."""

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

    from hepbench.plots.datasets.labelled_examples import LabelledExamples
    from hepbench.plots.style import Size
    from hepbench.specs.types import Array


SIDE_BY_SIDE = {"few": 4, "many": 6}
"""Number of images side by side in a wide figure, if there are few lines of them or many."""


FEW = 3


ENOUGH = 5
"""A difference is shown only where both means have at least this many hits in the pixel."""


GREY = "#dadada"


RESOLVED = 0.998
"""Fraction of the differences that the colour scale covers."""


@dataclass(frozen=True)
class Means:
    """The mean images of each class of a dataset.

    Attributes:
        channels: names with units.
        means, errors: (classes, C, H, W), means and their standard errors; NaN for a class without
            examples.
        hits: (classes, C, H, W), number of examples in which the pixel is not 0.
    """

    channels: Sequence[str]
    means: Array
    errors: Array
    hits: Array


def means(shown: LabelledExamples) -> Means:
    """Return the mean images of each class, over all examples."""
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
    shape = (classes, *image)
    whole = (each.reshape(shape) for each in _means_and_errors(sums, weights, squares))
    return Means(shown.names("image", image[0]), *whole)


def _means_and_errors(sums: Array, weights: Array, squares: Array) -> tuple[Array, Array, Array]:
    """Return mean images, their errors and numbers of hits, (classes, pixels) each.

    Args:
        sums: (4, classes, pixels), see ``_sums``.
        weights, squares: (classes, 1), sums of the weights and of their squares.
    """
    first, mixed, second, hits = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first / weights
        scatter = second - 2 * mean * mixed + mean**2 * squares
        return mean, np.sqrt(np.maximum(scatter, 0)) / weights, hits


def _sums(images: Array, weights: Array) -> Array:
    """Return sums over images with weights w, (4, pixels): w x, w^2 x, w^2 x^2, number of hits."""
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
    """Return the difference of two mean images (C, H, W) in units of its error.

    It is class ``label`` of one minus class ``reference`` of the other; NaN in pixels where either
    has fewer than ENOUGH hits.
    """
    error = np.hypot(one.errors[label], other.errors[reference])
    known = np.minimum(one.hits[label], other.hits[reference]) >= ENOUGH
    difference = one.means[label] - other.means[reference]
    return np.divide(difference, error, out=np.full(error.shape, np.nan), where=known & (error > 0))


@dataclass(frozen=True)
class Line:
    """A line of mean images, one for each channel; with ``pulls``, differences / errors."""

    name: str
    images: Array
    pulls: bool = False


def lines(found: Sequence[tuple[str, Means]], classes: Sequence[str]) -> list[Line]:
    """Return the lines of mean images to draw, for one or two sources of a dataset.

    One source: each class, and its difference from the first class. Two sources: each class of
    both, and their difference.
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


def draw(several: Sequence[LabelledExamples], size: Size) -> tuple[list[Figure], list[str]]:
    """Draw the mean images of a dataset, or of its file and its sample with differences.

    Returns:
        As many figures as the channels need, and sentences for the caption.
    """
    found = [(shown.source_name, means(shown)) for shown in several]
    drawn = lines(found, several[0].spec.classes)
    channels = found[0][1].channels
    across = min(_side_by_side(drawn, size), len(channels))
    blocks = style.chunks(len(channels), across)
    # if there are more lines than channels, the lines become columns
    turned = len(drawn) > FEW >= len(channels) and size.width > 5
    wide, tall = (len(drawn), across) if turned else (across, len(drawn))
    most = max(1, int((size.height - 0.5) / (_height(size, wide, tall))))
    figures = [
        _figure(drawn, channels, [blocks[i] for i in some], size, turned=turned)
        for some in style.chunks(len(blocks), most)
    ]
    return figures, _notes(*found[0][1].means.shape[2:])


def _side_by_side(drawn: Sequence[Line], size: Size) -> int:
    most = SIDE_BY_SIDE["few" if len(drawn) <= FEW else "many"]
    return most if size.width > 5 else most // 2


def _height(size: Size, wide: int, tall: int) -> float:
    """Return the height in inches of a block of images."""
    return tall * min((size.width - 0.8) / wide, LARGEST) + 0.65


LARGEST = 1.9
"""Largest width of an image in inches."""


def _figure(
    drawn: Sequence[Line],
    channels: Sequence[str],
    blocks: Sequence[range],
    size: Size,
    *,
    turned: bool,
) -> Figure:
    across = max(map(len, blocks))
    wide, tall = (len(drawn), across) if turned else (across, len(drawn))
    figure = style.blank(size, len(blocks) * _height(size, wide, tall))
    parts: Any = np.atleast_1d(np.asarray(figure.subfigures(len(blocks), 1)))
    high = _highest([line.images for line in drawn if line.pulls])
    for part, block in zip(parts, blocks, strict=True):
        axes = part.subplots(tall, wide, squeeze=False)
        axes = axes.T if turned else axes
        _draw_block(axes, drawn, block, high)
        _draw_names(axes, drawn, [channels[i] for i in block], turned=turned)
        _draw_bars(part, axes[:, : len(block)], drawn, turned=turned)
    return figure


def _notes(height: int, width: int) -> list[str]:
    return [
        f"images of {height} x {width} pixels: means over examples, on a logarithmic scale",
        (
            "differences of two means: in units of their statistical error; grey: fewer than "
            f"{ENOUGH} examples with a hit in one of them"
        ),
    ]


def _highest(images: Sequence[Array]) -> float:
    """Return the upper end of the colour scale for differences, in units of their error."""
    sizes = np.abs(np.concatenate([each[np.isfinite(each)] for each in images] or [np.ones(1)]))
    return max(float(np.quantile(sizes, RESOLVED)), 3.0) if len(sizes) else 3.0


def _draw_block(axes: Array, drawn: Sequence[Line], channels: Sequence[int], high: float) -> None:
    """Draw the mean images of some channels into axes [line, channel]."""
    for column, channel in enumerate(channels):
        means = np.stack([line.images[channel] for line in drawn if not line.pulls])
        scale = style.pixel_colours(means)
        for i, line in enumerate(drawn):
            how = _differences(high) if line.pulls else scale
            _image(axes[i, column], line.images[channel], how)
    for spare in axes[:, len(channels) :].ravel():
        spare.remove()


def _draw_names(
    axes: Array, drawn: Sequence[Line], channels: Sequence[str], *, turned: bool
) -> None:
    """Write the names of lines and channels at the edges of a block of images."""
    for at, name in zip(axes[0], channels, strict=False):
        if turned:
            at.set_ylabel(style.plain(name.replace("_", " ")), loc="center", fontsize=style.SMALL)
        else:
            at.set_title(style.plain(name.replace("_", " ")), fontsize=style.SMALL)
    for at, line in zip(axes[:, 0], drawn, strict=True):
        if turned:
            at.set_title(style.plain(line.name.replace(", ", "\n")), fontsize=style.SMALL)
        else:
            at.set_ylabel(style.plain(line.name), loc="center", fontsize=style.SMALL)


def _draw_bars(part: Any, axes: Array, drawn: Sequence[Line], *, turned: bool) -> None:
    """Add a colour bar for each channel of images, and one for all differences."""
    last = max(i for i, line in enumerate(drawn) if not line.pulls)
    for column in axes.T:
        beside = list(column) if turned else [column[last]]
        _bar(part, column[last].images[0], beside, location="right" if turned else "bottom")
    if pulls := [i for i, line in enumerate(drawn) if line.pulls]:
        # attached to all axes, so that all columns keep the same width
        fraction = 1 / len(drawn)
        how: dict[str, Any] = {"location": "right", "shrink": fraction, "anchor": (0, 0)}
        if turned:
            how = {"location": "bottom", "shrink": 2 * fraction, "anchor": (1, 0)}
        bar = _bar(
            part,
            axes[pulls[0], 0].images[0],
            [ax for ax in axes.ravel() if ax.figure is not None],
            extend="both",
            **how,
        )
        bar.set_label("difference / error", loc="center", fontsize=style.SMALL)


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
    if shown.norm.vmin is not None and shown.norm.vmin > 0:
        bar.set_ticks(_powers(shown.norm.vmin, shown.norm.vmax))
    bar.formatter = style.formatter()
    bar.update_ticks()
    bar.ax.tick_params(which="both", length=2, pad=1)
    bar.ax.minorticks_off()
    return bar


def _powers(low: float, high: float) -> list[float]:
    """Return at most three powers of ten between two numbers."""
    found = [10.0**power for power in range(-12, 13) if low <= 10.0**power <= high]
    return found[:: -max(1, -(-len(found) // 3))][::-1]
