"""Four-momenta of particles and pixels: they are those of the cloud, in GeV."""

from __future__ import annotations

import numpy as np
import pytest
from hepbench_datasets import BOOSTED_JETS, ELECTRON_PHOTON, QUARK_GLUON, TOP_TAGGING

from hepbench import SparseImages
from hepbench.registry.resolve import resolve
from hepbench.specs.parameters import defaults

SMALL = {"boosted-jets": {"size": 64, "points": 20}, "quark-gluon": {"size": 64, "points": 20}}
# the energy in GeV of a value of 1 in each channel
ENERGIES = {
    "boosted-jets": {0: 1, 3: 1, 4: 1},
    "quark-gluon": {0: 1, 1: 1, 2: 1 / 25},
    "electron-photon": {0: 50},
}


def views(spec, inputs):
    """Return cloud, mask and momenta."""
    params = {**defaults(spec.params), **SMALL.get(spec.name, {})}
    made = {}
    for name in ("cloud", "mask", "momenta"):
        view = spec.views[name]
        made[name] = resolve(view.run)(inputs, **{n: params[n] for n in sorted(view.params)})[name]
    return made


@pytest.mark.parametrize("spec", [BOOSTED_JETS, QUARK_GLUON, ELECTRON_PHOTON], ids=lambda s: s.name)
def test_momenta_of_pixels_are_massless_and_point_to_the_pixels(spec):
    """Their pt is the deposit in GeV, at the pixel's place; padding is 0."""
    rng = np.random.default_rng(0)
    images = np.zeros((3, *spec.inputs["image"].shape), np.float32)
    rows = 40 if spec is not ELECTRON_PHOTON else 10
    for image, hits in zip(images, (12, 1, 0), strict=True):
        for _ in range(hits):
            image[:, rng.integers(rows, rows + 9), rng.integers(rows, rows + 9)] = rng.uniform(1, 5)
    made = views(spec, {"image": SparseImages.from_dense(images)})
    momenta, cloud, mask = made["momenta"], made["cloud"], made["mask"]
    assert momenta.dtype == np.float32
    assert mask.any()
    assert not momenta[~mask].any()
    px, py, pz, energy = momenta[mask].astype(float).T
    pt = np.hypot(px, py)
    np.testing.assert_allclose(energy**2, px**2 + py**2 + pz**2, rtol=1e-5)
    np.testing.assert_allclose(np.arcsinh(pz / pt), cloud[mask][:, 0], atol=1e-5)
    np.testing.assert_allclose(np.arctan2(py, px), cloud[mask][:, 1], atol=1e-5)
    gev = sum(e * cloud[mask][:, 2 + channel] for channel, e in ENERGIES[spec.name].items())
    np.testing.assert_allclose(pt, gev, rtol=1e-5)


def test_momenta_of_particles_are_those_of_the_file():
    """The first ones, whatever the features of the cloud."""
    cloud = np.random.default_rng(0).normal(size=(2, 200, 4)).astype(np.float32)
    view = TOP_TAGGING.views["momenta"]
    made = resolve(view.run)({"cloud": cloud, "mask": np.ones((2, 200), bool)}, particles=30)
    assert np.array_equal(made["momenta"], cloud[:, :30])


@pytest.mark.parametrize(
    "spec", [BOOSTED_JETS, QUARK_GLUON, ELECTRON_PHOTON, TOP_TAGGING], ids=lambda s: s.name
)
def test_no_example_has_no_momenta(spec):
    """A planner asks views for their shapes with arrays of no examples."""
    inputs = {
        name: np.zeros((0, *given.shape), bool if name == "mask" else np.float32)
        for name, given in spec.inputs.items()
    }
    if "image" in inputs:
        inputs["image"] = SparseImages.from_dense(inputs["image"])
    assert views(spec, inputs)["momenta"].shape[2] == 4
