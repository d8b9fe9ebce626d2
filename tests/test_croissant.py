"""``hepbench data croissant``: metadata that a catalogue can read."""

from __future__ import annotations

import hashlib

import pytest

from hepbench.registry.plugins import installed

DATASETS = {entry.spec.name: entry.spec for entry in installed().entries("dataset")}


@pytest.mark.parametrize("name", DATASETS)
def test_files_classes_and_inputs_of_a_dataset_are_there(bench, name):
    """Files whose checksums are published are listed, and the others are named."""
    done = bench("data", "croissant", name)
    assert done.code == 0, done.err
    spec, told = DATASETS[name], done.json
    listed = {each["name"]: each["sha256"] for each in told.get("distribution", ())}
    assert listed == {file.name: file.sha256 for file in spec.files if file.sha256}
    assert all(file.name in told["description"] for file in spec.files if not file.sha256)
    tables = {each["name"]: each["data"] for each in told["recordSet"]}
    assert [row["classes/class"] for row in tables["classes"]] == list(spec.classes)
    names = {(row["inputs/input"], row["inputs/feature"]) for row in tables["inputs"]}
    assert names == {(i, n) for i, given in spec.inputs.items() for n in given.names or ("",)}


def test_files_that_are_found_are_listed_with_their_checksums(bench):
    """Their own, where no checksum is published."""
    path = bench.write("data/top-tagging/train.h5", "not read")
    done = bench("data", "croissant", "top-tagging", "--data", "data")
    (file,) = done.json["distribution"]
    assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (file["name"], file["encodingFormat"]) == ("train.h5", "application/x-hdf5")
    assert "train.h5" not in done.json["description"]


def test_an_unknown_dataset_is_told_in_one_line(bench):
    """With a suggestion."""
    done = bench("data", "croissant", "higs")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "Did you mean 'higgs'?" in done.err
