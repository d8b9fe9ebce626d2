"""Figures as they are printed: sizes of text, number of files, labels, captions, fonts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import TESTS, Workbench
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import METRICS, record

from hepbench.cli.commands import cli
from hepbench.evaluation import stored_predictions
from hepbench.plots import direct_labels, drawing, sheets, style
from hepbench.plots.direct_labels import Box, Drawn, Wanted
from hepbench.plots.request import Request
from hepbench.plots.results import (
    efficiency,
    error_vs_cost,
    roc_curves,
    sculpting,
    signal_scores,
    significance,
    spectators,
)
from hepbench.specs.errors import UsageError
from hepbench.specs.metric import Predictions
from hepbench.storage.costs import Cost
from hepbench.storage.records import Published, Value

BASELINE = Path(__file__).parents[1] / "results" / "baseline"

TEN = ("qcd", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")

STORED = ("roc", "significance", "scores", "efficiency", "sculpting", "error-vs-flops")
"""Figures that need records and predictions, but no network."""


def made(n=600, classes=2, seed=0, sharpness=1.0, mass=None):
    """Return predictions of random examples; a larger sharpness tells classes apart better."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    values = rng.normal(size=(n, classes)) + sharpness * 2 * np.eye(classes)[labels]
    scores = np.exp(values)
    masses = rng.exponential(50, n) + 40 if mass is None else mass(scores, rng)
    return Predictions(
        labels=labels,
        scores=scores / scores.sum(1, keepdims=True),
        ids=np.arange(n),
        spectators={"jet_mass": masses, "pt": rng.uniform(500, 600, n)},
    )


@pytest.fixture
def stored(monkeypatch):
    """Return a function that makes a request for records whose predictions are made up."""

    def of_records(results, records, part):
        return [made(**results[each.dataset], seed=each.seed) for each in records]

    monkeypatch.setattr(stored_predictions, "of_records", of_records)

    def request(datasets, rows, *, seeds=2, **more):
        records = [
            record(
                f"model-{i}",
                seed,
                dataset=dataset,
                key=f"{dataset}{i}-{seed}",
                auc=0.9 - 0.01 * i,
                params={"dataset": {"classes": TEN[: how.get("classes", 2)]}},
                cost=Cost(flops=1000 * (i + 1), macs=500 * (i + 1)),
                history=[
                    {"epoch": float(e), "fit": 0.0, "loss": 1 / (e + i + 1)} for e in range(3)
                ],
            )
            for dataset, how in datasets.items()
            for i in range(rows)
            for seed in range(seeds)
        ]
        return Request(results=datasets, records=records, metrics=METRICS, **more)

    return request


def texts(figure):
    from matplotlib.text import Text

    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]


# --- the printed page


@pytest.mark.parametrize("size", style.SIZES)
@pytest.mark.parametrize("what", [*STORED, "training"])
def test_all_text_has_at_least_7_points_at_the_width_that_is_printed(stored, what, size):
    """Figures are saved as wide as a column or a page, so nothing is made smaller later."""
    found = drawing.drawn(what, stored({"jets": {}}, 3, size=size))
    for sheet in found:
        assert sheet.figure.get_figwidth() == style.SIZES[size].width
        assert sheet.figure.get_figheight() <= style.SIZES[size].height + 0.6
        assert min(text.get_fontsize() for text in texts(sheet.figure)) >= style.SMALL


@pytest.mark.parametrize("what", [*STORED, "training"])
def test_no_number_of_rows_is_refused(stored, what):
    """What does not fit goes into further files, and each row is in one of them."""
    found = drawing.drawn(what, stored({"jets": {}}, 15, seeds=1))
    written = " ".join(text.get_text() for sheet in found for text in texts(sheet.figure))
    assert all(re.search(rf"model-{i}\b", written) for i in range(15))


@pytest.mark.parametrize("what", STORED)
def test_ten_classes_are_drawn_each_against_the_others(stored, what):
    """There is a figure for each class, and one of error against cost."""
    found = drawing.drawn(what, stored({"decays": {"classes": 10}}, 2, seeds=1))
    assert all("decays" in sheet.name for sheet in found)
    if what in {"roc", "significance", "sculpting"}:
        assert len(found) == 10
    if what != "error-vs-flops":
        written = " ".join(text.get_text() for sheet in found for text in texts(sheet.figure))
        assert all(name in written for name in TEN)


