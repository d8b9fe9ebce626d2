"""What all generators promise: what they refuse is one line, and nothing is lost or half made."""

from __future__ import annotations

import pytest
from hepbench_datasets import BOOSTED_JETS, ELECTRON_PHOTON, HIGGS, QUARK_GLUON, TOP_TAGGING
from hepbench_datasets.simulate import detector, processes

from hepbench import DataError
from hepbench.registry.resolve import resolve

SPECS = {s.name: s for s in (BOOSTED_JETS, ELECTRON_PHOTON, HIGGS, QUARK_GLUON, TOP_TAGGING)}
LEAST = dict.fromkeys(SPECS, 2) | {"higgs": 1, "top-tagging": 5}
"""Events that are simulated at least: one of each file and role."""
FILES = [
    (spec.name, name)
    for spec in SPECS.values()
    for file in spec.files
    for name in (file.name, *file.variants)
]


@pytest.fixture(autouse=True)
def _never(monkeypatch):
    """Fail where anything is simulated after all."""

    def in_order(function, pieces, jobs):
        pytest.fail("it simulates")

    monkeypatch.setattr(processes, "in_order", in_order)
    monkeypatch.setattr(detector, "GENERATORS", ())


def generate(name, folder, **asked):
    """Ask for as few events as are allowed, unless asked otherwise."""
    told = {"events": LEAST[name], "seed": 0, "jobs": 1, **asked}
    resolve(SPECS[name].generate)(folder, progress=lambda done: None, **told)


@pytest.mark.parametrize(("dataset", "name"), FILES)
def test_a_file_that_exists_is_left_alone(tmp_path, dataset, name):
    """The original may be lying there; beside a file of another form ours would not be read."""
    (tmp_path / name).write_bytes(b"original")
    with pytest.raises(DataError, match=f"{name} exists; choose another folder"):
        generate(dataset, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"original"


@pytest.mark.parametrize("dataset", SPECS)
@pytest.mark.parametrize("wrong", ["events", "jobs", "seed"])
def test_too_few_events_processes_or_a_negative_seed_are_refused(tmp_path, dataset, wrong):
    """The message says what the least allowed are; no folder is made."""
    least = {"events": LEAST[dataset], "jobs": 1, "seed": 0}
    allowed = f"at least {least['events']}, 1 and 0 are needed"
    with pytest.raises(DataError, match=allowed):
        generate(dataset, tmp_path / "new", **{wrong: least[wrong] - 1})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("dataset", [name for name in SPECS if name != "electron-photon"])
def test_what_is_missing_is_named_with_the_command_that_installs_it(tmp_path, dataset, monkeypatch):
    """One line, and no file is left behind; electrons and photons need numpy alone."""
    monkeypatch.setattr(detector, "GENERATORS", ("numpy", "no_such_generator"))
    with pytest.raises(DataError, match=r'no_such_generator.*pip install "hepbench-plugins\[sim'):
        generate(dataset, tmp_path)
    assert list(tmp_path.iterdir()) == []
