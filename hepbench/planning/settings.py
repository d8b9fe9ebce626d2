"""Settings: parameters from suite and command line, checked before a run is planned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hepbench.specs.dataset import Dataset, all_params_of
from hepbench.specs.errors import UsageError
from hepbench.specs.method import Method
from hepbench.specs.model import STEPS, Model, expected_form
from hepbench.specs.parameters import allowed_values, defaults, refused
from hepbench.specs.references import reference
from hepbench.specs.renamed import renamed
from hepbench.specs.text import LONGEST_NAME, encodable, shortened, unknown
from hepbench.specs.training_settings import TRAINING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hepbench.specs.parameters import Param


def all_params(spec: Dataset | Model | Method) -> dict[str, Param]:
    """Return all parameters of a spec, including those that the core adds."""
    if isinstance(spec, Dataset):
        return all_params_of(spec)
    if isinstance(spec, Model):
        return spec.all_params
    return dict(spec.params)


def former(spec: Dataset | Model | Method) -> Mapping[str, str]:
    """Return the parameters that earlier versions of a method had: see ``Method.former``."""
    return spec.former if isinstance(spec, Method) else {}


def dataset_params(spec: Dataset, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all parameters of a dataset: chosen values, otherwise defaults.

    Raises:
        UsageError: a name is unknown, or a value is not allowed.
    """
    base = defaults(all_params(spec))
    return {**base, **checked(spec, chosen, base)}


def checked(
    spec: Dataset | Model | Method, chosen: Mapping[str, Any], base: Mapping[str, Any]
) -> dict[str, Any]:
    """Check a suite's parameter values and return them; the text ``none`` becomes None.

    Args:
        spec: whose parameters are chosen.
        chosen: values by name.
        base: the defaults under the preset, for messages.

    Raises:
        UsageError: a name is unknown, or a value is not allowed or of another type.
    """
    params = all_params(spec)
    found = {name: None if value == "none" else value for name, value in chosen.items()}
    for name in found:
        if name not in params:
            why = renamed(name, params, former(spec)) or unknown("parameter", name, params)
            msg = f"{spec.name}[{name}]: {why}"
            raise UsageError(msg)
    for path, why in refused(found, allowed_values(params)):
        default = f" (default {base[path]!r})" if path in base else ""
        msg = f"{spec.name}[{path}] {why}{default}"
        raise UsageError(msg)
    for name, value in found.items():
        if value is not None or not params[name].may_be_none:
            _check_type(f"{spec.name}[{name}]", value, base[name])
    for name, value in found.items():
        if wrong := _why_not_json(value):
            msg = f"{spec.name}[{name}] is {wrong}"
            raise UsageError(msg)
    return found


LARGEST_NUMBER = 2**63 - 1


def _why_not_json(value: Any) -> str:
    """Return why a suite's parameter value cannot be written as JSON, otherwise ''."""
    if isinstance(value, (dict, list)):
        inside = value.values() if isinstance(value, dict) else value
        return next(filter(None, map(_why_not_json, inside)), "")
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}; a finite number is expected"
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        return f"{shortened(str(value), LONGEST_NAME)}; at most {LARGEST_NUMBER} is allowed"
    if isinstance(value, str) and encodable(value) != value:
        return "a text with bytes that are not Unicode"
    if not isinstance(value, (str, int, float)) and value is not None:
        return f"{value}; a number, a text, a list or a table is expected"
    return ""


def _check_type(where: str, value: Any, default: Any) -> None:
    """Raise UsageError if a suite's parameter value has another type than its default."""
    if default is None:
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


def check_steps(model: Model, steps: Iterable[Any]) -> None:
    """Raise UsageError if a preprocessing step in a suite is unknown or lacks parameters."""
    known = {*STEPS, *model.own_steps}
    for step in map(str, steps):
        asked = reference(step)
        if asked.name not in known:
            why = unknown("preprocessing step", asked.name, known)
            msg = f"{model.name}[preprocess]: {why}"
            raise UsageError(msg)
        if form := expected_form(asked):
            msg = f"{model.name}[preprocess]: '{step}'; {form} is expected"
            raise UsageError(msg)


def check_augmentations(dataset: Dataset, method: Method, params: Mapping[str, Any]) -> None:
    """Raise UsageError if training settings name an augmentation that a dataset does not have."""
    if not method.params.keys() >= TRAINING.keys():
        return
    for name in params["augment"]:
        if name not in dataset.augmentations:
            why = unknown("augmentation", str(name), dataset.augmentations)
            msg = f"{method.name}[augment]: {dataset.name}: {why}"
            raise UsageError(msg)


def flat(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a suite's nested settings by path, such as ``scratch.epochs``."""
    return {f"{head}.{n}": value for head, some in tables.items() for n, value in some.items()}


def written(value: Any) -> str:
    """Return a parameter value as it is written in a cell's label, without spaces."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value).replace(" ", "")
