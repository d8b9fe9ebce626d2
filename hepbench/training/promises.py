"""Promises of a method: what it froze comes out bit-identical, what it pruned stays zero.

They are checked on what it returned, whatever it says of itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from hepbench.specs.errors import PluginError, ProtocolError
from hepbench.specs.text import unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor, nn

    from hepbench.training.networks.network import Network


def frozen(method: str, network: Network, parts: Sequence[str]) -> dict[str, Tensor]:
    """Return copies of what may not change; preprocessing is always among it.

    Raises:
        PluginError: a part that is declared frozen is none of the network's.
    """
    state = network.state_dict()
    modules = [name for name, _ in network.named_modules() if name]
    for part in parts:
        if part not in modules and part not in state:
            near = (name for name in modules if name.count(".") < 2)
            msg = f"{method} freezes what is not there: {unknown('part', part, near)}"
            raise PluginError(msg)
    prefixes = tuple(f"{part}." for part in (*parts, "preprocess"))
    return {n: t.clone() for n, t in state.items() if f"{n}.".startswith(prefixes)}


def check(method: str, network: Network, held: Mapping[str, Tensor]) -> None:
    """Check what a method made.

    Raises:
        ProtocolError: what is declared frozen is not bit-identical, or a masked weight is not 0.
    """
    state = network.state_dict()
    for name, before in held.items():
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
    # as bytes: NaN equals itself, and 0 is not -0
    one, other = (t.contiguous().reshape(-1).view(torch.uint8) for t in (a, b))
    return torch.equal(one, other)


class Zeros(NamedTuple):
    """How many weights of a matrix or a filter are zero, and how many there are."""

    zeros: int
    weights: int


def zeros(network: nn.Module) -> dict[str, Zeros]:
    """Return them by name; vectors, such as biases, are often drawn as zeros and say nothing."""
    found = {n: p for n, p in network.named_parameters() if p.ndim > 1}
    return {n: Zeros(p.numel() - int(p.count_nonzero()), p.numel()) for n, p in found.items()}


def filled(
    began: Iterable[Mapping[str, Zeros]], drawn: Mapping[str, Zeros], network: nn.Module
) -> list[str]:
    """Return a warning where weights that were set to zero before a training are no longer zero.

    Args:
        began: the weights as trainings began.
        drawn: as the network was drawn: zeros of that are no pruning.
        network: what came of it. Where a layer has another size now, weights were removed.
    """
    ends, worst = zeros(network), (0, 0)
    for found in began:
        pruned = [n for n, z in found.items() if 0 < z.zeros < z.weights and z != drawn.get(n)]
        same = [n for n in pruned if n in ends and ends[n].weights == found[n].weights]
        before, after = (sum(z[n].zeros for n in same) for z in (found, ends))
        if before - after > worst[0] - worst[1]:
            worst = before, after
    if worst == (0, 0):
        return []
    before, after = worst
    return [f"pruning: {before} weights were zero when training began, {after} are at its end"]
