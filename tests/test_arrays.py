"""Arrays on disk: chunks that are written are read back unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hepbench import SparseImages
from hepbench.specs.errors import DataError, ResultsError
from hepbench.storage import npy_files as disk

KINDS = st.sampled_from(["f4", "f8", "i8", "u2", "?", "S3", "c8", ">i4"])


@given(
    kind=KINDS, shape=array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5), data=st.data()
)
def test_any_array_is_mapped_as_numpy_wrote_it(tmp_path_factory, kind, shape, data):
    """Shape, type and values agree with numpy, also for empty arrays."""
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    array = data.draw(arrays(kind, shape))
    np.save(path, array)
    found = disk.map_npy(path)
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def test_chunks_make_one_array(tmp_path):
    """The number of rows is written when the file is closed."""
    chunks = [np.arange(6, dtype=np.float32).reshape(n, -1) for n in (1, 2, 3)]
    same = [chunk.reshape(-1, 2) for chunk in chunks]
    file = disk.NpyWriter(tmp_path / "a.npy", same[0])
    for chunk in same:
        file.append(chunk)
    file.close()
    np.testing.assert_array_equal(disk.map_npy(tmp_path / "a.npy"), np.concatenate(same))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.concatenate(same))


def test_chunks_of_another_shape_or_type_are_refused(tmp_path):
    """The message holds both shapes and types."""
    file = disk.NpyWriter(tmp_path / "a.npy", np.zeros((1, 2), np.float32))
    with pytest.raises(DataError, match=r"float64\(2,\); float32\(2,\) is expected"):
        file.append(np.zeros((1, 2)))
    with pytest.raises(DataError, match=r"\(3,\); .* is expected"):
        file.append(np.zeros((1, 3), np.float32))
    file.close()


def test_a_mapped_array_is_read_only_and_names_no_file(tmp_path):
    """A method cannot change shared data, or find other files through it."""
    np.save(tmp_path / "a.npy", np.arange(3))
    found = disk.map_npy(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1
    base = found
    while base is not None:
        assert not hasattr(base, "filename")
        base = getattr(base, "base", None)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:20], lambda b: b"x" + b[1:]])
def test_a_damaged_file_is_a_results_error(tmp_path, damage):
    """It ends in its values or its header, or is not an npy file."""
    np.save(tmp_path / "a.npy", np.arange(3))
    path = tmp_path / "a.npy"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ResultsError, match=r"a\.npy"):
        disk.map_npy(path)


def test_objects_are_refused(tmp_path):
    """Nothing is unpickled."""
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ResultsError, match="only numbers in C order"):
        disk.map_npy(tmp_path / "a.npy")


def images(n, *image):
    """Return n images with a few hits each, dense."""
    rng = np.random.default_rng(n)
    return np.where(rng.random((n, *image)) < 0.2, rng.normal(size=(n, *image)), 0).astype("f4")


@pytest.mark.parametrize(
    ("image", "kind"),
    [((1, 16, 16), "u1"), ((1, 16, 17), "u2"), ((4, 128, 128), "u2"), ((5, 128, 128), "u4")],
)
def test_chunks_of_sparse_images_make_one_array(tmp_path, image, kind):
    """Chunks are sparse, dense or missing; positions use the smallest integer type."""
    dense = [images(n, *image) for n in (3, 1, 0, 2)]
    file = disk.new_writer(tmp_path, "a", SparseImages.from_dense(dense[0]))
    for i, chunk in enumerate(dense):
        file.append(chunk if i == 1 else SparseImages.from_dense(chunk)[:])
    file.close()
    (path,) = disk.stored(tmp_path).values()
    found = disk.open_stored(path)
    assert found.positions.dtype == kind
    np.testing.assert_array_equal(found, np.concatenate(dense))
    for array in (found.positions, found.values):
        assert not array.flags.writeable


def test_sparse_images_of_another_shape_are_refused(tmp_path):
    """The message holds both shapes."""
    file = disk.new_writer(tmp_path, "a", SparseImages.from_dense(images(2, 1, 3, 3)))
    with pytest.raises(DataError, match=r"images of shape \(1, 3, 4\); \(1, 3, 3\) is expected"):
        file.append(images(2, 1, 3, 4))
    file.close()


@pytest.mark.parametrize("name", ["ends", "positions", "values"])
def test_sparse_images_with_lost_hits_are_a_results_error(tmp_path, name):
    """Each file is readable, but one is shorter than the others say."""
    file = disk.new_writer(tmp_path, "a", SparseImages.from_dense(images(0, 1, 9, 9)))
    file.append(images(9, 1, 9, 9))
    file.close()
    path = tmp_path / "a.sparse" / f"{name}.npy"
    np.save(path, np.load(path)[:-1])
    with pytest.raises(ResultsError, match="is incomplete"):
        disk.open_stored(tmp_path / "a.sparse")


@given(st.data())
def test_concatenated_arrays_are_indexed_as_one(data):
    """Slices and sorted rows work; the type holds the values of both."""
    n, m = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))
    one, other = np.arange(2 * n, dtype=np.float32).reshape(n, 2), np.ones((m, 2))
    whole, expected = disk.ConcatenatedArrays([one, other]), np.concatenate([one, other])
    assert (len(whole), whole.shape, whole.dtype) == (n + m, expected.shape, expected.dtype)
    rows = np.sort(data.draw(arrays(np.int64, 4, elements=st.integers(0, n + m - 1)))
                   if n + m else np.empty(0, np.int64))  # fmt: skip
    low, high = sorted(data.draw(st.tuples(st.integers(0, 10), st.integers(0, 10))))
    for chosen in (rows, slice(low, high)):
        found = whole[chosen]
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected[chosen])
    dense = [images(n, 1, 3, 2), images(m, 1, 3, 2)]
    sparse = disk.ConcatenatedArrays([SparseImages.from_dense(each) for each in dense])[rows]
    assert isinstance(sparse, SparseImages)
    np.testing.assert_array_equal(sparse, np.concatenate(dense)[rows])
