"""Figures of datasets: their numbers equal those of numpy, for all examples except test examples."""

from __future__ import annotations

import re
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import zoo
from conftest import TESTS, Workbench
from hypothesis import given
from hypothesis import strategies as st
from test_bad_input import refused

from hepbench.conformance import datasets
from hepbench.data import stored_parts
from hepbench.data.messages import inputs_task
from hepbench.plots import style
from hepbench.plots.datasets import binning, distributions, histograms, labelled_examples, means
from hepbench.plots.datasets import drawing as figures
from hepbench.plots.datasets.binning import Bins
from hepbench.plots.datasets.distributions import Distribution
from hepbench.registry.plugins import Entry, Plugin
from hepbench.specs.errors import UsageError
from hepbench.specs.parameters import defaults

FIGURES = ("means", *distributions.KINDS)


def shown(folder, *, sparse=True):
    """Return the labelled examples of the zoo dataset."""
    spec = zoo.zoo(sparse=sparse)
    folder.mkdir(exist_ok=True)
    found = datasets.prepared(Entry(spec, Plugin("zoo", "zoo", "zoo", "")), ("table",), folder)
    task = inputs_task(spec, tuple(spec.views), defaults(spec.params))
    return labelled_examples.gathered(spec, task, found["read"], found["split"])


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return shown(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def whole(ours):
    """Return the same examples as the plugin yields them, all at once and dense."""
    found = [e for role, e in zoo.sample(200, dense=True) if role == "labelled"]
    rows = ours.rows

    def column(of):
        return np.concatenate([of(e) for e in found])[rows]

    columns = {name: column(lambda e, n=name: e.inputs[n]) for name in found[0].inputs}
    columns |= {"labels": column(lambda e: e.labels), "weights": column(lambda e: e.weights)}
    return {**columns, "m": column(lambda e: e.spectators["m"])}


def expected(kind, whole):
    """Return {quantity: (values, rows)}, worked out by numpy."""
    image, n = whole["image"], len(whole["labels"])
    each = np.arange(n)
    channels = {"ecal [GeV]": image[:, 0], "d0": image[:, 1]}
    if kind == "spectra":
        return {name: (x[x != 0], np.nonzero(x)[0]) for name, x in channels.items()}
    if kind == "occupancy":
        counts = {name: (x != 0).sum((1, 2)) for name, x in channels.items()}
        return {f"pixels of {name.split(' ')[0]}": (c, each) for name, c in counts.items()}
    if kind == "features":
        columns = dict(zip(("x", "steps", "constant"), whole["table"].T, strict=True))
        seen = {"brightness": image.sum((1, 2, 3)), "hits": (image != 0).sum((1, 2, 3))}
        return {name: (c, each) for name, c in {**columns, **seen, "m": whole["m"]}.items()}
    cloud, mask = whole["cloud"].astype(float), whole["mask"]
    px, py, pz, e = cloud.sum(1).T
    return {
        "particles": (mask.sum(1), each),
        "particle pt [GeV]": (np.hypot(cloud[..., 0], cloud[..., 1])[mask], np.nonzero(mask)[0]),
        "jet pt [GeV]": (np.hypot(px, py), each),
        "jet mass [GeV]": (np.sqrt(e**2 - px**2 - py**2 - pz**2), each),
    }


def places(where, values):
    """Return values in the coordinates of the edges, clipped to them."""
    if where.values is not None:
        return np.searchsorted(where.values, values) + 0.5
    return np.clip(values, where.edges[0], np.nextafter(where.edges[-1], -np.inf))


@pytest.mark.parametrize("kind", distributions.KINDS)
def test_distributions_equal_those_of_numpy(ours, whole, kind):
    """They are weighted means of counts for each class, with their errors."""
    where = distributions.chosen([ours], kind)
    found = {each.name: each for each in distributions.count(ours, kind, where)}
    worked = expected(kind, whole)
    assert set(found) == set(worked)
    for name, (values, rows) in worked.items():
        inside = places(where[name], values)
        for label in (0, 1):
            mine = whole["labels"] == label
            w = whole["weights"][mine]
            some = mine[rows]
            counts, _ = np.histogram(
                inside[some], where[name].edges, weights=whole["weights"][rows][some]
            )
            np.testing.assert_allclose(found[name].heights[label], counts / w.sum(), rtol=1e-9)
            each = [
                np.histogram(inside[rows == i], where[name].edges)[0] for i in mine.nonzero()[0]
            ]
            spread = np.square(w[:, None] * (np.array(each) - counts / w.sum())).sum(0)
            np.testing.assert_allclose(
                found[name].errors[label], np.sqrt(spread) / w.sum(), rtol=1e-6, atol=1e-9
            )


def test_mean_images_equal_those_of_numpy(ours, whole):
    """Means and errors are weighted; hits count non-zero pixels."""
    found = means.means(ours)
    assert found.channels == ["ecal [GeV]", "d0"]
    for label in (0, 1):
        mine = whole["labels"] == label
        image, w = whole["image"][mine].astype(float), whole["weights"][mine]
        mean = np.average(image, axis=0, weights=w)
        spread = np.square(w[:, None, None, None] * (image - mean)).sum(0)
        np.testing.assert_allclose(found.means[label], mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.errors[label], np.sqrt(spread) / w.sum(), rtol=1e-6)
        assert (found.hits[label] == (image != 0).sum(0)).all()


def everything(ours):
    """Return all numbers in the figures."""
    found = [means.means(ours)]
    numbers = [array for each in found for array in (each.means, each.errors, each.hits)]
    for kind in distributions.KINDS:
        where = distributions.chosen([ours], kind)
        for each in distributions.count(ours, kind, where):
            numbers += [each.heights, each.errors]
    return numbers


def test_figures_do_not_depend_on_chunk_size_or_on_sparse_images(ours, tmp_path, monkeypatch):
    """Chunks of one example and dense images give the same numbers."""
    once = everything(ours)
    monkeypatch.setattr(stored_parts, "CHUNK_BYTES", 1)
    others = everything(ours), everything(shown(tmp_path / "dense", sparse=False))
    for other in others:
        for one, another in zip(once, other, strict=True):
            np.testing.assert_allclose(one, another, rtol=1e-6, atol=1e-9)


def test_no_test_example_is_drawn(ours):
    """Test examples have values of a million; drawn ones are all training and validation examples."""
    chunks = list(ours.chunks("image", "table", "cloud", "mask"))
    highest = max(np.abs(np.asarray(c.inputs[name])).max() for c in chunks for name in c.inputs)
    assert highest < zoo.TEST / 10
    assert max(chunk.spectators["spectator.m"].max() for chunk in chunks) < zoo.TEST / 10
    assert sum(len(chunk.labels) for chunk in chunks) == ours.counts.sum() == len(ours.rows)
    assert ours.sealed == 66
    assert len(ours.rows) == 300


def test_the_examples_that_choose_the_bins_are_spread_over_all(ours):
    """Seven were asked for: first, last, and others evenly between."""
    chunk = ours.some(7, "table")
    assert len(chunk.labels) == 7
    every = np.concatenate([c.inputs["table"] for c in ours.chunks("table")])
    rows = [int(np.flatnonzero((every == row).all(1))[0]) for row in chunk.inputs["table"]]
    assert rows[0] == 0
    assert rows[-1] == len(every) - 1
    assert np.diff(rows).min() > len(every) // 10


def test_memory_does_not_grow_with_the_number_of_examples(tmp_path, monkeypatch):
    """The peak is below a tenth of all images."""
    monkeypatch.setattr(stored_parts, "CHUNK_BYTES", 20_000)
    monkeypatch.setattr(labelled_examples, "MAX_BYTES", 20_000)
    ours = shown(tmp_path / "dense", sparse=False)
    repeated = replace(
        ours,
        rows=np.tile(ours.rows, 100),
        columns={name: np.tile(column, 100) for name, column in ours.columns.items()},
    )
    size = len(repeated.rows) * np.prod(zoo.SHAPE) * 4
    tracemalloc.start()
    try:
        means.means(repeated)
        where = distributions.chosen([repeated], "spectra")
        distributions.count(repeated, "spectra", where)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 10


# --- bins


values_ = st.lists(st.floats(-1e6, 1e6, width=32) | st.integers(-50, 50), max_size=60)


@given(values=values_, log=st.booleans())
def test_edges_rise_and_every_value_has_a_bin(values, log):
    """Values beyond the edges are in the first or last bin."""
    where = binning.bins(np.array(values, float), log=log)
    assert (np.diff(where.edges) > 0).all()
    held = where.places(np.array([*values, -1e9, 1e9], float))
    assert held.min() >= 0
    assert held.max() <= len(where.edges) - 2


def test_bins_of_whole_numbers_hold_equally_many():
    """Also if they are multiples of 25, such as the pixels of a tower."""
    numbers = 25 * np.arange(10, 60)
    edges = binning.bins(numbers).edges
    assert len(set(np.diff(edges))) == 1
    assert np.diff(edges)[0] % 25 == 0
    counts, _ = np.histogram(numbers, edges)
    assert set(counts[:-1]) == {np.diff(edges)[0] / 25}
    few = binning.bins(np.arange(20)).edges
    assert few.tolist() == [i - 0.5 for i in range(len(few))]


def test_few_different_values_get_a_bin_each():
    """An example is a b-tag with three values."""
    where = binning.bins(np.array([0, 1.09, 2.17] * 5))
    assert where.values.tolist() == [0, 1.09, 2.17]
    assert where.places(np.array([2.17, 0, 1.09, 0])).tolist() == [2, 0, 1, 0]


@given(
    first=st.integers(-70, 0),
    count=st.integers(8, 140),
    pixel=st.sampled_from([0.0174533, 0.0349066, 0.5]),
)
def test_bins_of_pixel_positions_hold_equally_many(first, count, pixel):
    """Only the last bin may hold fewer."""
    places = (np.arange(first, first + count) * np.float32(pixel)).astype(np.float32)
    where = binning.bins(np.tile(places, 20), log=True)
    held = np.bincount(where.places(places))
    assert set(held[:-1]) == {held[0]}
    assert held[-1] <= held[0]


def test_a_single_value_gets_one_bin():
    """The bin is labelled with the value."""
    where = binning.bins(np.zeros(7))
    assert where.values.tolist() == [0]
    assert where.places(np.zeros(2)).tolist() == [0, 0]


def test_few_examples_get_few_bins():
    """The number of bins grows with the square root of the examples, up to a limit."""
    assert binning.suitable_number(4) == binning.FEWEST
    assert binning.suitable_number(400) == 24
    assert binning.suitable_number(10**6) == binning.BINS
    values = np.random.default_rng(0).normal(size=50)
    assert len(binning.bins(values, n=12).edges) == 13


def test_values_over_orders_of_magnitude_get_a_logarithmic_axis():
    """It is used only if asked for, and on both sides of 0 if there are negative values."""
    sizes = 10 ** np.random.default_rng(0).uniform(-3, 2, 500)
    assert binning.bins(sizes, log=True).scale == "log"
    assert binning.bins(sizes).scale == "linear"
    both = binning.bins(np.concatenate([sizes, -sizes]), log=True)
    assert both.scale == "symlog"
    np.testing.assert_allclose(both.edges, -both.edges[::-1])


# --- numbers by hand


def distribution(heights, errors):
    return Distribution("x", Bins(np.arange(3.0)), np.array([heights]), np.array([errors]), True)


def test_a_ratio_combines_both_errors_and_is_nan_if_a_height_is_0():
    """.6 +- .06 over .3 +- .03: relative errors of a tenth each."""
    found, error = distributions.ratio(
        distribution([0.6, 0.4], [0.06, 0.1]), distribution([0.3, 0.0], [0.03, 0.0])
    )
    assert found[0, 0] == pytest.approx(2)
    assert error[0, 0] == pytest.approx(2 * np.hypot(0.1, 0.1))
    assert np.isnan(found[0, 1])


def test_only_real_particles_count_for_the_mass_of_a_jet(ours):
    """Two massless particles of 3 and 4 GeV back to back: energy 7, pt 1, mass sqrt(48)."""
    cloud = np.array([[[3, 0, 0, 3], [-4, 0, 0, 4], [50, 50, 50, 99], [0, 0, 0, 0]]], np.float32)
    inputs = {"cloud": cloud, "mask": np.array([[True, True, False, False]])}
    chunk = labelled_examples.Chunk(np.zeros(1, int), np.ones(1), inputs, {})
    found = dict(distributions.particles(ours, chunk))
    assert found["particles"].values.tolist() == [2]
    assert found["particle pt [GeV]"].values.tolist() == [3, 4]
    assert found["jet pt [GeV]"].values[0] == pytest.approx(1)
    assert found["jet mass [GeV]"].values[0] == pytest.approx(np.sqrt(7**2 - 1))


def test_a_cloud_without_momenta_shows_its_features(ours):
    """Features without names are numbered; padding is left out."""
    inputs = {"cloud": np.arange(6.0).reshape(1, 3, 2), "mask": np.array([[True, False, True]])}
    chunk = labelled_examples.Chunk(np.zeros(1, int), np.ones(1), inputs, {})
    found = dict(distributions.particles(ours, chunk))
    assert set(found) == {"particles", "cloud 0", "cloud 1"}
    assert found["cloud 1"].values.tolist() == [1, 5]
    assert found["cloud 1"].rows.tolist() == [0, 0]


def test_differences_of_means_need_enough_hits():
    """(3 - 1) / sqrt(.3^2 + .4^2) = 4; NaN if either class has too few hits."""
    shape = (2, 1, 1, 2)
    mean = np.broadcast_to(np.array([1.0, 3.0]).reshape(2, 1, 1, 1), shape)
    error = np.broadcast_to(np.array([0.3, 0.4]).reshape(2, 1, 1, 1), shape)
    hits = np.array([[9, means.ENOUGH], [9, means.ENOUGH - 1]]).reshape(shape)
    only = means.Means(["a"], mean, error, hits)
    found = means.pull(only, only, 1, 0)
    assert found[0, 0, 0] == pytest.approx(4)
    assert np.isnan(found[0, 0, 1])
    lines = means.lines([("sample", only)], ["cat", "dog"])
    assert [line.name for line in lines] == ["cat", "dog", "dog \N{MINUS SIGN} cat"]
    both = means.lines([("file", only), ("sample", only)], ["cat", "dog"])
    assert len(both) == 6
    assert not np.nan_to_num(both[2].images).any()


# --- end to end


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Return a workbench with all figures of the zoo dataset; warnings are errors."""
    bench = Workbench(tmp_path_factory.mktemp("drawn"))
    bench.plugin(TESTS / "plugins" / "zoo.py")
    bench.environment["PYTHONWARNINGS"] = "error"
    done = bench("data", "plot", "zoo", timeout=300)
    assert done.code == 0, done.err
    found = [re.sub(r"(-\d+)?\.png", "", name) for name in done.out.split()]
    assert list(dict.fromkeys(found)) == [f"zoo-{what}" for what in FIGURES]
    return bench


@pytest.mark.slow
@pytest.mark.parametrize("what", FIGURES)
def test_without_a_name_all_possible_figures_are_drawn(drawn, what):
    """Each has a file or several; no temporary files are left."""
    paths = sorted(drawn.folder.glob(f"zoo-{what}*.png"))
    assert paths
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 10_000
    assert not list(drawn.folder.glob(".*"))


def test_a_figure_with_other_parameters_has_another_file(drawn):
    """The parameters are in the file name."""
    done = drawn("data", "plot", "zoo[n=200]", "occupancy")
    assert (done.code, done.out) == (0, "zoo-n-200-occupancy.png\n"), done.err


def test_a_figure_is_written_to_output_without_reading_the_data_again(drawn):
    """The same examples give the same bytes, and the cache does not change."""
    before = sorted((drawn.folder / "cache" / "stages").rglob("*"))
    for name in ("one", "two"):
        done = drawn("data", "plot", "zoo[n=200]", "occupancy", "-o", f"new/{name}.svg")
        assert (done.code, done.out) == (0, f"new/{name}.svg\n"), done.err
    one, two = ((drawn.folder / "new" / f"{name}.svg").read_bytes() for name in ("one", "two"))
    assert one == two
    assert one.startswith(b"<?xml")
    assert sorted((drawn.folder / "cache" / "stages").rglob("*")) == before


WRONG = [
    (["zoo", "--compare", "--source", "sample"], ["--compare draws both files and sample"]),
    (["zo"], ["no dataset named 'zo'", "Did you mean 'zoo'?"]),
    (["zoo[m=3]"], ["zoo[m]", "no parameter named 'm'"]),
    (["zoo", "mean"], ["no figure of a dataset named 'mean'", "Did you mean 'means'?"]),
    (["higgs", "means"], ["nothing to draw: higgs has no image", "possible figures: features"]),
    (
        ["zoo", "-o", "all.png"],
        ["--output all.png: name exactly one figure", "means, views, spectra"],
    ),
    (["zoo", "means", "-o", "zoo.gif"], ["--output zoo.gif", ".png, .pdf, .svg"]),
    (["zoo", "occupancy", "-o", "/proc/zoo.png"], ["cannot write /proc/zoo.png"]),
    (["zoo", "occupancy", "-o", "site/zoo.py/zoo.png"], ["cannot write site/zoo.py/zoo.png"]),
    (["zoo", "--compare"], ["zoo: no original file", "zoo declares no original files"]),
    (["higgs", "--compare", "--data", "."], ["higgs: no original file under", "HIGGS.csv.gz"]),
    (["higgs", "--data", "nowhere"], ["--data nowhere: no such folder"]),
]


@pytest.mark.parametrize(("command", "parts"), WRONG, ids=lambda part: " ".join(part)[:40])
def test_a_wrong_figure_of_a_dataset_is_refused_in_one_line(drawn, command, parts):
    """The line says what is allowed; the exit status is 2."""
    assert refused(drawn("data", "plot", *command), *parts)


def test_files_that_cannot_be_read_are_refused_in_one_line(drawn):
    """The line has the reader's message, and no figure is written."""
    drawn.write("bad/higgs/HIGGS.csv", "1,2,3\n")
    done = drawn("data", "plot", "higgs", "features", "--data", "bad", "-o", "bad.png")
    assert refused(done, "higgs: HIGGS.csv: line 1: the number of fields is 3")
    assert not (drawn.folder / "bad.png").exists()


def test_a_file_is_drawn_over_the_sample(drawn):
    """With --compare, a file and the sample are in one figure."""
    rng = np.random.default_rng(0)
    rows = [",".join(map(str, [i % 2, *rng.exponential(size=28).round(3)])) for i in range(60)]
    drawn.write("files/higgs/HIGGS.csv", "\n".join(rows) + "\n")
    what = ("higgs[features=7]", "features", "--compare", "--data", "files", "-o", "both.svg")
    done = drawn("data", "plot", *what, timeout=300)
    assert done.code == 0, done.err
    assert (drawn.folder / "both.svg").stat().st_size > 10_000


def test_densities_have_area_one(ours):
    """The notes explain heights and errors."""
    where = distributions.chosen([ours], "features")
    for each in distributions.count(ours, "features", where):
        heights, _ = histograms._heights_to_draw(each)
        np.testing.assert_allclose((heights * each.widths).sum(1), 1)
    for kind in distributions.KINDS:
        assert "statistical error" in histograms._notes(kind, [ours])[0]


def test_a_constant_in_the_file_does_not_flatten_the_sample(ours):
    """A text says that all its values are in one bin; the axis fits the sample."""
    from matplotlib.figure import Figure

    axes, where = Figure().subplots(), Bins(np.linspace(0, 1, 5))
    heights = [np.array([[0, 1.0, 0, 0]] * 2), np.array([[0.1, 0.2, 0.4, 0.3]] * 2)]
    both = [Distribution("m", where, h, 0.1 * h, once=True) for h in heights]
    several = [replace(ours, origin="file"), replace(ours, origin="sample")]
    histograms._draw_panel(axes, both, several)
    assert [text.get_text() for text in axes.texts] == ["file: all in one bin"]
    assert axes.get_ylim() == (0, histograms.HEADROOM * 0.4 / 0.25)


def test_a_simulated_file_is_never_called_original(ours):
    """This holds for title and notes, alone or compared with the sample."""
    made = replace(ours, origin="simulated")
    for several in ([made], [made, ours]):
        with style.applied():
            (sheet,) = figures._sheets(several, "occupancy", style.SIZES["full"])
        title = sheet.figure.get_suptitle() + sheet.figure.axes[0].texts[-1].get_text()
        assert "simulated file" in title
        assert "simulated file: " in sheet.caption
        assert "original" not in title + sheet.caption
    assert (made.source_name, ours.source_name) == ("simulated file", "sample")


@pytest.mark.parametrize("size", style.SIZES)
@pytest.mark.parametrize("what", ["means", "spectra", "occupancy", "features", "particles"])
def test_text_of_a_datasets_figure_is_legible_and_no_panel_is_empty(ours, what, size):
    """At the printed width all text has at least 7 points; quantities without values are left out."""
    from matplotlib.text import Text

    with style.applied():
        found = figures._sheets([ours], what, style.SIZES[size])
    for sheet in found:
        assert sheet.figure.get_figwidth() == style.SIZES[size].width
        shown = [t for t in sheet.figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
        assert min(text.get_fontsize() for text in shown) >= style.SMALL
        assert all(axes.has_data() for axes in sheet.figure.axes)


def test_a_figure_without_any_value_is_refused(ours, monkeypatch):
    """Such as one of images in which nothing was hit."""
    empty = replace(distributions.KINDS["spectra"], values=lambda *_: iter(()))
    monkeypatch.setitem(distributions.KINDS, "spectra", empty)
    with style.applied(), pytest.raises(UsageError, match="nothing to draw: spectra have no value"):
        figures._sheets([ours], "spectra", style.SIZES["full"])


def test_progress_is_reported_up_to_the_last_example(ours):
    """The report has fraction and number of examples."""
    reports = []
    means.means(replace(ours, report_progress=reports.append))
    assert reports[-1] == "100% of 300 examples drawn"
