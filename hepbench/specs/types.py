"""Types that specs share: arrays, named inputs, parameters and roles of examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

Array: TypeAlias = Any
"""A numpy array or what stands for one (SparseImages), shapes as documented where it appears."""


Json: TypeAlias = Any
"""A value of JSON: a number, string, boolean, null, list of such or table of such by name."""


Inputs: TypeAlias = Mapping[str, Array]
"""Named inputs of N examples: ``image`` (N, C, H, W), ``cloud`` (N, P, F) with ``mask`` (N, P) bool
(True = real particle) and ``neighbours`` (N, P, k), whole numbers (the places in the cloud of what is
near each particle; its own where there is no other), ``table`` (N, F), ``scalars`` (N, S)."""


Params: TypeAlias = Mapping[str, Any]
"""Parameters by name, of JSON's types: they are written into records and hashed into keys."""


Role: TypeAlias = Literal["labelled", "unlabelled", "test"]
