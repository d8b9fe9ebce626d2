"""Import timm beside a torchvision whose compiled operators cannot be loaded.

PyPI's torchvision is built for CUDA. Beside a torch for the CPU it fails at import, and so does timm,
because Python code registers itself for operators that were never loaded. Here these operators are
declared, without code, and the import is repeated. Our models call none of them. Any other error is
raised, and a torchvision that works is left as it is.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from types import ModuleType

DECLARATIONS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
"""Operators of torchvision that its Python code expects to exist: torchvision/csrc/ops/nms.cpp."""

MISSING = re.compile(r"operator torchvision::(\w+) does not exist")

PACKAGES = ("timm", "torchvision")

# the declarations exist as long as this object
_library = torch.library.Library("torchvision", "FRAGMENT")


def import_timm(module: str) -> ModuleType:
    """Import and return a module of timm.

    Args:
        module: such as ``timm.models.vision_transformer``.

    Raises:
        ImportError: timm is not installed.
        RuntimeError: its import fails for another reason than these operators.
    """
    for _ in DECLARATIONS:
        before = set(sys.modules)
        try:
            return import_module(module)
        except RuntimeError as error:
            if not _declare_missing(error):
                raise
            _forget(set(sys.modules) - before)
    return import_module(module)


def _declare_missing(error: RuntimeError) -> bool:
    """Declare the operator that an error names; return whether it was known and missing."""
    found = MISSING.search(str(error))
    name = found[1] if found else ""
    if name not in DECLARATIONS or hasattr(torch.ops.torchvision, name):
        return False
    _library.define(DECLARATIONS[name])
    return True


def _forget(modules: set[str]) -> None:
    """Remove half-imported modules, so that they are imported anew."""
    for name in modules:
        if name.partition(".")[0] in PACKAGES:
            del sys.modules[name]


# a process that imports this module for its workers has timm for them too
import_timm("timm")
