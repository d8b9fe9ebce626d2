"""Findings: what a check of data found, as a text and as JSON. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hepbench.specs.text import DASH, duration
from hepbench.storage.records import ORIGINS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


HEADS = {"mean": "mean", "min": "min", "max": "max", "nonzero": "non-zero"}


STATISTICS = tuple(HEADS)
"""Of each channel or feature; ``nonzero`` is the share of pixels, or of rows, that is not 0."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What files hold.

    Attributes:
        source: see ``plan.DataFiles``.
        seconds: that reading took.
        roles, classes: how many examples of each.
        rows: a line of the tables: ``input``, ``name`` of a channel or feature, STATISTICS over all
            labelled examples, ``classes`` with those of each class, and ``unlabelled``.
        images: names of the inputs that are images.
        figures: the same, and shares, by the names that ``specs.Dataset.known`` has.
        known: what is known of the original: ``name``, ``least``, ``most``, ``found``, ``odd``.
        notes: a line for each thing that must be known of such files, and is not odd.
        odd: a line for each thing that is.
    """

    dataset: str
    source: str
    files: tuple[str, ...]
    seconds: float
    roles: Mapping[str, int]
    classes: Mapping[str, int]
    rows: Sequence[Mapping[str, Any]]
    images: Sequence[str]
    figures: Mapping[str, float]
    known: Sequence[Mapping[str, Any]]
    notes: Sequence[str]
    odd: Sequence[str]

    def json(self) -> str:
        """Return everything as JSON."""
        import json

        return json.dumps(asdict(self), indent=1)

    def text(self) -> str:
        """Return tables for a terminal."""
        inputs = dict.fromkeys(row["input"] for row in self.rows)
        blocks = [self._head(), *map(self._statistics, inputs), self._known()]
        notes = [f"note: {line}" for line in self.notes]
        verdict = [f"odd: {line}" for line in self.odd] or ["nothing is odd"]
        return "\n\n".join(filter(None, [*blocks, "\n".join([*notes, *verdict])]))

    def _head(self) -> str:
        total = sum(self.roles.values())
        what = ORIGINS[self.source] + ("" if self.source == "sample" else "s")
        rate = f"{total / self.seconds:,.0f}/s" if self.seconds else DASH
        roles = [f"{count:,} {role}" for role, count in self.roles.items()]
        shares = [f"{n:,} {name} ({self.figures[f'share.{name}']:.2%})"
                  for name, n in self.classes.items()]  # fmt: skip
        empty = [f", empty {name}s: {self.figures[f'{name}.empty']:.2%}" for name in self.images]
        return "\n".join(
            [
                f"{self.dataset}: {what}, read and summed up in {duration(self.seconds)} ({rate})",
                *(f"  {path}" for path in self.files),
                f"examples: {', '.join(roles)}",
                f"classes: {', '.join(shares)}",
                f"exact copies: {self.figures['copies']:.2%}{''.join(empty)}",
            ]
        )

    def _statistics(self, name: str) -> str:
        """Return one input: of images also the share of pixels that is not 0 in each class."""
        groups = [*self.classes, *(["unlabelled"] if "unlabelled" in self.roles else [])]
        columns = [("mean", g) for g in groups]
        columns += [("nonzero", g) for g in groups] if name in self.images else []
        heads = [name, *HEADS.values(), *(f"{HEADS[what]} {group}" for what, group in columns)]
        rows = [[row["name"], *_cells(row, columns)] for row in self.rows if row["input"] == name]
        return _grid(rows, heads)

    def _known(self) -> str:
        rows = [
            [
                row["name"],
                _number(row["found"]),
                f"{_number(row['least'])} to {_number(row['most'])}",
                _verdict(row),
            ]
            for row in self.known
        ]
        return _grid(rows, ["", "found", "known of the original", ""]) if rows else ""


def _cells(row: Mapping[str, Any], columns: Sequence[tuple[str, str]]) -> list[str]:
    by_group = {**row["classes"], "unlabelled": row["unlabelled"]}
    whole = [_number(row.get(name)) for name in HEADS]
    return [*whole, *(_number(by_group[group].get(what)) for what, group in columns)]


def _verdict(row: Mapping[str, Any]) -> str:
    if row["found"] is None:
        return "not in these files"
    return "odd" if row["odd"] else "ok"


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.4g}"


def _grid(rows: Sequence[Sequence[str]], heads: Sequence[str]) -> str:
    from tabulate import tabulate

    align = ["left", *(["right"] * (len(heads) - 1))]
    return tabulate(rows, heads, "simple", disable_numparse=True, colalign=align)
