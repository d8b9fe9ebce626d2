"""The simulated jets of top tagging: energy flow of known particles, files that depend only on the seed."""

from __future__ import annotations

import pickle

import h5py
import numpy as np
import pytest
from hepbench_datasets import top_tagging as reader
from hepbench_datasets import top_tagging_compact
from hepbench_datasets.simulate import (
    detector,
    energy_flow,
    processes,
    top_tagging,
    top_tagging_sample,
)
from needs import needs_extra

from hepbench.data.finding import simulated

needs_generators = needs_extra("hepbench-plugins[simulate]")


def particles(*parts, times=1):
    """Return particles with default values where none are given, each in several events."""
    fill = {"event": 0, "pdg": 22, "charge": 0, "pt": 50, "eta": 0.05, "phi": 0.1}
    columns = {name: np.array([{**fill, **part}[name] for part in parts] * times) for name in fill}
    columns["event"] = columns["event"] + np.repeat(np.arange(times), len(parts))
    energy = columns["pt"] * np.cosh(columns["eta"])
    floats = {name: columns[name] * 1.0 for name in ("charge", "pt", "eta", "phi")}
    return detector.Particles(columns["event"], columns["pdg"], energy=energy, **floats)


def flow(*parts, times=400, seed=0):
    return energy_flow.flow(particles(*parts, times=times), np.random.default_rng(seed))


LAYERS = {
    22: np.hypot(0.101 / np.sqrt(100), 0.0017),
    130: np.sqrt(0.0302**2 + 0.5205**2 / 100 + 1.59**2 / 100**2),
}


@pytest.mark.parametrize("pdg", LAYERS)
def test_a_neutral_particle_becomes_one_candidate_in_its_tower(pdg):
    """On average it has the energy of the particle; towers are 0.1 by 10 degrees."""
    found = flow({"pdg": pdg, "pt": 100})
    assert np.array_equal(found.event, np.arange(400))
    assert set(found.pdg) == {22 if pdg == 22 else 0}
    assert found.energy.mean() == pytest.approx(100.1, abs=4 * 100 * LAYERS[pdg] / 20)
    assert found.energy.std() == pytest.approx(100 * LAYERS[pdg], rel=0.2)
    assert 0 <= found.eta.min() < 0.01
    assert 0.09 < found.eta.max() <= 0.1
    assert 0 <= found.phi.min() < np.radians(1)
    assert np.radians(9) < found.phi.max() <= np.radians(10)
    assert found.energy == pytest.approx(found.pt * np.cosh(found.eta))


def test_energy_explained_by_tracks_is_not_counted_twice():
    """A charged pion and a photon give a track and a photon, and little else."""
    pion = {"pdg": 211, "charge": 1, "pt": 20, "phi": 0.2}
    found = flow(pion, {"pt": 20}, times=2000)
    tracks, photons, others = (found.pdg == code for code in (211, 22, 0))
    assert tracks.sum() / 2000 == pytest.approx(0.95, abs=0.03)
    assert photons.sum() == 2000
    assert found.pt[photons].mean() == pytest.approx(20, rel=0.02)
    assert found.eta[tracks] == pytest.approx(0.05)
    assert found.phi[tracks] == pytest.approx(0.2)
    # without a track the calorimeter has the energy
    has = np.isin(np.arange(2000), found.event[tracks])
    energy = np.bincount(found.event[others], found.energy[others], 2000)
    assert energy[~has].mean() == pytest.approx(20, rel=0.1)
    # the excess is above two standard deviations by chance in 1 of 40 towers
    assert 0.005 < (energy[has] > 0).mean() < 0.06


def test_tracks_in_towers_without_excess_are_measured_twice():
    """At 100 GeV the calorimeter (6 %) improves a track (14 %); at 5 GeV the track (6 %)
    dominates."""
    found = flow({"pdg": 211, "charge": 1, "pt": 100}, times=2000)
    whole = np.bincount(found.event, found.energy, 2000)[found.event[found.pdg == 211]]
    assert 0.045 < whole.std() / 100 < 0.075
    assert whole.mean() == pytest.approx(100, rel=0.03)
    soft = flow({"pdg": 211, "charge": 1, "pt": 5}, times=2000)
    tracks = soft.pt[soft.pdg == 211]
    assert tracks.std() / 5 == pytest.approx(0.06, rel=0.12)


