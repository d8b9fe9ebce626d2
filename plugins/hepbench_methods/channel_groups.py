"""Propose groups of channels: all layers that make, pass on or read the same channels.

torch-pruning finds them along the graph of a network (Fang et al., 2023, arXiv:2301.12900). Cases that
it misses are proposed too: a flattened axis whose channels come last (tokens), whole attention heads,
and whole groups of grouped convolutions and group norms. ``channels`` tests each proposal.
"""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hepbench import PluginError
from hepbench_methods import pruning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hepbench import Network

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


class UnknownError(Exception):
    """Raised for a module of a kind whose channels are not known."""


def candidates(network: Network) -> Iterator[tuple[str, list[Group] | None]]:
    """Yield each layer with possible groups of the channels that it makes, most likely first.

    None in place of the groups: nothing is known of the layer, such as a recurrent one.

    Raises:
        PluginError: torch-pruning cannot follow the network.
    """
    for group in _heads(network):
        yield group.places[0].module, [group]
    with _no_warnings():
        traced = _traced(network)
    followed = {
        layer: module
        for layer, module in network.named_modules()
        if isinstance(module, LAYERS) and module in traced.graph
    }
    for layer in followed:
        readings = list(_readings(network, traced, layer))
        if not readings or not all(place.makes for place in readings[0].places):
            yield layer, readings
    for layer in dict.fromkeys(name.rpartition(".")[0] for name in pruning.prunable(network)):
        if layer not in followed:
            yield layer, None


def _readings(network: Network, traced: _Traced, layer: str) -> Iterator[Group]:
    """Yield possible groups of the channels that a layer makes."""
    with suppress(UnknownError):
        group = Group(layer, traced.places(layer))
        yield group
        if all(place.makes for place in group.places):
            return
        yield _channels_last(network, group)
        yield _whole_heads(network, group)
    with suppress(UnknownError):
        yield Group(layer, traced.places_of_whole_groups(layer))


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
class _Dependence:
    """A module that makes, passes on or reads the channels of a layer.

    Attributes:
        name, module: the module, or a parameter.
        axis: of the channels, if it is a parameter.
        positions: (channels, k) int.
        reads: whether it is a layer that reads the channels.
    """

    name: str
    module: Any
    axis: int
    positions: Tensor
    reads: bool

    def place(self) -> Place:
        """Return where the channels are in the module.

        Raises:
            UnknownError: the module is of an unknown kind.
        """
        if isinstance(self.module, nn.Parameter):
            owner, _, leaf = self.name.rpartition(".")
            return Place(owner, {leaf: self.axis}, (), self.positions)
        if isinstance(self.module, LAYERS):
            axes, sizes = (_read_axes if self.reads else _made_axes)(self.module)
            return Place(self.name, axes, sizes, self.positions, makes=not self.reads)
        return Place(self.name, *_passed_axes(self.name, self.module), self.positions)

    @property
    def groups(self) -> int:
        """The number of groups in which the module treats channels; 0: channel by channel."""
        if isinstance(self.module, nn.GroupNorm):
            return self.module.num_groups
        grouped = isinstance(self.module, nn.modules.conv._ConvNd) and not _is_depthwise(
            self.module
        )
        return self.module.groups if grouped and self.module.groups > 1 else 0

    def whole_groups(self, n: int) -> Iterator[Place]:
        """Yield the places of n equal blocks of channels.

        Raises:
            UnknownError: the module is of an unknown kind, or its groups are no whole blocks.
        """
        if len(self.positions) % n:
            raise UnknownError(self.name)
        blocks = self.positions.reshape(n, -1)
        if not self.groups:
            yield replace(self.place(), positions=blocks)
            return
        of_groups = torch.arange(self.groups).view(n, -1)
        if isinstance(self.module, nn.GroupNorm):
            axes = _own_tensors(self.module, {"weight": 0, "bias": 0})
            yield Place(self.name, axes, ("num_channels",), blocks)
            yield Place(self.name, {}, ("num_groups",), of_groups)
        elif self.module.transposed:
            raise UnknownError(self.name)
        elif self.reads:
            # the weight has the channels of one group only
            yield Place(self.name, {}, ("in_channels",), blocks)
        else:
            axes = _own_tensors(self.module, {"weight": 0, "bias": 0})
            yield Place(self.name, axes, ("out_channels",), blocks, makes=True)
            yield Place(self.name, {}, ("groups",), of_groups)


@dataclass(frozen=True)
class _Traced:
    """A network's dependency graph of torch-pruning, with names of modules and parameters."""

    dependencies: Any
    names: Mapping[Any, str]
    modules: Mapping[str, nn.Module]

    @property
    def graph(self) -> Mapping[Any, Any]:
        return self.dependencies.module2node

    def places(self, layer: str) -> tuple[Place, ...]:
        """Return all places of the channels that a layer makes.

        Raises:
            UnknownError: a module is of an unknown kind, or has some channels more often than others.
        """
        return tuple(each.place() for each in self._dependences(layer, reads=False))

    def places_of_whole_groups(self, layer: str) -> tuple[Place, ...]:
        """Return all places of blocks of channels that grouped convolutions and norms keep together.

        A grouped convolution ties the channels that it reads to those that it makes.

        Raises:
            UnknownError: a module is of an unknown kind, or the channels are one block.
        """
        waiting, found = [(layer, False)], dict[tuple[str, bool], _Dependence]()
        while waiting:
            for each in self._dependences(*waiting.pop()):
                if found.setdefault((each.name, each.reads), each) is not each:
                    continue
                if each.groups and isinstance(each.module, LAYERS):
                    waiting.append((each.name, not each.reads))
        blocks = math.gcd(*(each.groups for each in found.values()))
        if blocks < 2:
            raise UnknownError(layer)
        return tuple(place for each in found.values() for place in each.whole_groups(blocks))

    def _dependences(self, layer: str, reads: bool) -> list[_Dependence]:
        """Return all modules with the channels that a layer makes, or reads."""
        module: Any = self.modules[layer]
        pruner = self.dependencies.get_pruner_of_module(module)
        axis = (_read_axes if reads else _made_axes)(module)[0].get("weight")
        if axis is None:
            raise UnknownError(layer)
        n = _channels_read(module) if reads else module.weight.shape[axis]
        prune = pruner.prune_in_channels if reads else pruner.prune_out_channels
        try:
            group = self.dependencies.get_pruning_group(module, prune, list(range(n)))
        except Exception as error:
            # torch-pruning fails at layers that it does not know, such as recurrent ones
            raise UnknownError(layer) from error
        # targets without a name are operations
        named = [item for item in group if item.dep.target.module in self.names]
        return [self._dependence(item, n) for item in named]

    def _dependence(self, item: Any, n: int) -> _Dependence:
        target, name = item.dep.target, self.names[item.dep.target.module]
        roots, at = torch.tensor(item.root_idxs), torch.tensor(item.idxs)
        if len(roots) % n or not torch.equal(roots.bincount(minlength=n), _each(n, len(roots))):
            raise UnknownError(name)
        positions = at[roots.argsort(stable=True)].view(n, -1)
        reads = item.dep.handler.__name__ == "prune_in_channels"
        reads = reads and isinstance(target.module, LAYERS)
        return _Dependence(name, target.module, target.pruning_dim, positions, reads)


def _channels_read(layer: Any) -> int:
    read: int = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    return read


def _is_depthwise(layer: Any) -> bool:
    """Return whether each channel that a convolution reads makes one channel."""
    return bool(layer.groups == layer.in_channels == layer.out_channels)


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
    return _Traced(graph, names, dict(network.named_modules()))


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
