"""Naming: names and units of the channels and features of inputs, with views applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.registry.resolve import resolve
from hepbench.specs.errors import PluginError

if TYPE_CHECKING:
    from hepbench.specs.dataset import Dataset, View
    from hepbench.specs.types import Params


Texts = tuple[str, ...]


def described(spec: Dataset, name: str, params: Params) -> tuple[Texts, Texts]:
    """Return names and units of the channels or features of an input; empty if not stated.

    Args:
        spec: a dataset.
        name: name of an input that it has or that one of its views makes.
        params: values of all its own parameters.

    Raises:
        PluginError: the number of names differs from the number of units.
    """
    view = spec.views.get(name)
    names = _texts(view, view.names, params) if view else ()
    units = _texts(view, view.units, params) if view else ()
    if name in spec.inputs:
        # new names belong to new quantities: the units of the input do not apply to them
        units = units or (() if names else spec.inputs[name].units)
        names = names or spec.inputs[name].names
    if names and units and len(names) != len(units):
        msg = (
            f"{spec.name}: '{name}' has {len(names)} names and {len(units)} units; "
            "as many units as names are expected"
        )
        raise PluginError(msg)
    return names, units


def with_unit(name: str, unit: str) -> str:
    """Return a feature's ``name [unit]``, or the name alone if it has no unit."""
    return f"{name} [{unit}]" if unit else name


def _texts(view: View, target: str, params: Params) -> Texts:
    """Return the names of features that a dataset's ``"module:NAME"`` stands for."""
    if not target:
        return ()
    found = resolve(target)
    if callable(found):
        found = found(**{key: params[key] for key in view.params})
    return tuple(found)
