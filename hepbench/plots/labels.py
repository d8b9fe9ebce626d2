"""Write names of models and chains as figures show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.specs.references import chain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench.specs.references import Reference


def class_names(recorded: Sequence[str], n: int) -> Sequence[str]:
    """Return the recorded names of ``n`` classes, or numbers where older records have no names."""
    return recorded or [f"class {i}" for i in range(n)]


def readable(label: str) -> str:
    """Write a label as figures show it: ``prune[ratio=0.8]`` becomes prune (ratio = 0.8)."""
    return " + ".join(map(readable_step, chain(label)))


def readable_step(step: Reference) -> str:
    """Write one step of a chain as figures show it, with its parameters."""
    given = ", ".join(f"{name} = {value}" for name, value in step.params.items())
    return f"{step.name} ({given})" if given else step.name
