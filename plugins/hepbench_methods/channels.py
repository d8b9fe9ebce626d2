"""Find, rank and remove channels of a network, with all layers that depend on them.

torch-pruning finds the layers that depend on each other along the graph (Fang et al., 2023,
arXiv:2301.12900). Its result is tested, because a wrong column removed lowers the score without an
error: a group of channels is proven if the scores stay the same when its channels are reordered in
every layer that makes, passes on or reads them. Two cases that torch-pruning misses are tested too:
a flattened axis whose channels come last (tokens), and whole attention heads.
"""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hepbench import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hepbench import Network

TOLERANCE = 1e-4
"""Largest relative difference of logits by rounding; wrong channels change more."""

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
"""Layers that make channels."""


@dataclass(frozen=True)
class Place:
    """Where the channels of a group are in the tensors of one module.

    Attributes:
        module: its name.
        axes: name of a tensor of the module -> axis of the channels.
        sizes: names of its integer attributes that shrink with them.
        positions: (channels, k) int: k positions of each channel along these axes.
        makes: whether the module makes the channels; otherwise it passes them on or reads them.
    """

    module: str
    axes: Mapping[str, int]
    sizes: tuple[str, ...]
    positions: Tensor
    makes: bool = False


@dataclass(frozen=True, eq=False)
class Group:
    """The channels that ``layer`` makes, with all places from which each must be removed."""

    layer: str
    places: tuple[Place, ...]


@dataclass(frozen=True)
class ChannelGroups:
    """The groups of channels that can be removed, and the layers whose channels cannot."""

    proven: list[Group]
    unproven: list[str]


class UnknownError(Exception):
    """Raised for a module of a kind whose channels are not known."""


def find(network: Network) -> ChannelGroups:
    """Find the removable channels of a network, in every layer but the last.

    Raises:
        PluginError: torch-pruning cannot follow the network.
    """
    perturbed = _perturbed(network)
    expected = _logits(perturbed, _random_inputs(perturbed, 4))
    proven: dict[str, Group] = {}
    unproven: dict[str, None] = {}
    for layer, readings in _candidates(network):
        if layer in proven:
            continue
        for group in readings:
            if _is_proven(perturbed, group, expected):
                made = (place.module for place in group.places if place.makes)
                proven |= dict.fromkeys(made, group)
                break
        else:
            unproven[layer] = None
    groups = list(dict.fromkeys(proven.values()))
    return ChannelGroups(groups, [layer for layer in unproven if layer not in proven])


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


def runs(network: Network) -> bool:
    """Return whether a network can score batches of two and of three examples."""
    try:
        for n in (2, 3):
            logits = _logits(network, _random_inputs(network, n))
            if logits.shape != (n, network.recipe.classes) or not logits.isfinite().all():
                return False
    except Exception:  # noqa: BLE001 - whatever a model's own code raises
        return False
    return True


# --- the test


def _is_proven(network: Network, group: Group, expected: Tensor) -> bool:
    """Return whether reversing a group's channels leaves the scores unchanged.

    If so, the channels stay reversed."""
    if not all(_is_valid(network, place) for place in group.places):
        return False
    _reverse(network, group)
    found = _logits(network, _random_inputs(network, len(expected)))
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


