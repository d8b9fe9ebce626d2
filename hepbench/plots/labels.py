"""Write the names of classes as figures show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def class_names(recorded: Sequence[str], n: int) -> Sequence[str]:
    """Return the recorded names of ``n`` classes, or numbers where older records have no names."""
    return recorded or [f"class {i}" for i in range(n)]