def test_each_dataset_has_its_own_file(stored, tmp_path):
    """One sheet is written to the given path; several get the datasets' names behind it."""
    path = tmp_path / "roc.svg"
    assert drawing.make("roc", stored({"jets": {}}, 2), path) == [path]
    two = drawing.make("roc", stored({"jets": {}, "tops[n=5]": {}}, 2), path)
    assert [each.name for each in two] == ["roc-jets.svg", "roc-tops-n-5.svg"]
    assert all(each.stat().st_size for each in two)


def test_files_of_one_name_are_numbered():
    """Two sheets never share a file, also where a name ends in a number."""
    names = ("a b", "a b", "c", "a b-2", "a.b,2", "a b")
    found = [sheets.Sheet(None, "t", name) for name in names]
    paths = sheets._paths(found, Path("x.png"))
    assert [path.name for path in paths] == [
        *("x-a-b.png", "x-a-b-2.png", "x-c.png"),
        *("x-a-b-2-2.png", "x-a.b-2.png", "x-a-b-3.png"),
    ]


# --- fonts and captions


def test_fonts_are_in_a_pdf_as_type_42(stored, tmp_path):
    """Journals refuse Type 3; an SVG holds its letters as paths."""
    path = tmp_path / "roc.pdf"
    for figure in ("significance", "sculpting"):
        drawing.make(figure, stored({"jets": {}}, 3), path)
        content = path.read_bytes()
        assert b"/FontFile2" in content
        assert b"/Type3" not in content
    drawing.make("roc", stored({"jets": {}}, 3), path.with_suffix(".svg"))
    assert "<text" not in path.with_suffix(".svg").read_text()


def test_a_caption_is_in_the_file_and_beside_it_as_latex_and_text(stored, tmp_path):
    """The figure itself has no footer; signs of LaTeX in names are printed."""
    from PIL import Image

    wanted = stored({"a_b&c": {}}, 2)
    files = drawing.make("roc", wanted, tmp_path / "roc.png", caption=tmp_path / "cap.tex")
    assert [path.name for path in files] == ["roc.png", "cap.tex", "cap.txt"]
    latex, plain = (path.read_text() for path in files[1:])
    assert r"\includegraphics[width=\columnwidth]{roc.png}" in latex
    assert r"a\_b\&c" in latex
    assert "a_b&c" in plain
    assert plain.splitlines()[1] == Image.open(files[0]).text["Description"]
    assert not any(
        t.get_text().startswith("lines:") for t in texts(drawing.drawn("roc", wanted)[0].figure)
    )


def test_a_caption_of_another_kind_is_refused():
    """Only LaTeX and plain text are written."""
    with pytest.raises(UsageError, match=r"written as \.tex and \.txt"):
        sheets.check_caption(Path("cap.pdf"))


