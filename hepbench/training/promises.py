"""Check the promises of a method: what it validates on, frozen parts, pruned weights.

Validation is checked when a training starts; the others on the network that the method returns, where
frozen parts must be bit-identical and pruned weights zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from hepbench.data.duplicates import row_hashes
from hepbench.specs.errors import PluginError, ProtocolError
from hepbench.specs.sparse_images import SparseImages
from hepbench.specs.text import unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor, nn

    from hepbench.specs.training_data import Examples
    from hepbench.specs.types import Array, Inputs
    from hepbench.training.networks.network import Network


def check_validation(given: Examples, received: Examples) -> None:
    """Check that a training validates on examples that the method received as validation.

    Inputs are compared, ids are not: an example under another id is the same example. All of them or
    some may be used, with other labels or weights, with fewer inputs, and as another type of number.

    Raises:
        ProtocolError: some are other examples, such as training examples, or there are none.
    """
    if not len(given):
        msg = (
            f"a training has no validation examples; the method received {len(received)}: use these, "
            "or some of them"
        )
        raise ProtocolError(msg)
    if given.inputs.keys() == received.inputs.keys() and all(
        given.inputs[name] is array for name, array in received.inputs.items()
    ):
        return
    types = {name: array for name, array in given.inputs.items() if name in received.inputs}
    known, found = (_row_hashes(each, types) for each in (received, given))
    other = np.count_nonzero(~np.isin(found, known)) if types else len(given)
    if other:
        msg = (
            f"{other} of {len(given)} validation examples of a training are none of those that the "
            "method received as validation; use these, or some of them, with unchanged inputs"
        )
        raise ProtocolError(msg)


def _row_hashes(examples: Examples, types: Inputs) -> Array:
    """Return a hash of each example, from its inputs as numbers of these types.

    Images have the same hash whether sparse or dense.
    """
    if not types or not len(examples):
        return np.zeros(len(examples), np.uint64)
    return row_hashes([_converted(examples.inputs[name], like) for name, like in types.items()])


def _converted(array: Array, like: Array) -> Array:
    if array.ndim == 4:
        return array if isinstance(array, SparseImages) else SparseImages.from_dense(array)
    return np.asarray(array).astype(np.asarray(like).dtype, copy=False)


def copy_frozen(method: str, network: Network, parts: Sequence[str]) -> dict[str, Tensor]:
    """Return copies of tensors that a method may not change: preprocessing and frozen parts.

    Raises:
        PluginError: the network has no part of a name that is declared frozen.
    """
    state = network.state_dict()
    modules = [name for name, _ in network.named_modules() if name]
    for part in parts:
        if part not in modules and part not in state:
            near = (name for name in modules if name.count(".") < 2)
            msg = f"{method} freezes an unknown part: {unknown('part', part, near)}"
            raise PluginError(msg)
    prefixes = tuple(f"{part}." for part in (*parts, "preprocess"))
    return {n: t.clone() for n, t in state.items() if f"{n}.".startswith(prefixes)}


def check(method: str, network: Network, frozen: Mapping[str, Tensor]) -> None:
    """Check the frozen tensors and pruned weights of the network that a method returned.

    Raises:
        ProtocolError: a frozen tensor is not bit-identical, or a masked weight is not 0.
    """
    state = network.state_dict()
    for name, before in frozen.items():
        if name not in state or not _identical(before, state[name]):
            msg = f"{method} changed {name}, which is frozen"
            raise ProtocolError(msg)
    for name, mask in network.masks.items():
        parameter = network.get_parameter(name)
        if bool((parameter[~mask.to(parameter.device)] != 0).any()):
            msg = f"{method}: pruned weights of {name} are not zero"
            raise ProtocolError(msg)


def _identical(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    # compared as bytes, so that NaN equals NaN and 0 differs from -0
    a_bytes, b_bytes = (t.contiguous().reshape(-1).view(torch.uint8) for t in (a, b))
    return torch.equal(a_bytes, b_bytes)


class ZeroCount(NamedTuple):
    """The numbers of zero weights and of all weights in one parameter of a network."""

    zeros: int
    weights: int


def zero_counts(network: nn.Module) -> dict[str, ZeroCount]:
    """Count the zero weights of each parameter except vectors (biases often start as zeros)."""
    found = {n: p for n, p in network.named_parameters() if p.ndim > 1}
    return {n: ZeroCount(p.numel() - int(p.count_nonzero()), p.numel()) for n, p in found.items()}


def revived_weights(
    starts: Iterable[Mapping[str, ZeroCount]],
    initial: Mapping[str, ZeroCount],
    network: nn.Module,
) -> list[str]:
    """Return a warning if weights that were zero before a training are no longer zero.

    Args:
        starts: the zeros at the start of each training.
        initial: the zeros of the network as initialised: they are not pruned weights.
        network: the network that the method returned. A layer of another size than before has
            had weights removed, and is not compared.
    """
    end, worst = zero_counts(network), (0, 0)
    for start in starts:
        pruned = [n for n, z in start.items() if 0 < z.zeros < z.weights and z != initial.get(n)]
        same = [n for n in pruned if n in end and end[n].weights == start[n].weights]
        before, after = (sum(z[n].zeros for n in same) for z in (start, end))
        if before - after > worst[0] - worst[1]:
            worst = before, after
    if worst == (0, 0):
        return []
    before, after = worst
    return [f"pruning: {before} weights were zero when training started, {after} when it ended"]
