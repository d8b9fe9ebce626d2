"""Inputs that differ from call to call, so that a model which remembers its scores gains nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hepbench.specs.sparse_images import SparseImages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hepbench.specs.types import Array, Inputs


VARIATION = 1e-3
"""Largest relative change of a value."""


BLOCK_BYTES, MAX_BLOCK = 1_000_000, 256
"""Size and number of the batches that are made at once."""


class VariedInputs:
    """Batches of inputs without end: other examples in each, their values changed a little.

    Examples are drawn at random. Each of their features, particles or channels is multiplied by a
    number between 1 - VARIATION and 1. Whole numbers (among them zeros, masks, indices and codes) and
    missing values stay, so inputs that hold nothing else repeat when all examples have been drawn.

    Args:
        inputs: examples by name.
        n: number of examples in a batch.
    """

    def __init__(self, inputs: Inputs, n: int) -> None:
        self._inputs, self._n = inputs, n
        self._rng = np.random.default_rng(0)
        self._batches = self._endless()

    def __call__(self) -> dict[str, Array]:
        """Return the inputs of the next batch."""
        return next(self._batches)

    def _endless(self) -> Iterator[dict[str, Array]]:
        # making each batch just before it is scored would empty the caches of the processor
        size = self._n * sum(4 * math.prod(array.shape[1:]) for array in self._inputs.values())
        block = max(1, min(MAX_BLOCK, BLOCK_BYTES // max(size, 1)))
        examples = len(next(iter(self._inputs.values())))
        while True:
            rows = self._rng.integers(examples, size=block * self._n)
            made = {name: _varied(array[rows], self._rng) for name, array in self._inputs.items()}
            for i in range(0, len(rows), self._n):
                yield {name: array[i : i + self._n] for name, array in made.items()}


def _varied(array: Array, rng: np.random.Generator) -> Array:
    """Return an array with slightly smaller values, apart from whole numbers."""
    if isinstance(array, SparseImages):
        row, position, values = array.hits()
        return SparseImages.from_hits(
            row, position, _varied(values, rng), n=len(array), image=array.image
        )
    if array.dtype.kind != "f":
        return array
    shape = (*array.shape[:2], *[1] * (array.ndim - 2))
    factors = (1 - VARIATION * rng.random(shape)).astype(array.dtype)
    # a missing value is no whole number, and stays missing
    return np.where(array == np.rint(array), array, array * factors)
