"""Store and load networks: recipes as JSON, weights as safetensors; nothing is unpickled.

A network is built again from its recipe, then changed to the stored shapes: a pruned network has
other shapes than the model builds, and other attributes such as the number of attention heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import torch
from safetensors import torch as safetensors
from torch import Tensor, nn

from hepbench.specs.errors import PluginError, ResultsError
from hepbench.training.networks import recipes
from hepbench.training.networks.determinism import eval_mode, isolated_rng
from hepbench.training.networks.network import Network, build, remove_unused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hepbench.training.networks.recipes import Recipe, Size, TrustedCode


RECIPE = "recipe.json"


WEIGHTS = "weights.safetensors"


MASK = "mask:"


def save(network: Network, folder: Path) -> None:
    """Store a network in a folder.

    Raises:
        PluginError: a parameter of the model or of its head is not of a JSON type.
    """
    _check_json(network.recipe)
    recipe = msgspec.structs.replace(network.recipe, sizes=_changed_sizes(network))
    masks = {f"{MASK}{name}": mask for name, mask in network.masks.items()}
    # cloned, because tied weights share memory, which safetensors refuses
    tensors = {
        n: t.detach().cpu().contiguous().clone() for n, t in _tensors_to_store(network).items()
    }
    tensors |= {name: mask.cpu().contiguous() for name, mask in masks.items()}
    # not save_file, whose errors do not say that the disk is full
    (folder / WEIGHTS).write_bytes(safetensors.save(tensors))
    (folder / RECIPE).write_bytes(recipes.encode(recipe))


def _check_json(recipe: Recipe) -> None:
    try:
        unchanged = recipes.decode(recipes.encode(recipe)) == recipe
    except (TypeError, msgspec.MsgspecError) as error:
        msg = f"{recipe.model}: parameters must be of JSON types: {error}"
        raise PluginError(msg) from error
    if not unchanged:
        msg = f"{recipe.model}: parameters change when stored as JSON (a tuple becomes a list)"
        raise PluginError(msg)


def recipe(folder: Path) -> Recipe:
    """Return the recipe of the network in a folder, with the sizes that pruning changed."""
    return recipes.decode((folder / RECIPE).read_bytes())


def load(folder: Path, known: TrustedCode) -> Network:
    """Load a stored network from a folder, on the CPU, in eval mode.

    Raises:
        ResultsError: a file is damaged, names a function that is not trusted, or does not fit the
            other file.
    """
    try:
        tensors = safetensors.load_file(folder / WEIGHTS)
        network = _assemble(recipe(folder), tensors, known)
        _check_outputs(network)
    except ResultsError as error:
        msg = f"{folder}: {error}"
        raise ResultsError(msg) from error
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        msg = f"{folder}: the stored network is incomplete or damaged: {reason[:500]}"
        raise ResultsError(msg) from error
    return network


def _assemble(recipe: Recipe, stored: Mapping[str, Tensor], known: TrustedCode) -> Network:
    masks = {n.removeprefix(MASK): t for n, t in stored.items() if n.startswith(MASK)}
    tensors = {n: t for n, t in stored.items() if not n.startswith(MASK)}
    with isolated_rng(0):
        network = build(recipe, known)
    for path, values in recipe.sizes.items():
        _resize(path, network.get_submodule(path), values)
    _reshape(network, tensors)
    network.load_state_dict(tensors, strict=True)
    for name, mask in masks.items():
        if mask.dtype != torch.bool or mask.shape != network.get_parameter(name).shape:
            msg = (
                f"the mask of {name} is {mask.dtype} {tuple(mask.shape)}; one bool for each weight "
                "is expected"
            )
            raise ResultsError(msg)
    network.masks = masks
    return network.eval()


def _reshape(network: Network, tensors: Mapping[str, Tensor]) -> None:
    """Remove the network's modules without stored tensors; resize tensors of another shape."""
    built = network.state_dict()
    if extra := sorted(set(tensors) - set(built)):
        msg = f"the model has no tensor {extra[0]!r}"
        raise ResultsError(msg)
    remove_unused(network, built, tensors)
    for name, tensor in tensors.items():
        if built[name].shape == tensor.shape:
            continue
        path, _, leaf = name.rpartition(".")
        module, empty = (
            network.get_submodule(path),
            torch.empty_like(tensor, dtype=built[name].dtype),
        )
        if leaf in module._parameters:
            setattr(module, leaf, nn.Parameter(empty))
        else:
            setattr(module, leaf, empty)


def _check_outputs(network: Network) -> None:
    """Check with 2 examples that the parts of a stored network fit together."""
    with eval_mode(network), torch.no_grad():
        outputs = network(network.example_inputs())
    if network.head is not None and outputs.shape != (2, network.recipe.classes):
        msg = f"logits of 2 examples are {tuple(outputs.shape)}; (2, {network.recipe.classes}) expected"
        raise ResultsError(msg)


def _tensors_to_store(network: Network) -> dict[str, Tensor]:
    state: dict[str, Tensor] = network.state_dict()
    if clash := [name for name in state if name.startswith(MASK)]:
        msg = f"{network.recipe.model}: a tensor may not be named {clash[0]!r}"
        raise PluginError(msg)
    return state


def _sizes(module: nn.Module) -> dict[str, Size]:
    """Return the sizes of a network's module: attributes that are integers or lists of them."""
    found: dict[str, Size] = {}
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        if type(value) is int:
            found[name] = value
        elif isinstance(value, (tuple, list)) and value and all(type(v) is int for v in value):
            found[name] = list(value)
    return found


def _changed_sizes(network: Network) -> dict[str, dict[str, Size]]:
    """Return {module: {attribute: size}} for sizes that differ from a newly built network's."""
    with isolated_rng(0):
        first = dict(build(network.recipe, network.known).named_modules())
    found = {}
    for path, module in network.named_modules():
        old = _sizes(first[path]) if path in first else {}
        changed = {n: v for n, v in _sizes(module).items() if n in old and old[n] != v}
        if changed:
            found[path] = changed
    return found


def _resize(path: str, module: nn.Module, values: Mapping[str, Size]) -> None:
    """Change sizes of a network's module; a number stays a number, a list keeps its length.

    Raises:
        ResultsError: the module has no size of that name and form; no other attribute can be set.
    """
    old = _sizes(module)
    for name, value in values.items():
        if name not in old or _length(old[name]) != _length(value):
            msg = f"module {path!r} has no size {name!r} that could become {value!r}"
            raise ResultsError(msg)
        kind: Any = type(getattr(module, name))
        setattr(module, name, kind(value))


def _length(value: Size) -> int | None:
    """Return the length of a module's size if it is a list, None for a number."""
    return len(value) if isinstance(value, list) else None