def _random_inputs(network: Network, n: int) -> dict[str, Tensor]:
    """Return n random inputs for a network, with a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    return {name: _random(values, generator) for name, values in network.example_inputs(n).items()}


def _random(values: Tensor, generator: torch.Generator) -> Tensor:
    """Return random numbers, or random indices of points; a mask stays as it is."""
    if values.dtype == torch.bool:
        return values
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


# --- groups


def _candidates(network: Network) -> Iterator[tuple[str, list[Group]]]:
    """Yield each layer with possible groups of the channels that it makes, most likely first."""
    for group in _heads(network):
        yield group.places[0].module, [group]
    with _no_warnings():
        traced = _traced(network)
    for layer, module in network.named_modules():
        if not isinstance(module, LAYERS) or module not in traced.graph:
            continue
        try:
            group = Group(layer, traced.places(module))
        except UnknownError:
            yield layer, []
            continue
        if not all(place.makes for place in group.places):
            yield layer, [group, _channels_last(network, group), _whole_heads(network, group)]


def _heads(network: Network) -> Iterator[Group]:
    """Yield the heads of attention modules, as groups that can be removed like channels.

    Such a module has a linear layer ``qkv``, whose rows are the queries, keys and values of each
    head in turn, one other linear layer that reads the heads, and ``heads`` or ``num_heads``.
    """
    for name, module in network.named_modules():
        qkv, heads = getattr(module, "qkv", None), _heads_attribute(module)
        readers = [
            leaf
            for leaf, layer in module.named_children()
            if isinstance(layer, nn.Linear) and leaf != "qkv"
        ]
        if not isinstance(qkv, nn.Linear) or heads is None or len(readers) != 1:
            continue
        n, width = getattr(module, heads), qkv.out_features // 3
        if qkv.out_features % (3 * n):
            continue
        rows = torch.arange(width).view(n, -1)
        thrice = torch.cat([rows, rows + width, rows + 2 * width], 1)
        whole = {"attn_dim"} & vars(module).keys()
        yield Group(
            name,
            (
                Place(f"{name}.qkv", *_made_axes(qkv), thrice, makes=True),
                Place(f"{name}.{readers[0]}", *_read_axes(getattr(module, readers[0])), rows),
                Place(name, {}, (heads,), torch.arange(len(rows))[:, None]),
                Place(name, {}, tuple(whole), rows),
            ),
        )


def _heads_attribute(module: nn.Module) -> str | None:
    names = ("heads", "num_heads")
    return next((n for n in names if type(getattr(module, n, None)) is int), None)


def _channels_last(network: Network, group: Group) -> Group:
    """Return a group for flattened axes with channels last, where torch-pruning assumes first."""

    def last(place: Place) -> Place:
        module = network.get_submodule(place.module)
        n = len(place.positions)
        if place.makes or not isinstance(module, nn.Linear) or module.in_features % n:
            return place
        return replace(place, positions=torch.arange(module.in_features).view(-1, n).T)

    return replace(group, places=tuple(last(place) for place in group.places))


def _whole_heads(network: Network, group: Group) -> Group:
    """Return the heads of a graph attention instead of their channels; other groups as they are.

    Such a module is torch-geometric's: ``lin`` makes the channels of each head in turn, ``att_src``
    and ``att_dst`` (1, 1, heads, channels) weigh them, and there are ``heads``.
    """
    weights = {"att_src", "att_dst"}
    owners = {place.module for place in group.places if weights & place.axes.keys()}
    if len(owners) != 1 or group.layer != f"{(name := owners.pop())}.lin":
        return group
    heads = network.get_submodule(name).heads
    others = [place for place in group.places if not weights & place.axes.keys()]
    if any(len(place.positions) % heads for place in others):
        return group
    whole = [replace(place, positions=place.positions.reshape(heads, -1)) for place in others]
    one_each = torch.arange(heads)[:, None]
    weighing = Place(name, dict.fromkeys(sorted(weights), 2), ("heads",), one_each)
    return replace(group, places=(*whole, weighing))


@contextmanager
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # torch-pruning warns of parameters outside of layers, which are tested here
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True)
class _Traced:
    """A network's dependency graph of torch-pruning, with names of modules and parameters."""

    dependencies: Any
    names: Mapping[Any, str]

    @property
    def graph(self) -> Mapping[Any, Any]:
        return self.dependencies.module2node

    def places(self, layer: nn.Module) -> tuple[Place, ...]:
        """Return all places of the channels that a layer makes.

        Raises:
            UnknownError: a module is of an unknown kind, or has some channels more often than others.
        """
        prune = self.dependencies.get_pruner_of_module(layer).prune_out_channels
        axis = _made_axes(layer)[0].get("weight")
        if axis is None:
            raise UnknownError(self.names[layer])
        n = layer.weight.shape[axis]
        found = self.dependencies.get_pruning_group(layer, prune, list(range(n)))
        # targets without a name are operations
        named = [item for item in found if item.dep.target.module in self.names]
        return tuple(self._place(item, n) for item in named)

    def _place(self, item: Any, n: int) -> Place:
        module, name = item.dep.target.module, self.names[item.dep.target.module]
        roots, at = torch.tensor(item.root_idxs), torch.tensor(item.idxs)
        if len(roots) % n or not torch.equal(roots.bincount(minlength=n), _each(n, len(roots))):
            raise UnknownError(name)
        positions = at[roots.argsort(stable=True)].view(n, -1)
        if isinstance(module, nn.Parameter):
            owner, _, leaf = name.rpartition(".")
            return Place(owner, {leaf: item.dep.target.pruning_dim}, (), positions)
        if isinstance(module, LAYERS):
            reads = item.dep.handler.__name__ == "prune_in_channels"
            axes, sizes = (_read_axes if reads else _made_axes)(module)
            return Place(name, axes, sizes, positions, makes=not reads)
        return Place(name, *_passed_axes(name, module), positions)


