"""Views of electrons and photons: chosen channels, a table of shower shapes.

A change here needs no second reading of the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import DataError, SparseImages
from hepbench_datasets import ELECTRON_PHOTON

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hepbench import Array, Inputs

CHANNELS = ELECTRON_PHOTON.inputs["image"].names
SIDE = 32
BATCH = 1000
"""Images that are dense in memory at a time."""

LOG_WEIGHT = 4.7
"""Crystals below exp(-4.7), 0.9 %, of the 5 x 5 around the hottest have no weight in sigmas."""
GEV = 1 / 50
FEATURES = (
    *("energy", "hottest", "crystals", "crystals_1_gev"),
    *("r9", "e1_e9", "e2_e9", "e4_e1", "e9_e25", "e25_share", "strip_share"),
    *("sigma_ieta_ieta", "sigma_iphi_iphi", "cov_ieta_iphi"),
    *("eta_width", "phi_width", "major", "minor", "eta_shift", "phi_shift"),
    *("eta_asymmetry", "phi_asymmetry"),
    *("time_hottest", "time_mean", "time_spread"),
)
"""The columns of ``table``; see ``summarise``."""
ENERGY, TIME = ELECTRON_PHOTON.inputs["image"].units
UNITS = (
    *(ENERGY, ENERGY, "", ""),
    *[""] * 7,
    *("crystals", "crystals", "crystals²"),
    *["crystals"] * 6,
    *("", ""),
    *(TIME, TIME, TIME),
)
"""Of FEATURES."""


def names(*, channels: Sequence[str], **_others: Any) -> tuple[str, ...]:
    """Return what the channels of ``select`` are called."""
    return tuple(channels)


def units(*, channels: Sequence[str], **_others: Any) -> tuple[str, ...]:
    """Return their units."""
    return tuple({"energy": ENERGY, "time": TIME}[name] for name in channels)


def select(inputs: Inputs, *, channels: Sequence[str], **_others: Any) -> Inputs:
    """Return the images with some of their channels, in the given order.

    Raises:
        DataError: ``channels`` are none, one twice, or one that there is not.
    """
    images, wanted = inputs["image"], list(channels)
    if not wanted or len({*wanted}) < len(wanted) or not {*wanted} <= {*CHANNELS}:
        msg = f"{ELECTRON_PHOTON.name}: channels is {wanted}; some of {', '.join(CHANNELS)} are allowed"
        raise DataError(msg)
    if tuple(wanted) == CHANNELS:
        return {"image": images}
    rows, positions, values = images.hits()
    channel, place = np.divmod(positions, SIDE**2)
    # of a channel that is left out -1
    where = np.array([wanted.index(name) if name in wanted else -1 for name in CHANNELS])[channel]
    kept = where >= 0
    chosen = SparseImages.from_hits(
        rows[kept],
        (where * SIDE**2 + place)[kept],
        values[kept],
        n=len(images),
        image=(len(wanted), SIDE, SIDE),
    )
    return {"image": chosen}


def summarise(inputs: Inputs, **_others: Any) -> Inputs:
    """Return shower shapes as a ``table`` (N, 25) float32, by columns FEATURES.

    Lengths are in crystals, energies and times in the units of the image. Names and definitions are
    those of CMS, JINST 10 P08010 and P06005 (2015), where they have one; the supercluster is all
    that is in the image. Windows are around the hottest crystal; E3x3 is the energy in 3 x 3.

    - all energy; of the hottest crystal E1; crystals with energy, and with more than 1 GeV;
    - r9: E3x3 over all; E1, and the two hottest, over E3x3; the four neighbours by a side, together
      over E1; E3x3 over E5x5; over all E5x5, and five rows of crystals along phi;
    - sigmas in 5 x 5 and their covariance: roots of second moments with the weights
      max(0, 4.7 + ln(E / E5x5));
    - widths: roots of second moments of energy along eta, phi, and the longer and the shorter axis
      of their ellipse; how far the mean is from the hottest crystal;
    - asymmetries: energy above less energy below the hottest crystal, over all;
    - times: of the hottest crystal; mean and spread, weighted by energy.

    Of an image without energy all are 0.
    """
    images = inputs["image"]
    starts = range(0, max(len(images), 1), BATCH)
    tables = [
        np.stack(list(_shapes(images[start : start + BATCH])), axis=1).astype(np.float32)
        for start in starts
    ]
    return {"table": np.concatenate(tables)}


def _shapes(images: SparseImages) -> Iterator[Array]:
    """Yield the columns of FEATURES, (n,) each."""
    n = len(images)
    energy, time = images.dense().astype(np.float64).transpose(1, 0, 2, 3)
    total = energy.sum(axis=(1, 2))
    row, column = np.divmod(energy.reshape(n, SIDE**2).argmax(axis=1), SIDE)
    around = _window(energy, row, column, 2)
    e1, e9, e25 = around[:, 2, 2], around[:, 1:4, 1:4].sum(axis=(1, 2)), around.sum(axis=(1, 2))
    beside = np.stack([around[:, 1, 2], around[:, 3, 2], around[:, 2, 1], around[:, 2, 3]])
    second = np.sort(around[:, 1:4, 1:4].reshape(n, 9), axis=1)[:, -2]
    eta, phi = np.arange(SIDE) - row[:, None], np.arange(SIDE) - column[:, None]
    by_row, by_column = energy.sum(axis=2), energy.sum(axis=1)
    yield from (total, e1, (energy > 0).sum(axis=(1, 2)), (energy > GEV).sum(axis=(1, 2)))
    yield from (_over(e9, total), _over(e1, e9), _over(e1 + second, e9))
    yield from (_over(beside.sum(axis=0), e1), _over(e9, e25), _over(e25, total))
    yield _over((by_row * (np.abs(eta) <= 2)).sum(axis=1), total)
    share = _over(around, e25[:, None, None])
    weight = np.maximum(LOG_WEIGHT + np.log(np.maximum(share, 1e-9)), 0)
    steps = np.arange(-2, 3)
    _, _, eta_eta, phi_phi, eta_phi = _moments(
        weight, np.broadcast_to(steps, (n, 5)), np.broadcast_to(steps, (n, 5))
    )
    yield from (np.sqrt(eta_eta), np.sqrt(phi_phi), eta_phi)
    eta_mean, phi_mean, eta_eta, phi_phi, eta_phi = _moments(energy, eta, phi)
    half, spread = (eta_eta + phi_phi) / 2, np.hypot((eta_eta - phi_phi) / 2, eta_phi)
    yield from (np.sqrt(eta_eta), np.sqrt(phi_phi))
    yield from (np.sqrt(half + spread), np.sqrt(np.maximum(half - spread, 0)), eta_mean, phi_mean)
    yield _over((by_row * np.sign(eta)).sum(axis=1), total)
    yield _over((by_column * np.sign(phi)).sum(axis=1), total)
    mean = _over((energy * time).sum(axis=(1, 2)), total)
    away = (time - mean[:, None, None]) ** 2
    yield from (np.where(total > 0, time[np.arange(n), row, column], 0), mean)
    yield np.sqrt(_over((energy * away).sum(axis=(1, 2)), total))


def _window(energy: Array, row: Array, column: Array, reach: int) -> Array:
    """Return (n, 2 reach + 1, 2 reach + 1) around a crystal each; 0 beyond the image."""
    wide = np.pad(energy, ((0, 0), (reach, reach), (reach, reach)))
    steps = np.arange(2 * reach + 1)
    rows, columns = row[:, None] + steps, column[:, None] + steps
    return wide[np.arange(len(row))[:, None, None], rows[:, :, None], columns[:, None]]


def _moments(weight: Array, eta: Array, phi: Array) -> tuple[Array, ...]:
    """Return means of eta and phi, their variances, and the covariance, (n,) each.

    Args:
        weight: (n, R, C), none below 0.
        eta, phi: (n, R) and (n, C), of rows and columns.
    """
    whole = weight.sum(axis=(1, 2))
    rows, columns = weight.sum(axis=2), weight.sum(axis=1)
    eta_mean, phi_mean = (
        _over((rows * eta).sum(axis=1), whole),
        _over((columns * phi).sum(axis=1), whole),
    )
    from_eta, from_phi = eta - eta_mean[:, None], phi - phi_mean[:, None]
    product = (weight * from_eta[:, :, None] * from_phi[:, None]).sum(axis=(1, 2))
    return (
        eta_mean,
        phi_mean,
        _over((rows * from_eta**2).sum(axis=1), whole),
        _over((columns * from_phi**2).sum(axis=1), whole),
        _over(product, whole),
    )


def _over(part: Array, whole: Array) -> Array:
    """Return part over whole, 0 where whole is 0."""
    return part / np.where(whole > 0, whole, 1) * (whole > 0)
