"""The plugins in examples/: installed by pip as their authors would, and used by the command line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
EXAMPLE, FIRST = EXAMPLES / "hepbench-example", EXAMPLES / "hepbench-first"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a folder into which pip has installed both plugins, without a network."""
    folder = tmp_path_factory.mktemp("installed")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", folder, EXAMPLE, FIRST]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture
def example(bench, installed):
    """Return a workbench in which both plugins are installed."""
    shutil.copytree(installed, bench.site)
    return bench


def succeeds(bench, *arguments):
    done = bench(*arguments)
    assert done.code == 0, done.out + done.err
    return done


def test_what_they_bring_is_listed_with_its_distribution(example):
    """One or two of each kind, beside what comes with hepbench."""
    listed = succeeds(example, "list", "--json").json
    own = [
        (row["kind"], row["name"]) for row in listed if row["distribution"] == "hepbench-example"
    ]
    assert sorted(own) == [
        ("dataset", "example-clouds"),
        ("dataset", "example-jets"),
        ("method", "scratch-calibrated"),
        ("metric", "auc_high_pt"),
        ("metric", "auc_low_pt"),
        ("metric", "significance_improvement_50"),
        ("model", "fisher"),
        ("model", "particle-flow"),
        ("plugin", "example"),
        ("suite", "example-clouds"),
        ("suite", "example-jets"),
    ]
    assert {row["version"] for row in listed if row["name"] == "fisher"} == {"0.1"}
    first = {row["name"] for row in listed if row["distribution"] == "hepbench-first"}
    assert first == {"first", "naive-bayes"}


TINY = (
    *("--seeds", "1", "--set", "dataset.n_train=200", "--set", "dataset.n_validation=100"),
    *("--set", "dataset.n_test=300", "--set", "dataset.label_fraction=0.5"),
    *("--set", "model.width=16", "--set", "simclr.epochs=2", "--set", "finetune.epochs=2"),
)


def test_contrastive_pretraining_runs_on_its_clouds_with_its_network_and_metrics_in_slices(example):
    """All in one command, with a method of another distribution; the loss of the pretraining falls, and the slices have errors."""
    command = ("run", "example-clouds", "-x", "simclr+finetune")
    done = succeeds(example, *command, *TINY, "--json").json
    assert (done["cells"], done["failed"]) == (1, [])
    (record,) = example.records().values()
    losses = [row["contrast"] for row in record.history if "contrast" in row]
    assert losses[-1] < losses[0]
    for name in ("auc", "auc_low_pt", "auc_high_pt"):
        assert 0 < record.metrics[name].value < 1
        assert record.metrics[name].stderr > 0
    columns = "auc,auc_low_pt,auc_high_pt"
    (row,) = json.loads(succeeds(example, "table", "--format", "json", "--columns", columns).out)
    assert row["auc_low_pt"] == pytest.approx(record.metrics["auc_low_pt"].value)
    assert "no difference" in succeeds(example, "verify").out


def test_clouds_in_npy_files_are_read_instead_of_the_sample(example):
    """A file with another shape exits 2 in one line that says what is expected."""
    folder = example.folder / "data" / "example-clouds"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    particles = rng.exponential(size=(90, 30, 3)).astype(np.float32)
    particles[:, 20:] = 0
    np.save(folder / "particles.npy", particles)
    np.save(folder / "labels.npy", np.arange(90) % 2)
    found = succeeds(example, "data", "check", "example-clouds", "--data", "data").out
    assert "90" in found
    np.save(folder / "particles.npy", particles[:, :, :2])
    damaged = example("data", "check", "example-clouds", "--data", "data")
    assert damaged.code == 2
    assert "particles.npy: shape (90, 30, 2); ('N', 30, 3) is expected" in damaged.err


def test_the_first_plugin_gets_a_row_in_a_table(example):
    """As in docs/tutorial/first-plugin.md: on HIGGS, and once more with another parameter."""
    command = ("run", "-d", "higgs[n_train=500]", "-m", "naive-bayes", "--json")
    assert succeeds(example, *command).json["failed"] == []
    assert succeeds(example, *command, "--set", "model.smoothing=1").json["failed"] == []
    aucs = [record.metrics["auc"].value for record in example.records().values()]
    assert len(aucs) == 2
    assert min(aucs) > 0.5
    table = succeeds(example, "table").out
    assert re.search(r"^naive-bayes\[smoothing=1\] ", table, re.MULTILINE)


@pytest.mark.slow
def test_its_suite_is_planned_run_shown_and_verified(example):
    """From an installed wheel to figures that agree with the stored predictions."""
    planned = succeeds(example, "plan", "example-jets").out
    assert "2 cells, 0 of them recorded" in planned
    assert "example-jets[with_mass=false]/fisher/scratch-calibrated#0" in planned
    done = succeeds(example, "run", "example-jets", "--json").json
    assert (done["cells"], done["cached"], done["failed"]) == (2, 0, [])
    with_mass, without = (example.records()[record["cell"]] for record in done["records"])
    # the mass helps; both know W jets from QCD jets far better than chance
    assert with_mass.metrics["auc"].value > without.metrics["auc"].value > 0.8
    assert with_mass.metrics["significance_improvement_50"].value > 1.5
    assert with_mass.provenance.plugins == {"hepbench-example": "0.1"}
    # how steady a latency was depends on what else the machine does
    assert all(warning.startswith("latency") for warning in with_mass.warnings)
    assert with_mass.cost.milliseconds("latency") > 0
    table = json.loads(succeeds(example, "table", "--format", "json").out)
    assert "fisher" in json.dumps(table)
    assert "no difference" in succeeds(example, "verify").out
    assert "2 of them recorded" in succeeds(example, "plan", "example-jets").out


@pytest.mark.slow
def test_a_file_of_its_own_format_is_read_instead_of_the_sample(example):
    """As the user lays it out: DIR/example-jets/jets.csv; a damaged one exits 2 in one line."""
    lines = [
        f"{i % 2},300,{60 + 20 * (i % 2) + i % 7},0.{3 + i % 4},{40 + i % 9}" for i in range(200)
    ]
    file = example.write("data/example-jets/jets.csv", "\n".join(lines))
    done = succeeds(example, "run", "example-jets", "--data", "data", "--json").json
    records = example.records()
    assert {records[record["cell"]].data.source for record in done["records"]} == {"file"}
    file.write_text("label,jet_pt\n1,nan\n")
    damaged = example("run", "example-jets", "--data", "data", "--json")
    assert damaged.code == 2
    assert "example-jets: jets.csv: could not convert" in damaged.err


@pytest.mark.slow
@pytest.mark.parametrize("path", [EXAMPLE, FIRST], ids=lambda path: path.name)
def test_they_conform(example, path):
    """Every check, none failing, by the command line; there is one of each kind."""
    done = succeeds(example, "check", path.name)
    assert re.search(rf"\n\d+ checks of {path.name}, 0 failed(, \d+ skipped)?\n$", done.out)
    kinds = ("plugin", "dataset", "model", "method", "metric", "suite")
    for kind in kinds if path == EXAMPLE else ("plugin", "model"):
        assert f"ok    {kind} " in done.out


@pytest.mark.slow
def test_the_checks_run_in_the_authors_own_pytest(example):
    """The test file of the example is its whole conformance test."""
    shutil.copy(EXAMPLE / "test_conformance.py", example.folder)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "test_conformance.py"],
        cwd=example.folder,
        env=example.variables(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d\d\d? passed", done.stdout)
