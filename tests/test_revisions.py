"""``hepbench compare main HEAD``: revisions of a plugin in its folder, which run a suite first."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SUITE = """
name = "revisions"
seeds = 2
cost = false

[presets.quick.dataset]
n_train = 500

[[run]]
datasets = ["higgs"]
models = ["naive-bayes"]
methods = ["scratch"]

[gate]
auc = { max_loss = 0.02 }
"""


def git(folder, *arguments):
    named = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", "-C", folder, *named, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def plugin(bench):
    """A git repository of the plugin hepbench-first, whose branch ``worse`` gives one score to all."""
    folder = bench.folder / "plugin"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "examples" / "hepbench-first", folder, ignore=ignored)
    (folder / "suite.toml").write_text(SUITE)
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "first")
    git(folder, "switch", "-qc", "worse")
    spoil(folder)
    commit(folder, "worse")
    return folder


def spoil(folder):
    """Make the plugin's model worse."""
    source = folder / "hepbench_first" / "naive_bayes.py"
    text = source.read_text()
    changed = text.replace("odds / odds.sum", "odds**0 / (odds**0).sum")
    assert changed != text
    source.write_text(changed)


def commit(folder, message):
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)


def worktrees(folder):
    return git(folder, "worktree", "list").splitlines()


def test_a_branch_that_makes_a_model_worse_is_found_and_nothing_is_left(bench, plugin):
    """Each revision runs its own code; a second comparison computes no stage again."""
    done = bench("compare", "main", "worse", "--suite", "suite.toml", cwd=plugin)
    assert done.code == 0, done.err
    assert done.out.startswith("AUC of 1 cell: 1 worse (higgs[n_train=500]/naive-bayes/scratch by")
    for name in ("main", "worse"):
        commit = git(plugin, "rev-parse", "--short=12", name)
        assert f"{name} ({commit}): 2 records" in done.out
    assert "changed: scratch naive-bayes.model_code" in done.out
    assert len(worktrees(plugin)) == 1
    assert git(plugin, "status", "--porcelain") == ""
    stages = {path.name for path in (bench.folder / "cache" / "stages").iterdir()}
    done = bench("gate", "main", "worse", "--suite", "suite.toml", cwd=plugin)
    assert (done.code, done.out.partition(":")[0]) == (1, "Gate failed")
    assert {path.name for path in (bench.folder / "cache" / "stages").iterdir()} == stages


def test_a_cell_with_bad_input_does_not_stop_the_comparison_of_the_others(bench, plugin):
    """It has a row with its error: here more training examples than there are."""
    suite = plugin / "suite.toml"
    sizes = "training_sizes = [400, 600]"
    suite.write_text(suite.read_text().replace("[[run]]", f"[[run]]\n{sizes}"))
    done = bench("compare", "main", "worse", "--suite", "suite.toml", cwd=plugin)
    assert done.code == 0, done.err
    assert "training_size=400]/naive-bayes/scratch by" in done.out
    assert "training_size=600" in done.out


def test_the_working_tree_is_compared_as_it_is_and_a_commit_without_its_changes(bench, plugin):
    """In a src layout too; a line says that HEAD does not have the changes."""
    git(plugin, "switch", "-q", "main")
    (plugin / "src").mkdir()
    git(plugin, "mv", "hepbench_first", "src")
    commit(plugin, "src layout")
    (plugin / "src/hepbench_first").rename(plugin / "hepbench_first")
    spoil(plugin)
    (plugin / "hepbench_first").rename(plugin / "src/hepbench_first")
    done = bench("compare", "HEAD", ".", "--suite", "suite.toml", "--format", "json", cwd=plugin)
    assert done.code == 0, done.err
    assert done.json["new"] == ". (the working tree)"
    assert done.json["sentences"][0].startswith("AUC of 1 cell: 1 worse")
    done = bench("compare", "main~1", "HEAD", "--suite", "suite.toml", cwd=plugin)
    assert done.out.startswith("AUC is bit-identical in the only cell.")
    assert "NEW: uncommitted changes of 1 file are not in HEAD; '.' is the working tree" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mian", "worse", "--suite", "suite.toml"], "mian is neither a results folder"),
        (["--suite", "suite.toml", "--", "main", "-q"], "-q is neither a results folder"),
        (["main", "worse"], "give --suite SUITE: what is run with main ("),
        (["main", "worse", "--suite", "gone.toml"], "suite gone.toml: No such file"),
    ],
)
def test_wrong_names_are_errors_in_one_line_before_anything_runs(bench, plugin, arguments, words):
    """Of a revision, or of a suite."""
    done = bench("compare", *arguments, cwd=plugin)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert words in done.err


def test_a_folder_without_a_plugin_or_repository_is_an_error_in_one_line(bench, plugin):
    """Here, and at the revision."""

    def error(folder, *revisions):
        path = str(plugin / "suite.toml")
        done = bench("compare", *revisions, "--suite", path, cwd=folder)
        assert done.code == 2
        return done.err.splitlines()[-1]

    (plugin / "docs").mkdir()
    assert "no pyproject.toml is there" in error(plugin / "docs", "main", "worse")
    (bench.folder / "elsewhere").mkdir()
    assert "is in no git repository" in error(bench.folder / "elsewhere", "main", "worse")
    project = plugin / "pyproject.toml"
    text = project.read_text()
    project.write_text('[project]\nname = "other"\nversion = "1"\n')
    assert "no [project.entry-points.hepbench], so it is no plugin" in error(plugin, "main", ".")
    project.write_text(text.replace('first = "hepbench_first"', 'first = "elsewhere"'))
    assert "elsewhere must be beside pyproject.toml, or in src" in error(plugin, "main", ".")
    for wrong in ("[project.entry-points.hepbench]\n", "[project.entry-points]\nhepbench = 3\n"):
        project.write_text(f'[project]\nname = "other"\nversion = "1"\n{wrong}')
        assert "so it is no plugin" in error(plugin, "main", ".")
    git(plugin, "rm", "-q", "--cached", "pyproject.toml")
    git(plugin, "commit", "-qm", "no project")
    project.write_text(text)
    assert error(plugin, "HEAD", "main").startswith("hepbench: HEAD (")
    assert len(worktrees(plugin)) == 1


def test_an_interrupted_comparison_leaves_no_worktree(bench, plugin):
    """Ctrl-C while the suite runs with the first revision."""
    process = bench.start(
        "compare", "main", "worse", "--suite", "suite.toml", cwd=plugin, start_new_session=True
    )
    while len(worktrees(plugin)) == 1:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert len(worktrees(plugin)) == 1
