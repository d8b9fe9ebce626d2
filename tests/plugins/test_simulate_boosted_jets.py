"""The simulated boosted jets: images of known particles, and files that depend only on the seed."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hepbench_datasets import BOOSTED_JETS, boosted_jets_compact, compact
from hepbench_datasets import boosted_jets as reader
from hepbench_datasets.simulate import (
    boosted_jets,
    boosted_jets_sample,
    detector,
    jet_images,
    processes,
)
from needs import needs_extra

from hepbench import SparseImages
from hepbench.data.finding import simulated

needs_generators = needs_extra("hepbench-plugins[simulate]")
ORDER = BOOSTED_JETS.params["order"].default
CELL = jet_images.CRYSTAL
TOWER = jet_images.TOWER


def drawn(*parts, jets=((0.0, 0.0),), seed=0):
    """Return the images of jets at (eta, phi), among particles with default values where none are given.

    The images show the detector's response: a track at the vertex, deposits at the face.
    """
    fill = {
        "event": 0,
        "pdg": 211,
        "charge": 0,
        "pt": 1,
        "eta": 0,
        "phi": 0,
        "energy": 1,
        "at_eta": 0,
        "at_phi": 0,
        "reached": True,
        "ecal": 0,
        "hcal": 0,
        "tracked": False,
        "track_pt": 0,
    }
    columns = {name: np.array([{**fill, **part}[name] for part in parts]) for name in fill}
    origin = np.array([part.get("origin", (0, 0, 0)) for part in parts], float)
    names = ("event", "pdg", "charge", "pt", "eta", "phi", "energy")
    particles = detector.Particles(
        **{name: columns[name] if name == "event" else columns[name] * 1.0 for name in names},
        origin=origin,
    )
    response = detector.Response(
        eta=columns["at_eta"] * 1.0,
        phi=columns["at_phi"] * 1.0,
        **{name: columns[name] for name in ("reached", "ecal", "hcal", "tracked", "track_pt")},
    )
    eta, phi = np.array(jets, float).T
    rng = np.random.default_rng(seed)
    images = jet_images.draw(particles, response, (np.zeros(len(eta), int), eta, phi), rng)
    assert images.dtype == np.float32
    return images.reshape(len(eta), 8, 125, 125)


def middle(tower):
    """Return eta or phi of the middle of a tower of the fixed grid."""
    return (tower + 0.5) * TOWER


def test_the_image_is_centred_on_the_hottest_tower_near_the_jet():
    """All energy is three towers away in eta and two in phi, across the edge of phi, and ends in
    the middle."""
    where = {"at_eta": middle(5), "at_phi": detector.wrap(middle(35) + 2 * TOWER)}
    (image,) = drawn({"hcal": 100, **where}, jets=[(middle(2), middle(35))])
    assert image[4, 60:65, 60:65].sum() > 50
    assert image[4].sum() == pytest.approx(100, rel=0.1)
    towers = image[4].reshape(25, 5, 25, 5)
    assert np.array_equal(towers, np.broadcast_to(towers[:, :1, :, :1], towers.shape))


def test_the_hottest_tower_is_not_searched_far_from_the_jet():
    """Seven towers away it may belong to another jet; then the jet's own tower is the middle."""
    (image,) = drawn({"hcal": 100, "at_eta": middle(7), "at_phi": middle(0)}, jets=[(0.01, 0.01)])
    hottest = np.unravel_index(image[4].argmax(), (125, 125))
    assert tuple(np.floor_divide(hottest, 5)) == (12 + 7, 12)


def test_a_photon_leaves_its_energy_in_a_few_crystals():
    """All of it is in the window except noise, and 80 to 99 % within one crystal of the middle."""
    (image,) = drawn({"pdg": 22, "ecal": 200, "at_eta": 0.5 * TOWER, "at_phi": 0.5 * TOWER})
    assert image[3].sum() == pytest.approx(200, rel=0.03)
    assert 0.8 < image[3, 61:64, 61:64].sum() / 200 < 0.99


def test_hadron_showers_are_wider_in_the_crystals_than_photon_showers():
    """Hadrons leave a smaller fraction in the crystal that they hit."""
    where = {"ecal": 200, "at_eta": 0.5 * TOWER, "at_phi": 0.5 * TOWER}
    photon, hadron = (drawn({"pdg": pdg, **where})[0, 3] for pdg in (22, 211))
    assert hadron[62, 62] < 0.85 * photon[62, 62]


def test_particles_that_do_not_reach_the_calorimeters_leave_nothing_there():
    """Only the tracker measures curling particles."""
    (image,) = drawn({"ecal": 100, "hcal": 100, "reached": False})
    assert image[3].max() < 1
    assert image[4].max() == 0


