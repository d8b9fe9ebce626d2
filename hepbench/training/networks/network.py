"""Network: preprocessing, an encoder and perhaps a head in one module, with its recipe."""

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
    """See ``specs.Network``.

    Calling it takes preprocessed inputs: whoever makes batches applies ``preprocess``, once where
    it can. ``known`` is the code that the recipe's names stand for.
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
        """Return (N, classes) logits of preprocessed inputs, or (N, D) codes without a head."""
        code: Tensor = self.encoder.encode(inputs)
        if self.head is None:
            return code
        logits: Tensor = self.head(code)
        return logits

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return next((t.device for t in self.state_dict().values()), torch.device("cpu"))

    @property
    def width(self) -> int:
        """Size of a code."""
        with eval_mode(self), torch.no_grad():
            code = self.encoder.encode(self.example_inputs())
        if not isinstance(code, Tensor) or code.ndim != 2 or len(code) != 2:
            shape = tuple(code.shape) if isinstance(code, Tensor) else type(code).__name__
            msg = f"{self.recipe.model}: encode returned {shape} for 2 examples; (2, D) is expected"
            raise PluginError(msg)
        return code.shape[1]

    def example_inputs(self, n: int = 2) -> dict[str, Tensor]:
        """Return n inputs of the right shapes: zeros, and every particle real."""
        kinds = {"mask": torch.bool, "neighbours": torch.int64}
        made = {
            name: torch.zeros((n, *shape), dtype=kinds.get(name), device=self.device)
            for name, shape in self.recipe.input_shapes.items()
        }
        return {name: ~values if name == "mask" else values for name, values in made.items()}

    def with_head(self, method: str | None = None, **params: Any) -> Network:
        """Return a network of the same modules under a new head.

        Args:
            method: which declares the head; None: the encoder's own, or linear.
            params: of the head, of JSON's types.

        Raises:
            PluginError: what was made is no module.
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
        made = Network(
            recipe, self.known, preprocess=self.preprocess, encoder=self.encoder, head=head
        )
        made.masks = {n: m for n, m in self.masks.items() if not n.startswith("head.")}
        return made.to(self.device)

    def drop_head(self) -> None:
        """Make it an encoder again."""
        self.head = None
        self.recipe = msgspec.structs.replace(self.recipe, head=None)
        self.masks = {n: m for n, m in self.masks.items() if not n.startswith("head.")}

    def apply_masks(self) -> None:
        """Set pruned weights to zero."""
        with torch.no_grad():
            for name, mask in self.masks.items():
                parameter = self.get_parameter(name)
                parameter.mul_(mask.to(parameter.device))

    def scoring(self) -> set[str]:
        """Return the names of the parameters that a score depends on."""
        wanted = [(p, p.requires_grad) for p in self.parameters()]
        self.requires_grad_(True)
        try:
            with eval_mode(self):
                outputs = self(self.example_inputs())
            names, parameters = zip(*self.named_parameters(), strict=True) if wanted else ((), ())
            if not outputs.requires_grad:
                return set()
            found = torch.autograd.grad(outputs.sum(), parameters, allow_unused=True)
        finally:
            for parameter, before in wanted:
                parameter.requires_grad_(before)
        return {name for name, gradient in zip(names, found, strict=True) if gradient is not None}

    def trim(self) -> Network:
        """Drop what scoring does not use (decoder, log-variance), in place, and return it.

        Raises:
            PluginError: it is masked, or the scores would change.
        """
        if self.masks:
            msg = "a masked network cannot be trimmed: trim it first, then prune"
            raise PluginError(msg)
        used = self.scoring()
        with eval_mode(self), torch.no_grad():
            before = self(self.example_inputs())
            keep(self, {name for name, _ in self.named_parameters()}, used)
            same = torch.equal(before, self(self.example_inputs()))
        if not same:
            msg = f"{self.recipe.model}: scores hang on modules that they take no weight from; "
            raise PluginError(msg + "it cannot be trimmed")
        return self

    def reinitialise(self) -> Network:
        """Draw every weight anew, in place, and return it; shapes, masks, preprocessing stay.

        A module whose shapes are as first built gets the model's own draw, another its layer's.
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
    """Return the names of the tensors that a module holds itself."""
    found = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return [f"{path}.{leaf}" if path else leaf for leaf, _ in found]


def build(recipe: Recipe, known: TrustedCode) -> Network:
    """Return a network as first built; torch's generator draws its weights.

    Raises:
        ResultsError: the recipe names code that is not known.
        PluginError: what the model builds is no Encoder.
    """
    for step in recipe.preprocess:
        asked = reference(step)
        if asked.name not in {*preprocessing.STEPS, *known.steps}:
            msg = f"preprocessing step {step!r} is no known model's"
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
    bare = msgspec.structs.replace(recipe, head=None, sizes={})
    network = Network(bare, known, preprocess=steps, encoder=encoder)
    return network.with_head(recipe.head.method, **recipe.head.params) if recipe.head else network


def keep(network: nn.Module, held: Collection[str], names: Collection[str]) -> None:
    """Delete, topmost first, each module that holds some of ``held`` and none of ``names``; then
    single tensors. In a sequence an identity takes its place.
    """
    held, names = set(held), set(names)
    for path, _ in list(network.named_modules()):
        mine = {name for name in held if name.startswith(f"{path}.")} if path else set()
        if mine and not mine & names:
            _delete(network, path)
            held -= mine
    for name in held - names:
        path, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(path), leaf, None)


def _delete(network: nn.Module, path: str) -> None:
    above, _, leaf = path.rpartition(".")
    parent = network.get_submodule(above)
    if isinstance(parent, nn.Sequential):
        setattr(parent, leaf, nn.Identity())
    else:
        delattr(parent, leaf)
