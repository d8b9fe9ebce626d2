"""All generators refuse invalid requests with one line, and never overwrite or leave incomplete files."""

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
    """Fail if anything is simulated."""

    def in_order(function, pieces, jobs):
        pytest.fail("it simulates")

    monkeypatch.setattr(processes, "in_order", in_order)
    monkeypatch.setattr(detector, "GENERATORS", ())


def generate(name, folder, **changed):
    """Generate the smallest allowed number of events, unless the arguments say otherwise."""
    arguments = {"events": LEAST[name], "seed": 0, "jobs": 1, **changed}
    resolve(SPECS[name].generate)(folder, progress=lambda done: None, **arguments)


@pytest.mark.parametrize(("dataset", "name"), FILES)
def test_an_existing_file_is_not_overwritten(tmp_path, dataset, name):
    """It may be the original; beside a file of another form the simulated file would not be read."""
    (tmp_path / name).write_bytes(b"original")
    with pytest.raises(DataError, match=f"{name} exists; choose another folder"):
        generate(dataset, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"original"


@pytest.mark.parametrize("dataset", SPECS)
@pytest.mark.parametrize("wrong", ["events", "jobs", "seed"])
def test_too_few_events_or_processes_and_negative_seeds_are_refused(tmp_path, dataset, wrong):
    """The message gives the smallest allowed values; no folder is created."""
    least = {"events": LEAST[dataset], "jobs": 1, "seed": 0}
    allowed = f"at least {least['events']}, 1 and 0 are needed"
    with pytest.raises(DataError, match=allowed):
        generate(dataset, tmp_path / "new", **{wrong: least[wrong] - 1})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("dataset", [name for name in SPECS if name != "electron-photon"])
def test_missing_packages_are_named_with_the_command_that_installs_them(
    tmp_path, dataset, monkeypatch
):
    """One line, and no file remains; electrons and photons need only numpy."""
    monkeypatch.setattr(detector, "GENERATORS", ("numpy", "no_such_generator"))
    with pytest.raises(DataError, match=r'no_such_generator.*pip install "hepbench-plugins\[sim'):
        generate(dataset, tmp_path)
    assert list(tmp_path.iterdir()) == []
