"""Arrays on disk: what grows chunk by chunk is mapped back as it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hepbench import arrays as disk
from hepbench.errors import DataError, ResultsError

KINDS = st.sampled_from(["f4", "f8", "i8", "u2", "?", "S3", "c8", ">i4"])


@given(
    kind=KINDS, shape=array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5), data=st.data()
)
def test_any_array_is_mapped_as_numpy_wrote_it(tmp_path_factory, kind, shape, data):
    """Shape, type and values are numpy's, empty arrays too."""
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    array = data.draw(arrays(kind, shape))
    np.save(path, array)
    found = disk.mapped(path)
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def test_chunks_make_one_array(tmp_path):
    """The number of rows is filled in when the file is closed."""
    chunks = [np.arange(6, dtype=np.float32).reshape(n, -1) for n in (1, 2, 3)]
    same = [chunk.reshape(-1, 2) for chunk in chunks]
    file = disk.Growing(tmp_path / "a.npy", same[0])
    for chunk in same:
        file.append(chunk)
    file.close()
    np.testing.assert_array_equal(disk.mapped(tmp_path / "a.npy"), np.concatenate(same))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.concatenate(same))


def test_chunks_of_another_shape_or_type_are_refused(tmp_path):
    """What came before and what came is said."""
    file = disk.Growing(tmp_path / "a.npy", np.zeros((1, 2), np.float32))
    with pytest.raises(DataError, match=r"float64.* after float32"):
        file.append(np.zeros((1, 2)))
    with pytest.raises(DataError, match=r"\(3,\) after"):
        file.append(np.zeros((1, 3), np.float32))
    file.close()


def test_a_mapped_array_is_read_only_and_names_no_file(tmp_path):
    """A method cannot change shared data, nor find its neighbours through it."""
    np.save(tmp_path / "a.npy", np.arange(3))
    found = disk.mapped(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1
    base = found
    while base is not None:
        assert not hasattr(base, "filename")
        base = getattr(base, "base", None)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:20], lambda b: b"x" + b[1:]])
def test_a_damaged_file_is_a_results_error(tmp_path, damage):
    """Cut short in its values or its header, or no npy file at all."""
    np.save(tmp_path / "a.npy", np.arange(3))
    path = tmp_path / "a.npy"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ResultsError, match=r"a\.npy"):
        disk.mapped(path)


def test_objects_are_refused(tmp_path):
    """No file is ever unpickled."""
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ResultsError, match="plain numbers"):
        disk.mapped(tmp_path / "a.npy")
