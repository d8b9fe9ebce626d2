"""Old names in the plugin API and of parameters, and the new name for each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


NEW_WORDS: Mapping[str, Mapping[str, str]] = {
    "hepbench": {"Work": "hepbench.Context"},
    "Dataset": {
        "read": "Original(read)",
        "files": "Original(files=...)",
        "known": "Original(known=...)",
        "citation": "Original(citation=...)",
        "licence": "Original(licence=...)",
        "sample_files": "Sample(files=...)",
        "sample_examples": "Sample(examples=...)",
        "reads": "read_params",
        "uses": "View(params=...)",
        "handed": "View.params",
        "view_names": "View(names=...)",
        "view_units": "View(units=...)",
        "target_units": "spectators",
        "spectator_units": "spectators",
        "allowed": "Param(default, allowed)",
    },
    "Split": {"uses": "params"},
    "Model": {
        "presets": "set in each parameter: Param(default, presets={'paper': ...})",
        "allowed": "set in each parameter: Param(default, allowed)",
    },
    "Method": {
        "presets": "set in each parameter: Param(default, presets={'paper': ...})",
        "allowed": "set in each parameter: Param(default, allowed)",
    },
    "Objective": {"rates": "learning_rates"},
    "Examples": {"targets": "spectators"},
    "Predictions": {"targets": "spectators"},
    "known": {"share": "fraction.<class>", "target": "spectator.<name>"},
}
"""By owner: a class, the module, or the names in ``Original.known``."""


def new_word(owner: str, old: str) -> str:
    """Return a one-line hint with the new name for an old name, or an empty text."""
    new = NEW_WORDS.get(owner, {}).get(old, "")
    if not new:
        return ""
    if owner == "hepbench":
        return f"hepbench.{old} is now {new}"
    return f"{owner}: '{old}' is now {new}"


def unknown_attribute(given: object, name: str) -> Any:
    """Raise AttributeError with the new name of a renamed spec field: their ``__getattr__``."""
    kind = type(given).__name__
    raise AttributeError(new_word(kind, name) or f"'{kind}' object has no attribute '{name}'")


_UNEXPECTED = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")


def explained(error: BaseException) -> str:
    """Return a one-line hint for a TypeError caused by a renamed spec field, or an empty text."""
    found = _UNEXPECTED.search(str(error)) if isinstance(error, TypeError) else None
    return new_word(*found.groups()) if found else ""


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


def renamed(name: str, known: Collection[str], former: Mapping[str, str] | None = None) -> str:
    """Return ``'rate' is now 'learning_rate'`` for a parameter's old name, otherwise ''.

    Args:
        name: as a suite or a user wrote it.
        known: names of the parameters today.
        former: parameters of earlier versions, each with what became of it: see ``Method.former``.
    """
    new = PARAMETERS.get(name, name)
    if name in known:
        return ""
    if new in known:
        return f"'{name}' is now '{new}'"
    what = (former or {}).get(new, "")
    return f"'{name}' {what}" if what else ""
