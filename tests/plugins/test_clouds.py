"""Clouds and graphs of images agree with a slow reference and have the documented properties."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hepbench_datasets import (
    BOOSTED_JETS,
    ELECTRON_PHOTON,
    QUARK_GLUON,
    boosted_jets,
    boosted_jets_clouds,
    clouds,
    quark_gluon_clouds,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hepbench import DataError, SparseImages
from hepbench.registry.resolve import resolve
from hepbench.specs.parameters import defaults

PIXEL = 0.5
HOT = {0: 1.0, 1: 1.0}
IMAGE = (3, 5, 4)
# few values, so that energies are equal; zero energy with a hit in another channel; negative values
VALUES = st.sampled_from([0, 0, 0, 0, 1, 2, 0.25, -1])
IMAGES = arrays(np.float32, st.tuples(st.integers(0, 4), *map(st.just, IMAGE)), elements=VALUES)
POINTS = st.sampled_from([1, 3, 8, 20, 30])


def cloud(images, points=20, **how):
    return clouds.cloud(images, points=points, energies=HOT, pixel=PIXEL, **how)


def graph(images, points=20, k=3):
    return clouds.graph(images, points=points, k=k, energies=HOT)["neighbours"]


def reference(image, points, k):
    """Return the points of one image, (row, column, deposits, fraction), and the neighbours of each."""
    _, height, width = image.shape
    middle = Fraction(height - 1, 2), Fraction(width - 1, 2)

    def energy(y, x):
        return max(0, image[list(HOT), y, x].sum())

    def order(place):
        y, x = place
        return -energy(y, x), (y - middle[0]) ** 2 + (x - middle[1]) ** 2, y, x

    hit = sorted(zip(*np.nonzero(image.any(0)), strict=True), key=order)[:points]
    whole = sum(energy(y, x) for y in range(height) for x in range(width)) or 1
    found = [(y, x, image[:, y, x], energy(y, x) / whole) for y, x in hit]
    near = []
    for i, (y, x) in enumerate(hit):
        others = [j for j in range(len(hit)) if j != i]
        others.sort(key=lambda j: ((hit[j][0] - y) ** 2 + (hit[j][1] - x) ** 2, j))
        near.append((others + [i] * k)[:k])
    return found, near + [[i] * k for i in range(len(hit), points)]


@settings(deadline=None)
@given(dense=IMAGES, points=POINTS, k=st.integers(1, 25), sparse=st.booleans())
def test_clouds_and_graphs_agree_with_a_slow_reference(dense, points, k, sparse):
    """Points, their order, features and neighbours, for any number of pixels including 0."""
    images = SparseImages.from_dense(dense) if sparse else dense
    made, near = cloud(images, points), graph(images, points, k)
    assert made["cloud"].shape == (len(dense), points, 3 + IMAGE[0])
    assert near.shape == (len(dense), points, k)
    for i, image in enumerate(dense):
        found, expected = reference(image, points, k)
        assert made["mask"][i].tolist() == [j < len(found) for j in range(points)]
        for (y, x, deposits, share), point in zip(found, made["cloud"][i], strict=False):
            assert point[:2].tolist() == [PIXEL * (y - 2), PIXEL * (x - 1.5)]
            assert np.array_equal(point[2:-1], deposits)
            assert point[-1] == pytest.approx(np.log(max(share, 1e-6)), rel=1e-6)
        assert not made["cloud"][i, len(found) :].any()
        assert near[i].tolist() == expected


@settings(deadline=None)
@given(dense=IMAGES)
def test_a_cloud_of_all_pixels_gives_the_image_back(dense):
    """Positions and deposits are bit-identical; pixels are lost only if there are fewer points."""
    made = cloud(dense, points=20)
    again = np.zeros_like(dense)
    example, point = np.nonzero(made["mask"])
    deta, dphi = made["cloud"][example, point, :2].T
    row, column = (np.rint(deta / PIXEL + 2), np.rint(dphi / PIXEL + 1.5))
    again[example, :, row.astype(int), column.astype(int)] = made["cloud"][example, point, 2:-1]
    assert np.array_equal(again, dense)


@settings(deadline=None)
@given(dense=IMAGES, more=st.integers(1, 9))
def test_more_points_do_not_change_the_first_ones(dense, more):
    """A smaller cloud is the start of a larger one; unless it is full, its neighbours are equal
    too."""
    few, many = cloud(dense, 6), cloud(dense, 6 + more)
    assert all(np.array_equal(few[name], many[name][:, :6]) for name in few)
    real = dense.any(1).sum((1, 2)) <= 6
    assert np.array_equal(graph(dense, 6)[real], graph(dense, 6 + more)[real, :6])


@settings(deadline=None)
@given(
    place=st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=15, unique=True
    ),
    shift=st.tuples(st.integers(0, 8), st.integers(0, 8)),
)
def test_a_shifted_jet_has_the_same_graph(place, shift):
    """Points move and neighbours stay: energies differ, so the distance to the centre does not
    matter."""
    dense = np.zeros((2, 3, 15, 15), np.float32)
    for energy, (y, x) in enumerate(place, start=1):
        dense[0, 0, y, x] = dense[1, 0, y + shift[0], x + shift[1]] = energy
    near, made = graph(dense), cloud(dense)
    assert np.array_equal(near[0], near[1])
    real = made["mask"][0]
    moved = made["cloud"][1, real, :2] - made["cloud"][0, real, :2]
    assert np.allclose(moved, PIXEL * np.array(shift), atol=1e-6)
    assert np.array_equal(made["cloud"][0, :, 2:], made["cloud"][1, :, 2:])


@cache
def sample():
    (_, labelled), _ = boosted_jets.sample(order=BOOSTED_JETS.params["order"].default)
    return labelled.inputs["image"]


def jets(n=12):
    """Return the first jets of the bundled sample."""
    return sample()[:n]


@pytest.mark.parametrize("size", [125, 64])
def test_the_cloud_and_graph_of_a_jet_do_not_depend_on_other_jets(monkeypatch, size):
    """They are bit-identical in any chunk and for any number of distances at a time."""

    def made(images):
        inputs = {"image": images}
        points = boosted_jets_clouds.cloud(inputs, size=size, points=100)
        return points | boosted_jets_clouds.graph(inputs, size=size, points=100, k=7)

    images = jets()
    together = made(images)
    monkeypatch.setattr(clouds, "BATCH", 5)
    monkeypatch.setattr(clouds, "DISTANCES", 20_000)
    order = np.array([7, 0, 11, 3, 3, 2])
    for name, array in made(images[order]).items():
        assert np.array_equal(array, together[name][order])
    for i in range(3):
        assert all(np.array_equal(a[0], together[n][i]) for n, a in made(images[[i]]).items())
    empty = made(images[:0])
    assert all(empty[n].shape == (0, *a.shape[1:]) for n, a in together.items())


@pytest.mark.parametrize("size", [125, 64])
def test_a_jet_is_at_its_pixels_at_any_resolution(size):
    """The middle pixel of 125 is at 0 and in the first quarter of a block of 64; a block is at the
    centre of its four pixels."""
    dense = np.zeros((1, 8, 125, 125), np.float32)
    dense[0, 3, 62, 62] = 2
    dense[0, 3, 0, 124] = 1
    images = SparseImages.from_dense(dense)
    points = boosted_jets_clouds.cloud({"image": images}, size=size, points=2)["cloud"][0]
    found = points[:, :2] / (2 * np.pi / 360)
    # blocks of two: rows 61 and 62, -1 and 0, 123 and 124
    expected = {125: [[0, 0], [-62, 62]], 64: [[-0.5, -0.5], [-62.5, 61.5]]}
    assert found == pytest.approx(np.array(expected[size]), abs=1e-4)
    assert boosted_jets_clouds.FEATURES.index("ecal") == 2 + 3
    assert points[:, 5].tolist() == [2, 1]


MIDDLES = {"boosted-jets": 62, "quark-gluon": 62, "electron-photon": 16}


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        *((BOOSTED_JETS, 125), (BOOSTED_JETS, 128)),
        *((QUARK_GLUON, 125), (QUARK_GLUON, 128), (ELECTRON_PHOTON, 32)),
    ],
    ids=lambda given: getattr(given, "name", given),
)
def test_points_of_each_dataset_are_at_their_pixels(spec, size):
    """Deposits placed by eta and phi of the cloud give the image that image networks see."""
    _, examples = next(
        iter(resolve(spec.sample.read)(**{n: spec.params[n].default for n in spec.read_params}))
    )
    few = {name: array[:20] for name, array in examples.inputs.items()}
    made, params = {}, {**defaults(spec.params), "size": size}
    for name in ("image", "cloud"):
        view = spec.views[name]
        made |= resolve(view.run)(few, **{key: params[key] for key in view.params})
    images = made["image"].dense()
    middle = MIDDLES[spec.name] + (size == 128)
    jet, point = np.nonzero(made["mask"])
    found = made["cloud"][jet, point]
    row, column = np.rint(found[:, :2] / clouds.CRYSTAL + middle).astype(int).T
    assert len(jet) > 20 * 10
    assert np.array_equal(found[:, 2:-1], images[jet, :, row, column])


def test_a_tower_has_the_same_energy_in_both_scales():
    """Quark and gluon jets: the authors give each pixel of a tower the energy of all 25."""
    dense = np.zeros((1, 3, 125, 125), np.float32)
    dense[0, 2, 60:65, 60:65] = 10 / 25
    dense[0, 1, 10, 10] = 1
    for scale in ("authors", "stored"):
        inputs = {"image": SparseImages.from_dense(dense)}
        made = quark_gluon_clouds.cloud(inputs, size=125, scale=scale, points=30)["cloud"][0]
        shares = np.exp(made[:26, -1])
        np.testing.assert_allclose(shares, [1 / 11, *[10 / 25 / 11] * 25], rtol=1e-5)


def test_most_of_the_energy_of_a_jet_is_in_its_first_points():
    """Top and light jets: nine tenths are in a quarter of the pixels, tracks before crystals."""
    images = jets(400)
    made = boosted_jets_clouds.cloud({"image": images}, size=125, points=256)
    shares = np.exp(made["cloud"][..., -1].astype(float)) * made["mask"]
    assert 0.85 < shares.sum(1).mean() < 0.92
    assert (np.diff(made["cloud"][..., -1]) <= 0).all()
    tracks = made["cloud"][..., 2 + 0] > 0
    assert tracks.sum() > 0.9 * (images.hits()[1] < 125**2).sum()


@pytest.mark.parametrize(("points", "kind"), [(256, np.uint8), (257, np.uint16)])
def test_neighbours_have_the_smallest_possible_dtype(points, kind):
    """One byte up to 256 points, two bytes above; the largest index fits."""
    near = graph(np.ones((1, 3, 1, 1), np.float32), points, 2)
    assert near.dtype == kind
    assert near[0, -1].tolist() == [points - 1] * 2


def test_distances_of_large_images_do_not_overflow():
    """In a corner of 5,000 x 5,000 pixels: two neighbours, and one far away."""
    row, column = np.array([[0, 4999, 4998]]), np.array([[0, 4999, 4999]])
    for more in (0, 300):
        pad = [(0, 0), (0, more)]
        places = np.pad(row, pad), np.pad(column, pad)
        near = clouds.neighbours(*places, np.pad(np.ones((1, 3), bool), pad), k=2)
        assert near[0, :3].tolist() == [[2, 1], [2, 0], [1, 0]]


@pytest.mark.parametrize(("points", "k", "what"), [(0, 1, "points is 0"), (1, -1, "k is -1")])
def test_zero_points_and_zero_neighbours_are_refused(points, k, what):
    """One line, before anything is computed."""
    with pytest.raises(DataError, match=f"^{what}; at least 1 is expected$"):
        graph(np.ones((1, 3, 2, 2), np.float32), points, k)


# --- networks on the same jets

SUITE = """
name = "views"
preset = "quick"
seeds = 1
cost = false