def test_a_pixel_has_the_sum_of_track_pt_and_the_impact_parameters_of_the_hardest_track():
    """Of two tracks along x the harder one begins 1 mm above the beam and 2 mm along it."""
    common = {"tracked": True, "charge": 1, "eta": 0.5 * TOWER, "phi": 0.5 * TOWER}
    angle = 0.5 * TOWER
    above = (-0.001 * np.sin(angle), 0.001 * np.cos(angle), 0.002)
    hard = {**common, "pt": 50, "track_pt": 50, "origin": above}
    soft = {**common, "pt": 5, "track_pt": 5, "origin": (0, -0.01, 0)}
    for parts in ((hard, soft), (soft, hard)):
        (image,) = drawn(*parts)
        assert image[0, 62, 62] == 55
        assert image[0].sum() == 55
        assert image[1, 62, 62] == pytest.approx(0.1, abs=0.01)
        assert image[2, 62, 62] == pytest.approx(0.2, abs=0.015)


def test_pixel_hits_bend_with_the_field():
    """A negative track of 0.3 GeV turns by asin(0.3 B r / 2 pt) from the beam to each layer."""
    part = {"charge": -1, "pt": 0.3, "eta": 0.5 * TOWER, "phi": 0.5 * TOWER}
    turned = np.arcsin(0.299792458 * 3.8 * np.array([0.044, 0.073, 0.102]) / 0.6)
    hits = np.mean([drawn(part, seed=seed)[0, 5:] for seed in range(30)], axis=0)
    for image, angle in zip(hits, turned, strict=True):
        row, column = np.unravel_index(image.argmax(), image.shape)
        assert image.max() > 0.5
        assert row == 62
        assert column == pytest.approx(62 + angle / CELL, abs=1)


def test_an_event_without_particles_has_noise():
    """Crystals above three sigma at their rate, three hits in a layer, and nothing else."""
    images = drawn({"at_eta": 9, "eta": 9}, jets=[(0, 0)] * 40)
    assert images[:, [0, 1, 2, 4]].max() == 0
    assert np.count_nonzero(images[:, 3]) / 40 == pytest.approx(0.00135 * 125**2, rel=0.2)
    assert images[:, 3][images[:, 3] > 0].min() >= np.float32(0.12)
    assert images[:, 5:].sum() / 120 == pytest.approx(3, rel=0.3)


def test_jets_are_drawn_separately():
    """A particle near two jets is in both images, at its distance from each; zero jets give zero
    images."""
    part = {"tracked": True, "charge": 1, "track_pt": 50, "pt": 50, "eta": 0.3, "phi": 3.1}
    images = drawn(part, jets=[(0.1, 3.0), (0.5, -3.1)])
    assert images[:, 0].sum(axis=(1, 2)).tolist() == [50, 50]
    for image, (eta, phi) in zip(images, [(0.1, 3.0), (0.5, -3.1)], strict=True):
        row, column = np.unravel_index(image[0].argmax(), (125, 125))
        # the middle is that of the jet's tower, up to two crystals from the jet
        assert row == pytest.approx(62 + (0.3 - eta) / CELL, abs=3)
        assert column == pytest.approx(62 + detector.wrap(3.1 - phi) / CELL, abs=3)
    assert drawn(part, jets=np.zeros((0, 2))).shape == (0, 8, 125, 125)


def test_a_top_quark_must_be_near_its_jet():
    """In the same event, across the edge of phi; padding is not a jet."""
    pt = np.array([[500.0, 450.0], [500.0, 0.0]])
    eta, phi = np.zeros((2, 2)), np.array([[3.1, 0.0], [0.0, 0.0]])
    jets = detector.Jets(pt, eta, phi, pt / 5)
    columns = {"pdg": [6, 6], "charge": [0, 0], "pt": [500, 500], "energy": [600, 600]}
    tops = detector.Particles(
        event=np.array([0, 1]),
        eta=np.array([0.1, 0.1]),
        phi=np.array([-3.1, 0.1]),
        **{name: np.array(values) for name, values in columns.items()},
    )
    near = detector.near(jets, tops, radius=0.4)
    assert near.tolist() == [[True, False], [True, False]]


@pytest.fixture
def made_up(monkeypatch):
    """Put jets that encode their chunk in place of the simulation, five to a chunk."""

    def chunk(piece):
        seed, role, index = piece
        rng = np.random.default_rng([seed, len(role), index])
        images = (rng.random((5, 8, 125, 125)) > 0.999) * rng.random((5, 8, 125, 125))
        return boosted_jets.Jets(
            SparseImages.from_dense(images),
            rng.permutation([0, 1, 0, 1, 1]),
            np.float32(150 + rng.random(5)),
            np.float32(500 + rng.random(5)),
        )

    monkeypatch.setattr(boosted_jets, "CHUNK", 5)
    monkeypatch.setattr(detector, "GENERATORS", ())
    monkeypatch.setattr(
        processes, "in_order", lambda function, pieces, jobs: (chunk(piece) for piece in pieces)
    )