def test_efficiencies_are_those_of_the_delphes_card():
    """By particle type, pt and eta; 0 below 0.1 GeV and beyond the tracker."""
    cases = {
        (211, 50, 0.5): 0.95,
        (211, 0.5, 0.5): 0.70,
        (-321, 50, 2.0): 0.85,
        (211, 0.5, -2.0): 0.60,
        (11, 50, 2.0): 0.83,
        (-11, 150, 2.0): 0.90,
        (13, 50, 2.0): 0.98,
        (13, 0.5, 0.5): 0.75,
        (211, 0.09, 0.5): 0,
        (211, 50, 2.6): 0,
    }
    for (pdg, pt, eta), efficiency in cases.items():
        found = flow({"pdg": pdg, "charge": 1, "pt": pt, "eta": eta}, times=3000)
        share = (found.pdg == pdg).sum() / 3000
        assert share == pytest.approx(efficiency, abs=0.035)


def test_muons_leave_only_a_track_with_the_resolution_of_the_delphes_card():
    """Nothing in the calorimeter; 1 % and 0.01 % times pt, in quadrature."""
    found = flow({"pdg": 13, "charge": -1, "pt": 100}, times=3000)
    assert set(found.pdg) == {13}
    assert found.pt.std() / 100 == pytest.approx(np.hypot(0.01, 1e-4 * 100), rel=0.1)
    assert found.pt.mean() == pytest.approx(100, rel=0.002)


def test_soft_towers_are_not_read_out():
    """Thresholds are 0.5 and 1 GeV, and two standard deviations."""
    assert len(flow({"pt": 0.2}).pdg) == 0
    assert len(flow({"pt": 0.8}).pdg) > 390
    assert len(flow({"pdg": 130, "pt": 1}).pdg) < 100


def test_stable_strange_particles_leave_energy_in_both_layers():
    """Three tenths of it in the first layer."""
    found = flow({"pdg": 310, "pt": 200})
    for pdg, share in ((22, 0.3), (0, 0.7)):
        assert found.energy[found.pdg == pdg].mean() == pytest.approx(200.25 * share, rel=0.02)


def test_the_field_bends_charged_particles_into_other_towers():
    """By asin(0.3 B r / 2 pt) at 0.5 GeV; particles below 0.345 GeV never reach the calorimeter."""
    lost = {"pdg": 211, "charge": 1, "pt": 0.5, "eta": 0.05, "phi": 0.0}
    _, phi, reached = detector.helix(particles(lost), field=2.0, radius=1.15, end=3.51)
    assert reached.all()
    assert phi == pytest.approx(-np.arcsin(0.299792458 * 2.0 * 1.15 / 2 / 0.5))
    lost["pt"] = 0.3
    eta, _, _ = detector.helix(particles(lost), field=2.0, radius=1.15, end=3.51)
    assert abs(eta[0]) > 1.9


def test_events_are_kept_separate():
    """Two photons at one place give two candidates in two events, and one in one event."""
    together = flow({}, {}, times=50)
    assert len(together.event) == 50
    assert together.pt.mean() == pytest.approx(100, rel=0.02)
    apart = flow({}, {"event": 50}, times=50)
    assert len(apart.event) == 100
    assert (np.diff(apart.event) >= 0).all()


@needs_generators
def test_the_leading_jet_is_found_with_its_particles():
    """In each event, by pt and not by number of particles; an event without particles has no jet."""
    found, inside = detector.leading(
        particles(
            {"pt": 100, "phi": 0.0},
            {"pt": 90, "phi": 2.0},
            {"pt": 30, "phi": 2.1},
            {"pt": 50, "eta": 1.0, "event": 2},
        ),
        events=4,
        radius=0.8,
    )
    assert inside.tolist() == [False, True, True, True]
    assert found.pt[:, 0] == pytest.approx([119.9, 0, 50, 0], abs=0.2)
    assert found.phi[0, 0] == pytest.approx(2.025, abs=0.005)
    assert found.eta[2, 0] == pytest.approx(1.0)


