"""Imports plugin functions by name, ``"module:function"``."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from hepbench.specs.errors import PluginError


@cache
def resolve(target: str) -> Any:
    """Import and return the plugin function named ``"module:function"``.

    Raises:
        PluginError: the target has another form, or the module has no such name.
    """
    module, colon, name = target.partition(":")
    if not colon or not module or not name:
        msg = f"'{target}' does not name a function; 'module:function' is expected"
        raise PluginError(msg)
    found = import_module(module)
    if not hasattr(found, name):
        msg = f"'{target}': module {module} has no '{name}'"
        raise PluginError(msg)
    return getattr(found, name)
