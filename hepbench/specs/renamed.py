"""Old names of parameters and of fields of specs, and the messages that name the new ones."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from hepbench.specs.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


PARAMETERS: Mapping[str, str] = {
    "rate": "learning_rate",
    "encoder_rate": "encoder_learning_rate",
    "head_rate": "head_learning_rate",
    "clip": "gradient_clip",
    "least_steps": "min_steps",
    "choose": "monitor",
    "annealed": "kl_warmup",
    "spreads": "init_std",
    "code": "latent_dim",
    "feature_share": "feature_fraction",
    "masked_share": "masked_fraction",
}
"""Old name of a parameter -> its name today."""


FIELDS: Mapping[str, Mapping[str, str]] = {
    "Model": {
        "presets": "stated per parameter: Param(default, presets={'paper': ...})",
        "allowed": "stated per parameter: Param(default, allowed)",
    },
    "Method": {
        "presets": "stated per parameter: Param(default, presets={'paper': ...})",
        "allowed": "stated per parameter: Param(default, allowed)",
    },
    "Objective": {"rates": "'learning_rates'"},
}
"""Class of the plugin API -> its old fields -> what is written today."""


Spec = TypeVar("Spec")


def renamed(name: str, known: Collection[str]) -> str:
    """Return ``'rate' is now 'learning_rate'`` for the old name of a known parameter, or ''."""
    new = PARAMETERS.get(name)
    return f"'{name}' is now '{new}'" if new in known and name not in known else ""


def names_new_fields(spec: type[Spec]) -> type[Spec]:
    """Make a class answer its old fields with the new ones, as a decorator.

    The class raises PluginError where Python would raise TypeError.
    """
    old, init = FIELDS[spec.__name__], spec.__init__

    @wraps(init)
    def checked(self: Spec, *args: Any, **fields: Any) -> None:
        for field in fields:
            if field in old:
                which = f"{spec.__name__} {fields.get('name', '')}".rstrip()
                msg = f"{which}: '{field}' is now {old[field]}"
                raise PluginError(msg)
        init(self, *args, **fields)

    spec.__init__ = checked  # type: ignore[assignment]
    return spec
