"""Find, rank and remove channels of a network, with all layers that depend on them.

``channel_groups`` proposes the layers that depend on each other. Its result is tested, because a wrong
column removed lowers the score without an error: a group of channels is proven if the scores stay the
same when its channels are reordered in every layer that makes, passes on or reads them.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hepbench_methods.channel_groups import candidates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hepbench import Network
    from hepbench_methods.channel_groups import Group, Place

TOLERANCE = 1e-4
"""Largest relative difference of logits by rounding; wrong channels change more."""


@dataclass(frozen=True)
class ChannelGroups:
    """The groups of channels that can be removed, and the layers whose channels cannot."""

    proven: list[Group]
    unproven: list[str]


def find(network: Network, examples: Mapping[str, Tensor] | None = None) -> ChannelGroups:
    """Find the removable channels of a network, in every layer but the last.

    Args:
        network: a classifier.
        examples: preprocessed inputs of some examples; those that hold whole numbers, such as places
            of other particles, are taken from there.

    Raises:
        PluginError: torch-pruning cannot follow the network.
    """
    perturbed = _perturbed(network)
    inputs = _random_inputs(perturbed, 4, examples)
    expected = _logits(perturbed, inputs)
    proven: dict[str, Group] = {}
    unproven: dict[str, None] = {}
    not_followed = []
    for layer, readings in candidates(network):
        if readings is None:
            not_followed.append(layer)
        elif layer not in proven:
            group = next((g for g in readings if _is_proven(perturbed, g, inputs, expected)), None)
            if group is None:
                unproven[layer] = None
            else:
                made = (place.module for place in group.places if place.makes)
                proven |= dict.fromkeys(made, group)
    groups = list(dict.fromkeys(proven.values()))
    places = {place.module for group in groups for place in group.places}
    left = [layer for layer in unproven if layer not in proven]
    return ChannelGroups(groups, [*left, *(layer for layer in not_followed if layer not in places)])


def norms(network: Network, group: Group) -> Tensor:
    """Return the L1 norm of the weights that make each channel of a group, (channels,) float64.

    If several layers make a channel, each norm is divided by its mean over channels first.
    """
    total = torch.zeros(len(group.places[0].positions), dtype=torch.float64)
    for place in group.places:
        if place.makes:
            weight = network.get_submodule(place.module).weight.detach().cpu().double().abs()
            rows = weight.movedim(place.axes["weight"], 0).flatten(1).sum(1)
            found = rows[place.positions].sum(1)
            total += found / found.mean().clamp(min=torch.finfo(found.dtype).tiny)
    return total


def masks(network: Network, group: Group, gone: Tensor) -> dict[str, Tensor]:
    """Return masks of the weights that make a group's channels, False for channels to remove."""
    found = {}
    for place in group.places:
        if place.makes:
            weight = network.get_submodule(place.module).weight
            mask = torch.ones(weight.shape, dtype=torch.bool)
            mask.movedim(place.axes["weight"], 0)[place.positions[gone].flatten()] = False
            found[f"{place.module}.weight"] = mask.to(weight.device)
    return found


def without(network: Network, going: Sequence[tuple[Group, Tensor]]) -> Network:
    """Return a copy of a network without the given channels.

    Positions refer to ``network``, so channels of several groups along one axis, as after a
    concatenation, are removed together.
    """
    made = copy.deepcopy(network)
    lost: dict[tuple[str, str, int], list[Tensor]] = defaultdict(list)
    for group, gone in going:
        for place in group.places:
            positions = place.positions[gone].flatten()
            for leaf, axis in place.axes.items():
                lost[place.module, leaf, axis].append(positions)
            for name in place.sizes:
                _shrink(made.get_submodule(place.module), name, len(positions))
    for (path, leaf, axis), positions in lost.items():
        module = made.get_submodule(path)
        tensor = getattr(module, leaf)
        kept = torch.ones(tensor.shape[axis], dtype=torch.bool)
        kept[torch.cat(positions)] = False
        _replace(
            module, leaf, tensor.detach().index_select(axis, _to_device(kept.nonzero(), tensor))
        )
    return made