def _each(n: int, total: int) -> Tensor:
    return torch.full((n,), total // n)


def _traced(network: Network) -> _Traced:
    import torch_pruning

    names: dict[Any, str] = {module: name for name, module in network.named_modules()}
    names |= {parameter: name for name, parameter in network.named_parameters()}
    example_inputs = network.example_inputs()
    try:
        with torch.enable_grad():
            graph = torch_pruning.DependencyGraph().build_dependency(network, [example_inputs])
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        msg = f"{network.recipe.model}: torch-pruning cannot follow it: {what[:300]}"
        raise PluginError(msg) from error
    return _Traced(graph, names)


# --- axes of channels by kind of module


def _made_axes(layer: Any) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return tensor axes and size attributes of the channels that a layer makes."""
    if isinstance(layer, nn.Linear):
        axes, sizes = {"weight": 0, "bias": 0}, ("out_features",)
    elif layer.groups == 1:
        axes, sizes = {"weight": int(layer.transposed), "bias": 0}, ("out_channels",)
    else:
        # in a depthwise convolution each input channel makes one output channel
        axes, sizes = {"weight": 0, "bias": 0}, ("out_channels", "in_channels", "groups")
    return _own_tensors(layer, axes), sizes


def _read_axes(layer: Any) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return tensor axes and size attributes of the channels that a layer reads."""
    if isinstance(layer, nn.Linear):
        return {"weight": 1}, ("in_features",)
    return {"weight": 1 - int(layer.transposed)}, ("in_channels",)


def _passed_axes(name: str, module: Any) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return tensor axes and size attributes of the channels that a module passes on.

    Raises:
        UnknownError: the module is of an unknown kind.
    """
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        leaves, sizes = ("weight", "bias", "running_mean", "running_var"), ("num_features",)
    elif isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        leaves, sizes = ("weight", "bias"), ("normalized_shape",)
    elif isinstance(module, nn.PReLU):
        own = module.num_parameters > 1
        leaves, sizes = ("weight",) * own, ("num_parameters",) * own
    else:
        raise UnknownError(name)
    return _own_tensors(module, dict.fromkeys(leaves, 0)), sizes


def _own_tensors(module: nn.Module, axes: Mapping[str, int]) -> dict[str, int]:
    """Return only the axes of tensors that are parameters or buffers of the module."""
    held = {**module._parameters, **module._buffers}
    return {leaf: axis for leaf, axis in axes.items() if held.get(leaf) is not None}
