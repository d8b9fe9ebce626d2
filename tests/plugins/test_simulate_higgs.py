"""The simulated HIGGS: the definitions of its features, and rows that depend only on the seed."""

from __future__ import annotations

import gzip
from pathlib import Path

import hepbench_datasets
import numpy as np
import pytest
from hepbench_datasets import higgs as reader
from hepbench_datasets.simulate import detector, higgs, higgs_sample
from hepbench_datasets.simulate.higgs_features import SCALES, closest_neutrino, features
from needs import needs_extra

needs_generators = needs_extra("hepbench-plugins[simulate]")
NAMES = hepbench_datasets.HIGGS.inputs["table"].names


def event(**changed):
    """Return one event: two light jets back to back, two tagged ones, a lepton along y."""
    jets = [(40.2, 0, 0), (40.2, 0, np.pi), (60, 0, np.pi / 2), (60, 0, -np.pi / 2)]
    arrays = {
        "lepton": [(30, 0, np.pi / 2)],
        "missing": [(50, np.pi / 2)],
        "jets": [jets],
        "tags": [[0, 0, 1, 2]],
    }
    return {name: np.array(changed.get(name, value), float) for name, value in arrays.items()}


def quantities(**changed):
    """Return the features of one event by name, in GeV and radian."""
    return dict(zip(NAMES, features(**event(**changed))[0] * SCALES, strict=True))


def particles(**values):
    """Return particles at eta = phi = 0 unless given otherwise."""
    count = len(values["pt"])
    fill = {"event": 0, "pdg": 211, "charge": 0, "eta": 0, "phi": 0, "energy": 1}
    columns = {name: np.full(count, value) for name, value in fill.items()} | values
    return detector.Particles(**{name: np.asarray(value) for name, value in columns.items()})


def test_pairs_of_back_to_back_massless_jets_have_twice_their_momentum_as_mass():
    """The light jets make a W boson of 80.4 GeV and the tagged jets have a mass of 120 GeV."""
    found = quantities()
    assert found["m_jj"] == pytest.approx(80.4, rel=1e-5)
    assert found["m_bb"] == pytest.approx(120, rel=1e-5)


def test_m_jj_is_that_of_the_untagged_pair_nearest_to_the_w_mass():
    """A fifth jet gives a better W boson than the two light jets among the first four."""
    first = [(90, 0, 0), (40.2, 0, np.pi), (60, 0, np.pi / 2), (60, 0, -np.pi / 2), (40.2, 0, 0)]
    found = quantities(jets=[first], tags=[[0, 0, 1, 2, 0]])
    assert found["m_jj"] == pytest.approx(80.4, rel=1e-5)


def test_a_neutrino_too_far_in_phi_is_along_the_lepton():
    """Then m_lv is the transverse mass, 2 x 100 GeV for momenta of 100 GeV back to back."""
    found = quantities(lepton=[(100, 0.5, 0)], missing=[(100, np.pi)])
    assert found["m_lv"] == pytest.approx(200, rel=1e-5)


def test_otherwise_the_eta_of_the_neutrino_gives_the_w_mass():
    """At equal phi, m_lv is 2 sqrt(pt pt') sinh(gap / 2); the grid of eta has steps of 0.05."""
    gap = 2 * np.arcsinh(80.4 / (2 * np.sqrt(30 * 50)))
    half_step = np.sqrt(30 * 50) * np.cosh(gap / 2) * 0.025
    assert quantities()["m_lv"] == pytest.approx(80.4, abs=1.01 * half_step)


def test_m_wbb_uses_the_w_boson_that_gives_the_larger_mass():
    """Two tagged jets at rest and a W boson at rest give 200.4 GeV; with the lepton it is more."""
    found = quantities()
    assert found["m_wbb"] > 200.4
    assert found["m_wbb"] < found["m_wwbb"]


def test_jets_are_rounded_and_scaled_as_in_the_original():
    """Momenta have two decimals, angles have three, and tags are 0, 1 and 2."""
    found = quantities(lepton=[(30.004, 0.12341, 1.00049)])
    expected = {"lepton_pT": 30.0, "lepton_eta": 0.123, "lepton_phi": 1.0, "jet_4_b-tag": 2.0}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6)


