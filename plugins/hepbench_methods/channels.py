"""Channels of a network, with all that hangs on them: found, proven, ranked and removed.

Which layers hang together is what torch-pruning finds along the graph (Fang et al., 2023,
arXiv:2301.12900). It is not taken on trust: a wrong column removed costs a score and shows nowhere.
Channels are called proven when the network scores the same with them in another order, in every
layer that makes, passes on or reads them. Two things torch-pruning does not see are offered to the
proof as well: a flattened axis whose channels come last (tokens), and whole heads of an attention.
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
"""Of the largest logit: sums are taken in another order; a wrong order shows in the first digit."""

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
"""What makes channels."""


@dataclass(frozen=True)
class Place:
    """Where a module holds channels.

    Attributes:
        module: its name.
        axes: tensor of the module -> the axis along which they lie.
        sizes: its whole-number attributes that shrink with them.
        positions: (channels, k) int: the k positions of each along these axes.
        makes: whether the weight makes the channels; else they are passed on or read.
    """

    module: str
    axes: Mapping[str, int]
    sizes: tuple[str, ...]
    positions: Tensor
    makes: bool = False


@dataclass(frozen=True, eq=False)
class Group:
    """Channels that can only go together with all their places; ``layer`` is named for them."""

    layer: str
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Found:
    """Groups whose places are proven, and the layers of which that cannot be said."""

    proven: list[Group]
    stuck: list[str]


class UnknownError(Exception):
    """A module that is not known to hold channels."""


def find(network: Network) -> Found:
    """Return the channels of every layer but the last, whose channels nothing reads.

    Raises:
        PluginError: torch-pruning cannot follow the network.
    """
    scout = _shaken(network)
    expected = _logits(scout, _drawn(scout, 4))
    proven: dict[str, Group] = {}
    stuck: dict[str, None] = {}
    for layer, readings in _candidates(network):
        if layer in proven:
            continue
        for group in readings:
            if _holds(scout, group, expected):
                made = (place.module for place in group.places if place.makes)
                proven |= dict.fromkeys(made, group)
                break
        else:
            stuck[layer] = None
    groups = list(dict.fromkeys(proven.values()))
    return Found(groups, [layer for layer in stuck if layer not in proven])


def norms(network: Network, group: Group) -> Tensor:
    """Return (channels,) float64: the L1 norm of the weights that make each channel.

    Where several layers make it, each in units of its mean, so that none decides alone.
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
    """Return masks of the weights that make a group's channels, False for those gone."""
    found = {}
    for place in group.places:
        if place.makes:
            weight = network.get_submodule(place.module).weight
            mask = torch.ones(weight.shape, dtype=torch.bool)
            mask.movedim(place.axes["weight"], 0)[place.positions[gone].flatten()] = False
            found[f"{place.module}.weight"] = mask.to(weight.device)
    return found


def without(network: Network, going: Sequence[tuple[Group, Tensor]]) -> Network:
    """Return a copy without some channels of some groups.

    Positions are those of ``network``: where channels of several groups lie along one axis, as
    after a concatenation, they go at once.
    """
    made = copy.deepcopy(network)
    lost: dict[tuple[str, str, int], list[Tensor]] = defaultdict(list)
    for group, gone in going:
        for place in group.places:
            positions = place.positions[gone].flatten()
            for leaf, axis in place.axes.items():
                lost[place.module, leaf, axis].append(positions)
            for name in place.sizes:
                _lessen(made.get_submodule(place.module), name, len(positions))
    for (path, leaf, axis), positions in lost.items():
        module = made.get_submodule(path)
        tensor = getattr(module, leaf)
        kept = torch.ones(tensor.shape[axis], dtype=torch.bool)
        kept[torch.cat(positions)] = False
        _replace(module, leaf, tensor.detach().index_select(axis, _at(kept.nonzero(), tensor)))
    return made


def _lessen(module: nn.Module, name: str, n: int) -> None:
    size = getattr(module, name)
    setattr(module, name, (size[0] - n,) if isinstance(size, tuple) else size - n)


def runs(network: Network) -> bool:
    """Whether a network scores, for any number of examples: a reshape may not follow."""
    try:
        for n in (2, 3):
            logits = _logits(network, _drawn(network, n))
            if logits.shape != (n, network.recipe.classes) or not logits.isfinite().all():
                return False
    except Exception:  # noqa: BLE001 - whatever a model's own code raises
        return False
    return True


# --- the proof


def _holds(network: Network, group: Group, expected: Tensor) -> bool:
    """Whether channels may come in another order; if so they stay in it."""
    if not all(_lies(network, place) for place in group.places):
        return False
    _reverse(network, group)
    found = _logits(network, _drawn(network, len(expected)))
    if (found - expected).abs().max() <= TOLERANCE * expected.abs().max():
        return True
    _reverse(network, group)
    return False


def _lies(network: Network, place: Place) -> bool:
    """Whether positions are different ones, and those of the module."""
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
            _replace(module, leaf, tensor.detach().index_select(axis, _at(order, tensor)))


