"""Claims that are checked about plugins, and those about every spec.

The function of a claim returns if the claim holds. It raises PluginError, in one line, if the claim
does not hold, and SkipTest, with a reason, if the claim cannot be tested on this machine.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn
from unittest import SkipTest

from hepbench.registry import portable_paths
from hepbench.registry.resolve import resolve
from hepbench.specs.dataset import Dataset
from hepbench.specs.errors import PluginError
from hepbench.specs.parameters import as_params
from hepbench.specs.suite import Suite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hepbench.registry.plugins import Spec


@dataclass(frozen=True)
class Claim:
    """A claim to check about a plugin: a text, and a function that raises if it is false.

    Attributes:
        text: the claim, as it is printed behind the name of its subject.
        run: the test.
        first: later claims about the same subject depend on this one.
        slow: the test may take more than a few seconds.
    """

    text: str
    run: Callable[[], object]
    first: bool = False
    slow: bool = False


def need(condition: object, message: str) -> None:
    """Fail a check: raise PluginError with this message unless a condition holds."""
    if not condition:
        raise PluginError(message)


def skip(reason: str) -> NoReturn:
    """Skip a check, for a reason; pytest shows it as a skipped test."""
    raise SkipTest(reason)


def spec_claims(spec: Spec) -> list[Claim]:
    """Return the claims to check about every spec; these checks run no plugin function."""
    return [
        Claim(
            "every function and file named in the spec exists",
            partial(_check_functions_and_files_exist, spec),
            first=True,
        ),
        Claim(
            "the summary is one line and all parameters are JSON values",
            partial(_check_summary_and_params, spec),
        ),
    ]


def _check_functions_and_files_exist(spec: Spec) -> None:
    for target in _function_names(spec):
        need(callable(resolve(target)), f"'{target}' is not a function")
    for module in getattr(spec, "imports", ()):
        import_module(module)
    for name in _declared_files(spec):
        portable_paths.declared(name, spec)


def _function_names(spec: Spec) -> Iterator[str]:
    for name in ("generate", "build", "fits", "run", "compute"):
        if target := getattr(spec, name, None):
            yield target
    if isinstance(spec, Dataset):
        yield from (reader.read for reader in (spec.original, spec.sample) if reader)
        yield from (*(view.run for view in spec.views.values()), *spec.augmentations.values())
        if spec.split.official:
            yield spec.split.official


def _declared_files(spec: Spec) -> Iterator[str]:
    """Yield the declared files of a spec to check, except those of original and sample."""
    if isinstance(spec, Dataset):
        yield from spec.original.side_files if spec.original else ()
        yield from (
            *spec.split.files,
            *(file for view in spec.views.values() for file in view.files),
        )
    elif not isinstance(spec, Suite):
        yield from spec.files


def _check_summary_and_params(spec: Any) -> None:
    need(
        spec.summary and "\n" not in spec.summary,
        f"summary is {spec.summary!r}; one line is expected",
    )
    for name, param in as_params(getattr(spec, "params", {})).items():
        for value in (param.default, *param.presets.values()):
            need(
                _is_json_value(value),
                f"parameter '{name}' is {value!r}; JSON has no {type(value).__name__}",
            )


def _is_json_value(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False
