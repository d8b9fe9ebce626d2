"""Views of electrons and photons: selected channels, a table of shower shapes.

The views are made from cached data: the original files need not be read again after a change here.
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
"""Number of images for which shower shapes are computed at a time."""

LOG_WEIGHT = 4.7
"""Crystals with less than exp(-4.7) = 0.9 % of the energy of the 5 x 5 crystals around the hottest
have no weight in sigmas."""
GEV = 1 / 50
FEATURES = (
    *("energy", "hottest", "crystals", "crystals_1_gev"),
    *("r9", "e1_e9", "e2_e9", "e4_e1", "e9_e25", "e25_fraction", "strip_fraction"),
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
"""The units of FEATURES."""


def names(*, channels: Sequence[str], **_others: Any) -> tuple[str, ...]:
    """Return the names of the channels that ``select`` returns."""
    return tuple(channels)


def units(*, channels: Sequence[str], **_others: Any) -> tuple[str, ...]:
    """Return the units of the channels that ``select`` returns."""
    return tuple({"energy": ENERGY, "time": TIME}[name] for name in channels)


def select(inputs: Inputs, *, channels: Sequence[str], **_others: Any) -> Inputs:
    """Return the images with only the chosen channels, in the given order.

    Raises:
        DataError: ``channels`` is empty, has one channel twice, or an unknown channel.
    """
    images, wanted = inputs["image"], list(channels)
    if not wanted or len({*wanted}) < len(wanted) or not {*wanted} <= {*CHANNELS}:
        msg = (
            f"{ELECTRON_PHOTON.name}: channels is {wanted}; one or more of {', '.join(CHANNELS)}, "
            "each once, are allowed"
        )
        raise DataError(msg)
    if tuple(wanted) == CHANNELS:
        return {"image": images}
    rows, positions, values = images.hits()
    channel, place = np.divmod(positions, SIDE**2)
    # -1 for channels that are left out
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
    """Return shower shapes computed from images, ``table`` (N, 25) with the columns FEATURES.

    Lengths are in crystals, energies and times in the units of the image. Names and definitions are
    those of CMS, JINST 10 P08010 and P06005 (2015), where CMS has one; the supercluster is the
    whole image. Windows are centred on the hottest crystal; E3x3 is the energy in 3 x 3 crystals.

    - total energy; energy E1 of the hottest crystal; number of crystals with energy, and with more
      than 1 GeV;
    - r9: E3x3 / total; E1 / E3x3, and the same with the two hottest crystals; the four crystals
      that share a side with the hottest / E1; E3x3 / E5x5; E5x5 / total, and five rows of crystals
      along phi / total;
    - sigmas in 5 x 5 crystals and their covariance: square roots of second moments with the weights
      max(0, 4.7 + ln(E / E5x5));
    - widths: square roots of the energy's second moments along eta, along phi, and along the longer
      and the shorter axis of the ellipse; distance of the mean from the hottest crystal;
    - asymmetries: energy on one side of the hottest crystal minus energy on the other, / total;
    - times: of the hottest crystal; mean and spread, weighted by energy.

    All features of an empty image are 0.
    """
    images = inputs["image"]
    starts = range(0, max(len(images), 1), BATCH)
    tables = [
        np.stack(list(_shapes(images[start : start + BATCH])), axis=1).astype(np.float32)
        for start in starts
    ]
    return {"table": np.concatenate(tables)}


def _shapes(images: SparseImages) -> Iterator[Array]:
    """Yield the shower shapes of some images, (n,) each, in the order of FEATURES."""
    energy, time = images.dense().astype(np.float64).transpose(1, 0, 2, 3)
    total = energy.sum(axis=(1, 2))
    hottest = energy.reshape(len(images), SIDE**2).argmax(axis=1)
    row, column = np.divmod(hottest, SIDE)
    around = _window(energy, row, column, 2)
    eta, phi = np.arange(SIDE) - row[:, None], np.arange(SIDE) - column[:, None]
    yield from _ratios(energy, around, total)
    yield _ratio((energy.sum(axis=2) * (np.abs(eta) <= 2)).sum(axis=1), total)
    yield from _sigmas(around)
    yield from _widths(energy, eta, phi)
    yield _ratio((energy.sum(axis=2) * np.sign(eta)).sum(axis=1), total)
    yield _ratio((energy.sum(axis=1) * np.sign(phi)).sum(axis=1), total)
    mean = _ratio((energy * time).sum(axis=(1, 2)), total)
    away = (time - mean[:, None, None]) ** 2
    yield from (np.where(total > 0, time[np.arange(len(row)), row, column], 0), mean)
    yield np.sqrt(_ratio((energy * away).sum(axis=(1, 2)), total))


def _ratios(energy: Array, around: Array, total: Array) -> Iterator[Array]:
    """Yield shower shapes: energies, numbers of crystals, and ratios of energies in windows."""
    n = len(energy)
    e1, e9, e25 = around[:, 2, 2], around[:, 1:4, 1:4].sum(axis=(1, 2)), around.sum(axis=(1, 2))
    beside = np.stack([around[:, 1, 2], around[:, 3, 2], around[:, 2, 1], around[:, 2, 3]])
    second = np.sort(around[:, 1:4, 1:4].reshape(n, 9), axis=1)[:, -2]
    yield from (total, e1, (energy > 0).sum(axis=(1, 2)), (energy > GEV).sum(axis=(1, 2)))
    yield from (_ratio(e9, total), _ratio(e1, e9), _ratio(e1 + second, e9))
    yield from (_ratio(beside.sum(axis=0), e1), _ratio(e9, e25), _ratio(e25, total))


def _sigmas(around: Array) -> Iterator[Array]:
    """Yield sigma_ieta_ieta, sigma_iphi_iphi and their covariance, from 5 x 5 crystals."""
    n, e25 = len(around), around.sum(axis=(1, 2))
    fraction = _ratio(around, e25[:, None, None])
    weight = np.maximum(LOG_WEIGHT + np.log(np.maximum(fraction, 1e-9)), 0)
    steps = np.arange(-2, 3)
    _, _, eta_eta, phi_phi, eta_phi = _moments(
        weight, np.broadcast_to(steps, (n, 5)), np.broadcast_to(steps, (n, 5))
    )
    yield from (np.sqrt(eta_eta), np.sqrt(phi_phi), eta_phi)


def _widths(energy: Array, eta: Array, phi: Array) -> Iterator[Array]:
    """Yield shower widths along eta, phi, major and minor axis, and shifts of the mean."""
    eta_mean, phi_mean, eta_eta, phi_phi, eta_phi = _moments(energy, eta, phi)
    half, spread = (eta_eta + phi_phi) / 2, np.hypot((eta_eta - phi_phi) / 2, eta_phi)
    yield from (np.sqrt(eta_eta), np.sqrt(phi_phi))
    yield from (np.sqrt(half + spread), np.sqrt(np.maximum(half - spread, 0)), eta_mean, phi_mean)


def _window(energy: Array, row: Array, column: Array, reach: int) -> Array:
    """Return the square window around one crystal of each image, with 0 outside the image."""
    wide = np.pad(energy, ((0, 0), (reach, reach), (reach, reach)))
    steps = np.arange(2 * reach + 1)
    rows, columns = row[:, None] + steps, column[:, None] + steps
    return wide[np.arange(len(row))[:, None, None], rows[:, :, None], columns[:, None]]


def _moments(weight: Array, eta: Array, phi: Array) -> tuple[Array, ...]:
    """Return weighted means, variances and covariance of eta and phi, (n,) each.

    Args:
        weight: (n, R, C), not negative.
        eta, phi: (n, R) and (n, C), coordinates of rows and columns.
    """
    whole = weight.sum(axis=(1, 2))
    rows, columns = weight.sum(axis=2), weight.sum(axis=1)
    eta_mean, phi_mean = (
        _ratio((rows * eta).sum(axis=1), whole),
        _ratio((columns * phi).sum(axis=1), whole),
    )
    from_eta, from_phi = eta - eta_mean[:, None], phi - phi_mean[:, None]
    product = (weight * from_eta[:, :, None] * from_phi[:, None]).sum(axis=(1, 2))
    return (
        eta_mean,
        phi_mean,
        _ratio((rows * from_eta**2).sum(axis=1), whole),
        _ratio((columns * from_phi**2).sum(axis=1), whole),
        _ratio(product, whole),
    )


def _ratio(part: Array, whole: Array) -> Array:
    """Return ``part / whole``, 0 where ``whole`` is 0."""
    return part / np.where(whole > 0, whole, 1) * (whole > 0)
