"""Parameters of datasets, models and methods: defaults, allowed values and presets. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias

from hepbench.specs.errors import PluginError
from hepbench.specs.text import LONGEST_NAME, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class Range:
    """A range of finite numbers.

    Attributes:
        least, most: smallest and largest number in the range.
        above, below: bounds that are not in the range.
        whole: only whole numbers. Not needed if the default is a whole number.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    whole: bool = False

    def __contains__(self, value: Any) -> bool:
        # a bool is an int in Python; type() keeps it out
        return (
            type(value) in ({int} if self.whole else {int, float})
            and -inf < value < inf
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        ends = {
            "of at least": self.least,
            "above": self.above,
            "of at most": self.most,
            "below": self.below,
        }
        said = " and ".join(f"{word} {end}" for word, end in ends.items() if end is not None)
        return f"a {'whole ' if self.whole else ''}number {said}".rstrip()


Allowed: TypeAlias = Range | tuple[Any, ...]
"""A range or a tuple of choices; every entry of a list must be allowed."""


def in_words(allowed: Allowed) -> str:
    """Return the allowed values of a parameter in words: ``one of tanh, relu``."""
    if isinstance(allowed, Range):
        return str(allowed)
    return f"one of {', '.join(map(str, allowed))}"


def refused(params: Mapping[str, Any], allowed: Mapping[str, Allowed]) -> Iterator[tuple[str, str]]:
    """Yield the name of each parameter whose value is not allowed, and the reason.

    Args:
        params: values by name; None is never refused here.
        allowed: by name, or by ``optimizer.name`` for an entry of a table.
    """
    for path, values in allowed.items():
        name, _, key = path.partition(".")
        value = params.get(name)
        if value is None:
            continue
        if key and not isinstance(value, dict):
            yield name, f"is {value!r}; a table whose '{key}' is {in_words(values)} is expected"
            continue
        if key:
            value = value.get(key)
        several = isinstance(value, (list, tuple))
        if not all(each in values for each in (value if several else [value])):
            expected = f"a list, each {in_words(values)}," if several else in_words(values)
            yield path, f"is {value!r}; {expected} is expected"


@dataclass(frozen=True)
class Param:
    """A parameter of a dataset, a model or a method.

    Attributes:
        default: of JSON's types. Values must have the same type; if it is None, any type.
        allowed: a ``Range`` or a tuple of choices, for each entry if the value is a list. For a
            table, a mapping from the names of its entries to these. None: any value.
        presets: the default under a preset, by the preset's name.
        optional: None is allowed although the default is not None.
    """

    default: Any
    allowed: Allowed | Mapping[str, Allowed] | None = None
    presets: Mapping[str, Any] = field(default_factory=dict)
    optional: bool = False

    @property
    def may_be_none(self) -> bool:
        """Whether the parameter may be None, written ``none`` in suites."""
        return self.optional or self.default is None


def as_params(given: Mapping[str, Any]) -> dict[str, Param]:
    """Return the parameters of a spec by name; a plain value becomes ``Param(value)``."""
    return {n: p if isinstance(p, Param) else Param(p) for n, p in given.items()}


def defaults(params: Mapping[str, Param], preset: str = "") -> dict[str, Any]:
    """Return the default of each parameter under a preset."""
    return {name: p.presets.get(preset, p.default) for name, p in params.items()}


def preset_names(params: Mapping[str, Param]) -> list[str]:
    """Return the names of all presets that change the default of a parameter, in order."""
    return list(dict.fromkeys(preset for p in params.values() for preset in p.presets))


def allowed_values(params: Mapping[str, Param]) -> dict[str, Allowed]:
    """Return allowed values by parameter; those of a table's entries by ``optimizer.name``."""
    found: dict[str, Allowed] = {}
    for name, param in params.items():
        if isinstance(param.allowed, Mapping):
            found |= {f"{name}.{entry}": allowed for entry, allowed in param.allowed.items()}
        elif param.allowed is not None:
            found[name] = param.allowed
    return found


def check_params(spec: str, params: Mapping[str, Param]) -> None:
    """Raise PluginError if the default of a parameter is not allowed, also under a preset.

    Args:
        spec: kind and name, such as ``method scratch``.
        params: by name.
    """
    allowed = allowed_values(params)
    for preset in ("", *preset_names(params)):
        where = f"preset '{preset}'" if preset else "params"
        for name, why in refused(defaults(params, preset), allowed):
            msg = f"{spec}: {where}: '{name}' {why}"
            raise PluginError(msg)


def check_name(kind: str, name: str) -> None:
    """Raise PluginError unless a spec's name can be written in suites and in file names."""
    plain = name and all(c.isalnum() or c in "-_." for c in name) and name[0].isalnum()
    if not plain or len(name) > LONGEST_NAME:
        msg = (
            f"{kind} name {shortened(name, LONGEST_NAME)!r}: at most {LONGEST_NAME} letters, digits, "
            "'-', '_' and '.' are allowed"
        )
        raise PluginError(msg)


def check_files(owner: str, files: object) -> None:
    """Raise PluginError unless each file of a spec is ``"package:path"`` or an absolute path."""
    if not isinstance(files, tuple) or not all(map(_is_file_name, files)):
        msg = (
            f"{owner}: files is {files!r}; a tuple of 'package:path' or absolute paths is expected"
        )
        raise PluginError(msg)


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and bool(re.match(r"/|\w+(\.\w+)*:[^/]", name))
