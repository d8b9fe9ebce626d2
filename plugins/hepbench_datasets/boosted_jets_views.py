"""Views of boosted jets: padded or halved images, a table of jet shapes; augmentations.

The views are made from cached data: the original files need not be read again after a change here.
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
"""Side of a padded image: one row and column of zeros before, two after."""
SIZES = (SIDE, PADDED, PADDED // 2)
BATCH = 1000
"""Number of images whose hits are copied at a time, to save memory."""

TOWER_PIXELS = 25
CONE, CORE = 0.8, 0.2
"""Radii around the jet axis in radian: of the hits used for jet shapes, and of a jet's core."""
ENERGIES = {"track": "track_pt", "ecal": "ecal", "hcal": "hcal"}
LAYERS = ("pixel_1", "pixel_2", "pixel_3")
LEADING = (1, 2, 3, 5)
"""The impact parameters that become features: the largest, second, third and fifth."""
DISPLACED_CM = 0.02

FEATURES = (
    *(f"{name}_hits" for name in ("track", "ecal", "hcal", *LAYERS)),
    *(f"{name}_{what}" for name in ENERGIES for what in ("mass", "major", "minor", "ptd", "core")),
    *(f"{name}_{rank}" for name in ("d0", "dz") for rank in LEADING),
    "displaced",
)
"""The columns of ``table``; see ``summarise``."""


def resize(inputs: Inputs, *, size: int, **_others: Any) -> Inputs:
    """Return jet images of another size: as stored (125), padded (128), half resolution (64).

    For 64 x 64, images are padded first and then 2 x 2 pixels become one. Momenta, energies and
    hits are added up. d0 and dz belong to the hardest track of a pixel, so they are taken from the
    one of the four pixels with the most track pt; their sum or mean would belong to no track.

    Raises:
        DataError: ``size`` is another number.
    """
    if size not in SIZES:
        msg = f"boosted-jets: size is {size!r}; the allowed values are {', '.join(map(str, SIZES))}"
        raise DataError(msg)
    images = inputs["image"]
    if size == SIDE:
        return {"image": images}
    starts = range(0, max(len(images), 1), BATCH)
    resized = [_resized(images[start : start + BATCH], size) for start in starts]
    return {"image": SparseImages.concatenate(resized)}


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
    """Select the hits to keep in a smaller image: d0 and dz of one pixel per block, all others."""
    kept = np.ones(len(rows), bool)
    key = rows * PADDED**2 + block
    pixel = rows * SIDE**2 + place
    tracks = channel == CHANNELS.index("track_pt")
    for name in SIGNED:
        some = np.flatnonzero(channel == CHANNELS.index(name))
        # candidates are all pixels with tracks, and all pixels with d0 or dz
        blocks = np.concatenate([key[some], key[tracks]])
        pixels = np.concatenate([pixel[some], pixel[tracks]])
        pt = np.concatenate([np.zeros(len(some)), values[tracks]])
        order = np.lexsort((-pixels, pt, blocks))
        last = np.flatnonzero(np.diff(blocks[order], append=-1))
        kept[some] = np.isin(pixel[some], pixels[order[last]])
    return kept


def summarise(inputs: Inputs, **_others: Any) -> Inputs:
    """Return jet shapes computed from images, ``table`` (N, 30) with the columns FEATURES.

    - hits: number of pixels with tracks and in ECAL, of towers in HCAL, of hits in the pixel
      layers;
    - jet shapes of tracks, ECAL and HCAL within 0.8 of the centre, see ``jet_shapes.shapes``: mass
      divided by the sum, major and minor axis, ptD, fraction within 0.2; they do not depend on the
      units;
    - the largest, second, third and fifth absolute values of the impact parameters d0 and dz, as
      log(1 + |d| / 0.01), and the number of |d0| above 0.02, both in cm if the file is in cm.

    The shapes of a layer without hits are 0.
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
    """Return the largest values of each row, of the ranks LEADING; 0 where a row has too few."""
    counts = np.bincount(row, minlength=n)
    ordered = values[np.lexsort((-values, row))]
    starts = np.cumsum(counts) - counts
    found = []
    for rank in LEADING:
        has_rank = counts >= rank
        column = np.zeros(n)
        column[has_rank] = np.log1p(100 * ordered[starts[has_rank] + rank - 1])
        found.append(column)
    return found


def flips(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Mirror each jet image of a batch at random: in eta, in phi, in both or not at all.

    Seen from the collision, (dz, d0) is a vector along (eta, phi): if a particle decays in flight,
    tracks at larger phi have smaller d0, and tracks at larger eta smaller dz. So mirroring phi
    changes the sign of d0, and mirroring eta the sign of dz. The sign is changed only in channels
    with values on both sides of the value of empty pixels (0, or shifted by preprocessing): other
    channels hold absolute values.
    """
    images = inputs["image"]
    for axis, name in ((2, "track_dz"), (3, "track_d0")):
        mirrored = images.flip(axis)
        layer = mirrored[:, CHANNELS.index(name)]
        empty = layer[:1].median()
        if (layer < empty).any() and (layer > empty).any():
            layer.neg_().add_(2 * empty)
        images = symmetries.apply_to_half(images, mirrored)
    return {**inputs, "image": images}


def transpose(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Exchange eta and phi (and dz and d0) of each jet image in a batch with probability 1/2.

    The detector does not have this symmetry, because its field bends tracks in phi only and it
    measures d0 better than dz. The flow of energy in a jet nearly has it.
    """
    images = inputs["image"]
    channels = list(range(images.shape[1]))
    d0, dz = (CHANNELS.index(name) for name in SIGNED)
    channels[d0], channels[dz] = dz, d0
    turned = images[:, channels].transpose(2, 3)
    return {**inputs, "image": symmetries.apply_to_half(images, turned)}