def test_the_same_records_give_the_same_bytes(stored, tmp_path):
    """Also with labels that were placed."""
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for path in paths:
        drawing.make("error-vs-flops", stored({"jets": {}}, 4), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


# --- labels


points = st.lists(st.tuples(st.floats(0, 200), st.floats(0, 150)), min_size=1, max_size=25)


@settings(deadline=None, max_examples=60)
@given(places=points, widths=st.lists(st.floats(5, 60), min_size=1, max_size=8))
def test_placed_labels_cover_neither_each_other_nor_what_is_drawn(places, widths):
    """They are inside of the axes, and lines to them cross no label."""
    drawn = np.array(places, float)
    wanted = [
        Wanted(width, 8.0, drawn[i % len(drawn)][None], i % len(drawn))
        for i, width in enumerate(widths)
    ]
    inside = Box(0, 0, 200, 150)
    found = direct_labels.place(wanted, Drawn(drawn, np.arange(len(drawn))), inside)
    boxes = [placed.box for placed in found if placed]
    for i, one in enumerate(boxes):
        assert one.left >= 0
        assert one.low >= 0
        assert one.right <= 200
        assert one.high <= 150
        within = (drawn > np.array(one[:2])) & (drawn < np.array(one[2:]))
        assert not within.all(axis=1).any()
        for other in boxes[i + 1 :]:
            apart = one.right < other.left or other.right < one.left
            assert apart or one.high < other.low or other.high < one.low


def test_a_label_with_room_is_beside_its_point():
    """No line is needed."""
    (placed,) = direct_labels.place(
        [Wanted(20, 8, np.array([[50.0, 50.0]]), 0)],
        Drawn(np.array([[50.0, 50.0]]), np.array([0])),
        Box(0, 0, 200, 100),
    )
    assert placed.box.left == pytest.approx(53)
    assert not placed.has_line


@given(places=points)
def test_points_that_coincide_are_drawn_apart(places):
    """Nothing moves up or down; of coinciding points the middle stays."""
    before = np.array([*places, places[0]], float)
    after = error_vs_cost.side_by_side(before)
    assert (after[:, 1] == before[:, 1]).all()
    assert after[:, 0].mean() == pytest.approx(before[:, 0].mean(), abs=1e-6)
    first, last = after[0], after[-1]
    assert np.hypot(*(first - last)) >= error_vs_cost.APART - 1e-9


def test_rows_without_a_cost_are_at_the_margin(stored):
    """An estimator has no FLOPs; its error is drawn all the same, and the caption says so."""
    wanted = stored({"jets": {}}, 2, seeds=1)
    other = record("trees", dataset="jets", key="trees", auc=0.95)
    wanted = replace(wanted, records=[*wanted.records, other])
    (sheet,) = drawing.drawn("error-vs-flops", wanted)
    _, margin = sheet.figure.axes
    assert any(line.get_ydata()[0] == pytest.approx(0.05) for line in margin.get_lines())
    assert margin.get_xticklabels()[0].get_text() == "no\nFLOPs"
    assert "right margin: rows whose cost was not measured" in sheet.caption


def test_rows_with_only_a_limit_are_named_in_the_caption(stored):
    """Their points look like others."""
    made_up = stored({"jets": {}}, 2, seeds=1)
    alike = {"dataset": "jets", "params": made_up.records[0].params}
    limited = record("cut", key="cut", metrics={"auc": Value(0.8, limit=True)}, **alike)
    (sheet,) = drawing.drawn(
        "error-vs-flops", replace(made_up, records=[*made_up.records, limited])
    )
    assert "; limits: cut; " in sheet.caption
    (sheet,) = drawing.drawn("error-vs-flops", made_up)
    assert "limits" not in sheet.caption


def test_a_published_value_is_inside_the_axes(stored):
    """The range holds it, wherever its row is."""
    wanted = stored({"jets": {}}, 2, seeds=1)
    paper = Published(cell="x", metrics={"auc": 0.999}, source="a paper")
    wanted = replace(wanted, records=[replaced(wanted.records[0], paper), *wanted.records[1:]])
    (sheet,) = drawing.drawn("error-vs-flops", wanted)
    low, high = sheet.figure.axes[0].get_ylim()
    assert low < 0.001 < high


def replaced(old, published):
    import msgspec

    return msgspec.structs.replace(old, published=published)


# --- text and ticks


@given(text=st.text(st.sampled_from("ab ,+"), max_size=80), letters=st.integers(3, 20))
def test_wrapped_lines_fit_and_lose_no_letter(text, letters):
    """Lines break behind spaces, commas and plus signs, and within a word only if it is too long."""
    lines = style.wrap(text, letters)
    assert all(len(line) <= letters for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@given(low=st.floats(1e-6, 1e6), factor=st.floats(1.1, 1e9))
def test_a_logarithmic_axis_has_few_ticks_within_its_range(low, factor):
    """They are round numbers."""
    ticks = style.round_ticks(low, low * factor)
    assert len(ticks) <= style.MOST_TICKS + 1
    assert all(low <= tick <= low * factor for tick in ticks)


def test_numbers_at_ticks_are_short():
    """Large ones have a letter; small ones no superscript, which would be too small to read."""
    found = [style.short_number(value) for value in (0.05, 20, 3000, 2e5, 3e6, 1e-5)]
    assert found == ["0.05", "20", "3000", "200 k", "3 M", "1e\N{MINUS SIGN}5"]


# --- ROC and significance


def test_a_limit_is_known_where_no_background_passes():
    """Of 100 background examples: 1 / (1 - .05^(1/100)) = 33.9, up to the efficiency that one passes."""
    scores = np.concatenate([np.linspace(0.5, 1, 100), np.linspace(0, 0.7, 100)])
    given_ = Predictions(
        labels=np.repeat([1, 0], 100), scores=np.stack([1 - scores, scores], axis=1)
    )
    found = roc_curves.roc(given_)
    assert found.limit == pytest.approx(1 / (1 - 0.05**0.01))
    # signal above .7: 60 of 100
    assert found.reach == pytest.approx(0.59, abs=0.011)


def test_a_limit_is_drawn_in_the_figure(stored):
    """A triangle in the colour of its row, within the axes."""
    wanted = stored({"jets": {"sharpness": 2.5}}, 2, seeds=1)
    (sheet,) = drawing.drawn("roc", wanted)
    above = sheet.figure.axes[0]
    marks = [line for line in above.get_lines() if line.get_marker() == "^"]
    assert len(marks) == 2
    low, high = above.get_ylim()
    assert all(low < line.get_ydata()[0] < high for line in marks)
    assert "95 % lower limits" in sheet.caption


def test_the_significance_improvement_is_worked_by_hand():
    """A rejection of 4 +- 1 at 50 %: .5 sqrt(4) = 1 with an error of .5 / (2 * 2)."""
    n = len(roc_curves.EFFICIENCIES)
    found = roc_curves.Roc(np.full(n, 4.0), np.full(n, 1.0), np.full(n, 50.0), 100.0)
    value, error = significance.improvement(found)
    at = int(np.flatnonzero(np.isclose(roc_curves.EFFICIENCIES, 0.5))[0])
    assert (value[at], error[at]) == (pytest.approx(1.0), pytest.approx(0.125))


def test_ratios_are_to_the_named_row(stored):
    """Its name is at the axis; an unknown name is refused with those that are known."""
    (sheet,) = drawing.drawn("roc", stored({"jets": {}}, 3, reference="model-2"))
    assert sheet.figure.axes[1].get_ylabel() == "ratio to\nmodel-2"
    with pytest.raises(UsageError, match="no row of jets named 'model-7'"):
        drawing.drawn("roc", stored({"jets": {}}, 3, reference="model-7"))


def test_one_class_against_the_rest_keeps_scores_and_spectators():
    """The class is the signal, its score the signal score."""
    three = made(classes=3)
    two = signal_scores.one_against_rest(three, 2)
    assert (two.labels == (three.labels == 2)).all()
    assert two.scores[:, 1] == pytest.approx(three.scores[:, 2])
    assert two.scores.sum(axis=1) == pytest.approx(1)
    assert two.spectators.keys() == three.spectators.keys()


# --- spectators


def test_efficiencies_in_bins_are_worked_by_hand():
    """A cut that keeps half of the signal keeps 3 of 4 in the first bin, 1 of 4 in the second."""
    signal = np.array([0.9, 0.8, 0.7, 0.1, 0.6, 0.2, 0.3, 0.4])
    background = np.array([0.65, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05])
    scores = np.concatenate([signal, background])
    given_ = Predictions(labels=np.repeat([1, 0], 8), scores=np.stack([1 - scores, scores], axis=1))
    bins = [np.tile(np.repeat([0, 1], 4), 2)]
    found = efficiency.signal_efficiency([given_], bins, 0.5)
    assert found.value == pytest.approx([0.75, 0.25])
    rejection = efficiency.background_rejection([given_], bins, 0.5)
    assert rejection.value[0] == pytest.approx(4)
    assert rejection.limit.tolist() == [False, True]


def test_a_mean_with_a_limit_of_one_seed_is_a_limit():
    """As in tables; here no background passes the cut of the second seed."""
    labels = np.repeat([1, 0], 40)
    passing, failing = np.full(40, 0.1), np.full(40, 0.1)
    passing[:4] = 0.9
    signal = np.linspace(0.3, 1, 40)
    seeds = [
        Predictions(labels=labels, scores=np.stack([1 - s, s], axis=1))
        for s in (np.append(signal, passing), np.append(signal, failing))
    ]
    bins = [np.zeros(80, int)] * 2
    assert not efficiency.background_rejection(seeds[:1], bins[:1], 0.5).limit.any()
    assert efficiency.background_rejection(seeds, bins, 0.5).limit.all()


@given(seed=st.integers(0, 50))
@settings(max_examples=20)
def test_bins_of_a_spectator_hold_about_equally_many_examples(seed):
    """Every finite value has a bin."""
    rng = np.random.default_rng(seed)
    values, labels = rng.exponential(10, 500), rng.integers(0, 2, 500)
    edges = efficiency.bin_edges(values, labels)
    held = np.bincount(efficiency._places(values, edges))
    assert held.sum() == 500
    assert held.max() - held.min() <= 2
    assert efficiency._places(np.array([np.nan]), edges).tolist() == [-1]


def test_the_jensen_shannon_distance_is_worked_by_hand():
    """Equal: 0. Apart: 1. (1, 0) and (1/2, 1/2): the divergence is .3113 bit."""
    assert sculpting.jensen_shannon(np.array([1, 2]), np.array([2, 4])) == pytest.approx(0)
    assert sculpting.jensen_shannon(np.array([1, 0]), np.array([0, 1])) == pytest.approx(1)
    assert sculpting.jensen_shannon(np.array([1, 0]), np.array([1, 1])) == pytest.approx(
        np.sqrt(0.31127812)
    )


def test_only_a_classifier_that_knows_the_mass_sculpts_it():
    """Otherwise the distance is that of random cuts."""
    plain = made(3000, sharpness=0.4)
    knowing = made(3000, sharpness=0.4, mass=lambda s, _: 50 + 100 * s[:, 1] / s.sum(1))
    found = []
    for predictions in (plain, knowing):
        masses = predictions.spectators["jet_mass"]
        edges = sculpting.mass_edges(masses, 300)
        found.append(sculpting.sculpting([predictions], [masses], 0.5, edges))
    assert abs(found[0].distance - found[0].random) < 5 * found[0].random_spread
    assert found[1].distance > 4 * found[1].random


def test_without_passing_background_there_is_no_distance():
    """The key says so; no number is invented."""
    apart = made(400, sharpness=20)
    masses = apart.spectators["jet_mass"]
    edges = sculpting.mass_edges(masses, 10)
    found = sculpting.sculpting([apart], [masses], 0.5, edges)
    assert found.after is None
    assert found.text == "no background passes"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("m", True), ("m0", True), ("jet_mass", True), ("mass", True), ("jet_msoftdrop", False),
     ("pt", False), ("met", False), ("multiplicity", False)],
)  # fmt: skip
def test_a_mass_is_known_by_its_name(name, expected):
    """Other quantities are drawn with --spectator."""
    assert (spectators.MASS.fullmatch(name) is not None) == expected


