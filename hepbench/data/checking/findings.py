"""Findings: the result of a data check, as text and as JSON. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from hepbench.specs.text import DASH, duration
from hepbench.storage.records import ORIGINS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


HEADS = {"mean": "mean", "min": "min", "max": "max", "nonzero": "non-zero"}


STATISTICS = tuple(HEADS)
"""Computed for each channel or feature; ``nonzero`` is the fraction of pixels, or of rows, that is
not 0."""


@dataclass(frozen=True, kw_only=True)
class ChannelSummary:
    """Statistics of one channel or feature; empty where there are no examples.

    Attributes:
        input, name: name of the input, and of the channel or feature.
        labelled: STATISTICS over all labelled examples.
        classes: STATISTICS over each class.
        unlabelled: STATISTICS over unlabelled examples.
    """

    input: str
    name: str
    labelled: Mapping[str, float]
    classes: Mapping[str, Mapping[str, float]]
    unlabelled: Mapping[str, float]

    def of_group(self, group: str) -> Mapping[str, float]:
        """Return the STATISTICS of a class, or of ``unlabelled``."""
        return self.unlabelled if group == "unlabelled" else self.classes[group]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A value beside the known range of the original.

    Attributes:
        name: see ``Original.known``.
        least, most: ends of the known range.
        found: the value; None if these files do not have it.
        outside: True for a value outside the range.
    """

    name: str
    least: float
    most: float
    found: float | None
    outside: bool

    def verdict(self) -> str:
        """Return the last column of the summary of the checked files."""
        if self.found is None:
            return "not in these files"
        return "outside" if self.outside else "ok"


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Contents of the files of a dataset.

    Attributes:
        source: see ``DataFiles``.
        seconds: reading time.
        roles, classes: number of examples of each role and class.
        channels: one line of the tables each.
        images: names of the inputs that are images.
        values: statistics and fractions by the names that ``Original.known`` uses.
        known: comparisons with the known ranges of the original.
        notes: one line for each expected property that a reader should know.
        warnings: one line for each unexpected property.
    """

    dataset: str
    source: str
    files: tuple[str, ...]
    seconds: float
    roles: Mapping[str, int]
    classes: Mapping[str, int]
    channels: Sequence[ChannelSummary]
    images: Sequence[str]
    values: Mapping[str, float]
    known: Sequence[Comparison]
    notes: Sequence[str]
    warnings: Sequence[str]

    def json(self) -> str:
        """Return everything found in the files as JSON."""
        import json

        return json.dumps(asdict(self), indent=1)

    def text(self) -> str:
        """Return tables of what was found in the files, for a terminal."""
        inputs = dict.fromkeys(channel.input for channel in self.channels)
        blocks = [self._head(), *map(self._statistics, inputs), self._known()]
        notes = [f"note: {line}" for line in self.notes]
        verdict = [f"warning: {line}" for line in self.warnings] or ["no warnings"]
        return "\n\n".join(filter(None, [*blocks, "\n".join([*notes, *verdict])]))

    def _head(self) -> str:
        total = sum(self.roles.values())
        source = ORIGINS[self.source] + ("" if self.source == "sample" else "s")
        rate = f"{total / self.seconds:,.0f}/s" if self.seconds else DASH
        roles = [f"{count:,} {role}" for role, count in self.roles.items()]
        classes = [f"{n:,} {name} ({self.values[f'fraction.{name}']:.2%})"
                   for name, n in self.classes.items()]  # fmt: skip
        empty = [f", empty {name}s: {self.values[f'{name}.empty']:.2%}" for name in self.images]
        return "\n".join(
            [
                f"{self.dataset}: {source}, read in {duration(self.seconds)} ({rate})",
                *(f"  {path}" for path in self.files),
                f"examples: {', '.join(roles)}",
                f"classes: {', '.join(classes)}",
                f"exact copies: {self.values['copies']:.2%}{''.join(empty)}",
            ]
        )

    def _statistics(self, name: str) -> str:
        """Return the table of one input; for images with the fraction of non-zero pixels by class."""
        groups = [*self.classes, *(["unlabelled"] if "unlabelled" in self.roles else [])]
        columns = [("mean", g) for g in groups]
        columns += [("nonzero", g) for g in groups] if name in self.images else []
        heads = [name, *HEADS.values(), *(f"{HEADS[each]} {group}" for each, group in columns)]
        rows = [[c.name, *_cells(c, columns)] for c in self.channels if c.input == name]
        return _grid(rows, heads)

    def _known(self) -> str:
        rows = [
            [
                each.name,
                _number(each.found),
                f"{_number(each.least)} to {_number(each.most)}",
                each.verdict(),
            ]
            for each in self.known
        ]
        return _grid(rows, ["", "found", "known of the original", ""]) if rows else ""


def _cells(channel: ChannelSummary, columns: Sequence[tuple[str, str]]) -> list[str]:
    labelled = [_number(channel.labelled.get(statistic)) for statistic in HEADS]
    others = (channel.of_group(group).get(statistic) for statistic, group in columns)
    return [*labelled, *map(_number, others)]


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.4g}"


def _grid(rows: Sequence[Sequence[str]], heads: Sequence[str]) -> str:
    from tabulate import tabulate

    align = ["left", *(["right"] * (len(heads) - 1))]
    return tabulate(rows, heads, "simple", disable_numparse=True, colalign=align)
