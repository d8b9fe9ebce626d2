"""Cells that are run again: 'hepbench verify --rerun', and 'hepbench run --fresh'."""

from __future__ import annotations

import json

import pytest

SUITE = """
name = "times"
seeds = 2
cost = false
[[run]]
datasets = ["toy"]
models = ["line", "line[does=clock]"]
methods = ["fit"]
"""


@pytest.fixture
def times(toys):
    """Return a workbench where a model that depends on the time has been run, and another."""
    toys.write("times.toml", SUITE)
    assert toys("run", "times.toml").code == 0
    return toys


def records(bench):
    """Return the stored records by cell."""
    found = map(json.loads, (p.read_bytes() for p in bench.folder.glob("results/times/*.json")))
    return {f"{r['model']}#{r['seed']}": r for r in found}


def test_a_cell_that_gives_the_same_result_is_confirmed(times):
    """By the beginning of its key, from an empty cache; no record changes."""
    before = records(times)
    done = times("verify", "--cell", before["line#1"]["key"][:8])
    assert done.code == 0
    assert "toy/line/fit#1" in done.out
    assert done.out.endswith("the same when run again\n")
    assert records(times) == before


@pytest.mark.parametrize("results", ["results", "results/times"])
def test_a_cell_that_gives_another_result_is_marked(times, results):
    """The line, the record and the table name a metric; the values in the record stay."""
    before = records(times)["line[does=clock]#0"]
    done = times("verify", results, "--cell", "toy/line[does=clock]/fit#0")
    assert done.code == 1
    assert "differs when run again: metrics." in done.out
    after = records(times)["line[does=clock]#0"]
    assert after["metrics"] == before["metrics"]
    (warning,) = [text for text in after["warnings"] if text.startswith("not reproducible: ")]
    assert "a rerun with the same key changed metrics." in warning
    assert "not reproducible: a rerun" in times("table").out


def test_drawn_cells_are_run_again(times):
    """All of them where more are asked for than there are; a failing cell fails the command."""
    done = times("verify", "--rerun", "9")
    assert done.code == 1
    assert done.out.count("the same when run again") == 2
    assert done.out.count("differs when run again") == 2


def test_a_cell_whose_code_has_changed_cannot_be_run_again(times):
    """Its key differs: a new result would not say anything about the old one."""
    path = times.site / "toys.py"
    path.write_text(path.read_text().replace("np.exp(-self.slope *", "np.exp(-2 * self.slope *"))
    done = times("verify", "--cell", "toy/line/fit#0")
    assert done.code == 1
    assert "not run again: its key, or a file or version it used, has changed" in done.out


def test_an_unknown_cell_is_refused(times):
    """In one line that names the cells."""
    done = times("verify", "--cell", "toy/lin/fit#0")
    assert done.code == 2
    assert "no cell named 'toy/lin/fit#0'" in done.err


def test_a_missing_data_folder_is_refused(times):
    """Before anything runs."""
    done = times("verify", "--cell", "toy/line/fit#0", "--data", "nowhere")
    assert done.code == 2
    assert "--data nowhere: no such folder" in done.err


def test_a_fresh_run_is_compared_with_the_record_that_it_replaces(times):
    """Only the model that depends on the time is marked, and keeps its mark."""
    assert times("run", "times.toml", "--fresh").code == 0
    marks = {cell: str(record["warnings"]) for cell, record in records(times).items()}
    assert all(("not reproducible" in marks[cell]) == ("clock" in cell) for cell in marks)
    assert times("run", "times.toml", "--fresh", "-m", "line[does=clock]").code == 0
    again = records(times)["line[does=clock]#0"]["warnings"]
    assert sum(text.startswith("not reproducible") for text in again) == 1


def test_a_run_with_more_seeds_shows_one_row_for_each_model(times):
    """Records of this run and of an earlier one differ in nothing but the seed."""
    assert times("run", "times.toml", "--seeds", "1", "--results", "other").code == 0
    done = times("run", "times.toml", "--seeds", "2", "--results", "other")
    assert done.out.count("\nline ") == 1
    assert "changed since" not in done.out


def test_a_cell_whose_parameters_were_set_is_found_again(toys):
    """By its label: the suite has no cell of this name without --set."""
    toys.write("one.toml", SUITE)
    toys("run", "one.toml", "--set", "model.slope=3.0", "--quiet")
    (cell, *_) = toys.records()
    assert "slope=3.0" in cell
    done = toys("verify", "--cell", cell)
    assert (done.code, "the same when run again" in done.out) == (0, True)


def test_another_suite_of_the_same_file_name_is_refused(toys):
    """A record knows its suite file as it was given, and its suite by name."""
    toys.write("one.toml", SUITE)
    toys("run", "one.toml", "--quiet")
    cell = next(iter(toys.records()))
    toys.write("one.toml", SUITE.replace('name = "', 'name = "other-'))
    done = toys("why", cell)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "go to the folder of its suite file" in done.err
    assert "not run again" in toys("verify", "--cell", cell).out
