"""Import torch-geometric without pandas, which it imports where it is installed, for a second.

Only its module for language models would use it.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def import_torch_geometric(module: str) -> ModuleType:
    """Import and return a module of torch-geometric.

    Args:
        module: such as ``torch_geometric.nn.models.basic_gnn``.
    """
    hidden = "pandas" not in sys.modules
    if hidden:
        # Python takes this as: there is no such module
        sys.modules["pandas"] = None  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            # it compiles functions with torch.jit.script, which torch is giving up
            warnings.simplefilter("ignore", DeprecationWarning)
            return import_module(module)
    finally:
        if hidden:
            del sys.modules["pandas"]


# a process that imports this module for its workers has torch-geometric for them too
import_torch_geometric("torch_geometric.nn")
