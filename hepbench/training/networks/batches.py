"""Batches of preprocessed tensors for a network, kept in memory or made one by one.

Sparse images are written into a reused buffer, which is faster than gathering dense images.
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
"""Inputs up to this size in bytes are preprocessed once; larger ones again for each batch."""


IN_MEMORY_SPARSE_BYTES = 500_000_000
"""Sparse images up to this size in bytes, when dense, are preprocessed once and kept.

They are kept only if preprocessing takes longer than gathering (125 x 125 x 8, batches of 128:
94 ms to gather; 15 ms to make dense, 215 ms to make dense and standardise).
"""


CHUNK_ROWS = 4096


CHUNK_BYTES = 16_000_000
"""Largest size in bytes of a chunk of inputs, when dense.

For larger chunks, the results of preprocessing steps take new memory from the system each time:
with 64 MB the steps take twice as long.
"""


BUFFERS = 2
"""Number of memory buffers for sparse images: one for the present batch, one for the next."""


Rows = slice | Tensor


class BatchSource(Protocol):
    """The interface of a data part that a network reads in batches."""

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def batch(self, rows: Rows) -> Examples:
        """Return the examples of some rows as preprocessed tensors for a network."""
        ...


def source(
    examples: Examples, preprocess: nn.Module, *, device: torch.device, limit: int = IN_MEMORY_BYTES
) -> BatchSource:
    """Return examples as a source of preprocessed batches on a device.

    Inputs become float32, except masks (bool) and neighbours (int64).
    """
    size = len(examples) * row_bytes(examples.inputs)
    if any(isinstance(array, SparseImages) for array in examples.inputs.values()):
        no_steps = isinstance(preprocess, Steps) and not len(preprocess.steps)
        limit = 0 if no_steps else min(limit, IN_MEMORY_SPARSE_BYTES)
    return (InMemoryBatches if size <= limit else StreamedBatches)(examples, preprocess, device)


def row_bytes(inputs: Inputs) -> int:
    """Return the size in bytes of the inputs of one example, as dense tensors."""
    sizes = {name: math.prod(array.shape[1:]) for name, array in inputs.items()}
    return sum(size * (8 if name == "neighbours" else 4) for name, size in sizes.items())


def chunks(inputs: Inputs) -> Iterator[slice]:
    """Yield slices of a network's inputs, each with at most CHUNK_BYTES of dense tensors."""
    n = len(next(iter(inputs.values())))
    step = max(1, min(CHUNK_ROWS, CHUNK_BYTES // max(row_bytes(inputs), 1)))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def steps(n: int, size: int) -> int:
    """Return the number of training batches that ``spans`` makes of n examples."""
    return sum(1 for _ in spans(n, size))


def spans(n: int, size: int, order: NDArray[np.int64] | None = None) -> Iterator[Rows]:
    """Yield the row numbers of each training batch of n examples.

    If a single row is left over it joins the last batch: batch norm cannot train on one example.
    """
    starts = list(range(0, n, size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    shuffled = None if order is None else torch.from_numpy(order)
    for start, end in zip(starts, [*starts[1:], n], strict=True):
        yield slice(start, end) if shuffled is None else shuffled[start:end]


class _Columns:
    """The columns of examples other than inputs (ids, labels, weights) as tensors."""

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
            ids=_take_rows(self.ids, rows),
            labels=None if self.labels is None else _take_rows(self.labels, rows),
            weights=None if self.weights is None else _take_rows(self.weights, rows),
            spectators={name: _take_rows(t, rows) for name, t in self.spectators.items()}
            if self.spectators
            else {},
        )


class InMemoryBatches:
    """A data part that is preprocessed once and kept in memory."""

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
        """Return a batch of tensors for a network."""
        if isinstance(rows, Tensor):
            rows = rows.to(self._device)
        return self._columns.batch(rows, {n: _take_rows(t, rows) for n, t in self._inputs.items()})


class StreamedBatches:
    """A data part too large for memory: each batch is read and preprocessed on request."""

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
        """Return a batch of tensors for a network."""
        index: Any = rows.numpy() if isinstance(rows, Tensor) else rows
        inputs = self._raw.prepared(index, self._preprocess)
        if isinstance(rows, Tensor):
            rows = rows.to(self._device)
        return self._columns.batch(rows, inputs)


class RawInputs:
    """A network's inputs as dense tensors, before preprocessing."""

    def __init__(self, inputs: Inputs, device: torch.device) -> None:
        self._inputs, self._device = inputs, device
        self._densers = {
            n: DenseImageBuffers() for n, a in inputs.items() if isinstance(a, SparseImages)
        }

    def __call__(self, rows: Any) -> dict[str, Tensor]:
        """Return the inputs of some examples as dense tensors."""
        made = {}
        for name, array in self._inputs.items():
            if name in self._densers:
                made[name] = self._densers[name](array[rows]).to(self._device)
            else:
                made[name] = dense(name, array[rows], self._device)
        return made

    def prepared(self, rows: Any, preprocess: nn.Module) -> Mapping[str, Tensor]:
        """Return the preprocessed inputs of some examples."""
        with torch.no_grad():
            made: Mapping[str, Tensor] = preprocess(self(rows))
        return made


class DenseImageBuffers:
    """Makes sparse images dense in memory buffers, which later batches use again."""

    def __init__(self) -> None:
        self._buffers: list[_ImageBuffer] = []

    def __call__(self, images: SparseImages) -> Tensor:
        """Return sparse images as a dense tensor in a buffer that no other tensor uses."""
        free = [buffer for buffer in self._buffers if buffer.is_free()]
        if not free:
            # the oldest buffer now belongs to whoever still uses its batch
            self._buffers = [*self._buffers[1 - BUFFERS :], _ImageBuffer()]
        return (free or self._buffers)[-1].fill(images)


class _ImageBuffer:
    """A memory buffer for one batch of dense images, zero except for the hits of that batch."""

    def __init__(self) -> None:
        self._flat = np.zeros(0, np.float32)
        self._hits = np.empty(0, np.int64)
        self._modified = False
        self._batch: Tensor | None = None
        self._view: Callable[[], NDArray[np.float32] | None] = lambda: None

    def is_free(self) -> bool:
        """Whether no tensor uses this buffer any more."""
        if self._batch is not None:
            # torch does not count changes of a tensor made in inference mode
            self._modified |= self._batch.is_inference() or self._batch._version > 0
            self._batch = None
        # the memory of a tensor keeps its numpy array alive, whichever view of it is left
        free = self._view() is None
        # whoever still uses the batch may change it later
        self._modified |= not free
        return free

    def fill(self, images: SparseImages) -> Tensor:
        """Return sparse images as a dense tensor in this buffer."""
        places, values = images.places()
        size = math.prod(images.shape)
        if size > len(self._flat):
            self._flat = np.zeros(size, np.float32)
        elif self._modified:
            self._flat.fill(0)
        else:
            self._flat[self._hits] = 0
        self._flat[places] = values
        self._hits, self._modified = places, False
        view = self._flat[:size].reshape(images.shape)
        self._batch, self._view = torch.from_numpy(view), weakref.ref(view)
        return self._batch


def dense(name: str, array: Any, device: torch.device) -> Tensor:
    """Return a copy of a network's input as a tensor: bool, int64 (neighbours) or float32."""
    values = np.asarray(array)
    kind: type = np.bool_ if values.dtype == np.bool_ else np.float32
    if name == "neighbours":
        # the type of indices in torch
        kind = np.int64
    # copied, because the arrays of a stage are mapped read-only, which torch does not allow
    return torch.from_numpy(np.array(values, kind)).to(device)


def _tensor(array: Any, device: torch.device) -> Tensor:
    return torch.tensor(np.asarray(array), device=device)


def _take_rows(tensor: Tensor, rows: Rows) -> Tensor:
    # index_select gathers twice as fast as tensor[rows]
    return tensor[rows] if isinstance(rows, slice) else tensor.index_select(0, rows)
