"""Naming: what the channels and features of inputs are called, as views leave them, and their units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.registry.resolve import resolve
from hepbench.specs.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.specs.dataset import Dataset
    from hepbench.specs.types import Params


Texts = tuple[str, ...]


def described(spec: Dataset, name: str, params: Params) -> tuple[Texts, Texts]:
    """Return names and units of the channels or features of an input; what is not told is empty.

    Args:
        spec: a dataset.
        name: of an input that it has or that a view of it makes.
        params: all of its own.

    Raises:
        PluginError: there are names and units, and not as many.
    """
    names = _made(spec, name, params, spec.view_names)
    units = _made(spec, name, params, spec.view_units)
    if name in spec.inputs:
        # new names are those of other things
        units = units or (() if names else spec.inputs[name].units)
        names = names or spec.inputs[name].names
    if names and units and len(names) != len(units):
        msg = f"{spec.name}: '{name}' has {len(names)} names and {len(units)} units; one for each"
        raise PluginError(msg)
    return names, units


def with_unit(name: str, unit: str) -> str:
    """Return ``name [unit]``, or the name alone where there is none."""
    return f"{name} [{unit}]" if unit else name


def _made(spec: Dataset, name: str, params: Params, targets: Mapping[str, str]) -> Texts:
    """Return what a view's texts are, for these parameters."""
    if name not in targets:
        return ()
    found = resolve(targets[name])
    if callable(found):
        found = found(**{key: params[key] for key in spec.handed(name)})
    return tuple(found)
