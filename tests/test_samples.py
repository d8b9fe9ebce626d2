"""No sample runs in silence: what was read is told, and files in the wrong place are noticed."""

from __future__ import annotations

import pytest

SUITE = """
name = "one"
cost = false
[[run]]
datasets = ["higgs[n_train=300,n_validation=100,n_test=9000]"]
models = ["logistic"]
methods = ["scratch"]
"""


@pytest.fixture
def higgs(bench):
    """Return a workbench with a suite of one cell on a bundled sample."""
    bench.write("one.toml", SUITE)
    return bench


def test_data_that_match_nothing_are_refused_with_what_was_found(higgs):
    """A file beside the folder where it belongs, or other files alone."""
    for name in ("flat/HIGGS.csv.gz", "flat/other/HIGGS.csv.gz"):
        higgs.write(name, "")
        done = higgs("run", "one.toml", "--data", "flat")
        assert done.code == 2
        (line,) = done.err.splitlines()
        assert f"found {name}" in line
        assert "expected" in line
        assert "flat/higgs/HIGGS.csv.gz" in line
        (higgs.folder / name).unlink()
    assert higgs("run", "one.toml", "--data", "flat", "--source", "sample").code == 0


def test_unknown_files_of_a_dataset_are_told_on_stderr_and_in_the_record(higgs):
    """They may be the ones that were meant; HEPBENCH_DATA may serve other datasets."""
    higgs.write("data/higgs/HIGGS.parquet", "")
    higgs.environment["HEPBENCH_DATA"] = "data"
    done = higgs("run", "one.toml")
    assert done.code == 0
    words = "holds no original file, only HIGGS.parquet; the bundled sample is used instead"
    assert words in done.err
    (record,) = higgs.records().values()
    assert any(words in warning for warning in record.warnings)


def test_the_last_lines_say_what_was_read(higgs):
    """Original files, simulated ones or the bundled sample; and limits that could not be met."""
    done = higgs("run", "one.toml")
    assert "\nData: bundled sample: higgs (no result on the original)\n" in done.out
    (record,) = higgs.records().values()
    (limit,) = (warning for warning in record.warnings if warning.startswith("limits: "))
    assert limit == "limits: n_test is 9,000, but the test part has only 4,000 examples"
    assert higgs("run", "one.toml", "--json").json["data"] == {"higgs": "sample"}


def test_plan_warns_as_run_does(higgs):
    """Of unknown files of a dataset, and of folders that have no dataset's name."""
    higgs.write("data/higgs/HIGGS.parquet", "")
    higgs.write("data/higgs_/HIGGS.csv.gz", "")
    higgs.write("data/.hidden/HIGGS.csv.gz", "")
    higgs.environment["HEPBENCH_DATA"] = "data"
    files, folders = higgs("plan", "one.toml").err.splitlines()
    assert "holds no original file, only HIGGS.parquet" in files
    assert folders == (
        "hepbench: warning: data: no dataset is named higgs_; read from bundled samples: higgs"
    )
    assert higgs("run", "one.toml").err.splitlines()[:2] == [files, folders]
    assert higgs("plan", "one.toml", "--source", "sample").err == ""


def test_folders_of_other_datasets_are_no_cause_for_a_warning(higgs):
    """Nor are any where the original files are found."""
    higgs.write("data/top-tagging/notes.txt", "")
    higgs.environment["HEPBENCH_DATA"] = "data"
    assert higgs("plan", "one.toml").err == ""
    higgs.write("data/higgs/HIGGS.csv.gz", "")
    higgs.write("data/higgs_/HIGGS.csv.gz", "")
    assert higgs("plan", "one.toml").err == ""