def test_files_have_the_layout_of_the_originals_and_can_be_read(tmp_path, made_up):
    """Keys, capitals, shapes, float32, contiguous; the reader returns the jets."""
    done = []
    path = boosted_jets.generate(tmp_path, events=17, seed=1, jobs=1, progress=done.append)
    assert path == tmp_path / "Dataset_Specific_labelled_full_only_for_2i.h5"
    expected = {"jet": (9, 125, 125, 8), "Y": (9, 1), "m": (9, 1), "pT": (9, 1)}
    unlabelled = tmp_path / "Dataset_Specific_Unlabelled.h5"
    for name, shapes in ((path, expected), (unlabelled, {"jet": (8, 125, 125, 8)})):
        with h5py.File(name) as file:
            assert {key: file[key].shape for key in file} == shapes
            assert {file[key].dtype for key in file} == {np.dtype("<f4")}
            assert file["jet"].chunks is None
            assert file["jet"].id.get_offset() is not None
    assert sorted(tmp_path.iterdir()) == sorted([path, unlabelled])
    assert all(simulated(each) for each in tmp_path.iterdir())
    assert done == [5, 9, 14, 17]
    jets = boosted_jets.simulate(17, seed=1, jobs=1)
    for role, part in reader.read(tmp_path, order=ORDER):
        assert np.array_equal(part.inputs["image"].dense(), jets[role].images.dense())
        if role == "labelled":
            assert np.array_equal(part.labels, jets[role].labels)
            assert np.array_equal(part.spectators["m"], jets[role].mass)
            assert np.array_equal(part.spectators["pT"], jets[role].pt)


def test_the_jets_of_a_smaller_file_are_the_first_ones_of_a_larger_file(made_up):
    """In both files, and no unlabelled jet is a labelled one."""
    small, large = (boosted_jets.simulate(events, seed=1, jobs=1) for events in (7, 24))
    for role, count in (("labelled", 4), ("unlabelled", 3)):
        assert len(small[role]) == count
        assert np.array_equal(small[role].images.dense(), large[role].images[:count].dense())
    assert not np.isin(large["unlabelled"].mass, large["labelled"].mass).any()


def test_an_interrupted_run_leaves_no_file(tmp_path, made_up):
    """The folder holds both complete files or none."""

    def stop(jets):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        boosted_jets.generate(tmp_path, events=12, seed=0, jobs=1, progress=stop)
    assert list(tmp_path.iterdir()) == []


def steps(images):
    return {
        name: compact.from_bytes(part) for name, part in boosted_jets_compact.encode(images).items()
    }


@pytest.mark.slow
@needs_generators
@pytest.mark.parametrize("role", ["labelled", "unlabelled"])
def test_the_sample_can_be_reproduced(role):
    """Labels, masses and positions of its first chunk are equal, values up to rounding."""
    count = boosted_jets.CHUNK
    jets = boosted_jets.chunk((boosted_jets_sample.SEED, role, 0))
    stored = dict(reader.sample(order=ORDER))[role][:count]
    if role == "labelled":
        np.testing.assert_array_equal(jets.labels, stored.labels)
        np.testing.assert_allclose(jets.mass, stored.spectators["m"], rtol=1e-4)
        np.testing.assert_allclose(jets.pt, stored.spectators["pT"], rtol=1e-4)
    found, expected = steps(jets.images), steps(stored.inputs["image"])
    for name, numbers in expected.items():
        exact = name == "pixels" or name.endswith(("counts", "gaps"))
        np.testing.assert_allclose(found[name], numbers, rtol=0, atol=0 if exact else 1)


@pytest.mark.slow
@needs_generators
def test_files_depend_only_on_the_seed(tmp_path):
    """Two files made by one and by two processes have the same bytes, which the reader accepts."""
    one, two = (
        boosted_jets.generate(
            tmp_path / f"{jobs}", events=22, seed=3, jobs=jobs, progress=lambda jets: None
        )
        for jobs in (1, 2)
    )
    for path in one.parent.iterdir():
        assert path.read_bytes() == (two.parent / path.name).read_bytes()
    found = dict(reader.read(one.parent, order=ORDER))
    assert {role: len(part) for role, part in found.items()} == {"labelled": 11, "unlabelled": 11}