def test_a_dataset_without_spectators_is_refused_with_what_it_has(stored, monkeypatch):
    """An impossible efficiency is refused too."""
    bare = replace(made(), spectators={})
    monkeypatch.setattr(
        stored_predictions, "of_records", lambda _, records, __: [bare for _ in records]
    )
    with pytest.raises(UsageError, match="jets has no spectators"):
        drawing.drawn("efficiency", stored({"jets": {}}, 1))
    with pytest.raises(UsageError, match="--efficiency 1: it must be above 0 and below 1"):
        drawing.drawn("sculpting", stored({"jets": {}}, 1, efficiency=1.0))


@pytest.mark.parametrize("what", ["efficiency", "sculpting"])
@pytest.mark.parametrize("values", [80.0, np.nan, np.inf])
def test_a_spectator_with_a_single_value_is_not_drawn(stored, what, values):
    """It has no bins; without another one the figure is refused, and says what there is."""
    request = stored({"jets": {"mass": lambda scores, _: np.full(len(scores), values)}}, 1)
    alone = replace(request, spectators=["jet_mass"])
    with pytest.raises(UsageError, match="no dataset has jet_mass; jets has pt"):
        drawing.drawn(what, alone)
    if what == "efficiency":
        (sheet,) = drawing.drawn(what, request)
        assert sheet.name == "jets-pt"


