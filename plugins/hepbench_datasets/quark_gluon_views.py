"""Views of quark and gluon jets: scaled or resized images, a table of jet shapes.

The views are made from cached data: the original files need not be read again after a change here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import DataError, SparseImages
from hepbench_datasets import QUARK_GLUON, jet_shapes

if TYPE_CHECKING:
    from hepbench import Array, Inputs

CHANNELS = QUARK_GLUON.inputs["image"].names
SIDE = 125
PADDED = 128
"""Side of a padded image: one row and column of zeros before, two after."""
BATCH = 1000
"""Number of images whose hits are copied at a time, to save memory."""

SUPPRESSED = 1e-3
HCAL_FACTOR, DIVISOR = 25, 100
"""Factors by which the dataset's authors scale pixels; an HCAL tower covers 25 pixels."""
AUTHORS_UNITS = ("100 GeV", "100 GeV", "4 GeV")
"""Units of the pixels in the authors' scale."""
SCALES, SIZES = ("authors", "stored"), (SIDE, PADDED, PADDED // 2)

TOWER_PIXELS = 25
CONE, CORE = 0.5, 0.1
"""Radii around the jet axis in radian: of a jet, and of its core."""
SHAPES = ("mass", "major", "minor", "ptd", "core")

FEATURES = (
    *(f"{name}_{feature}" for name in CHANNELS for feature in ("hits", "inside", "fraction")),
    *(f"{name}_{feature}" for name in CHANNELS for feature in (*SHAPES, "girth")),
)
"""The columns of ``table``; see ``summarise``."""


def prepare(inputs: Inputs, *, size: int, scale: str, **_others: Any) -> Inputs:
    """Return jet images in the chosen scale and size: as stored, padded, or half resolution.

    Args:
        inputs: ``image`` N of (3, 125, 125).
        size: 125 as stored; 128: padded by zeros; 64: padded, then 2 x 2 pixels added up to one.
        scale: ``authors``: as in arXiv:1902.08276, values below .001 become 0, HCAL values are
            multiplied by 25, and all values are divided by 100; ``stored``: the values of the file.

    Raises:
        DataError: ``size`` or ``scale`` is not one of these.
    """
    if size not in SIZES:
        msg = f"quark-gluon: size is {size!r}; the allowed values are {', '.join(map(str, SIZES))}"
        raise DataError(msg)
    if scale not in SCALES:
        msg = f"quark-gluon: scale is {scale!r}; the allowed values are {' and '.join(SCALES)}"
        raise DataError(msg)
    images = inputs["image"]
    if scale == "stored" and size == SIDE:
        return {"image": images}
    starts = range(0, max(len(images), 1), BATCH)
    parts = [images[start : start + BATCH] for start in starts]
    return {"image": SparseImages.concatenate([_prepared(part, size, scale) for part in parts])}


def units(*, scale: str, **_others: Any) -> tuple[str, ...]:
    """Return the units of pixel values that ``prepare`` returns."""
    return AUTHORS_UNITS if scale == "authors" else QUARK_GLUON.inputs["image"].units


def _prepared(images: SparseImages, size: int, scale: str) -> SparseImages:
    rows, positions, values = images.hits()
    if scale == "authors":
        kept = values >= SUPPRESSED
        rows, positions, values = rows[kept], positions[kept], values[kept] / DIVISOR
        values[positions // SIDE**2 == CHANNELS.index("hcal")] *= HCAL_FACTOR
    if size != SIDE:
        channel, place = np.divmod(positions, SIDE**2)
        margin = (PADDED - SIDE) // 2
        row, column = ((axis + margin) // (PADDED // size) for axis in np.divmod(place, SIDE))
        positions = (channel * size + row) * size + column
    image = (len(CHANNELS), size, size)
    return SparseImages.from_hits(rows, positions, values, n=len(images), image=image)


def summarise(inputs: Inputs, **_others: Any) -> Inputs:
    """Return jet shapes computed from images, ``table`` (N, 27) with the columns FEATURES.

    Values below .001 count as 0. For tracks, ECAL and HCAL each:

    - hits: number of hit pixels, for HCAL of towers, in the whole image and within .5 of the
      centre;
    - fraction: of the sum over the three channels, in the units of the file;
    - within .5, see ``jet_shapes.shapes``: mass divided by the sum, major and minor axis, ptD,
      fraction within .1; girth: the mean distance from the centre, weighted by energy.

    The shapes of a layer without hits are 0.
    """
    images = inputs["image"]
    starts = range(0, max(len(images), 1), BATCH)
    tables = [_summaries(images[start : start + BATCH]) for start in starts]
    return {"table": np.concatenate(tables)}


def _summaries(images: SparseImages) -> Array:
    rows, positions, values = images.hits()
    kept = values >= SUPPRESSED
    rows, energy = rows[kept], values[kept].astype(np.float64)
    channel, place = np.divmod(positions[kept], SIDE**2)
    n, counts, columns = len(images), [], []
    whole = np.bincount(rows, energy, n)
    scale = 1 / np.where(whole > 0, whole, 1)
    for i, name in enumerate(CHANNELS):
        some = channel == i
        hits = (rows[some], place[some], energy[some])
        counts += _counts(*hits, n, 1 if name != "hcal" else TOWER_PIXELS)
        counts.append(np.bincount(hits[0], hits[2], n) * scale)
        columns += [*jet_shapes.shapes(*hits, n, cone=CONE, core=CORE), _girth(*hits, n)]
    return np.stack([*counts, *columns], axis=1).astype(np.float32)


def _counts(row: Array, place: Array, _energy: Array, n: int, pixels: int) -> list[Array]:
    """Return the number of hits in each jet image, and in the cone around its jet axis."""
    inside = jet_shapes.distances(place) < CONE
    return [np.bincount(some, minlength=n) / pixels for some in (row, row[inside])]


def _girth(row: Array, place: Array, energy: Array, n: int) -> Array:
    """Return the girth of each jet: the mean distance of its energy from the jet axis."""
    distance = jet_shapes.distances(place)
    energy = energy * (distance < CONE)
    whole = np.bincount(row, energy, n)
    return np.bincount(row, energy * distance, n) / np.where(whole > 0, whole, 1)
