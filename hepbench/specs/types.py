"""Types that specs share: arrays, named inputs, parameters and roles of examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

Json: TypeAlias = Any
"""A value of JSON's types: None, bool, int, float, str, list, dict."""

Array: TypeAlias = Any
"""A numpy array or SparseImages; the shape is documented where the array is used."""

Inputs: TypeAlias = Mapping[str, Array]
"""Named inputs of N examples: ``image`` (N, C, H, W), ``cloud`` (N, P, F) with ``mask`` (N, P) bool
(True = real particle), ``neighbours`` (N, P, k), integer indices into the cloud of the particles
nearest to each one (its own index if there are fewer), and ``momenta`` (N, P, 4): px, py, pz and energy
of each particle; ``table`` (N, F), ``scalars`` (N, S). Networks get them as torch tensors: float32, but
``mask`` bool and ``neighbours`` int64."""


Params: TypeAlias = Mapping[str, Any]
"""Parameters by name. Values are JSON types, since they are stored in records and hashed in keys."""


Role: TypeAlias = Literal["labelled", "unlabelled", "test"]
"""What a reader yields examples as: ``labelled`` ones are divided into training, validation and test
parts; ``test`` is an official test set; ``unlabelled`` ones only join training without labels."""
