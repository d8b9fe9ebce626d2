"""Recipes: plain values from which a stored network is rebuilt; a recipe cannot run code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.specs.errors import ResultsError
from hepbench.specs.text import unknown

if TYPE_CHECKING:
    from collections.abc import Mapping


Size = int | list[int]


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network's head: its parameters, and the method that declares it (None: a default head)."""

    method: str | None = None
    params: dict[str, Any] = {}


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is needed to rebuild a stored network, except its weights.

    Attributes:
        model, params: name and parameters of the model, as in the plan.
        preprocess: names of the preprocessing steps.
        shapes: shape of each input of an example.
        classes: number of logits of a head.
        head: None for an encoder.
        sizes: module -> attribute -> whole numbers that differ from the newly built network.
            Structured pruning changes sizes that no tensor shows, such as the number of
            attention heads.
    """

    model: str
    params: dict[str, Any]
    preprocess: list[str]
    shapes: dict[str, list[int]]
    classes: int
    head: Head | None = None
    sizes: dict[str, dict[str, Size]] = {}

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """The network's input shapes as tuples, for ``Model.build`` and preprocessing steps."""
        return {name: tuple(shape) for name, shape in self.shapes.items()}


@dataclass(frozen=True)
class TrustedCode:
    """The functions that recipes of stored networks may name; other names are refused.

    Attributes:
        models: name -> ``"module:function"`` that builds the encoder.
        heads: name of the method that declares a head -> ``"module:function"``.
        steps: the preprocessing steps of the models, ``"module:class"``; steps of the core are
            always allowed.
    """

    models: Mapping[str, str]
    heads: Mapping[str, str] = field(default_factory=dict)
    steps: frozenset[str] = frozenset()

    def model(self, name: str) -> str:
        """Return the name of the function that builds a model's encoder.

        Raises:
            ResultsError: the model is unknown.
        """
        return _trusted_function("model", name, self.models)

    def head(self, method: str) -> str:
        """Return the name of the function that builds the head of a method.

        Raises:
            ResultsError: the method is unknown or declares no head.
        """
        return _trusted_function("head of a method", method, self.heads)


def _trusted_function(kind: str, name: str, known: Mapping[str, str]) -> str:
    if name not in known:
        raise ResultsError(unknown(kind, name, known))
    return known[name]


def encode(recipe: Recipe) -> bytes:
    """Return the recipe of a stored network as JSON."""
    return msgspec.json.format(msgspec.json.encode(recipe), indent=1) + b"\n"


def decode(data: bytes) -> Recipe:
    """Return the recipe of a stored network in ``data``.

    Raises:
        msgspec.MsgspecError: the data are not a recipe.
    """
    return msgspec.json.decode(data, type=Recipe)
