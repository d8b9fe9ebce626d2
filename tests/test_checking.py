"""Checking data: every figure is numpy's of the whole; what is odd is told, what is wrong refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import counted
import needs
import numpy as np
import pytest

from hepbench import DataError, PluginError
from hepbench.data.checking import file_check
from hepbench.data.finding import DataFiles

STATISTICS = {
    "mean": np.mean,
    "min": np.min,
    "max": np.max,
    "nonzero": lambda values: (values != 0).mean(),
}


def checked(folder, *, spec=counted.COUNTED, **changed):
    """Return the findings of a file with some arrays changed."""
    folder.mkdir(exist_ok=True)
    np.savez(folder / "counted.npz", **{**counted.made(1), **changed})
    found = DataFiles("file", "", str(folder), (str(folder / "counted.npz"),))
    return file_check.check(spec, found, {"size": 4, **LIMITS}, lambda _: None)


LIMITS = {"n_train": None, "n_validation": None, "n_test": None}


def knowing(known):
    """Return the dataset with other known ranges."""
    return replace(counted.COUNTED, original=replace(counted.COUNTED.original, known=known))


def columns():
    """Return the values of each channel and feature of a good file, with the class of each."""
    arrays = counted.made(1)
    image, cloud, mask, labels = (arrays[n] for n in ("image", "cloud", "mask", "labels"))
    for i, name in enumerate(("tracks", "towers")):
        pixels = image[:, i].reshape(len(image), -1).astype(float)
        yield f"image.{name}", pixels, np.broadcast_to(labels[:, None], pixels.shape)
    for i in range(3):
        classes = np.broadcast_to(labels[:, None], mask.shape)
        yield f"cloud.{i}", cloud[mask][:, i].astype(float), classes[mask]
    yield "mask.particles", mask.sum(1), labels
    yield "spectator.m", arrays["m"], labels
    yield "table.hits", (image != 0).sum((1, 2, 3)), labels


@pytest.mark.parametrize("given", list(columns()), ids=lambda given: given[0])
def test_statistics_are_those_of_all_values_at_once(tmp_path, given):
    """Over all labelled examples and by class, added up chunk by chunk, padding left out."""
    name, values, classes = given
    figures = checked(tmp_path).values
    for statistic, of in STATISTICS.items():
        assert figures[f"{name}.{statistic}"] == pytest.approx(of(values), rel=1e-6)
        for i, label in enumerate(("qcd", "top")):
            expected = of(values[classes == i])
            assert figures[f"{name}.{statistic}.{label}"] == pytest.approx(expected, rel=1e-6)


def test_sparse_and_dense_images_have_the_same_statistics(tmp_path):
    """A pixel without a hit is 0."""
    inputs = dict(counted.COUNTED.inputs)
    inputs["image"] = replace(inputs["image"], sparse=False)
    dense = checked(tmp_path, spec=replace(counted.COUNTED, inputs=inputs))
    sparse = checked(tmp_path)
    assert dense.values == pytest.approx(sparse.values)
    assert dense.warnings == sparse.warnings == []


def test_unlabelled_examples_have_statistics_of_their_own(tmp_path):
    """They are in no figure that is compared with what is known."""
    findings = checked(tmp_path)
    assert findings.roles == {"labelled": 200, "unlabelled": 200}
    (row,) = (row for row in findings.channels if row.name == "towers")
    assert row.unlabelled["mean"] == pytest.approx(2 * row.labelled["mean"])
    assert "towers" in findings.text()


def test_a_good_file_is_not_odd(tmp_path):
    """What is known of it is found, but for a target that this file has not."""
    findings = checked(tmp_path)
    assert findings.warnings == []
    assert {each.name for each in findings.known} == set(counted.COUNTED.known)
    missing = [each.name for each in findings.known if each.found is None]
    assert missing == ["spectator.pT.mean"]
    assert "not in these files" in findings.text()
    assert findings.text().endswith("no warnings")


GOOD = counted.made(1)
FIRST = np.arange(200) < 3
EMPTY = np.where(FIRST[:, None, None, None], 0, GOOD["image"])


def copied(**arrays):
    """Return the arrays with the first three examples again at their end."""
    return {name: np.concatenate([array, array[:3]]) for name, array in {**GOOD, **arrays}.items()}


OTHER_LABELS = {**copied(), "labels": np.concatenate([GOOD["labels"], 1 - GOOD["labels"][:3]])}

ODD = {
    "a scale": ({"image": 3 * GOOD["image"]}, ["image.towers.mean is", "the original has 0.3 to 0.6"]),
    "one class": ({"image": GOOD["image"] * np.where(GOOD["labels"], 0.2, 1)[:, None, None, None]},
                  ["image.towers.mean.top is"]),
    "a negative value": ({"image": GOOD["image"] - (GOOD["image"] > 0.5)}, ["image.tracks.min"]),
    "shares": ({"labels": (np.arange(200) % 4 == 0).astype(int)}, ["fraction.top is 0.25"]),
    "a target": ({"m": GOOD["m"] * 1000}, ["spectator.m.mean is"]),
    "a target that is not finite": ({"m": np.where(FIRST, np.nan, GOOD["m"])},
                                    ["spectator.m: 3 values are not finite"]),
    "empty images": ({"image": EMPTY}, ["image.empty is 0.015; the original has 0"]),
    "copies": (copied(), ["copies is 0.01478; the original has 0"]),
    "copies with another label": (OTHER_LABELS, ["3 examples are copies of ones with another"]),
    "what the reader says": ({"odd": np.ones(1)}, ["data: labels look the wrong way round"]),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "words"), ODD.values(), ids=ODD)
def test_what_is_odd_is_told(tmp_path, changed, words):
    """With what was found and what is known; it is in the text too."""
    findings = checked(tmp_path, **changed)
    for word in words:
        assert any(word in line for line in findings.warnings), findings.warnings
    assert all(f"warning: {line}" in findings.text() for line in findings.warnings)


def test_copies_across_parts_are_told_as_records_tell_them(tmp_path):
    """Of a file that holds everything twice, most test examples are copies of training examples."""
    twice = {name: np.concatenate([array, array]) for name, array in GOOD.items()}
    odd = checked(tmp_path, **twice).warnings
    assert any(line.startswith("duplicates: ") and "of 80 test" in line for line in odd), odd


def test_empty_images_are_no_copies_of_each_other(tmp_path):
    """They are counted by themselves, where nothing else tells them apart."""
    image = {"image": counted.COUNTED.inputs["image"]}
    spec = replace(knowing({}), inputs=image, views={})
    findings = checked(tmp_path, spec=spec, image=EMPTY)
    assert findings.values["copies"] == 0
    assert len(findings.warnings) == 1


def test_what_is_known_of_copies_and_empty_images_is_not_odd(tmp_path):
    """An original that has some is not told of each time."""
    known = {"copies": (0, 0.1), "image.empty": (0, 0.1)}
    image = np.concatenate([EMPTY, EMPTY[:3], EMPTY[-3:]])
    again = {n: np.concatenate([a, a[:3], a[-3:]]) for n, a in GOOD.items()} | {"image": image}
    findings = checked(tmp_path, spec=knowing(known), **again)
    assert findings.values["copies"] > 0
    assert findings.warnings == []


WRONG = {
    "an image that is not finite": ({"image": np.where(EMPTY > 3, np.nan, EMPTY)}, "not finite"),
    "a label": ({"labels": GOOD["labels"] + 1}, "labels from 1 to 2; 0 to 1 expected, or -1"),
    "one class alone": ({"labels": np.zeros(200, int)}, "has no example of class 'top'"),
    "a shape": ({"image": GOOD["image"][:, :, :4]}, "(2, 5, 4) is declared"),
    "nothing": ({name: array[:0] for name, array in GOOD.items()}, "no labelled example"),
}


@pytest.mark.parametrize(("changed", "words"), WRONG.values(), ids=WRONG)
def test_what_no_run_could_use_is_an_error(tmp_path, changed, words):
    """The same as a run's, in one line."""
    with pytest.raises(DataError) as caught:
        checked(tmp_path, **changed)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_that_do_not_fit_a_view_are_the_plugins_fault(tmp_path, monkeypatch):
    """They would stand beside the wrong figures."""
    from hepbench.registry.resolve import resolve

    monkeypatch.setattr(counted, "WIDTH", ("width",))
    resolve.cache_clear()
    with pytest.raises(PluginError, match="counted: 'table' has 1 names for 2 channels"):
        checked(tmp_path)
    resolve.cache_clear()


