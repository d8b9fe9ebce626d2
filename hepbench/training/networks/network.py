"""A network: one module with preprocessing, encoder and optional head, and its recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import torch
from torch import Tensor, nn

from hepbench.registry.resolve import resolve
from hepbench.specs.errors import PluginError, ResultsError
from hepbench.specs.model import expected_form
from hepbench.specs.references import reference
from hepbench.training.networks import preprocessing
from hepbench.training.networks.determinism import eval_mode
from hepbench.training.networks.recipes import Head, Recipe, TrustedCode

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Network(nn.Module):
    """Preprocessing, encoder and optional head in one module: see ``specs.Network``.

    Call it with preprocessed inputs: batches are preprocessed when they are made, once if they
    fit in memory. ``known`` holds the functions that the names in the recipe refer to.
    """

    encoder: Any
    head: nn.Module | None

    def __init__(
        self,
        recipe: Recipe,
        known: TrustedCode,
        *,
        preprocess: preprocessing.Steps,
        encoder: Any,
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.known = known
        self.preprocess = preprocess
        self.encoder = encoder
        self.head = head
        self.masks: dict[str, Tensor] = {}

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (N, classes) logits of preprocessed inputs; without a head, (N, D) latents."""
        latents: Tensor = self.encoder.encode(inputs)
        if self.head is None:
            return latents
        logits: Tensor = self.head(latents)
        return logits

    @property
    def device(self) -> torch.device:
        """The device that holds the tensors of the network."""
        return next((t.device for t in self.state_dict().values()), torch.device("cpu"))

    @property
    def width(self) -> int:
        """Number of latents that the encoder computes for one example."""
        with eval_mode(self), torch.no_grad():
            latents = self.encoder.encode(self.example_inputs())
        if not isinstance(latents, Tensor) or latents.ndim != 2 or len(latents) != 2:
            is_tensor = isinstance(latents, Tensor)
            shape = tuple(latents.shape) if is_tensor else type(latents).__name__
            msg = f"{self.recipe.model}: encode returned {shape} for 2 examples; (2, D) is expected"
            raise PluginError(msg)
        return latents.shape[1]

    def example_inputs(self, n: int = 2) -> dict[str, Tensor]:
        """Return inputs of n examples in the network's shapes: all zeros, every particle real."""
        dtypes = {"mask": torch.bool, "neighbours": torch.int64}
        zeros = {
            name: torch.zeros((n, *shape), dtype=dtypes.get(name), device=self.device)
            for name, shape in self.recipe.input_shapes.items()
        }
        return {name: ~values if name == "mask" else values for name, values in zeros.items()}

    def with_head(self, method: str | None = None, **params: Any) -> Network:
        """Return a network that shares these modules but has a new head.

        Args:
            method: name of the method that declares the head; None takes the encoder's own head,
                or a linear one.
            params: parameters of the head, of JSON types.

        Raises:
            PluginError: the head is not a module.
        """
        width, classes = self.width, self.recipe.classes
        head: Any
        if method is not None:
            head = resolve(self.known.head(method))(width, classes, **params)
        elif hasattr(self.encoder, "head"):
            head = self.encoder.head(classes, **params)
        else:
            head = nn.Linear(width, classes, **params)
        if not isinstance(head, nn.Module):
            msg = f"{method or self.recipe.model}: head returned {type(head).__name__}; "
            raise PluginError(msg + "an nn.Module is expected")
        recipe = msgspec.structs.replace(self.recipe, head=Head(method, params))
        network = Network(
            recipe, self.known, preprocess=self.preprocess, encoder=self.encoder, head=head
        )
        network.masks = {n: m for n, m in self.masks.items() if not n.startswith("head.")}
        return network.to(self.device)

    def drop_head(self) -> None:
        """Remove the head, so that the network is an encoder again."""
        self.head = None
        self.recipe = msgspec.structs.replace(self.recipe, head=None)
        self.masks = {n: m for n, m in self.masks.items() if not n.startswith("head.")}

    def apply_masks(self) -> None:
        """Set the pruned weights of the network to zero."""
        with torch.no_grad():
            for name, mask in self.masks.items():
                parameter = self.get_parameter(name)
                parameter.mul_(mask.to(parameter.device))

    def scoring_parameters(self) -> set[str]:
        """Return the names of the parameters that the scores depend on."""
        required = [(p, p.requires_grad) for p in self.parameters()]
        self.requires_grad_(True)
        try:
            with eval_mode(self):
                outputs = self(self.example_inputs())
            names, parameters = zip(*self.named_parameters(), strict=True) if required else ((), ())
            if not outputs.requires_grad:
                return set()
            gradients = torch.autograd.grad(outputs.sum(), parameters, allow_unused=True)
        finally:
            for parameter, before in required:
                parameter.requires_grad_(before)
        pairs = zip(names, gradients, strict=True)
        return {name for name, gradient in pairs if gradient is not None}

    def trim(self) -> Network:
        """Remove modules that scores do not depend on (such as a decoder); return the network.

        Raises:
            PluginError: the network has masks, or the scores would change.
        """
        if self.masks:
            msg = "a network with masks cannot be trimmed: trim it first, then prune"
            raise PluginError(msg)
        used = self.scoring_parameters()
        with eval_mode(self), torch.no_grad():
            before = self(self.example_inputs())
            remove_unused(self, {name for name, _ in self.named_parameters()}, used)
            same = torch.equal(before, self(self.example_inputs()))
        if not same:
            msg = f"{self.recipe.model}: the scores depend on modules without parameters, so "
            raise PluginError(msg + "unused modules cannot be removed safely")
        return self

    def reinitialise(self) -> Network:
        """Draw all weights of the network again, in place, and return it.

        Shapes, masks and preprocessing stay. Modules with their original shapes are initialised
        as the model does it, modules of other shapes by their own ``reset_parameters``.
        """
        drawn = build(self.recipe, self.known).to(self.device).state_dict()
        own = {n: t for n, t in self.state_dict().items() if not n.startswith("preprocess.")}
        with torch.no_grad():
            for path, module in self.named_modules():
                mine = {n: own[n] for n in _tensors(path, module) if n in own}
                reshaped = any(drawn[n].shape != t.shape for n, t in mine.items())
                reset = getattr(module, "reset_parameters", None)
                if reshaped and callable(reset):
                    reset()
                else:
                    for name, tensor in mine.items():
                        tensor.copy_(drawn[name][tuple(slice(0, s) for s in tensor.shape)])
        self.apply_masks()
        return self


