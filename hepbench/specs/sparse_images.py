"""Sparse images: positions and values of hits in place of a dense (N, C, H, W) array."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.specs.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from hepbench.specs.types import Array


class SparseImages:
    """N images with mostly zero pixels; ``len()``, slices, index arrays and masks work as for an
    array, and share the hits: a split copies nothing.

    Args:
        starts, ends: (N,) int64; image i has the hits ``starts[i]`` to ``ends[i] - 1``.
        positions: (K,) int32 or smaller, position of each hit in its flattened (C, H, W) image,
            increasing within each image.
        values: (K,) float32.
        image: (C, H, W).

    Raises:
        DataError: wrong shapes or types, or hits that are outside an image or not in order.
    """

    dtype = np.dtype(np.float32)
    ndim = 4

    def __init__(
        self,
        starts: ArrayLike,
        ends: ArrayLike,
        positions: ArrayLike,
        values: ArrayLike,
        *,
        image: Sequence[int],
    ) -> None:
        self.starts = _whole_numbers("starts", starts).astype(np.int64, copy=False)
        self.ends = _whole_numbers("ends", ends).astype(np.int64, copy=False)
        self.positions = _whole_numbers("positions", positions)
        self.values = np.asarray(values, np.float32)
        self.image = _checked_image_shape(image)
        _check_layout(self)
        if self.positions.dtype.itemsize > 4:
            self.positions = self.positions.astype(np.int32)

    @classmethod
    def unchecked(
        cls,
        starts: NDArray[Any],
        ends: NDArray[Any],
        positions: NDArray[Any],
        values: NDArray[Any],
        *,
        image: tuple[int, ...],
    ) -> SparseImages:
        """Return sparse images without checks, so that mapped hits are not read from disk."""
        made = object.__new__(cls)
        made.starts, made.ends, made.positions, made.values = starts, ends, positions, values
        made.image = image
        return made

    @classmethod
    def from_dense(cls, images: ArrayLike) -> SparseImages:
        """Return (N, C, H, W) dense images, in any memory order, as sparse images."""
        # different float64 values may round to the same float32, or to zero
        dense = np.asarray(images, np.float32)
        if dense.ndim != 4:
            msg = f"sparse images: the shape is {dense.shape}; (N, C, H, W) is expected"
            raise DataError(msg)
        image = _checked_image_shape(dense.shape[1:])
        # reordering one byte per pixel is cheaper than reordering four
        hit = np.ascontiguousarray(dense != 0)
        places = np.flatnonzero(hit)
        flat = dense.flags.c_contiguous
        values = dense.reshape(-1)[places] if flat else dense[np.unravel_index(places, dense.shape)]
        return cls._from_places(places, values, len(dense), image)

    @classmethod
    def from_hits(
        cls,
        rows: ArrayLike,
        positions: ArrayLike,
        values: ArrayLike,
        *,
        n: int,
        image: Sequence[int],
    ) -> SparseImages:
        """Return n sparse images from hits in any order; hits at the same pixel are added.

        Args:
            rows: (K,) image of each hit.
            positions: (K,) position in the flattened image.
            values: (K,) value of each hit; sums are computed in float64.
            n, image: number of images, and their shape (C, H, W).
        """
        row = _whole_numbers("rows", rows).astype(np.int64, copy=False)
        position = _whole_numbers("positions", positions)
        value, sizes = np.asarray(values), _checked_image_shape(image)
        if not row.shape == position.shape == value.shape or row.ndim != 1:
            shapes = f"{row.shape}, {position.shape}, {value.shape}"
            msg = f"sparse images: rows, positions, values have shapes {shapes}; (K,) is expected"
            raise DataError(msg)
        size = math.prod(sizes)
        _check_range("rows", row, n)
        _check_range("positions", position, size)
        places, sums = _sum_hits_at_same_place(row * size + position.astype(np.int64), value)
        kept = sums != 0
        return cls._from_places(places[kept], sums[kept], n, sizes)

    @classmethod
    def concatenate(cls, several: Sequence[SparseImages]) -> SparseImages:
        """Return several sparse images as one object; their hits are copied."""
        image = several[0].image
        if other := [each.image for each in several if each.image != image]:
            msg = f"sparse images: cannot join images of shape {other[0]} and {image}"
            raise DataError(msg)
        parts = [each._hits() for each in several]
        ends = np.cumsum(np.concatenate([each.ends - each.starts for each in several]))
        return cls.unchecked(
            _starts_from_ends(ends),
            ends,
            np.concatenate([positions for positions, _ in parts]),
            np.concatenate([values for _, values in parts]),
            image=image,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the sparse images, (N, C, H, W)."""
        return (len(self), *self.image)

    def __len__(self) -> int:
        return len(self.starts)

    def __repr__(self) -> str:
        return f"SparseImages{self.shape}"

    def __getitem__(self, rows: Any) -> Any:
        """Return the chosen sparse images; one number gives a dense (C, H, W) image."""
        starts = self.starts[rows]
        if np.ndim(starts) == 0:
            return self[[rows]].dense()[0]
        if np.ndim(starts) != 1:
            msg = f"sparse images take an index of one axis; got one of {np.ndim(rows)}"
            raise IndexError(msg)
        hits = self.positions, self.values
        return self.unchecked(starts, self.ends[rows], *hits, image=self.image)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the sparse images as a dense array, for ``np.asarray``."""
        if copy is False:
            msg = "sparse images cannot become a dense array without a copy"
            raise ValueError(msg)
        dense = self.dense()
        return dense if dtype is None else dense.astype(dtype, copy=False)

    def hits(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Return row, position in the flattened image, and value of each hit.

        Hits are sorted by image; rows are 0 to ``len() - 1``.
        """
        positions, values = self._hits()
        return self._row_of_each_hit(), positions.astype(np.int64), values

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return each hit's position in the flattened (N, C, H, W) array, and its value."""
        positions, values = self._hits()
        offsets = np.arange(len(self), dtype=np.int64) * math.prod(self.image)
        places = np.repeat(offsets, self.ends - self.starts)
        places += positions
        return places, values

    def dense(self, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return the sparse images as a dense float32 array; ``out`` is filled if it is given."""
        if out is None:
            out = np.zeros(self.shape, np.float32)
        elif out.shape != self.shape or out.dtype != self.dtype or not out.flags.c_contiguous:
            msg = f"sparse images: out is {out.dtype}{out.shape}; float32{self.shape} is expected"
            raise DataError(msg)
        else:
            out.fill(0)
        places, values = self.places()
        out.reshape(-1)[places] = values
        return out

    @classmethod
    def _from_places(
        cls, places: NDArray[np.int64], values: NDArray[Any], n: int, image: tuple[int, ...]
    ) -> SparseImages:
        size = math.prod(image)
        ends = np.searchsorted(places, np.arange(1, n + 1, dtype=np.int64) * size)
        starts = _starts_from_ends(ends)
        positions = places - np.repeat(np.arange(n, dtype=np.int64) * size, ends - starts)
        return cls.unchecked(starts, ends, positions.astype(np.int32), values, image=image)

    def _row_of_each_hit(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self), dtype=np.int64), self.ends - self.starts)

    def _hits(self) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Return positions and values of all hits, without copying contiguous hits."""
        if not len(self):
            return self.positions[:0], self.values[:0]
        if np.array_equal(self.starts[1:], self.ends[:-1]):
            whole = slice(int(self.starts[0]), int(self.ends[-1]))
            return self.positions[whole], self.values[whole]
        # up to twice as fast as an index array of all hits
        spans = list(map(slice, self.starts.tolist(), self.ends.tolist()))
        positions = np.concatenate([self.positions[span] for span in spans])
        return positions, np.concatenate([self.values[span] for span in spans])


def joined(several: Sequence[Array]) -> Array:
    """Concatenate several arrays, or several sparse images."""
    if isinstance(several[0], SparseImages):
        return SparseImages.concatenate(several)
    return np.concatenate(several)


def _starts_from_ends(ends: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), ends])[: len(ends)]


