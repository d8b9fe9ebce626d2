"""A third party's plugin: installed by pip as its author would, and used by the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent / "example_plugin"

pytestmark = pytest.mark.slow


@pytest.fixture
def example(bench):
    """Return a workbench in which hepbench-example is installed, without a network."""
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", bench.site, EXAMPLE]
    subprocess.run(command, check=True, capture_output=True)
    return bench


def succeeds(bench, *arguments):
    done = bench(*arguments)
    assert done.code == 0, done.out + done.err
    return done


def test_what_it_brings_is_listed_with_its_distribution(example):
    """One of each kind, beside what comes with hepbench."""
    listed = succeeds(example, "list", "--json").json
    own = {
        (row["kind"], row["name"]) for row in listed if row["distribution"] == "hepbench-example"
    }
    assert own == {
        ("dataset", "example-jets"),
        ("model", "fisher"),
        ("method", "scratch-calibrated"),
        ("metric", "significance_improvement_50"),
        ("suite", "example-jets"),
        ("plugin", "example"),
    }
    assert {row["version"] for row in listed if row["name"] == "fisher"} == {"0.1"}


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
    assert with_mass.cost.latency > 0
    table = json.loads(succeeds(example, "table", "--format", "json").out)
    assert "fisher" in json.dumps(table)
    assert "no difference" in succeeds(example, "verify").out
    assert "2 of them recorded" in succeeds(example, "plan", "example-jets").out


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


def test_it_conforms(example):
    """Every check, none failing, by the command line."""
    done = succeeds(example, "check", "hepbench-example")
    assert re.search(r"\n\d\d checks of hepbench-example, 0 failed\n$", done.out)
    for kind in ("plugin", "dataset", "model", "method", "metric", "suite"):
        assert f"ok    {kind} " in done.out


def test_the_checks_run_in_the_authors_own_pytest(example):
    """The lines of its README are its whole conformance test."""
    (code,) = re.findall(r"```python\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    example.write("test_conformance.py", code)
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
    assert re.search(r"\d\d passed", done.stdout)
