"""What parameters may be: the ranges and choices that specs state, and the words for them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


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