def _shrink(module: nn.Module, name: str, n: int) -> None:
    size = getattr(module, name)
    setattr(module, name, (size[0] - n,) if isinstance(size, tuple) else size - n)


def runs(network: Network, examples: Mapping[str, Tensor] | None = None) -> bool:
    """Return whether a network can score batches of two and of three examples; see ``find``."""
    try:
        for n in (2, 3):
            logits = _logits(network, _random_inputs(network, n, examples))
            if logits.shape != (n, network.recipe.classes) or not logits.isfinite().all():
                return False
    except Exception:  # noqa: BLE001 - whatever a model's own code raises
        return False
    return True


# --- the test


def _is_proven(
    network: Network, group: Group, inputs: Mapping[str, Tensor], expected: Tensor
) -> bool:
    """Return whether reversing a group's channels leaves the scores of inputs unchanged.

    If so, the channels stay reversed."""
    if not all(_is_valid(network, place) for place in group.places):
        return False
    _reverse(network, group)
    found = _logits(network, inputs)
    if (found - expected).abs().max() <= TOLERANCE * expected.abs().max():
        return True
    _reverse(network, group)
    return False


def _is_valid(network: Network, place: Place) -> bool:
    """Return whether a place's positions are unique and inside the tensors of its module."""
    module, n = network.get_submodule(place.module), place.positions.numel()
    inside = (
        place.positions < getattr(module, leaf).shape[axis] for leaf, axis in place.axes.items()
    )
    return len(place.positions.unique()) == n and all(bool(each.all()) for each in inside)


def _reverse(network: Network, group: Group) -> None:
    for place in group.places:
        module = network.get_submodule(place.module)
        for leaf, axis in place.axes.items():
            tensor = getattr(module, leaf)
            order = torch.arange(tensor.shape[axis])
            order[place.positions] = place.positions.flip(0)
            _replace(module, leaf, tensor.detach().index_select(axis, _to_device(order, tensor)))


def _perturbed(network: Network) -> Network:
    """Return a copy of a network with noise on its weights, so that no two weights are equal.

    On the CPU: an accelerator rounds convolutions too coarsely for the test.
    """
    perturbed = copy.deepcopy(network).cpu()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in perturbed.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.05 * noise.to(parameter.dtype))
    return perturbed


def _random_inputs(
    network: Network, n: int, examples: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return n random inputs for a network, with a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    given = examples or {}
    return {
        name: _random(values, given.get(name), generator)
        for name, values in network.example_inputs(n).items()
    }


def _random(values: Tensor, given: Tensor | None, generator: torch.Generator) -> Tensor:
    """Return random numbers; whole numbers are those of given examples; a mask stays as it is."""
    if values.dtype == torch.bool:
        return values
    if given is not None and torch.equal(given, given.round()):
        rows = torch.randint(len(given), (len(values),), generator=generator)
        return given[rows.to(given.device)].to(values)
    if not values.is_floating_point():
        shape, points = values.shape, values.shape[1]
        return torch.randint(points, shape, generator=generator).to(values)
    return torch.randn(values.shape, generator=generator).to(values)


def _logits(network: Network, inputs: Mapping[str, Tensor]) -> Tensor:
    network.eval()
    with torch.no_grad():
        return network(inputs)


def _replace(module: nn.Module, leaf: str, tensor: Tensor) -> None:
    old = getattr(module, leaf)
    if isinstance(old, nn.Parameter):
        tensor = nn.Parameter(tensor, requires_grad=old.requires_grad)
    setattr(module, leaf, tensor)


def _to_device(positions: Tensor, tensor: Tensor) -> Tensor:
    return positions.flatten().to(tensor.device)