def test_the_definitions_give_the_masses_of_the_original_rows(real_data):
    """In rows with both tagged jets among the four, the other columns give m_bb."""
    ((_, rows),) = reader.read(real_data / "higgs")
    physical = rows.inputs["table"] * SCALES
    jets, tags = np.split(physical[:, 5:21].reshape(-1, 4, 4), [3], axis=2)
    tags = np.round(tags[..., 0])
    both = np.sum(tags > 0, axis=1) == 2
    found = features(physical[both, :3], physical[both, 3:5], jets[both], tags[both])
    near = np.abs(found[:, 21:] / rows.inputs["table"][both, 21:] - 1) < 0.01
    m_jj, m_bb = near[:, 0], near[:, 4]
    assert m_bb.mean() > 0.99
    # in other rows the W boson includes a jet that is not listed
    assert m_jj.mean() > 0.6
    assert near[m_jj].mean(axis=0).min() > 0.94


def test_charged_particles_bend_and_photons_do_not():
    """A positive track of 10 GeV turns by asin(0.3 B r / 2 pt) before the calorimeter."""
    eta, phi, reached = detector.helix(
        particles(pt=[10.0, 10.0, 0.1], charge=[1.0, 0.0, 1.0], eta=[0.0, 1.0, 0.2])
    )
    assert phi[0] == pytest.approx(-np.arcsin(0.299792458 * 3.8 * 1.29 / 20))
    assert (eta[1], phi[1]) == pytest.approx((1.0, 0.0))
    assert reached[:2].all()


@pytest.mark.parametrize(
    ("pdg", "flavour"), [(511, 5), (-5122, 5), (411, 4), (4122, 4), (443, 4), (211, 0), (5, 0)]
)
def test_the_flavour_of_a_hadron_follows_from_its_pdg_code(pdg, flavour):
    """B0, Lambda_b, D+, Lambda_c, J/psi and pi+, and a quark, which is not a hadron."""
    assert detector.hadron_flavour(np.array([pdg])) == flavour


def test_the_sample_has_the_signal_fraction_of_the_original():
    """53 % of 20,000 rows are signal, and every value is finite."""
    with np.load(higgs_sample.PATH) as sample:
        table, labels = sample["table"], sample["labels"]
    assert (table.shape, table.dtype) == ((20_000, 28), np.float32)
    assert labels.mean() == 0.53
    assert np.isfinite(table).all()
    assert higgs_sample.PATH.stat().st_size <= 2_000_000


@pytest.mark.slow
@needs_generators
def test_the_sample_can_be_reproduced():
    """Its first chunk is equal. When it was made, the processor decided between two neutrinos at the
    same distance from the lepton: such events may differ in the masses that hold a neutrino.
    """
    labels, table = higgs.simulate(higgs.CHUNK_ROWS, seed=higgs_sample.SEED, jobs=1)
    with np.load(higgs_sample.PATH) as sample:
        np.testing.assert_array_equal(labels, sample["labels"][: len(labels)])
        expected = sample["table"][: len(table)]
    eta = np.round(table[:, 1] * SCALES[1], 3)
    # the grid of neutrinos has steps of .05, so half steps lie in the middle of two
    undecided = np.isclose(np.round(eta / 0.025), eta / 0.025, atol=1e-3)
    assert undecided.mean() < 0.1
    with_neutrino = np.ix_(undecided, [24, 26, 27])
    table[with_neutrino] = expected[with_neutrino]
    np.testing.assert_allclose(table, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@needs_generators
def test_a_file_depends_only_on_the_seed(tmp_path):
    """Two chunks made by one and by two processes give the same bytes, which the reader accepts."""
    done = []
    rows = higgs.CHUNK_ROWS + 1
    one, two = (
        higgs.generate(tmp_path / f"{n}", events=rows, seed=3, jobs=n, progress=done.append)
        for n in (1, 2)
    )
    assert one.read_bytes() == two.read_bytes()
    assert done == 2 * [higgs.CHUNK_ROWS, rows]
    lines = gzip.decompress(one.read_bytes()).splitlines()
    assert {len(line.split(b",")) for line in lines} == {29}
    assert lines[0][:25] in {b"1.000000000000000000e+00,", b"0.000000000000000000e+00,"}
    ((_, examples),) = reader.read(Path(one.parent))
    assert len(examples.ids) == rows


@pytest.mark.parametrize("eta", np.arange(-32, 33) * 0.025)
def test_of_two_neutrinos_as_near_the_lower_is_taken(eta):
    """Their masses with the lepton are equal: rounding errors of a processor must not decide."""
    lepton, missing = np.array([[30.0, eta, 0.0]]), np.array([[30.0, 1.0]])
    low, high = closest_neutrino(lepton, missing), closest_neutrino(lepton * [1, -1, 1], missing)
    sinh = (low[0, 2] - 30 * np.sinh(eta)) / 30
    other = (high[0, 2] + 30 * np.sinh(eta)) / 30
    assert np.arcsinh(sinh) < eta
    assert np.arcsinh(other) < -eta