def _whole_numbers(name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if not array.size:
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        msg = f"sparse images: {name} are {array.dtype}; whole numbers are expected"
        raise DataError(msg)
    return array


def _checked_image_shape(image: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in image)
    if len(sizes) != 3 or min(sizes) < 1 or math.prod(sizes) > np.iinfo(np.int32).max:
        msg = f"sparse images: the image shape is {sizes}; (C, H, W) is expected"
        raise DataError(msg)
    return sizes


def _check_layout(images: SparseImages) -> None:
    starts, ends, hits = images.starts, images.ends, images.values.size
    if starts.shape != ends.shape or starts.ndim != 1:
        msg = f"sparse images: starts {starts.shape}, ends {ends.shape}; (N,) is expected"
        raise DataError(msg)
    if images.positions.shape != images.values.shape or images.values.ndim != 1:
        shapes = f"positions {images.positions.shape}, values {images.values.shape}"
        msg = f"sparse images: shapes are {shapes}; (K,) is expected"
        raise DataError(msg)
    if not ((starts >= 0) & (starts <= ends) & (ends <= hits)).all():
        msg = f"sparse images: 0 <= starts <= ends <= {hits}, the number of hits, is expected"
        raise DataError(msg)
    positions = images._hits()[0]
    _check_range("positions", positions, math.prod(images.image))
    falling = positions[1:] <= positions[:-1]
    if (falling & (np.diff(images._row_of_each_hit()) == 0)).any():
        msg = "sparse images: positions must increase within each image; from_hits sorts them"
        raise DataError(msg)


def _check_range(name: str, values: NDArray[Any], end: int) -> None:
    if len(values) and not (values.min() >= 0 and values.max() < end):
        got = f"{values.min()} to {values.max()}"
        msg = f"sparse images: {name} are {got}; 0 to {end - 1} is expected"
        raise DataError(msg)


def _sum_hits_at_same_place(
    places: NDArray[np.int64], values: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the sorted unique places of hits, and the sum of the values at each."""
    if not (places[1:] > places[:-1]).all():
        order = np.argsort(places, kind="stable")
        places, values = places[order], values[order]
        first = np.flatnonzero(np.concatenate([[True], places[1:] != places[:-1]]))
        if len(first) < len(places):
            places = places[first]
            values = np.add.reduceat(values.astype(np.float64), first)
    return places, values.astype(np.float32)
