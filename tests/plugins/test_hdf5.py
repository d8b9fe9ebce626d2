"""HDF5 files: values are read as stored, or an error of one line names the fault."""

from __future__ import annotations

import random
import re

import h5py
import numpy as np
import pytest
from damage import error_of
from hepbench_datasets.hdf5 import HDF5

from hepbench import DataError

NUMBERS = np.arange(12, dtype=np.float32).reshape(4, 3)


def written(folder):
    with h5py.File(folder / "good.h5", "w") as file:
        file["x"], file["y"] = NUMBERS, np.arange(4, dtype=np.float32) % 2
    return folder / "good.h5"


def read(path):
    """Read all columns of a small file."""
    with HDF5("toy", path, row="row") as file:
        stored = file.array("x", ("N", 3))
        labels = file.labels("y", ("N",), beside=stored)
        return file.values(stored), labels, "z" in file


def virtual(file, other):
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource(other, "x", shape=(4, 3))
    file.create_virtual_dataset("x", layout)


def stored_outside(file, other):
    file.create_dataset("x", (4, 3), "f4", external=[(other, 0, h5py.h5f.UNLIMITED)])


def linked(file, other):
    file["x"] = h5py.ExternalLink(other, "/x")


@pytest.mark.parametrize("make", [virtual, stored_outside, linked])
def test_data_in_another_file_are_refused(tmp_path, make):
    """The fingerprint would not cover them, and HDF5 reads zeros if the other file is missing."""
    path, other = written(tmp_path), tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = NUMBERS + 1
    with h5py.File(path, "a") as file:
        del file["x"]
        make(file, str(other))
    expected = "the data of 'x' are in another file; they are needed in this file"
    assert error_of(read, path) == f"toy: good.h5: {expected}"


def test_a_type_unknown_to_numpy_is_refused(tmp_path):
    """HDF5 has more types than numpy."""
    path = written(tmp_path)
    with h5py.File(path, "a") as file:
        del file["y"]
        space = h5py.h5s.create_simple((4,))
        h5py.h5d.create(file.id, b"y", h5py.h5t.UNIX_D32LE, space)
    assert "'y' cannot be read (No NumPy equivalent" in error_of(read, path)


def test_any_overwritten_bytes_give_values_or_one_line(tmp_path):
    """400 files with damaged structure: h5py raises many types of errors in many places."""
    path, rng = written(tmp_path), random.Random(0)
    good, refused = path.read_bytes(), []
    for _ in range(400):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        path.write_bytes(bad)
        try:
            read(path)
        except DataError as error:
            refused.append(str(error))
    assert all(re.fullmatch("toy: good.h5: [^\n]+; [^\n]+", message) for message in refused)
    assert len(refused) > 50
