"""Names and units of the channels or features of a dataset's inputs and views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.registry.resolve import resolve
from hepbench.specs.errors import PluginError

if TYPE_CHECKING:
    from hepbench.specs.dataset import Dataset, View
    from hepbench.specs.types import Params


Texts = tuple[str, ...]


def described(spec: Dataset, name: str, params: Params) -> tuple[Texts, Texts]:
    """Return names and units of the features (or channels) of an input, empty if not declared.

    Args:
        spec: a dataset.
        name: name of an input that it has or that one of its views makes.
        params: values of all its own parameters.

    Raises:
        PluginError: the number of names differs from the number of units.
    """
    view = spec.views.get(name)
    names = _names_from_target(view, view.names, params) if view else ()
    units = _names_from_target(view, view.units, params) if view else ()
    if name in spec.inputs:
        # new names belong to new quantities: the units of the input do not apply to them
        units = units or (() if names else spec.inputs[name].units)
        names = names or spec.inputs[name].names
    if names and units and len(names) != len(units):
        msg = (
            f"{spec.name}: '{name}' has {len(names)} names and {len(units)} units; "
            "one unit for each name is expected"
        )
        raise PluginError(msg)
    return names, units


def with_unit(name: str, unit: str) -> str:
    """Return a feature's name with its unit, ``pt [GeV]``, or the name alone."""
    return f"{name} [{unit}]" if unit else name


def _names_from_target(view: View, target: str, params: Params) -> Texts:
    """Return the feature names behind a view's ``"module:NAME"`` (a tuple or a function)."""
    if not target:
        return ()
    found = resolve(target)
    if callable(found):
        found = found(**{key: params[key] for key in view.params})
    return tuple(found)
