"""Settings: parameters resolved from defaults, presets, suite and command line, and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench.specs.dataset import OWN_ALLOWED, OWN_PARAMS, Dataset
from hepbench.specs.errors import UsageError
from hepbench.specs.method import Method
from hepbench.specs.model import STEPS, Model, wanted_form
from hepbench.specs.parameters import allowed_values, defaults, refused
from hepbench.specs.references import reference
from hepbench.specs.text import unknown
from hepbench.specs.training_settings import TRAINING, TRAINING_ALLOWED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hepbench.specs.parameters import Allowed


def dataset_params(spec: Dataset, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return all params of a dataset, some of them chosen.

    Raises:
        UsageError: one is unknown, or not of its kind.
    """
    known = {**defaults(spec.params), **added_params(spec)}
    return {**known, **checked(spec, chosen, known)}


def flat(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return settings by their path, as ``scratch.epochs``."""
    return {f"{head}.{n}": value for head, some in tables.items() for n, value in some.items()}


def written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value).replace(" ", "")


def added_params(spec: Dataset | Model | Method) -> dict[str, Any]:
    """Return the parameters that the core adds to a spec's own."""
    if isinstance(spec, Dataset):
        return dict(OWN_PARAMS)
    if isinstance(spec, Model) and "encode" in spec.offers:
        return {"preprocess": list(spec.preprocess)}
    return {}


def check_steps(model: Model, steps: Iterable[Any]) -> None:
    """Raise UsageError where a step is neither the core's nor the model's own, or is not told what
    it must be.
    """
    known = {*STEPS, *model.steps}
    for step in map(str, steps):
        asked = reference(step)
        if asked.name not in known:
            what = unknown("preprocessing step", asked.name, known)
            msg = f"{model.name}[preprocess]: {what}"
            raise UsageError(msg)
        if form := wanted_form(asked):
            msg = f"{model.name}[preprocess]: '{step}'; {form} is expected"
            raise UsageError(msg)


def checked(
    spec: Dataset | Model | Method, chosen: Mapping[str, Any], known: Mapping[str, Any]
) -> dict[str, Any]:
    """Return chosen values; ``none`` is written where TOML has no word for it.

    Raises:
        UsageError: one is of no known parameter, not of its kind, or not allowed.
    """
    found = {name: None if value == "none" else value for name, value in chosen.items()}
    for name in found:
        if name not in known:
            raise UsageError(f"{spec.name}[{name}]: " + unknown("parameter", name, known))
    for path, why in refused(found, _allowed(spec)):
        default = f" (default {known[path]!r})" if path in known else ""
        msg = f"{spec.name}[{path}] {why}{default}"
        raise UsageError(msg)
    for name, value in found.items():
        _check_kind(f"{spec.name}[{name}]", name, value, known[name])
    return found


def _allowed(spec: Dataset | Model | Method) -> Mapping[str, Allowed]:
    """Return what a spec says of its parameters, and the core of those that it adds or trains by."""
    if isinstance(spec, Dataset):
        return {**allowed_values(spec.params), **OWN_ALLOWED}
    if isinstance(spec, Method) and set(TRAINING) <= set(spec.params):
        return {**TRAINING_ALLOWED, **spec.allowed}
    return spec.allowed


def _check_kind(where: str, name: str, value: Any, default: Any) -> None:
    """Raise UsageError where a value is not of the default's kind; None may become anything, and
    anything None that is so in TRAINING.
    """
    if default is None or (value is None and TRAINING.get(name, default) is None):
        return
    if isinstance(default, bool):
        fits, kind = isinstance(value, bool), "true or false"
    elif isinstance(default, int):
        fits, kind = type(value) is int, "a whole number"
    elif isinstance(default, float):
        fits, kind = type(value) in {int, float}, "a number"
    else:
        fits, kind = isinstance(value, type(default)), f"a {type(default).__name__}"
    if not fits:
        msg = f"{where} is {value!r}; {kind} is expected (default {default!r})"
        raise UsageError(msg)
