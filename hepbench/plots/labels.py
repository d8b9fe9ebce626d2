"""Names of models and chains as figures show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.specs.references import chain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench.specs.references import Reference


def class_names(recorded: Sequence[str], n: int) -> Sequence[str]:
    """Return the names of ``n`` classes; older records have none, so that classes are numbered."""
    return recorded or [f"class {i}" for i in range(n)]


def readable(label: str) -> str:
    """Return a label with its parameters in words: ``prune[ratio=0.8]`` is prune (ratio = 0.8)."""
    return " + ".join(map(readable_step, chain(label)))


def readable_step(step: Reference) -> str:
    """Return the name of one step of a chain with its parameters in words."""
    given = ", ".join(f"{name} = {value}" for name, value in step.params.items())
    return f"{step.name} ({given})" if given else step.name