def _shaken(network: Network) -> Network:
    """Return a copy without a weight that is zero, or equal to another, by design.

    On the processor: an accelerator rounds convolutions too coarsely for a proof.
    """
    shaken = copy.deepcopy(network).cpu()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in shaken.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.05 * noise.to(parameter.dtype))
    return shaken


def _drawn(network: Network, n: int) -> dict[str, Tensor]:
    """Return n random inputs, always the same."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: values
        if values.dtype == torch.bool
        else torch.randn(values.shape, generator=generator).to(values)
        for name, values in network.example_inputs(n).items()
    }


def _logits(network: Network, inputs: Mapping[str, Tensor]) -> Tensor:
    network.eval()
    with torch.no_grad():
        return network(inputs)


def _replace(module: nn.Module, leaf: str, tensor: Tensor) -> None:
    old = getattr(module, leaf)
    if isinstance(old, nn.Parameter):
        tensor = nn.Parameter(tensor, requires_grad=old.requires_grad)
    setattr(module, leaf, tensor)


def _at(positions: Tensor, tensor: Tensor) -> Tensor:
    return positions.flatten().to(tensor.device)


# --- groups


def _candidates(network: Network) -> Iterator[tuple[str, list[Group]]]:
    """Yield layers and how the channels that they make may lie, the likeliest first."""
    for group in _heads(network):
        yield group.places[0].module, [group]
    with _quiet():
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
            yield layer, [group, _channels_last(network, group)]


def _heads(network: Network) -> Iterator[Group]:
    """Yield the heads of attentions: a module that holds a linear layer ``qkv``, whose rows are
    queries, keys and values of each head in turn, one more linear layer that reads the heads, and
    their number as ``heads`` or ``num_heads``.
    """
    for name, module in network.named_modules():
        qkv, heads = getattr(module, "qkv", None), _count(module)
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
                Place(f"{name}.qkv", *_out(qkv), thrice, makes=True),
                Place(f"{name}.{readers[0]}", *_in(getattr(module, readers[0])), rows),
                Place(name, {}, (heads,), torch.arange(len(rows))[:, None]),
                Place(name, {}, tuple(whole), rows),
            ),
        )


def _count(module: nn.Module) -> str | None:
    names = ("heads", "num_heads")
    return next((n for n in names if type(getattr(module, n, None)) is int), None)


def _channels_last(network: Network, group: Group) -> Group:
    """Return a group as it is where flattened axes hold channels last: torch-pruning takes them
    for first.
    """

    def last(place: Place) -> Place:
        module = network.get_submodule(place.module)
        n = len(place.positions)
        if place.makes or not isinstance(module, nn.Linear) or module.in_features % n:
            return place
        return replace(place, positions=torch.arange(module.in_features).view(-1, n).T)

    return replace(group, places=tuple(last(place) for place in group.places))


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # of parameters outside of layers: what it takes them for is proven here
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True)
class _Traced:
    """What torch-pruning made of a network: its graph, and the names of modules and parameters."""

    dependencies: Any
    names: Mapping[Any, str]

    @property
    def graph(self) -> Mapping[Any, Any]:
        return self.dependencies.module2node

    def places(self, layer: nn.Module) -> tuple[Place, ...]:
        """Return all places of the channels that a layer makes.

        Raises:
            UnknownError: one of them is of an unknown kind, or holds them in unequal numbers.
        """
        prune = self.dependencies.get_pruner_of_module(layer).prune_out_channels
        axis = _out(layer)[0].get("weight")
        if axis is None:
            raise UnknownError(self.names[layer])
        n = layer.weight.shape[axis]
        found = self.dependencies.get_pruning_group(layer, prune, list(range(n)))
        # what is not named stands for an operation
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
            axes, sizes = (_in if reads else _out)(module)
            return Place(name, axes, sizes, positions, makes=not reads)
        return Place(name, *_passes(name, module), positions)


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


# --- what each kind of module holds


def _out(layer: Any) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return where a layer makes channels: axes of its tensors, and attributes."""
    if isinstance(layer, nn.Linear):
        axes, sizes = {"weight": 0, "bias": 0}, ("out_features",)
    elif layer.groups == 1:
        axes, sizes = {"weight": int(layer.transposed), "bias": 0}, ("out_channels",)
    else:
        # of a depthwise convolution, each channel makes one
        axes, sizes = {"weight": 0, "bias": 0}, ("out_channels", "in_channels", "groups")
    return _present(layer, axes), sizes


def _in(layer: Any) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return where a layer reads channels."""
    if isinstance(layer, nn.Linear):
        return {"weight": 1}, ("in_features",)
    return {"weight": 1 - int(layer.transposed)}, ("in_channels",)


def _passes(name: str, module: Any) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return where a module that passes channels on holds them.

    Raises:
        UnknownError: of this kind of module that is not known.
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
    return _present(module, dict.fromkeys(leaves, 0)), sizes


def _present(module: nn.Module, axes: Mapping[str, int]) -> dict[str, int]:
    """Return the axes of tensors that a module holds itself, and does not compute of others."""
    held = {**module._parameters, **module._buffers}
    return {leaf: axis for leaf, axis in axes.items() if held.get(leaf) is not None}
