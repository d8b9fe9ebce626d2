"""Claims: what each is made of, and those of everything that a hook returns.

A claim's function returns where it holds, raises PluginError with one line where it does not, and
SkipTest with a word where it cannot be tried here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn
from unittest import SkipTest

from hepbench.registry.resolve import resolve
from hepbench.specs.dataset import Dataset
from hepbench.specs.errors import PluginError
from hepbench.specs.parameters import as_params

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hepbench.registry.plugins import Spec


@dataclass(frozen=True)
class Claim:
    """One claim; ``run`` raises what speaks against it.

    Attributes:
        first: others of the same subject stand on it.
        slow: it may take more than a few seconds.
    """

    text: str
    run: Callable[[], object]
    first: bool = False
    slow: bool = False


def need(holds: object, otherwise: str) -> None:
    """Raise PluginError with a line unless something holds."""
    if not holds:
        raise PluginError(otherwise)


def skip(why: str) -> NoReturn:
    """Leave a claim untried; pytest knows the exception."""
    raise SkipTest(why)


def of_spec(spec: Spec) -> list[Claim]:
    """Return what is claimed of what a hook returned, before anything of it runs."""
    return [
        Claim("every function that it names exists", partial(_exists, spec), first=True),
        Claim("it has a summary, and parameters of JSON's types", partial(_describes, spec)),
    ]


def _exists(spec: Spec) -> None:
    for target in _targets(spec):
        need(callable(resolve(target)), f"'{target}' is not a function")
    for module in getattr(spec, "imports", ()):
        import_module(module)


def _targets(spec: Spec) -> Iterator[str]:
    for name in ("generate", "build", "run", "compute"):
        if target := getattr(spec, name, None):
            yield target
    if isinstance(spec, Dataset):
        yield from (reader.read for reader in (spec.original, spec.sample) if reader)
        yield from (*(view.run for view in spec.views.values()), *spec.augmentations.values())
        if spec.split.official:
            yield spec.split.official


def _describes(spec: Any) -> None:
    need(spec.summary and "\n" not in spec.summary, f"summary is {spec.summary!r}; one line is due")
    for name, param in as_params(getattr(spec, "params", {})).items():
        for value in (param.default, *param.presets.values()):
            need(_is_plain(value), f"'{name}' is {value!r}; JSON has no {type(value).__name__}")


def _is_plain(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False
