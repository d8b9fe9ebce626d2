"""Mean images of a dataset by class and channel, and where two means differ by more than chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.plots import style
from hepbench.sparse import SparseImages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.plots.labelled import Labelled
    from hepbench.specs import Array

ACROSS = 4
PANEL = 2.1
"""Inches of an image."""
REACH = 0.998
"""Share of the pixels whose differences the colours tell apart."""


@dataclass(frozen=True)
class Means:
    """Mean images.

    Attributes:
        channels: their names, with units.
        means, errors: (classes, C, H, W), and the standard errors of the means; NaN of a class
            without any example.
    """

    channels: Sequence[str]
    means: Array
    errors: Array


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
    first, mixed, second = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first / weights
        left = second - 2 * mean * mixed + mean**2 * squares
        errors = np.sqrt(np.maximum(left, 0)) / weights
    shape = (classes, *image)
    return Means(shown.names("image", image[0]), mean.reshape(shape), errors.reshape(shape))


def _sums(images: Array, weights: Array) -> Array:
    """Return the sums over images of w x, w^2 x and w^2 x^2, (3, pixels)."""
    size = int(np.prod(images.shape[1:]))
    if isinstance(images, SparseImages):
        rows, positions, values = images.hits()
        w, x = weights[rows], values.astype(np.float64)
        return np.stack([np.bincount(positions, v, size) for v in (w * x, w**2 * x, (w * x) ** 2)])
    flat = np.asarray(images, np.float64).reshape(len(images), size)
    return np.stack([weights @ flat, weights**2 @ flat, weights**2 @ flat**2])


def pull(one: tuple[Array, Array], other: tuple[Array, Array]) -> Array:
    """Return the difference of two means (mean, error) in units of its error; 0 / 0 is NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = (one[0] - other[0]) / np.hypot(one[1], other[1])
    return found


# --- drawing


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
    if len(found) == 1:
        ((_, only),) = found
        each = [(name, (only.means[i], only.errors[i])) for i, name in enumerate(classes)]
        (first, reference), *others = each
        pulls = [Line(f"{name} \N{MINUS SIGN} {first}", pull(at, reference), pulls=True)
                 for name, at in others]  # fmt: skip
        return [*(Line(name, mean) for name, (mean, _) in each), *pulls]
    (one, a), (two, b) = found
    made = []
    for i, name in enumerate(classes):
        made += [Line(f"{name}, {one}", a.means[i]), Line(f"{name}, {two}", b.means[i])]
        both = pull((b.means[i], b.errors[i]), (a.means[i], a.errors[i]))
        made.append(Line(f"{name}, {two} \N{MINUS SIGN} {one}", both, pulls=True))
    return made


def draw(several: Sequence[Labelled]) -> tuple[Figure, list[str]]:
    """Draw the mean images of one dataset, or of its sample against its files; return what must be
    said below.
    """
    from matplotlib.figure import Figure

    found = [("sample" if shown.simulated else "file", means(shown)) for shown in several]
    drawn = lines(found, several[0].spec.classes)
    channels = found[0][1].channels
    blocks = [range(i, min(i + ACROSS, len(channels))) for i in range(0, len(channels), ACROSS)]
    across = min(ACROSS, len(channels))
    height = PANEL * len(drawn) + 0.9
    width = across * PANEL + 1.5
    figure = Figure(figsize=(max(width, style.WIDTH), height * len(blocks)), layout="constrained")
    parts: Any = figure.subfigures(len(blocks), 1)
    high = _reach([line.images for line in drawn if line.pulls])
    for part, block in zip(np.atleast_1d(parts), blocks, strict=True):
        axes = part.subplots(len(drawn), across, squeeze=False)
        _draw_block(part, axes, drawn, [channels[i] for i in block], block, high)
    shape = found[0][1].means.shape[2:]
    notes = [
        f"images of {shape[0]} x {shape[1]} pixels, means over examples on a logarithmic scale; below: "
        "differences of two means in units of their statistical error"
    ]
    return figure, notes


def _reach(images: Sequence[Array]) -> float:
    """Return the largest difference that colours tell apart."""
    sizes = np.abs(np.concatenate([each[np.isfinite(each)] for each in images] or [np.ones(1)]))
    return max(float(np.quantile(sizes, REACH)), 3.0) if len(sizes) else 3.0


def _draw_block(
    part: Any,
    axes: Array,
    drawn: Sequence[Line],
    names: Sequence[str],
    block: range,
    high: float,
) -> None:
    plain = [i for i, line in enumerate(drawn) if not line.pulls]
    for column, (channel, name) in enumerate(zip(block, names, strict=True)):
        scale = style.pixels(np.stack([drawn[i].images[channel] for i in plain]))
        for i, line in enumerate(drawn):
            how = {"cmap": "RdBu_r", "vmin": -high, "vmax": high} if line.pulls else scale
            shown = _image(axes[i, column], line.images[channel], how)
            if not line.pulls:
                last = shown
        axes[0, column].set_title(style.plain(name), fontsize="small")
        _bar(part, last, [axes[i, column] for i in plain[-1:]], location="bottom")
    for spare in axes[:, len(names) :].ravel():
        spare.set_axis_off()
    for i, line in enumerate(drawn):
        axes[i, 0].set_ylabel(style.plain(line.name), loc="center", fontsize="small")
        if line.pulls:
            bar = _bar(part, axes[i, 0].images[0], list(axes[i]), location="right", extend="both")
            bar.set_label("difference / error", loc="center", fontsize="x-small")


def _image(axes: Axes, image: Array, how: dict[str, Any]) -> Any:
    axes.set(xticks=[], yticks=[])
    axes.minorticks_off()
    return axes.imshow(image, origin="lower", interpolation="nearest", **how)


def _bar(part: Any, shown: Any, axes: Sequence[Axes], **how: Any) -> Any:
    bar = part.colorbar(shown, ax=axes, pad=0.02, aspect=18, **how)
    bar.ax.tick_params(labelsize="xx-small", which="both", length=2, pad=1)
    bar.ax.minorticks_off()
    return bar