[[run]]
datasets = ["boosted-jets[size=64,points=40,k=4,n_train=100,n_validation=50,n_test=50]"]
models = ["gcn[width=8]", "pixels"]
methods = ["scratch"]
set = { "scratch.epochs" = 1 }
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a workspace in which a graph network and a CNN were run on the same jets."""
    from conftest import Workbench

    bench = Workbench(tmp_path_factory.mktemp("views"))
    bench.plugin(Path(__file__).with_name("graphnets.py"))
    done = bench("run", bench.write("views.toml", SUITE), "--quiet", "--jobs", "1", timeout=600)
    assert done.code == 0, done.err
    return bench


@pytest.mark.slow
def test_graph_networks_and_cnns_score_the_same_jets(run):
    """The same ids are in the same splits, by the hash of the split and by the stored predictions."""
    gcn, pixels = sorted(run.records().values(), key=lambda record: record.model)
    assert (gcn.model, pixels.model) == ("gcn[width=8]", "pixels")
    assert gcn.data == pixels.data
    assert gcn.labels == pixels.labels
    assert gcn.data.n_test == 50


@pytest.mark.slow
def test_no_score_of_a_graph_network_depends_on_other_examples(run):
    """The check that scores examples alone and among others finds no difference."""
    for record in run.records().values():
        assert record.status == "ok"
        assert not [w for w in record.warnings if "batch" in w or "repeat" in w]


@pytest.mark.slow
def test_a_graph_network_passes_the_contract_tests(run):
    """Order of points, padding, batches, device, storage, trimming, export."""
    done = run("check", "gcn", "--quick", timeout=600)
    assert done.code == 0, done.out
    for claim in (
        "permuting particles does not change scores",
        "more padding does not change scores",
    ):
        assert f"ok    model gcn: {claim}" in done.out


@pytest.mark.slow
def test_a_network_that_depends_on_the_order_of_points_fails_the_contract_tests(run):
    """The dependence is found for any position of the padding."""
    done = run("check", "places", "--quick", timeout=600)
    assert done.code == 1
    failed = [line for line in done.out.splitlines() if line.startswith("FAIL")]
    assert failed == ["FAIL  model places: permuting particles does not change scores"]


@pytest.mark.slow
def test_parameters_of_one_view_change_no_key_of_another(run):
    """With another number of neighbours only the graph is made again; read data, split and image
    stay."""
    done = run("plan", run.folder / "views.toml", "--set", "dataset.k=5")
    stages = [line.split("  ") for line in done.out.splitlines() if "boosted-jets  " in line]
    found = sorted((line[1].strip(), line[3].partition(",")[0]) for line in stages)
    assert found == [
        ("inputs boosted-jets", "cached"),
        ("inputs boosted-jets", "to run"),
        ("read boosted-jets", "cached"),
        ("split boosted-jets", "cached"),
    ]


@pytest.mark.slow
def test_the_cache_stores_clouds_and_neighbours_compactly(run):
    """Neighbours take one byte each; the cloud of few points is smaller than its image."""
    (folder,) = (p.parent for p in (run.folder / "cache").rglob("train/input.neighbours.npy"))
    near, points = (np.load(folder / f"input.{name}.npy") for name in ("neighbours", "cloud"))
    assert near.dtype == np.uint8
    assert near.shape == (100, 40, 4)
    assert points.dtype == np.float32
    assert points.shape == (100, 40, 11)
    ids = [np.load(path) for path in (run.folder / "cache").rglob("test/ids.npy")]
    assert len(ids) == 2
    assert np.array_equal(*ids)