# --- the command


def plot(*arguments):
    done = CliRunner().invoke(cli, ["plot", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output.splitlines()


@pytest.mark.slow
def test_all_figures_are_drawn_into_a_folder(tmp_path):
    """Those that the results do not allow are told in a line each, with the reason."""
    options = ("-m", "cnn", "-o", tmp_path / "figures")
    lines = plot("--all", BASELINE / "electron-photon.zip", *options)
    left_out = {line.partition(":")[0] for line in lines if ": left out: " in line}
    assert left_out == {
        *("efficiency", "sculpting", "training-size"),
        *("overtraining", "latents", "reconstructions"),
    }
    files = [Path(line) for line in lines if ": left out: " not in line]
    assert {path.stem.partition("-electron-photon")[0] for path in files} == {
        *(set(drawing.FIGURES) - left_out),
        "captions",
    }
    assert all(path.stat().st_size for path in files)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a figure: roc, significance"),
        (["--all", "roc"], "--all draws every figure: leave out roc"),
        (["--all", "x.zip", "y.zip"], "--all draws every figure"),
    ],
)
def test_a_wrong_choice_of_figures_is_refused(arguments, said):
    """The message says what is allowed."""
    with pytest.raises(UsageError, match=said):
        plot(*arguments)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("-d", "typo", "'typo' matches no dataset"),
        ("--group", "typo", "no group named 'typo'"),
        ("--efficiency", 3, "--efficiency 3: it must be above 0"),
        ("--error", "typo", "no metric named 'typo'"),
        ("--against", "typo", "no cost named 'typo'"),
    ],
)
def test_a_mistake_is_an_error_also_where_every_figure_is_drawn(tmp_path, option, value, said):
    """Only what the results do not allow is left out."""
    options = ("-o", tmp_path / "figures", option, value)
    with pytest.raises(UsageError, match=said):
        plot("--all", BASELINE / "quickstart.zip", *options)
    assert not (tmp_path / "figures").exists()


