"""The figure of one example as image, cloud and graph: positions and links."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from hepbench_datasets import clouds
from hypothesis import given, settings
from hypothesis import strategies as st

from hepbench.cli.commands import cli
from hepbench.plots import style
from hepbench.plots.datasets import views
from hepbench.specs.errors import UsageError

PIXEL = 0.25


def jet(seed, side=(6, 9), hits=15):
    """Return an image with two channels, all deposits different."""
    rng = np.random.default_rng(seed)
    image = np.zeros((2, *side), np.float32)
    image.reshape(-1)[rng.choice(image.size, hits, replace=False)] = rng.exponential(size=hits)
    return image


def points(image, n=10, **how):
    made = clouds.cloud(image[None], points=n, energies={0: 1.0, 1: 1.0}, pixel=PIXEL, **how)
    return made["cloud"][0][made["mask"][0]]


def test_each_pair_of_neighbours_is_linked_once():
    """0 and 1 are each other's neighbours, 2 has 0 and itself, 3 is padding."""
    neighbours = np.array([[1, 0], [0, 1], [0, 2], [3, 3]], np.uint8)
    mask = np.array([True, True, True, False])
    assert views.links(neighbours, mask).tolist() == [[0, 1], [0, 2]]


@settings(deadline=None)
@given(seed=st.integers(0, 99), middle=st.tuples(st.floats(-5, 5), st.floats(-5, 5)) | st.none())
def test_the_edges_of_an_image_follow_from_its_points(seed, middle):
    """They are half a pixel beyond the outermost pixels, wherever the origin is."""
    image = jet(seed)
    spans = views.image_edges(image, points(image, middle=middle))
    for span, size, zero in zip(spans, (6, 9), middle or (2.5, 4), strict=True):
        edges = PIXEL * (np.array([0, size]) - 0.5 - zero)
        assert span == pytest.approx(edges, abs=1e-5)


def test_pixels_with_equal_deposits_are_ignored():
    """The pixels of one tower have equal deposits; other pixels give the position."""
    image = jet(0)
    image[:, 2:4, 2:4] = 1
    spans = views.image_edges(image, points(image, 20))
    assert spans[0] == pytest.approx((-0.75, 0.75), abs=1e-5)


def _elsewhere(image):
    moved = points(image)
    moved[3, 0] += 2 * PIXEL
    return moved


@pytest.mark.parametrize(
    ("cloud", "what"),
    [(lambda image: points(2 * image), "no point has the deposits of a pixel"),
     (_elsewhere, "not where the pixels with the same deposits are"),
     (lambda image: points(image, 1), "all points of the cloud are in one row or column")],
    ids=["another image", "a point moved", "one point"],
)  # fmt: skip
def test_a_cloud_of_another_image_is_refused(cloud, what):
    """The message has the reason."""
    image = jet(1)
    with pytest.raises(UsageError, match=what):
        views.image_edges(image, cloud(image))


def test_channels_with_the_same_unit_are_summed():
    """Each has the factor of its unit; without units, channels without negative values are summed."""
    images = np.stack([jet(0), jet(1)])
    images[1, 1] *= -1
    expected = {
        (): ([1, 0], ""),
        ("", ""): ([1, 0], ""),
        ("GeV", "GeV"): ([1, 1], "GeV"),
        ("GeV", "50 GeV"): ([1, 50], "GeV"),
        ("50 GeV", "50 ns"): ([50, 0], "GeV"),
        ("GeV", "cm"): ([1, 0], "GeV"),
    }
    for units, (factors, unit) in expected.items():
        found, named = views.factors(images, units)
        assert (found.tolist(), named) == (factors, unit)


@pytest.mark.slow
def test_empty_images_have_no_views():
    """The message names the dataset and the class."""
    inputs = {"image": np.zeros((4, 2, 6, 9), np.float32)}
    some = SimpleNamespace(inputs=inputs, labels=np.array([0, 0, 1, 1]))
    spec = SimpleNamespace(classes=("gluon", "quark"))
    shown = SimpleNamespace(name="jets", spec=spec, some=lambda *_: some)
    with pytest.raises(
        UsageError, match="jets: nothing to draw: the median image of class 'gluon' is empty"
    ):
        views.typical(shown)


@pytest.mark.parametrize(("side", "columns"), [((12, 15), 3), ((120, 130), 4)])
def test_only_large_images_are_enlarged(side, columns, monkeypatch):
    """A small image has three columns, a large one has an enlarged part in a fourth."""
    image = jet(3, side)
    real = points(image)
    one = views.Example(
        name="quark",
        image=image.sum(0),
        edges=views.image_edges(image, real),
        places=real[:, :2],
        amounts=real[:, 2:4].sum(1),
        links=np.array([[0, 1]]),
        k=1,
    )
    monkeypatch.setattr(views, "examples", lambda _: ([one], "a, b", "GeV"))
    with style.applied():
        (figure,), _ = views.draw([SimpleNamespace(source_name="sample")], style.SIZES["full"])
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == list(views.COLUMNS[:columns])
    for ax in figure.axes[1:3]:
        (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
        assert (np.abs(real[:, :2]) + PIXEL / 2 < min(-left, right, -low, high)).all()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_a_jet_of_each_class_is_drawn_in_all_forms(tmp_path, monkeypatch, suffix):
    """The command draws the bundled sample; drawn again, the file is identical."""
    monkeypatch.setenv("HEPBENCH_CACHE", str(tmp_path / "cache"))
    dataset = "boosted-jets[size=64,points=60,k=4]"
    paths = [tmp_path / f"{i}.{suffix}" for i in range(2)]
    for path in paths:
        done = CliRunner().invoke(cli, ["data", "plot", dataset, "views", "-o", str(path)])
        assert done.stdout == f"{path}\n", done.output
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_dataset_without_a_cloud_says_so(tmp_path, monkeypatch):
    """The message is one line and says which figures are possible."""
    monkeypatch.setenv("HEPBENCH_CACHE", str(tmp_path / "cache"))
    done = CliRunner().invoke(cli, ["data", "plot", "higgs", "views"])
    assert isinstance(done.exception, UsageError)
    assert "higgs has no image; possible figures: features" in str(done.exception)