def _tensors(path: str, module: nn.Module) -> list[str]:
    """Return the names of the tensors of a module, without those of its submodules."""
    found = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return [f"{path}.{leaf}" if path else leaf for leaf, _ in found]


def build(recipe: Recipe, known: TrustedCode) -> Network:
    """Build the network that a recipe describes; torch's global generator draws its weights.

    Raises:
        ResultsError: the recipe names a model, a head or a step that is not trusted.
        PluginError: the model does not build an encoder.
    """
    for step in recipe.preprocess:
        asked = reference(step)
        if asked.name not in {*preprocessing.STEPS, *known.steps}:
            msg = f"preprocessing step {step!r} belongs to no known model"
            raise ResultsError(msg)
        if form := expected_form(asked):
            msg = f"preprocessing step {step!r}; {form} is expected"
            raise ResultsError(msg)
    shapes = recipe.input_shapes
    encoder = resolve(known.model(recipe.model))(shapes, **recipe.params)
    if not isinstance(encoder, nn.Module) or not hasattr(encoder, "encode"):
        msg = f"{recipe.model}: build returned {type(encoder).__name__}; "
        raise PluginError(msg + "an nn.Module with encode(inputs) is expected")
    steps = preprocessing.build(recipe.preprocess, shapes)
    headless = msgspec.structs.replace(recipe, head=None, sizes={})
    network = Network(headless, known, preprocess=steps, encoder=encoder)
    return network.with_head(recipe.head.method, **recipe.head.params) if recipe.head else network


def remove_unused(network: nn.Module, tensors: Collection[str], used: Collection[str]) -> None:
    """Delete the modules of a network that hold no used tensor, then single unused tensors.

    Outer modules are deleted first. In a sequence, an identity replaces a deleted module.
    """
    left, used = set(tensors), set(used)
    for path, _ in list(network.named_modules()):
        mine = {name for name in left if name.startswith(f"{path}.")} if path else set()
        if mine and not mine & used:
            _delete_module(network, path)
            left -= mine
    for name in left - used:
        path, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(path), leaf, None)


def _delete_module(network: nn.Module, path: str) -> None:
    parent_path, _, leaf = path.rpartition(".")
    parent = network.get_submodule(parent_path)
    if isinstance(parent, nn.Sequential):
        setattr(parent, leaf, nn.Identity())
    else:
        delattr(parent, leaf)