def matched(*quarks, monkeypatch, top=6):
    """Return whether a jet at (0, 3.1) matches its top quark, given the quarks of its decay."""
    monkeypatch.setattr(top_tagging, "BATCH_EVENTS", 2)
    pt = np.array([[600.0], [600.0]])
    jets = detector.Jets(pt, 0 * pt, 0 * pt + 3.1, pt / 4)
    tops = [{"pdg": top, "phi": 3.0, "pt": 580}, {"pdg": -top, "phi": 0.0, "pt": 580}]
    parts = particles(*tops, *quarks)
    status = np.array([-62, -62, *(-23 for _ in quarks)])
    found, truth = top_tagging.match_tops(jets, parts, status)
    assert not found[1]
    assert not truth[1].any()
    if found[0]:
        assert np.hypot(truth[0, 0], truth[0, 1]) == pytest.approx(580)
        assert truth[0, 0] == pytest.approx(580 * np.cos(3.0))
    return bool(found[0])


B, UP, DOWN = ({"pdg": 5, "charge": -1 / 3}, {"pdg": 2, "charge": 2 / 3},
               {"pdg": -1, "charge": 1 / 3})  # fmt: skip
NEAR, EDGE, FAR = {"phi": 3.0}, {"phi": -2.5}, {"phi": 2.2}


def test_a_top_quark_and_all_its_quarks_must_be_in_the_jet(monkeypatch):
    """Across the edge of phi; one quark outside is enough to fail, and quarks of the other top do
    not count."""
    quarks = [B | NEAR, UP | EDGE, DOWN | NEAR]
    others = [B | {"pdg": -5, "charge": 1 / 3}, UP | {"pdg": -2, "charge": -2 / 3}]
    assert matched(*quarks, monkeypatch=monkeypatch)
    assert matched(*quarks, *(each | NEAR for each in others), monkeypatch=monkeypatch)
    assert not matched(B | NEAR, UP | FAR, DOWN | NEAR, monkeypatch=monkeypatch)
    assert not matched(B | FAR, UP | NEAR, DOWN | NEAR, others[0] | NEAR, monkeypatch=monkeypatch)
    assert not matched(*quarks, monkeypatch=monkeypatch, top=-6)


def test_the_two_hundred_hardest_particles_are_kept_sorted_by_pt():
    """One event has more particles; an event without particles is empty."""
    pt = np.random.default_rng(0).permutation(np.arange(1.0, 251.0))
    parts = particles(*({"pt": each, "event": 1} for each in pt))
    made = top_tagging.pad_particles(parts, 3)
    assert made.shape == (3, 200, 4)
    assert not made[[0, 2]].any()
    assert np.hypot(made[1, :, 0], made[1, :, 1]) == pytest.approx(np.arange(250, 50, -1))


@pytest.fixture
def made_up(monkeypatch):
    """Put jets that encode their chunk in place of the simulation, ten to a chunk."""

    def chunk(piece):
        seed, name, index = piece
        rng = np.random.default_rng([seed, len(name), ord(name[0]), index])
        pt = np.sort(rng.exponential(5, (10, 200)))[:, ::-1] * (np.arange(200) < 50)
        eta, phi = rng.normal(0, 0.2, (2, 10, 200))
        columns = (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta))
        labels = rng.permutation([0, 1] * 5)
        truth = labels[:, None] * np.float32([500, 100, 0, 600])
        return top_tagging.Jets(np.stack(columns, axis=2).astype("f4"), truth, labels)

    monkeypatch.setattr(top_tagging, "CHUNK", 10)
    monkeypatch.setattr(detector, "GENERATORS", ())
    monkeypatch.setattr(
        processes, "in_order", lambda function, pieces, jobs: (chunk(piece) for piece in pieces)
    )


