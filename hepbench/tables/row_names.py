"""Short names of table rows: parameters that all rows share are taken out and named once. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from hepbench.specs.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hepbench.tables.columns import Labels


SHORTENED = ("dataset", "model", "chain")
"""Labels that hold parameters in brackets."""


class Step(NamedTuple):
    """A plugin's name in a label, and its parameters as texts such as ``ratio=0.8``."""

    name: str
    params: tuple[str, ...]

    @property
    def text(self) -> str:
        """The step as labels write it."""
        return f"{self.name}[{','.join(self.params)}]" if self.params else self.name


class ShortNames(NamedTuple):
    """Short labels of table rows.

    Attributes:
        labels: for each row, its labels without the shared parameters.
        shared: what was taken out, ``name[param=value]``, sorted.
    """

    labels: list[Labels]
    shared: list[str]


def shorten(labels: Sequence[Labels], which: Iterable[str] = SHORTENED) -> ShortNames:
    """Take out of labels the parameters that a model or method has wherever it is used.

    A name that is used once keeps its parameters.

    Args:
        labels: of all rows of a table.
        which: the labels to shorten.
    """
    fields = tuple(which)
    found = [{field: steps(getattr(each, field)) for field in fields} for each in labels]
    shared = _shared_params(step for row in found for some in row.values() for step in some)
    short = [
        each._replace(**{field: _without(row[field], shared) for field in fields})
        for each, row in zip(labels, found, strict=True)
    ]
    taken = (Step(name, params).text for name, params in shared.items() if params)
    return ShortNames(short, sorted(map(one_line, taken)))


def in_words(labels: Sequence[Labels]) -> list[str]:
    """Return a name for each row of one dataset: its model, and what else sets it apart."""
    short = shorten(labels, ("model", "chain")).labels
    models = Counter(each.model for each in short)
    others = [n for n in ("suite", "preset", "source") if len({getattr(s, n) for s in short}) > 1]
    names = []
    for each in short:
        parts = [each.model, *([each.chain] if models[each.model] > 1 else [])]
        parts += [f"({getattr(each, name) or 'not recorded'})" for name in others]
        names.append(one_line(" ".join(parts)))
    return names


def steps(label: str) -> list[Step]:
    """Divide a label, such as a chain, into its steps; any text is allowed."""
    return [_step(part) for part in split(label, "+")]


def _step(text: str) -> Step:
    name, bracket, inside = text.partition("[")
    if not bracket or not inside.endswith("]"):
        return Step(text, ())
    return Step(name, tuple(split(inside[:-1], ",")))


def split(text: str, separator: str) -> list[str]:
    """Split a text at a character where it stands outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        else:
            depth += (character in "[{(") - (character in "]})")
        if character == separator and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _shared_params(found: Iterable[Step]) -> dict[str, tuple[str, ...]]:
    """Return by name the parameters of all its steps, of names with two steps or more."""
    uses: dict[str, list[Step]] = defaultdict(list)
    for step in found:
        uses[step.name].append(step)
    return {
        name: tuple(p for p in some[0].params if all(p in step.params for step in some))
        for name, some in uses.items()
        if len(some) > 1
    }


def _without(found: Sequence[Step], shared: Mapping[str, Sequence[str]]) -> str:
    return "+".join(_remaining(found, shared))


def _remaining(found: Sequence[Step], shared: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for step in found:
        taken = shared.get(step.name, ())
        yield Step(step.name, tuple(p for p in step.params if p not in taken)).text
