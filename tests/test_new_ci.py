"""``hepbench new ci``: the workflow that it writes, and its steps run as a job does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SUITE = """
name = "ci"
seeds = 3
cost = false

[presets.quick.dataset]
n_train = 2000

[[run]]
datasets = ["higgs"]
models = ["naive-bayes"]
methods = ["scratch"]

[gate]
auc = { max_loss = 0.02 }
"""


def test_a_workflow_is_written_once_with_advice_on_the_suite(bench):
    """An existing file stays, and a suite that cannot be read writes nothing."""
    bench.write("ci.toml", SUITE)
    done = bench("new", "ci", "ci.toml")
    assert done.code == 0, done.err
    assert "seed" not in done.out
    assert "no [gate]" not in done.out
    path = bench.folder / ".github" / "workflows" / "hepbench.yml"
    text = path.read_text()
    assert "SUITE: ci.toml" in text
    assert "${{ github.event.pull_request.base.sha }}" in text
    path.write_text("mine")
    again = bench("new", "ci", "ci.toml")
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert "exists" in again.err
    assert path.read_text() == "mine"
    few = SUITE.replace("seeds = 3", "seeds = 1").partition("[gate]")[0]
    bench.write("few.toml", few)
    done = bench("new", "ci", "few.toml", "-o", "few.yml")
    assert "ci.toml" not in (bench.folder / "few.yml").read_text()
    assert "1 seed; with less than 3 little" in done.out
    assert "no [gate]" in done.out
    for suite, words in (("gone.toml", "No such file"), ("a b.toml", "No such file")):
        done = bench("new", "ci", suite, "-o", "gone.yml")
        assert (done.code, words in done.err) == (2, True)
    assert not (bench.folder / "gone.yml").exists()
    done = bench("new", "ci", "ci.toml", "-o", "ci.toml/x.yml")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "cannot write ci.toml/x.yml" in done.err


def steps(workflow):
    """Return the commands of a workflow's steps, by name."""
    blocks = re.split(r"\n      - ", workflow)[1:]
    found = {}
    for block in blocks:
        if run := re.search(r"\n        run: \|\n((?: {10}.*\n?| *\n)+)", block):
            found[re.match(r"name: (.*)", block)[1]] = re.sub(
                r"^ {10}", "", run[1], flags=re.MULTILINE
            )
    return found


@pytest.fixture
def repository(tmp_path):
    """Return a git repository of the plugin hepbench-first with a suite, a workflow and a commit."""
    folder = tmp_path / "plugin"
    shutil.copytree(ROOT / "examples" / "hepbench-first", folder)
    (folder / "ci.toml").write_text(SUITE)
    return folder


def git(folder, *arguments):
    named = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", "-C", folder, *named, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("worse", [False, True], ids=["same", "worse"])
def test_the_steps_pass_an_equal_plugin_and_fail_a_worse_one(repository, bench, worse):
    """Run in the shell that the workflow names, in a clone; pip finds all but the plugin installed."""
    subprocess.run(["git", "init", "-q", "-b", "main", repository], check=True)
    environment = {**bench.variables(), "PYTHONPATH": os.pathsep.join(
        [sysconfig.get_path("purelib"), str(ROOT), str(ROOT / "plugins")])}  # fmt: skip
    done = bench("new", "ci", str(repository / "ci.toml"), "-o", str(repository / "hepbench.yml"))
    assert "models" not in done.err or done.code == 0
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "first")
    base = git(repository, "rev-parse", "HEAD")
    if worse:
        source = repository / "hepbench_first" / "naive_bayes.py"
        text = source.read_text()
        changed = text.replace("odds / odds.sum", "odds**0 / (odds**0).sum")
        assert changed != text
        source.write_text(changed)
    (repository / "README.md").write_text("a change")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "second")
    clone = repository.parent / "clone"
    git(repository, "clone", "-q", repository, clone)
    workflow = (repository / "hepbench.yml").read_text()
    assert "shell: bash" in workflow
    job = {
        **environment,
        "SUITE": "ci.toml",
        "BASE": base,
        "NEEDS": "hepbench",
        "HEPBENCH_CACHE": str(clone / "c"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "GITHUB_STEP_SUMMARY": str(clone / "summary.md"),
    }
    codes = {}
    for name, commands in steps(workflow).items():
        shell = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", commands)
        ran = subprocess.run(shell, cwd=clone, env=job, capture_output=True, text=True, check=False)
        codes[name] = ran.returncode
        assert name == "Gate" or ran.returncode == 0, ran.stdout + ran.stderr
    assert codes["Gate"] == int(worse)
    summary = (clone / "summary.md").read_text()
    assert ("Gate failed" if worse else "Gate passed") in summary
    assert "naive-bayes" in summary
    assert (clone / ".hepbench" / "results.zip").exists()