MISNAMED = ("image.tower.mean", "image.towers.median", "fraction.up", "cloud.3.min", "mask.0.max",
            "jets.0.mean", "cloud.empty", "table.hits.mean.up", "image.towers")  # fmt: skip


@pytest.mark.parametrize("name", MISNAMED)
def test_what_is_known_under_a_wrong_name_is_found(name):
    """Such a figure would never be compared; conformance tests say so."""
    spec = knowing({name: (0, 1)})
    assert file_check.misnamed(spec) == [name]


def test_every_figure_can_be_known(tmp_path):
    """Each name that a check makes is a right one."""
    figures = checked(tmp_path).values
    spec = knowing(dict.fromkeys(figures, (0, 1)))
    assert len(figures) > 100
    assert file_check.misnamed(spec) == []


# --- the command line


@pytest.fixture
def bench_counted(bench):
    """Return a workbench with the dataset ``counted`` and a good file of it."""
    bench.plugin(Path(counted.__file__))
    write(bench, GOOD)
    return bench


def write(bench, arrays):
    folder = bench.folder / "data" / "counted"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "counted.npz", **arrays)
    return folder / "counted.npz"


CHECK = ("data", "check", "counted", "--data", "data")


def test_check_exits_0_1_and_2(bench_counted):
    """Of a good file, an odd one and a damaged one; the last is one line."""
    good = bench_counted(*CHECK)
    assert good.code == 0, good.err
    assert "original files" in good.out
    path = write(bench_counted, {**GOOD, "image": 3 * GOOD["image"]})
    odd = bench_counted(*CHECK, "--json")
    assert odd.code == 1
    assert any("image.towers.mean" in line for line in odd.json["warnings"])
    assert odd.json["source"] == "file"
    path.write_bytes(path.read_bytes()[:3000])
    damaged = bench_counted(*CHECK)
    assert damaged.code == 2
    (line,) = damaged.err.splitlines()
    assert line.startswith("hepbench: counted: counted.npz: cannot be read")