def test_results_that_allow_no_figure_are_an_error(stored, tmp_path, monkeypatch):
    """After a line for each figure, with the reason."""
    monkeypatch.setattr(drawing, "FIGURES", {"sculpting": "sculpting"})
    request = stored({"jets": {"mass": lambda scores, _: np.zeros(len(scores))}}, 1)
    lines = drawing.make_all(request, tmp_path)
    assert next(lines).startswith("sculpting: left out: nothing to draw")
    with pytest.raises(UsageError, match="allows no figure"):
        next(lines)


@pytest.mark.slow
def test_a_suite_of_ten_classes_is_drawn(tmp_path):
    """Scores of training and test too; each class has a panel of its own."""
    bench = Workbench(tmp_path)
    bench.plugin(TESTS / "plugins" / "decays.py")
    bench.environment["PYTHONWARNINGS"] = "error"
    what = ("-d", "decays[n=400]", "-m", "logistic", "-x", "scratch")
    done = bench("run", *what, timeout=300)
    assert done.code == 0, done.err
    for figure in ("overtraining", "scores", "training", "efficiency"):
        done = bench("plot", figure, "results", timeout=300)
        assert (done.code, done.err) == (0, "")
        assert all((tmp_path / line).stat().st_size for line in done.out.split())


@pytest.mark.slow
def test_the_suites_own_quickstart_is_drawn(tmp_path):
    """15 trainings once were too many for one figure."""
    paths = plot("training", BASELINE / "quickstart.zip", "-o", tmp_path / "training.png")
    assert len(paths) >= 3
    assert json.dumps(sorted(paths)) == json.dumps(sorted(map(str, tmp_path.iterdir())))
