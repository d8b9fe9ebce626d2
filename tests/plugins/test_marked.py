"""Marked files: readers get the same data, and the first bytes say that they are simulated."""

from __future__ import annotations

import gzip

import h5py
import numpy as np
import pytest
from hepbench_datasets.simulate import higgs, marked
from needs import needs_extra

from hepbench import SIMULATED
from hepbench.data.finding import simulated

ARRAYS = {"X": np.arange(24, dtype="<f4").reshape(2, 3, 4), "y": np.ones(2, "<f4")}


def written(path):
    with marked.hdf5(path) as file:
        for name, array in ARRAYS.items():
            file.create_dataset(name, data=array)
    return path


@needs_extra("hepbench-plugins[pandas]")
def test_a_marked_file_can_be_read_as_usual(tmp_path):
    """By h5py and by PyTables, without any option."""
    import tables

    path = written(tmp_path / "a.h5")
    assert simulated(path)
    with h5py.File(path) as file, tables.open_file(path) as other:
        for name, array in ARRAYS.items():
            assert (file[name][()] == array).all()
            assert (other.get_node(f"/{name}")[:] == array).all()


def test_equal_arrays_give_equal_bytes(tmp_path):
    """The mark holds no time."""
    paths = [written(tmp_path / name) for name in ("a.h5", "b.h5")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_incomplete_file_has_no_mark(tmp_path):
    """The caller that opened the file removes it."""
    path = tmp_path / "a.h5"
    with pytest.raises(ZeroDivisionError), marked.hdf5(path):
        _ = 1 / 0
    assert not simulated(path)


def test_a_compressed_file_is_marked_in_its_header(tmp_path):
    """The decompressed content is what was written, without any mark."""
    path, rows = tmp_path / "HIGGS.csv.gz", np.ones((1, 28), np.float32)
    with path.open("wb") as raw:
        higgs._write(raw, [(np.ones(1, np.int64), rows)], lambda _: None)
    assert simulated(path)
    content = gzip.decompress(path.read_bytes())
    assert SIMULATED not in content
    assert np.array_equal(np.fromstring(content, sep=","), np.ones(29))
