"""Views of boosted jets: images padded or halved, a table of what they show; augmentations.

A change here needs no second reading of the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import DataError, SparseImages
from hepbench_datasets import BOOSTED_JETS, jet_shapes, symmetries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from hepbench import Array, Inputs

CHANNELS = BOOSTED_JETS.inputs["image"].names
SIGNED = ("track_d0", "track_dz")
SIDE = 125
PADDED = 128
"""One row and column of zeros are added before, two behind."""
SIZES = (SIDE, PADDED, PADDED // 2)
BATCH = 1000
"""Images whose hits are in memory more than once at a time."""

TOWER_PIXELS = 25
CONE, CORE = 0.8, 0.2
"""Radian around the middle: what counts for shapes, and what is the core of a jet."""
ENERGIES = {"track": "track_pt", "ecal": "ecal", "hcal": "hcal"}
LAYERS = ("pixel_1", "pixel_2", "pixel_3")
LEADING = (1, 2, 3, 5)
"""Which of the largest impact parameters are taken."""
DISPLACED_CM = 0.02

FEATURES = (
    *(f"{name}_hits" for name in ("track", "ecal", "hcal", *LAYERS)),
    *(f"{name}_{what}" for name in ENERGIES for what in ("mass", "major", "minor", "ptd", "core")),
    *(f"{name}_{rank}" for name in ("d0", "dz") for rank in LEADING),
    "displaced",
)
"""The columns of ``table``; see ``summarise``."""


def resize(inputs: Inputs, *, size: int, **_others: Any) -> Inputs:
    """Return the images as stored, padded by zeros to 128 x 128, or at half the resolution: of 64 x 64.

    For the latter they are padded too, and 2 x 2 pixels become one. Momenta, energies and hits are
    added up. d0 and dz, which belong to the hardest track of a pixel, are taken from that one of the
    four that has the most track pt; sums or means of them would belong to no track.

    Raises:
        DataError: ``size`` is another number.
    """
    if size not in SIZES:
        msg = f"boosted-jets: size is {size!r}; {', '.join(map(str, SIZES))} are allowed"
        raise DataError(msg)
    images = inputs["image"]
    if size == SIDE:
        return {"image": images}
    starts = range(0, max(len(images), 1), BATCH)
    made = [_resized(images[start : start + BATCH], size) for start in starts]
    return {"image": SparseImages.concatenate(made)}


def _resized(images: SparseImages, size: int) -> SparseImages:
    rows, positions, values = images.hits()
    channel, place = np.divmod(positions, SIDE**2)
    margin = (PADDED - SIDE) // 2
    row, column = ((axis + margin) // (PADDED // size) for axis in np.divmod(place, SIDE))
    block = row * size + column
    kept = _of_hardest(rows, channel, place, block, values)
    return SparseImages.from_hits(
        rows[kept],
        (channel * size**2 + block)[kept],
        values[kept],
        n=len(images),
        image=(len(CHANNELS), size, size),
    )


def _of_hardest(rows: Array, channel: Array, place: Array, block: Array, values: Array) -> Array:
    """Return which hits are kept: d0 and dz of one pixel of a block alone, and all others."""
    kept = np.ones(len(rows), bool)
    key = rows * PADDED**2 + block
    pixel = rows * SIDE**2 + place
    tracks = channel == CHANNELS.index("track_pt")
    for name in SIGNED:
        some = np.flatnonzero(channel == CHANNELS.index(name))
        # a pixel with tracks is a candidate whatever its d0 is, one with d0 whatever its pt
        blocks = np.concatenate([key[some], key[tracks]])
        pixels = np.concatenate([pixel[some], pixel[tracks]])
        pt = np.concatenate([np.zeros(len(some)), values[tracks]])
        order = np.lexsort((-pixels, pt, blocks))
        last = np.flatnonzero(np.diff(blocks[order], append=-1))
        kept[some] = np.isin(pixel[some], pixels[order[last]])
    return kept


def summarise(inputs: Inputs, **_others: Any) -> Inputs:
    """Return what the stored images show as a ``table`` (N, 30) float32, by columns FEATURES.

    - hits: pixels of tracks and ECAL, towers of HCAL, hits of the pixel layers;
    - of tracks, ECAL and HCAL within 0.8 of the middle, whatever their units, see
      ``jet_shapes.shapes``: mass over sum, major and minor axis, ptD, the share within 0.2;
    - the largest, second, third and fifth impact parameters d0 and dz, whatever their sign, as
      log(1 + |d| / 0.01), and how many d0 are above 0.02, both in cm where the file has cm.

    Of an image without any hit in a layer the shapes are 0.
    """
    images = inputs["image"]
    starts = range(0, max(len(images), 1), BATCH)
    tables = [_summaries(images[start : start + BATCH]) for start in starts]
    return {"table": np.concatenate(tables)}


def _summaries(images: SparseImages) -> Array:
    rows, positions, values = images.hits()
    channel, place = np.divmod(positions, SIDE**2)
    n = len(images)
    hits = {}
    for i, name in enumerate(CHANNELS):
        some = channel == i
        hits[name] = (rows[some], place[some], values[some].astype(np.float64))
    columns = [np.bincount(hits[name][0], minlength=n) for name in ENERGIES.values()]
    columns[-1] = columns[-1] / TOWER_PIXELS
    columns += [np.bincount(hits[name][0], hits[name][2], n) for name in LAYERS]
    for name in ENERGIES.values():
        columns += jet_shapes.shapes(*hits[name], n, cone=CONE, core=CORE)
    for name in SIGNED:
        columns += _largest(hits[name][0], np.abs(hits[name][2]), n)
    row, _, d0 = hits["track_d0"]
    columns.append(np.bincount(row[np.abs(d0) > DISPLACED_CM], minlength=n))
    return np.stack(columns, axis=1).astype(np.float32)


def _largest(row: Array, values: Array, n: int) -> list[Array]:
    """Return the values of the ranks LEADING in each row, 0 where there are fewer."""
    counts = np.bincount(row, minlength=n)
    ordered = values[np.lexsort((-values, row))]
    starts = np.cumsum(counts) - counts
    found = []
    for rank in LEADING:
        there = counts >= rank
        column = np.zeros(n)
        column[there] = np.log1p(100 * ordered[starts[there] + rank - 1])
        found.append(column)
    return found


def flips(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Mirror each image of a batch in eta, in phi, in both or in none, by chance.

    Seen from the collision, (dz, d0) is a vector along (eta, phi): where a particle decays in flight,
    tracks at larger phi have smaller d0, and tracks at larger eta smaller dz. So d0 changes its sign
    where phi is mirrored, dz where eta is. That is done where they have a sign: where nothing in the
    batch is on one side of what empty pixels hold, be it 0 or shifted by preprocessing, it is not.
    """
    images = inputs["image"]
    for axis, name in ((2, "track_dz"), (3, "track_d0")):
        mirrored = images.flip(axis)
        layer = mirrored[:, CHANNELS.index(name)]
        empty = layer[:1].median()
        if (layer < empty).any() and (layer > empty).any():
            layer.neg_().add_(2 * empty)
        images = symmetries.by_chance(images, mirrored)
    return {**inputs, "image": images}


def transpose(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Exchange eta and phi of each image of a batch, and so dz and d0, by chance.

    No symmetry of the detector, whose field bends tracks in phi alone and which measures d0 better,
    but nearly one of the flow of energy in a jet.
    """
    images = inputs["image"]
    channels = list(range(images.shape[1]))
    d0, dz = (CHANNELS.index(name) for name in SIGNED)
    channels[d0], channels[dz] = dz, d0
    turned = images[:, channels].transpose(2, 3)
    return {**inputs, "image": symmetries.by_chance(images, turned)}