def test_check_reads_what_a_run_would(bench_counted):
    """The file where there is one, the sample where there is none or it is asked for."""
    sample = bench_counted(*CHECK, "--source", "sample")
    assert "bundled sample" in sample.out
    elsewhere = bench_counted("data", "check", "counted")
    assert "bundled sample" in elsewhere.out
    missing = bench_counted("data", "check", "counted", "--source", "file")
    assert missing.code == 2
    assert "no original file" in missing.err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("countd", "Did you mean 'counted'?"),
        ("counted[siz=3]", "Did you mean 'size'?"),
        ("counted[size=big]", "a whole number is expected"),
    ],
)
def test_a_wrong_check_is_refused_in_one_line(bench_counted, name, words):
    """What is near, or what is expected."""
    done = bench_counted("data", "check", name)
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert words in line


SUITE = """
name = "one"
cost = false
[[run]]
datasets = ["counted"]
models = ["line"]
methods = ["fit"]
"""


def test_nothing_of_a_damaged_file_is_used_once_it_is_mended(bench_counted, toys):
    """The run on it exits 2 and caches no stage; the next reads the mended file, and only that."""
    bench_counted.write("one.toml", SUITE)
    run = ("run", "one.toml", "--data", "data", "--quiet")
    # the first chunks are good: the reader yields them before it meets the bad one
    wrong = np.where(np.arange(200) == 150, np.nan, 1)[:, None, None, None] * GOOD["image"]
    write(bench_counted, {**GOOD, "image": wrong})
    failed = bench_counted(*run)
    assert failed.code == 2, failed.err
    assert "id 150 is not finite" in failed.out + failed.err
    stages = bench_counted.folder / "cache" / "stages"
    assert list(stages.glob("*/*")) == []
    write(bench_counted, GOOD)
    mended = bench_counted(*run)
    assert mended.code == 0, mended.out + mended.err
    (after,) = bench_counted.records().values()
    bench_counted.forget()
    assert bench_counted(*run).code == 0
    (fresh,) = bench_counted.records().values()
    assert (after.key, after.metrics) == (fresh.key, fresh.metrics)


def test_a_file_of_a_generator_is_simulated_wherever_it_is_shown(bench_counted, toys):
    """In check, plan, record and table; a name inside the file is its mark."""
    write(bench_counted, {"simulated by hepbench": np.ones(1), **GOOD})
    bench_counted.write("one.toml", SUITE)
    assert "counted: simulated files, read" in bench_counted(*CHECK).out
    where = ("one.toml", "--data", "data")
    assert "to do, simulated file" in bench_counted("plan", *where).out
    done = bench_counted("run", *where, "--quiet")
    assert done.code == 0, done.err
    assert "counted  simulated file: 120 training" in done.out
    (record,) = bench_counted.records().values()
    assert record.data.source == "simulated"


def test_what_a_form_lacks_is_told_and_recorded_and_is_not_odd(bench_counted, toys):
    """Exit 0; a run's record says it, too."""
    path = bench_counted.site / "counted.py"
    path.write_text(
        path.read_text().replace(
            'name="counted.npz",', 'name="counted.npz", lacks="holds no times",'
        )
    )
    done = bench_counted(*CHECK)
    assert done.code == 0, done.out
    assert done.out.endswith("note: file: counted.npz holds no times\nno warnings\n")
    bench_counted.write("one.toml", SUITE)
    assert bench_counted("run", "one.toml", "--data", "data", "--quiet").code == 0
    (record,) = bench_counted.records().values()
    assert "file: counted.npz holds no times" in record.warnings


REAL = {"electron-photon": ("electron-photon.npz", 200), "top-tagging": ("tl_labels.npy", 2000)}


@pytest.mark.parametrize(("dataset", "file", "n"), [(d, *f) for d, f in REAL.items()], ids=REAL)
def test_nothing_is_odd_about_real_samples(bench, dataset, file, n):
    """Images without times are what their form says that they are."""
    folder = needs.real_data(f"{dataset}/{file}").parents[1]
    done = bench("data", "check", dataset, "--data", folder, "--json")
    assert done.code == 0, done.out + done.err
    assert done.json["warnings"] == []
    assert done.json["roles"] == {"labelled": n}


def test_the_real_rows_of_higgs_are_odd_in_one_way_only(bench):
    """They are a cut of the published file."""
    folder = needs.real_data("higgs/HIGGS.csv.gz").parents[1]
    done = bench("data", "check", "higgs", "--data", folder, "--json")
    assert done.code == 1, done.err
    (odd,) = done.json["warnings"]
    assert "not the published file" in odd
    assert done.json["values"]["fraction.signal"] == pytest.approx(0.5299, abs=0.01)
    assert done.json["values"]["copies"] == 0
