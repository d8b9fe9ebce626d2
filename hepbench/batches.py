"""Batches: dense preprocessed tensors, made once and gathered by index where they fit in memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hepbench.examples import Examples

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from torch import nn

    from hepbench.specs import Inputs

HELD_BYTES = 2_000_000_000
"""Inputs up to this size are preprocessed once and held; larger ones batch by batch."""

CHUNK_ROWS = 4096

Rows = slice | Tensor


class Source(Protocol):
    """Examples from which batches are taken."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def batch(self, rows: Rows) -> Examples:
        """Return some of them as tensors, preprocessed."""
        ...


def source(
    examples: Examples, preprocess: nn.Module, *, device: torch.device, limit: int = HELD_BYTES
) -> Source:
    """Return examples as a source of batches on a device.

    Inputs become float32, but for masks, which stay bool.
    """
    size = sum(len(a) * math.prod(a.shape[1:]) * 4 for a in examples.inputs.values())
    return (Held if size <= limit else Streamed)(examples, preprocess, device)


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
        self.targets = {name: _tensor(a, device) for name, a in examples.targets.items()}

    def batch(self, rows: Rows, inputs: Mapping[str, Tensor]) -> Examples:
        return Examples(
            inputs=inputs,
            ids=_take(self.ids, rows),
            labels=None if self.labels is None else _take(self.labels, rows),
            weights=None if self.weights is None else _take(self.weights, rows),
            targets={name: _take(t, rows) for name, t in self.targets.items()}
            if self.targets
            else {},
        )


class Held:
    """Preprocessed once: batches are gathered by index."""

    def __init__(self, examples: Examples, preprocess: nn.Module, device: torch.device) -> None:
        self._columns = _Columns(examples, device)
        self._device = device
        self._inputs: dict[str, Tensor] = {}
        n = len(examples)
        for start in range(0, n, CHUNK_ROWS):
            rows = slice(start, min(start + CHUNK_ROWS, n))
            for name, values in prepared(examples.inputs, rows, preprocess, device).items():
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


class Streamed:
    """Too large to hold: each batch is read and preprocessed when it is asked for."""

    def __init__(self, examples: Examples, preprocess: nn.Module, device: torch.device) -> None:
        self._columns = _Columns(examples, device)
        self._inputs, self._preprocess, self._device = examples.inputs, preprocess, device

    def __len__(self) -> int:
        return len(self._columns.ids)

    def batch(self, rows: Rows) -> Examples:
        """Return a batch."""
        index: Any = rows.numpy() if isinstance(rows, Tensor) else rows
        inputs = prepared(self._inputs, index, self._preprocess, self._device)
        if isinstance(rows, Tensor):
            rows = rows.to(self._device)
        return self._columns.batch(rows, inputs)


def prepared(
    inputs: Inputs, rows: Any, preprocess: nn.Module, device: torch.device
) -> Mapping[str, Tensor]:
    """Return some rows of the inputs as tensors, preprocessed."""
    raw = {name: dense(array[rows], device) for name, array in inputs.items()}
    with torch.no_grad():
        made: Mapping[str, Tensor] = preprocess(raw)
    return made


def dense(array: Any, device: torch.device) -> Tensor:
    """Return a copy of an array as a tensor: bool stays, all else becomes float32."""
    values = np.asarray(array)
    kind = np.bool_ if values.dtype == np.bool_ else np.float32
    # the arrays of a stage are mapped and cannot be written to, which torch does not allow
    return torch.from_numpy(np.array(values, kind)).to(device)


def _tensor(array: Any, device: torch.device) -> Tensor:
    return torch.tensor(np.asarray(array), device=device)


def _take(tensor: Tensor, rows: Rows) -> Tensor:
    # index_select gathers twice as fast as tensor[rows]
    return tensor[rows] if isinstance(rows, slice) else tensor.index_select(0, rows)
