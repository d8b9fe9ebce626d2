"""Batches: dense preprocessed tensors, made once and gathered by index where they fit in memory.

Sparse images are written into a buffer that is used again, batch by batch: that is quicker than to
gather dense ones.
"""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hepbench.specs.sparse_images import SparseImages
from hepbench.specs.training_data import Examples
from hepbench.training.networks.preprocessing import Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray
    from torch import nn

    from hepbench.specs.types import Inputs


IN_MEMORY_BYTES = 2_000_000_000
"""Inputs up to this size are preprocessed once and held; larger ones batch by batch."""


IN_MEMORY_SPARSE_BYTES = 500_000_000
"""The same for sparse images, which take fifty times their memory when they are dense: held only
where steps of preprocessing take longer than to gather them (125 x 125 x 8, 128 a batch: 94 ms to
gather; 15 ms to make dense, 215 ms to make dense and standardise)."""


CHUNK_ROWS = 4096


CHUNK_BYTES = 16_000_000
"""Of the inputs of a chunk when they are dense. What steps of preprocessing make of larger ones is
memory new from the system each time: at 64 MB they take twice as long."""


BUFFERS = 2
"""Buffers of sparse images: while a batch is made, a training loop holds the one before."""


Rows = slice | Tensor


class BatchSource(Protocol):
    """Examples from which batches are taken."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def batch(self, rows: Rows) -> Examples:
        """Return some of them as tensors, preprocessed."""
        ...


def source(
    examples: Examples, preprocess: nn.Module, *, device: torch.device, limit: int = IN_MEMORY_BYTES
) -> BatchSource:
    """Return examples as a source of batches on a device.

    Inputs become float32, but for masks, which stay bool, and neighbours: int64.
    """
    size = len(examples) * row_bytes(examples.inputs)
    if any(isinstance(array, SparseImages) for array in examples.inputs.values()):
        plain = isinstance(preprocess, Steps) and not len(preprocess.steps)
        limit = 0 if plain else min(limit, IN_MEMORY_SPARSE_BYTES)
    return (InMemoryBatches if size <= limit else StreamedBatches)(examples, preprocess, device)


def row_bytes(inputs: Inputs) -> int:
    """Return the bytes of an example's inputs when they are dense."""
    sizes = {name: math.prod(array.shape[1:]) for name, array in inputs.items()}
    return sum(size * (8 if name == "neighbours" else 4) for name, size in sizes.items())