@pytest.mark.filterwarnings("ignore::hepbench.DataWarning")
def test_files_have_the_layout_of_the_originals_and_can_be_read(tmp_path, made_up):
    """Keys, names and dtypes are those of pandas; the reader returns the jets."""
    done = []
    path = top_tagging.generate(tmp_path, events=57, seed=1, jobs=1, progress=done.append)
    assert path == tmp_path / "train.h5"
    sizes = {"train.h5": 35, "val.h5": 11, "test.h5": 11}
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(sizes)
    assert all(simulated(each) for each in tmp_path.iterdir())
    assert done == [10, 20, 30, 35, 45, 46, 56, 57]
    for number, (name, size) in enumerate(sizes.items()):
        with h5py.File(tmp_path / name) as file:
            table = file["table/table"]
            assert table.shape == (size,)
            assert table.dtype.names == ("index", "values_block_0", "values_block_1")
            assert table.dtype["values_block_0"] == np.dtype(("<f4", 804))
            assert table.dtype["values_block_1"] == np.dtype(("<i8", 2))
            assert pickle.loads(table.attrs["values_block_1_kind"]) == ["ttv", "is_signal_new"]
            names = pickle.loads(table.attrs["values_block_0_kind"])
            assert names[:5] == ["E_0", "PX_0", "PY_0", "PZ_0", "E_1"]
            assert names[-5:] == ["PZ_199", "truthE", "truthPX", "truthPY", "truthPZ"]
            assert file["table"].attrs["pandas_type"] == b"frame_table"
            assert set(table["values_block_1"][:, 0]) == {number}
            assert {tuple(row) for row in table["values_block_0"][:, 800:]} <= {
                (600, 500, 100, 0),
                (0, 0, 0, 0),
            }
    jets = top_tagging.simulate(57, seed=1, jobs=1)
    found = list(reader.read(tmp_path))
    assert [role for role, _ in found] == ["labelled", "labelled", "test"]
    for (_, part), name in zip(found, sizes, strict=True):
        assert np.array_equal(part.inputs["cloud"], jets[name].momenta)
        assert np.array_equal(part.labels, jets[name].labels)


def test_the_jets_of_smaller_files_are_the_first_ones_of_larger_files(made_up):
    """In each file, and no jet is in two files."""
    small, large = (top_tagging.simulate(events, seed=1, jobs=1) for events in (40, 90))
    for name, count in (("train.h5", 24), ("val.h5", 8), ("test.h5", 8)):
        assert len(small[name]) == count
        assert np.array_equal(small[name].momenta, large[name].momenta[:count])
    energies = np.concatenate([jets.momenta[:, 0, 3] for jets in large.values()])
    assert len(np.unique(energies)) == 90


def test_an_interrupted_run_leaves_no_file(tmp_path, made_up):
    """The folder holds all complete files or none."""

    def stop(jets):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        top_tagging.generate(tmp_path, events=12, seed=0, jobs=1, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@needs_generators
@pytest.mark.parametrize("name", ["train.h5", "val.h5"])
def test_the_sample_can_be_reproduced(name):
    """The first chunks of two of its files are equal up to rounding."""
    first = {"train.h5": 0, "val.h5": top_tagging_sample.JETS * 3 // 5}[name]
    jets = top_tagging.chunk((top_tagging_sample.SEED, name, 0))
    ((_, stored),) = reader.sample()
    stored = stored[first : first + len(jets)]
    np.testing.assert_array_equal(jets.labels, stored.labels)
    found = top_tagging_compact.encode(jets.momenta)
    again = top_tagging_compact.decode(found)
    assert np.array_equal(again[:, :, 3] > 0, stored.inputs["mask"])
    np.testing.assert_allclose(again, stored.inputs["cloud"], rtol=0, atol=2)
    np.testing.assert_allclose(again[:, :, 3], stored.inputs["cloud"][:, :, 3], rtol=4e-3)


@pytest.mark.slow
@needs_generators
def test_files_depend_only_on_the_seed(tmp_path):
    """Files made by one and by two processes have the same bytes, which the reader accepts."""
    one, two = (
        top_tagging.generate(
            tmp_path / f"{jobs}", events=40, seed=3, jobs=jobs, progress=lambda jets: None
        )
        for jobs in (1, 2)
    )
    for path in one.parent.iterdir():
        assert path.read_bytes() == (two.parent / path.name).read_bytes()
    assert [len(part) for _, part in reader.read(one.parent)] == [24, 8, 8]
