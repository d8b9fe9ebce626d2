"""The command line, as a user sees it."""

from __future__ import annotations

import pytest

SUITE = """
name = "two"
cost = false
seeds = 2
[[run]]
datasets = ["toy"]
models = ["line"]
methods = ["fit"]
"""


def test_a_run_prints_a_table_and_a_second_run_computes_nothing(toys):
    """The second run reads the records."""
    toys.write("two.toml", SUITE)
    first = toys("run", "two.toml")
    assert first.code == 0, first.err
    assert "toy" in first.out
    assert "2 done" in first.out
    second = toys("run", "two.toml")
    assert second.code == 0
    assert "2 cached, 0 done" in second.out


@pytest.mark.parametrize("group", [(), ("data",)])
def test_a_group_without_a_verb_shows_its_help(bench, group):
    """The help keeps its lines; the exit code is 2."""
    done = bench(*group)
    assert (done.code, done.out) == (2, "")
    assert {"Options:", "Commands:"} <= set(done.err.splitlines())


def test_a_cached_run_imports_nothing_heavy(toys):
    """A second run imports neither numpy, scikit-learn, scipy nor torch."""
    toys.write("two.toml", SUITE.replace("seeds = 2", "seeds = 1"))
    toys("run", "two.toml")
    toys.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    again = toys("run", "two.toml")
    assert again.code == 0
    imported = {line.rpartition("|")[2].strip() for line in again.err.splitlines()}
    assert "hepbench.tables.document" in imported
    # the plugin 'toys' imports numpy at its top; hepbench itself must not add to that
    assert not imported & {"torch", "sklearn", "scipy", "matplotlib"}


def test_a_dataset_without_a_suite_runs_every_model_that_fits(toys):
    """With each of its methods; why and verify find the cells again."""
    planned = toys("plan", "-d", "toy[n=400]").out
    for cell in ("line/fit", "gbdt/scratch", "mlp/scratch", "mlp/scratch+prune-iterative"):
        assert f"toy[n=400]/{cell}#0" in planned
    done = toys("run", "-d", "toy[n=400]", *("-m", "line", "-x", "fit", "--seeds", "2", "--json"))
    assert done.code == 0, done.err
    cells = [record["cell"] for record in done.json["records"]]
    assert cells == ["toy[n=400]/line/fit#0", "toy[n=400]/line/fit#1"]
    assert done.json["suite"] == "all-models"
    assert "nothing changed" in toys("why", "toy[n=400]/line/fit#1").out
    assert "the same when run again" in toys("verify", "--cell", "toy[n=400]/line/fit#1").out


def test_models_and_chains_without_a_suite_are_written_as_in_one(toys):
    """With parameters, and chains that no method has by itself; globs select among the others."""
    planned = toys("plan", "-d", "toy", "-m", "mlp[width={4,8}]", "-x", "fit+prune-iterative")
    assert planned.code == 2
    assert "fit" in planned.err
    twice = "scratch+prune-iterative+prune-iterative"
    planned = toys("plan", "-d", "toy", "-m", "mlp[width={4,8}]", "-x", twice).out
    assert "2 cells" in planned
    assert f"toy/mlp[width=4]/{twice}#0" in planned
    planned = toys("plan", "-d", "toy", "-m", "mlp", "-x", "scratch+prune*").out
    assert "toy/mlp/scratch+prune-iterative#0" in planned
    assert "toy/mlp/scratch#0" not in planned


def test_every_model_needs_a_dataset(bench):
    """Named with -d; a glob that matches none is told as in a suite."""
    for arguments, text in (
        (("all-models",), "give at least one -d"),
        (("-d", "nosuch"), "no dataset named 'nosuch'"),
        (("-d", "*such"), "'*such' matches no dataset"),
    ):
        done = bench("plan", *arguments)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert text in done.err


def test_two_suites_run_one_after_another_and_a_wrong_one_stops_both(toys):
    """A mistake in the second costs no run of the first."""
    toys.write("two.toml", SUITE.replace("seeds = 2", "seeds = 1"))
    toys.write("other.toml", SUITE.replace('"two"', '"other"').replace("seeds = 2", "seeds = 1"))
    assert toys("run", "two.toml", "nowhere.toml").code == 2
    assert not (toys.folder / "results").exists()
    done = toys("run", "two.toml", "other.toml")
    assert done.code == 0, done.err
    assert done.out.count("1 cell: 0 cached, 1 done") == 2
    assert toys("run", "two.toml", "other.toml", "--json").code == 2


def test_why_tells_of_all_seeds_of_a_cell(toys):
    """Seeds with the same change are one sentence; a seed is told alone if it is named."""
    toys.write("two.toml", SUITE)
    assert toys("run", "two.toml").code == 0
    assert toys("why", "toy/line/fit").out.startswith("toy/line/fit, seeds 0, 1: nothing changed")
    assert toys("why", "toy/line/fit#1").out.startswith("toy/line/fit#1: nothing changed since ")
    changed = SUITE.replace('"line"', '"line[slope=2.0]"')
    toys.write("two.toml", changed)
    told = toys("why", "toy/line/fit").out.splitlines()
    assert told[0].startswith("toy/line/fit, seeds 0, 1: ")
    assert told[0].endswith(" of its key changed since its last record")
    assert any("slope" in line for line in told[1:])


def test_the_cache_has_a_place_and_a_size_and_can_be_emptied(toys):
    """Results stay, and the next run computes the stages again."""
    toys.write("two.toml", SUITE.replace("seeds = 2", "seeds = 1"))
    assert toys("run", "two.toml").code == 0
    path = toys("cache", "path").out.strip()
    told = toys("cache", "size").out.splitlines()
    assert told[0] == path
    number = int(told[1].split()[3])
    assert number > 0
    assert "removed 0 stages" in toys("cache", "clean", "--older-than", "1").out
    assert f"removed {number} stages" in toys("cache", "clean").out
    assert " 0 finished stages" in toys("cache", "size").out
    assert toys("table").code == 0


def test_a_list_of_verbs_has_whole_sentences(bench):
    """Nothing is cut with dots."""
    for group in ((), ("data",), ("cache",)):
        assert "..." not in bench(*group, "--help").out.partition("Commands:")[2]


def test_a_shell_completes_verbs(bench):
    """With the variable that the pages name."""
    bench.environment |= {
        "_HEPBENCH_COMPLETE": "bash_complete",
        "COMP_WORDS": "hepbench ta",
        "COMP_CWORD": "1",
    }
    assert "table" in bench().out