def chunks(inputs: Inputs) -> Iterator[slice]:
    """Yield the rows of chunks of the inputs that fit into CHUNK_BYTES."""
    n = len(next(iter(inputs.values())))
    step = max(1, min(CHUNK_ROWS, CHUNK_BYTES // max(row_bytes(inputs), 1)))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def steps(n: int, size: int) -> int:
    """Return how many batches ``spans`` makes of n rows."""
    return sum(1 for _ in spans(n, size))


def spans(n: int, size: int, order: NDArray[np.int64] | None = None) -> Iterator[Rows]:
    """Yield the rows of each batch. A single one left over joins the batch before it: batch norm
    cannot be trained on one example.
    """
    starts = list(range(0, n, size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    whole = None if order is None else torch.from_numpy(order)
    for start, end in zip(starts, [*starts[1:], n], strict=True):
        yield slice(start, end) if whole is None else whole[start:end]


class _Columns:
    """What belongs to examples beside their inputs, as tensors."""

    def __init__(self, examples: Examples, device: torch.device) -> None:
        self.ids = _tensor(examples.ids, device)
        self.labels = None if examples.labels is None else _tensor(examples.labels, device)
        self.weights = None
        if examples.weights is not None:
            self.weights = _tensor(examples.weights, device).float()
        self.spectators = {name: _tensor(a, device) for name, a in examples.spectators.items()}

    def batch(self, rows: Rows, inputs: Mapping[str, Tensor]) -> Examples:
        return Examples(
            inputs=inputs,
            ids=_take(self.ids, rows),
            labels=None if self.labels is None else _take(self.labels, rows),
            weights=None if self.weights is None else _take(self.weights, rows),
            spectators={name: _take(t, rows) for name, t in self.spectators.items()}
            if self.spectators
            else {},
        )


class InMemoryBatches:
    """Preprocessed once: batches are gathered by index."""

    def __init__(self, examples: Examples, preprocess: nn.Module, device: torch.device) -> None:
        self._columns = _Columns(examples, device)
        self._device = device
        self._inputs: dict[str, Tensor] = {}
        n, raw = len(examples), RawInputs(examples.inputs, device)
        for rows in chunks(examples.inputs):
            for name, values in raw.prepared(rows, preprocess).items():
                if name not in self._inputs:
                    self._inputs[name] = values.new_empty((n, *values.shape[1:]))
                self._inputs[name][rows] = values

    def __len__(self) -> int:
        return len(self._columns.ids)

    def batch(self, rows: Rows) -> Examples:
        """Return a batch."""
        if isinstance(rows, Tensor):
            rows = rows.to(self._device)
        return self._columns.batch(rows, {n: _take(t, rows) for n, t in self._inputs.items()})


class StreamedBatches:
    """Too large to hold: each batch is read and preprocessed when it is asked for."""

    def __init__(self, examples: Examples, preprocess: nn.Module, device: torch.device) -> None:
        self._columns = _Columns(examples, device)
        self._raw, self._preprocess, self._device = (
            RawInputs(examples.inputs, device),
            preprocess,
            device,
        )

    def __len__(self) -> int:
        return len(self._columns.ids)

    def batch(self, rows: Rows) -> Examples:
        """Return a batch."""
        index: Any = rows.numpy() if isinstance(rows, Tensor) else rows
        inputs = self._raw.prepared(index, self._preprocess)
        if isinstance(rows, Tensor):
            rows = rows.to(self._device)
        return self._columns.batch(rows, inputs)


class RawInputs:
    """Inputs as dense tensors, before they are preprocessed."""

    def __init__(self, inputs: Inputs, device: torch.device) -> None:
        self._inputs, self._device = inputs, device
        self._densers = {
            n: DenseImageBuffers() for n, a in inputs.items() if isinstance(a, SparseImages)
        }

    def __call__(self, rows: Any) -> dict[str, Tensor]:
        """Return some rows."""
        made = {}
        for name, array in self._inputs.items():
            if name in self._densers:
                made[name] = self._densers[name](array[rows]).to(self._device)
            else:
                made[name] = dense(name, array[rows], self._device)
        return made

    def prepared(self, rows: Any, preprocess: nn.Module) -> Mapping[str, Tensor]:
        """Return some rows, preprocessed."""
        with torch.no_grad():
            made: Mapping[str, Tensor] = preprocess(self(rows))
        return made


class DenseImageBuffers:
    """Makes sparse images dense, in buffers that nobody holds any longer."""

    def __init__(self) -> None:
        self._buffers: list[_Buffer] = []

    def __call__(self, images: SparseImages) -> Tensor:
        """Return a tensor that stays as it is for as long as it is held."""
        free = [buffer for buffer in self._buffers if buffer.is_free()]
        if not free:
            # what is held elsewhere is left to its holder
            self._buffers = [*self._buffers[1 - BUFFERS :], _Buffer()]
        return (free or self._buffers)[-1].filled(images)


class _Buffer:
    """Zeros but for the hits of the last batch: only these are cleared for the next."""

    def __init__(self) -> None:
        self._flat = np.zeros(0, np.float32)
        self._hits = np.empty(0, np.int64)
        self._written = False
        self._lent: Tensor | None = None
        self._view: Callable[[], NDArray[np.float32] | None] = lambda: None

    def is_free(self) -> bool:
        """Whether nobody holds the last batch, or a part of it."""
        if self._lent is not None:
            # of a tensor made in inference mode nobody counts the writing
            self._written |= self._lent.is_inference() or self._lent._version > 0
            self._lent = None
        # a tensor's memory holds the array that it was made of, whatever view of it is left
        free = self._view() is None
        # who holds it still may write into it later
        self._written |= not free
        return free

    def filled(self, images: SparseImages) -> Tensor:
        places, values = images.places()
        size = math.prod(images.shape)
        if size > len(self._flat):
            self._flat = np.zeros(size, np.float32)
        elif self._written:
            self._flat.fill(0)
        else:
            self._flat[self._hits] = 0
        self._flat[places] = values
        self._hits, self._written = places, False
        view = self._flat[:size].reshape(images.shape)
        self._lent, self._view = torch.from_numpy(view), weakref.ref(view)
        return self._lent


def dense(name: str, array: Any, device: torch.device) -> Tensor:
    """Return a copy of an input as a tensor: bool stays, neighbours become int64, all else float32."""
    values = np.asarray(array)
    kind: type = np.bool_ if values.dtype == np.bool_ else np.float32
    if name == "neighbours":
        # what torch takes as an index
        kind = np.int64
    # the arrays of a stage are mapped and cannot be written to, which torch does not allow
    return torch.from_numpy(np.array(values, kind)).to(device)


def _tensor(array: Any, device: torch.device) -> Tensor:
    return torch.tensor(np.asarray(array), device=device)


def _take(tensor: Tensor, rows: Rows) -> Tensor:
    # index_select gathers twice as fast as tensor[rows]
    return tensor[rows] if isinstance(rows, slice) else tensor.index_select(0, rows)
