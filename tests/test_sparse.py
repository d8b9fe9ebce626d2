"""Sparse images: hits that stand for a dense array."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hepbench import DataError, SparseImages

VALUES = st.sampled_from([0, 0, 0, 0, 1, -2.5, 3e-40, 255])
DENSE = arrays(
    np.float32, array_shapes(min_dims=4, max_dims=4, min_side=1, max_side=4), elements=VALUES
)


@given(dense=DENSE)
def test_dense_images_come_back_as_they_were(dense):
    """Whatever their order in memory: bit for bit, shape and type too."""
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(dense, 1, -1)), -1, 1)
    for images in (SparseImages.from_dense(dense), SparseImages.from_dense(last)):
        assert images.shape == dense.shape
        assert np.asarray(images).dtype == images.dtype == np.float32
        np.testing.assert_array_equal(np.asarray(images), dense)


@given(dense=DENSE, data=st.data())
def test_rows_are_those_of_the_dense_array(dense, data):
    """Slices, index arrays, masks and rows of rows; the hits stay where they are."""
    n = len(dense)
    images = SparseImages.from_dense(dense)
    rows = data.draw(
        st.one_of(
            st.slices(n),
            arrays(np.int64, st.integers(0, 6), elements=st.integers(-n, n - 1)),
            arrays(np.bool_, n),
        )
    )
    some = images[rows]
    np.testing.assert_array_equal(some.dense(), dense[rows])
    np.testing.assert_array_equal(some[::-1].dense(), dense[rows][::-1])
    assert some.positions is images.positions
    assert some.values is images.values


@given(dense=DENSE, data=st.data())
def test_hits_make_the_images_again(dense, data):
    """In any order, and where a hit comes in two halves."""
    images = SparseImages.from_dense(dense)[::-1]
    rows, positions, values = images.hits()
    np.testing.assert_array_equal(dense[::-1].reshape(len(dense), -1)[rows, positions], values)
    order = np.array(data.draw(st.permutations(range(2 * len(rows)))), np.int64)
    twice = [np.tile(a, 2)[order] for a in (rows, positions, values.astype(np.float64) / 2)]
    again = SparseImages.from_hits(*twice, n=len(images), image=images.image)
    np.testing.assert_array_equal(again.dense(), dense[::-1])


@given(dense=DENSE)
def test_hits_that_cancel_leave_no_hit(dense):
    """A sum of zero is a pixel without a hit."""
    images = SparseImages.from_dense(dense)
    rows, positions, values = images.hits()
    both = [np.concatenate(pair) for pair in ((rows, rows), (positions, positions))]
    none = SparseImages.from_hits(
        *both, np.concatenate([values, -values]), n=len(images), image=images.image
    )
    assert len(none.hits()[0]) == 0
    assert none.shape == images.shape


@given(dense=DENSE, cut=st.integers(0, 4))
def test_images_are_joined_in_order(dense, cut):
    """What was taken apart is whole again."""
    images = SparseImages.from_dense(dense)
    joined = SparseImages.concatenate([images[:cut], images[cut:], images[::-1]])
    np.testing.assert_array_equal(joined.dense(), np.concatenate([dense, dense[::-1]]))


def test_dense_images_are_written_where_they_are_wanted():
    """What was there before is gone; an array that does not fit is refused."""
    dense = np.eye(4, dtype=np.float32).reshape(2, 2, 2, 2)
    images = SparseImages.from_dense(dense)
    out = np.full((2, 2, 2, 2), 7, np.float32)
    assert images.dense(out) is out
    np.testing.assert_array_equal(out, dense)
    for wrong in (out[:1], out.astype(np.float64), np.moveaxis(out, 1, -1)):
        with pytest.raises(DataError, match="is expected"):
            images.dense(wrong)


def test_one_image_is_an_array():
    """As a row of an array is; other indices are refused."""
    dense = np.eye(4, dtype=np.float32).reshape(2, 2, 2, 2)
    images = SparseImages.from_dense(dense)
    np.testing.assert_array_equal(images[-1], dense[-1])
    np.testing.assert_array_equal(list(images), dense)
    with pytest.raises(IndexError):
        images[2]
    with pytest.raises(IndexError):
        images[:, 0]


@pytest.mark.parametrize(
    ("starts", "ends", "positions", "values", "image", "message"),
    [
        ([0], [1, 2], [0, 1], [1, 1], (1, 2, 2), "starts"),
        ([0], [2], [0, 1], [1], (1, 2, 2), r"positions \(2,\), values \(1,\)"),
        ([0], [3], [0, 1], [1, 1], (1, 2, 2), "the number of hits"),
        ([1], [0], [0, 1], [1, 1], (1, 2, 2), "the number of hits"),
        ([-1], [1], [0, 1], [1, 1], (1, 2, 2), "the number of hits"),
        ([0], [2], [0, 4], [1, 1], (1, 2, 2), "positions are 0 to 4; 0 to 3 is expected"),
        ([0], [2], [-1, 3], [1, 1], (1, 2, 2), "positions are -1 to 3"),
        ([0], [2], [0, 2**32], [1, 1], (1, 2, 2), "positions are"),
        ([0], [2], [1, 0], [1, 1], (1, 2, 2), "must increase"),
        ([0], [2], [1, 1], [1, 1], (1, 2, 2), "must increase"),
        ([0], [2], [0.0, 1.0], [1, 1], (1, 2, 2), "whole numbers"),
        ([0], [2], [0, 1], [1, 1], (2, 2), r"\(C, H, W\)"),
        ([0], [2], [0, 1], [1, 1], (2000, 2000, 2000), r"\(C, H, W\)"),
    ],
)
def test_what_does_not_fit_is_refused(starts, ends, positions, values, image, message):
    """Lengths, types, hits outside their image or in no order: in one line."""
    with pytest.raises(DataError, match=message) as caught:
        SparseImages(starts, ends, positions, values, image=image)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("rows", "positions", "values", "message"),
    [
        ([0, 1], [0], [1], "rows, positions, values"),
        ([0, 2], [0, 1], [1, 1], "rows are 0 to 2; 0 to 1 is expected"),
        ([0, 1], [0, 4], [1, 1], "positions are 0 to 4"),
        ([0.5, 1], [0, 1], [1, 1], "whole numbers"),
    ],
)
def test_hits_that_do_not_fit_are_refused(rows, positions, values, message):
    """A hit of no image would be lost, or in another one's."""
    with pytest.raises(DataError, match=message):
        SparseImages.from_hits(rows, positions, values, n=2, image=(1, 2, 2))


def test_images_that_do_not_fit_are_refused():
    """(N, C, H, W) alone, and of one shape."""
    with pytest.raises(DataError, match=r"\(N, C, H, W\)"):
        SparseImages.from_dense(np.zeros((2, 3, 3)))
    one, other = (SparseImages.from_dense(np.zeros((1, 1, 1, n))) for n in (1, 2))
    with pytest.raises(DataError, match="cannot join images"):
        SparseImages.concatenate([one, other])


def test_importing_hepbench_imports_no_numpy():
    """The class is public, and found when it is asked for."""
    code = "import sys, hepbench; print('numpy' in sys.modules); hepbench.SparseImages"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
