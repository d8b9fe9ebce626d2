"""What parameters may be: the ranges and choices that specs state, and the words for them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

from hepbench.specs.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from hepbench.specs.method import Method
    from hepbench.specs.model import Model


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers that a parameter may be; none is infinite.

    Attributes:
        least, most: ends that belong to it.
        above, below: ends that do not.
        whole: whole numbers alone. Of a parameter whose default is one that need not be said.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    whole: bool = False

    def __contains__(self, value: Any) -> bool:
        # true and false are numbers of Python's
        return (
            type(value) in ({int} if self.whole else {int, float})
            and isfinite(value)
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
"""A range, or choices; of a list every entry must be allowed."""


def in_words(allowed: Allowed) -> str:
    """Return what is allowed."""
    if isinstance(allowed, Range):
        return str(allowed)
    return f"one of {', '.join(map(str, allowed))}"


def refused(params: Mapping[str, Any], allowed: Mapping[str, Allowed]) -> Iterator[tuple[str, str]]:
    """Yield each parameter that is not what it may be, and why in words.

    Args:
        params: by name; None is no value, and allowed where its kind is.
        allowed: by name, or ``optimizer.name`` of what stands in a table.
    """
    for path, what in allowed.items():
        name, _, key = path.partition(".")
        value = params.get(name)
        if value is None:
            continue
        if key and not isinstance(value, dict):
            yield name, f"is {value!r}; a table with '{key}', {in_words(what)}, is expected"
            continue
        if key:
            value = value.get(key)
        several = isinstance(value, (list, tuple))
        if not all(each in what for each in (value if several else [value])):
            expected = f"a list, each {in_words(what)}," if several else in_words(what)
            yield path, f"is {value!r}; {expected} is expected"


@dataclass(frozen=True)
class Param:
    """A parameter of a dataset, a model or a method.

    Attributes:
        default: of JSON's types. Values must be of its kind; None may become anything.
        allowed: a ``Range``, or a tuple of choices; every entry of a list must be allowed. For a
            table, these by the names of its entries.
        presets: the default under a preset, by the preset's name.
    """

    default: Any
    allowed: Allowed | Mapping[str, Allowed] | None = None
    presets: Mapping[str, Any] = field(default_factory=dict)


def as_params(given: Mapping[str, Any]) -> dict[str, Param]:
    """Return parameters by name; a plain value stands for a ``Param`` with this default."""
    return {n: p if isinstance(p, Param) else Param(p) for n, p in given.items()}


def defaults(params: Mapping[str, Param], preset: str = "") -> dict[str, Any]:
    """Return the default of each parameter, under a preset where it has one for it."""
    return {name: p.presets.get(preset, p.default) for name, p in params.items()}


def allowed_values(params: Mapping[str, Param]) -> dict[str, Allowed]:
    """Return what parameters may be, by name, or ``optimizer.name`` for an entry of a table."""
    found: dict[str, Allowed] = {}
    for name, param in params.items():
        if isinstance(param.allowed, Mapping):
            found |= {f"{name}.{entry}": allowed for entry, allowed in param.allowed.items()}
        elif param.allowed is not None:
            found[name] = param.allowed
    return found


def check_name(kind: str, name: str) -> None:
    if not name or not all(c.isalnum() or c in "-_." for c in name) or not name[0].isalnum():
        msg = f"{kind} name {name!r}: letters, digits, '-', '_' and '.' are allowed"
        raise PluginError(msg)


def check_presets(kind: str, spec: Model | Method, others: Collection[str] = ()) -> None:
    for preset, params in spec.presets.items():
        if extra := sorted(set(params) - set(spec.params) - set(others)):
            msg = f"{kind} {spec.name}: preset '{preset}' sets {extra[0]!r}, which is not in params"
            raise PluginError(msg)


def check_allowed(kind: str, spec: Model | Method) -> None:
    """Raise PluginError where what is said of a parameter is of none, or not true of a default."""
    if extra := sorted({path.partition(".")[0] for path in spec.allowed} - set(spec.params)):
        msg = f"{kind} {spec.name}: 'allowed' names {extra[0]!r}, which is not in params"
        raise PluginError(msg)
    presets = {f"preset '{n}'": params for n, params in getattr(spec, "presets", {}).items()}
    for where, params in {"params": spec.params, **presets}.items():
        for name, why in refused(params, spec.allowed):
            msg = f"{kind} {spec.name}: {where}: '{name}' {why}"
            raise PluginError(msg)
