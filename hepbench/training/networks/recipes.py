"""Recipes: what a network is rebuilt from, as plain values that run no code of their own."""

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
    """A head: the method that declares it (None: the encoder's own, or linear), its parameters."""

    method: str | None = None
    params: dict[str, Any] = {}


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a network is rebuilt from, beside its weights.

    Attributes:
        model, params: as in the plan.
        preprocess: names of steps.
        shapes: of one example, by input.
        classes: how many logits a head gives.
        head: None for an encoder.
        sizes: module -> attribute -> whole numbers that differ from the network as first built:
            what structured pruning leaves behind and no tensor tells, such as the heads of an
            attention.
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
        """What ``Model.build`` and steps are handed."""
        return {name: tuple(shape) for name, shape in self.shapes.items()}


@dataclass(frozen=True)
class TrustedCode:
    """The code that recipes may name; whatever else they name is refused.

    Attributes:
        models: name -> ``"module:function"`` that builds the encoder.
        heads: name of the method that declares a head -> ``"module:function"``.
        steps: the models' own steps, ``"module:class"``; the core's need not be here.
    """

    models: Mapping[str, str]
    heads: Mapping[str, str] = field(default_factory=dict)
    steps: frozenset[str] = frozenset()

    def model(self, name: str) -> str:
        """Return what builds a model's encoder.

        Raises:
            ResultsError: no such model is known.
        """
        return _named("model", name, self.models)

    def head(self, method: str) -> str:
        """Return what builds the head that a method declares.

        Raises:
            ResultsError: no such method is known, or it declares no head.
        """
        return _named("head of a method", method, self.heads)


def _named(kind: str, name: str, known: Mapping[str, str]) -> str:
    if name not in known:
        raise ResultsError(unknown(kind, name, known))
    return known[name]


def encode(recipe: Recipe) -> bytes:
    """Return a recipe as JSON."""
    return msgspec.json.format(msgspec.json.encode(recipe), indent=1) + b"\n"


def decode(data: bytes) -> Recipe:
    """Return the recipe in ``data``.

    Raises:
        msgspec.MsgspecError: it is not one.
    """
    return msgspec.json.decode(data, type=Recipe)
