"""A dataset: jets as clouds of particles, read from two npy files or made up.

``particles.npy`` is (N, 30, 3): pt in GeV, and eta and phi relative to the jet axis, of up to 30
particles, the hardest first; rows of zeros are padding. ``labels.npy`` is (N,): 0 for a QCD jet,
1 for a W jet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench import DataError, Examples
from hepbench_example import CLOUDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

    from hepbench import Array, Inputs, Role

PARTICLES, FEATURES = CLOUDS.inputs["cloud"].shape
SAMPLE_SIZE = 3000
"""Number of made-up jets."""
CHUNK = 5000
"""Number of jets that are read at once: 2 MB."""


def read(folder: Path) -> Iterator[tuple[Role, Examples]]:
    """Yield the jets of ``particles.npy`` and ``labels.npy``, 5000 at a time.

    Raises:
        DataError: a file is missing, damaged or has another layout, or a value is impossible.
    """
    particles = _open_npy(folder / "particles.npy", (PARTICLES, FEATURES))
    labels = _open_npy(folder / "labels.npy", ())
    if len(particles) != len(labels):
        msg = f"example-clouds: {len(particles)} jets in particles.npy, {len(labels)} in labels.npy"
        raise DataError(msg)
    for start in range(0, len(labels), CHUNK):
        rows = slice(start, start + CHUNK)
        yield "labelled", _examples(particles[rows], labels[rows], first=start)


def _open_npy(path: Path, shape: tuple[int, ...]) -> Array:
    """Open an npy file without reading it: its rows are read when they are used."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        msg = f"example-clouds: {path.name}: {error}; an npy file is expected"
        raise DataError(msg) from error
    if array.ndim != 1 + len(shape) or array.shape[1:] != shape:
        msg = f"example-clouds: {path.name}: shape {array.shape}; {('N', *shape)} is expected"
        raise DataError(msg)
    return array


def _examples(particles: Array, labels: Array, *, first: int) -> Examples:
    """Return checked jets as examples; their ids are positions in the file, from ``first``."""
    cloud = np.array(particles, np.float32)
    pt = cloud[..., 0]
    possible = np.isfinite(cloud).all(axis=(1, 2)) & (pt >= 0).all(axis=1) & (pt > 0).any(axis=1)
    possible &= np.isin(labels, (0, 1))
    if not possible.all():
        msg = (
            f"example-clouds: jet {first + possible.argmin()}: finite particles, of which one or "
            "more has pt > 0, and the label 0 or 1 are expected"
        )
        raise DataError(msg)
    jet_pt, jet_mass = _pt_and_mass(cloud)
    return Examples(
        inputs={"cloud": cloud, "mask": pt > 0},
        # an id stands for its example on every machine; splits follow from ids
        ids=first + np.arange(len(labels)),
        labels=np.array(labels, np.int64),
        # not an input: networks do not see spectators, metrics do
        spectators={"pt": jet_pt, "mass": jet_mass},
    )


def _pt_and_mass(cloud: Array) -> tuple[Array, Array]:
    """Return pt and mass (N,) of jets in GeV; their particles count as massless."""
    pt, eta, phi = np.moveaxis(cloud.astype(float), 2, 0)
    directions = np.stack([np.cosh(eta), np.cos(phi), np.sin(phi), np.sinh(eta)])
    energy, x, y, z = (pt * directions).sum(axis=2)
    return np.hypot(x, y), np.sqrt(np.maximum(energy**2 - x**2 - y**2 - z**2, 0))


def sample() -> Iterator[tuple[Role, Examples]]:
    """Yield made-up jets, the same ones in every run: the seed is fixed.

    A W boson decays into two quarks, which are about 2 m / pt apart: two narrow sprays of
    particles. A QCD jet is a single wide one.
    """
    rng = np.random.default_rng(80)
    labels = np.arange(SAMPLE_SIZE) % 2
    signal = labels[:, None] == 1
    jet_pt = 300 + rng.exponential(100, (SAMPLE_SIZE, 1))
    real = np.arange(PARTICLES) < rng.integers(10, PARTICLES + 1, (SAMPLE_SIZE, 1))
    fractions = np.sort(real * rng.exponential(size=real.shape) ** 2)[:, ::-1]
    pt = jet_pt * fractions / fractions.sum(axis=1, keepdims=True)
    # where along the line between the quarks a particle starts
    place = rng.choice((-0.5, 0.5), real.shape) * np.where(signal, 2 * 80.4 / jet_pt, 0)
    line = rng.uniform(0, 2 * np.pi, (SAMPLE_SIZE, 1))
    width = np.where(signal, 0.12, 0.2)
    angles = width * rng.normal(size=(2, *pt.shape))
    angles += place * np.stack([np.cos(line), np.sin(line)])
    angles -= (pt * angles).sum(axis=2, keepdims=True) / jet_pt
    particles = np.stack([pt, *angles], axis=2) * (pt > 0)[..., None]
    yield "labelled", _examples(particles, labels, first=0)


KINEMATICS = ("part_deta", "part_dphi", "part_logptrel")
KINEMATICS_UNITS = ("", "rad", "")


def kinematics(inputs: Inputs, *, particles: int) -> Inputs:
    """Return the hardest particles of jets: angles, and log of their fraction of the jet's pt.

    The variables are those of ParticleNet, arXiv:1902.08570, table 2. Padding stays 0.
    """
    mask = inputs["mask"]
    pt, eta, phi = np.moveaxis(inputs["cloud"], 2, 0)
    log = np.log(np.where(mask, pt / pt.sum(axis=1, keepdims=True), 1))
    cloud = np.stack([eta, phi, log], axis=2) * mask[..., None]
    return {"cloud": cloud[:, :particles], "mask": mask[:, :particles]}


def rotated(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Turn each jet of a training batch around its axis, by a random angle.

    It gets preprocessed inputs: after ``standardise`` the two angles have the same scale to about a
    percent, because jets are round on average, and the axis is still at 0.
    """
    # readers and views import this module, too, and need no torch
    import torch

    eta, phi, log = inputs["cloud"].unbind(2)
    angle = 2 * torch.pi * torch.rand(len(eta), 1, device=eta.device)
    cos, sin = angle.cos(), angle.sin()
    return {**inputs, "cloud": torch.stack([cos * eta - sin * phi, sin * eta + cos * phi, log], 2)}


def thinned(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Drop each particle of a training batch with a probability of 10 %, but never the hardest."""
    import torch

    mask = inputs["mask"]
    kept = torch.rand(mask.shape, device=mask.device) > 0.1
    kept[:, 0] = True
    kept &= mask
    return {**inputs, "cloud": inputs["cloud"] * kept[..., None], "mask": kept}
