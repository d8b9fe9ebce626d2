"""Makes the text of a comparison: sentences, tables of cells, or JSON. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from textwrap import fill
from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.comparison import unpaired
from hepbench.comparison.findings import LEAST_TIMED, VERDICTS
from hepbench.comparison.sentences import number, relative
from hepbench.specs.gate import COSTS
from hepbench.specs.text import DASH, one_line, several, shortened
from hepbench.tables import markup, plain
from hepbench.tables.columns import title
from hepbench.tables.printed import Column, Document, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hepbench.comparison.comparison import Comparison
    from hepbench.comparison.findings import Finding
    from hepbench.comparison.pairs import Pair


FORMATS = ("plain", "github", "json", "html")


MOST_CHANGES, LONGEST_CHANGES = 3, 300
"""Changed parts of a key that a note names; characters of a note."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is said about a comparison.

    Attributes:
        lead: sentences above the tables, the most important first.
        details: lines below them: what was compared.
        comparison: what was found.
        names: compared metrics and costs; the first is shown with its values.
        more: entries of the JSON object beside those of the comparison.
    """

    lead: Sequence[str]
    details: Sequence[str]
    comparison: Comparison
    names: Sequence[str]
    more: Mapping[str, Any]


def write(report: Report, format: str) -> str:
    """Return the text of a report on a comparison in one of FORMATS."""
    return {"plain": _plain, "github": _github, "html": _html, "json": _json}[format](report)


WIDTH = 100


def _plain(report: Report) -> str:
    lead = "\n".join(fill(line, WIDTH, break_on_hyphens=False) for line in report.lead)
    return _joined(
        lead, "\n".join(report.details), *_tables(report, partial(plain.write, width=WIDTH))
    )


def _github(report: Report) -> str:
    first, *others = map(markup.markdown, report.lead)
    details = map(markup.markdown, report.details)
    tables = _tables(report, markup.github)
    return _joined(f"**{first}**", "<br>\n".join(others), "<br>\n".join(details), *tables)


def _html(report: Report) -> str:
    first, *others = map(escape, report.lead)
    details = "<br>\n".join(map(escape, report.details))
    lead = f"<p><strong>{first}</strong></p>\n<p>{'<br>'.join(others)}</p>"
    head = f"<h1>Comparison</h1>\n{lead}\n<p>{details}</p>"
    return markup.html_page("Comparison", "\n".join([head, *_tables(report, markup.html_tables)]))


def _tables(report: Report, writer: Callable[[Document], str]) -> list[str]:
    document = _document(report)
    return [writer(document).rstrip("\n")] if document.tables or document.verdicts else []


def _joined(*blocks: str) -> str:
    return "\n\n".join(filter(None, blocks)) + "\n"


def _json(report: Report) -> str:
    return msgspec.json.format(msgspec.json.encode(_as_json(report)), indent=1).decode() + "\n"


def _as_json(report: Report) -> dict[str, Any]:
    comparison = report.comparison
    return {
        "sentences": list(report.lead),
        **report.more,
        "cells": [
            {
                "cell": pair.cell,
                "changed": pair.changes,
                "new_warnings": pair.new_warnings,
                "findings": {
                    name: _finding_as_json(finding)
                    for name, finding in comparison.by_cell[pair.cell].items()
                },
            }
            for pair in comparison.pairs
        ],
    }


def _finding_as_json(finding: Finding) -> dict[str, Any]:
    difference = finding.difference
    return {
        "verdict": finding.verdict,
        "base": finding.base,
        "new": finding.new,
        "difference": finding.change,
        "stderr": difference.stderr if difference and not finding.is_log else None,
        "p": finding.p,
        "smallest_visible_loss": finding.smallest_visible,
        "seeds": [int(s.trainings) for s in difference.spreads] if difference else None,
        "n_test": finding.n_test,
        "reason": finding.reason or None,
    }


def _document(report: Report) -> Document:
    """Return the tables of a comparison, one for each dataset.

    Cells that are identical are counted below them; those that only one run has are named above.
    """
    comparison, (main, *others) = report.comparison, report.names
    shown: dict[str, list[Pair]] = defaultdict(list)
    same: dict[str, int] = defaultdict(int)
    for pair in comparison.pairs:
        found = comparison.by_cell[pair.cell].values()
        if len(pair.rows) == 1:
            continue
        if all(each.verdict == "identical" for each in found) and not pair.new_warnings:
            same[_dataset(pair)] += 1
        else:
            shown[_dataset(pair)].append(pair)
    tables = [_table(name, pairs, report, same[name]) for name, pairs in sorted(shown.items())]
    return Document(
        verdicts=[(line, []) for line in unpaired.lines(comparison.pairs)],
        tables=tables,
        tie="",
        legend=_legend(main, others, comparison) if tables else [],
    )


def _dataset(pair: Pair) -> str:
    return next(iter(pair.rows.values())).labels.dataset


def _table(name: str, pairs: Sequence[Pair], report: Report, identical: int) -> Table:
    by_cell = report.comparison.by_cell
    numbers: dict[str, int] = {}
    lines = []
    for pair in sorted(pairs, key=lambda pair: _place(pair, report)):
        found = by_cell[pair.cell]
        labels = next(iter(pair.rows.values())).labels
        marks = [str(numbers.setdefault(n, len(numbers) + 1)) for n in _notes(pair, found)]
        main, *others = (found.get(name) for name in report.names)
        lines.append(
            [
                *(one_line(labels.model), one_line(labels.chain)),
                *(_main_cells(main) if main else [DASH] * 5),
                *(_short(each) if each else DASH for each in others),
                ", ".join(marks) or DASH,
            ]
        )
    sizes = {each.n_test for p in pairs for each in by_cell[p.cell].values()} - {None}
    also = f"{several(identical, 'more cell')}: identical in all that was compared"
    return Table(
        title=one_line(name),
        subtitle=f"{'/'.join(map(str, sizes))} test examples" if sizes else "",
        shared=[],
        columns=_columns(lines, report.names),
        main="verdict",
        best=[False] * len(lines),
        notes=list(numbers),
        remarks=[also] if identical else [],
        slug="comparison",
        names=[],
    )


def _columns(lines: Sequence[Sequence[str]], names: Sequence[str]) -> list[Column]:
    """Return the columns of a table; those of further metrics, and notes, only with a value."""
    main, *others = names
    labels = [Column(name=n, title=n, cells=[], left=True, label=True) for n in ("model", "chain")]
    values = [
        Column(name="base", title=f"{title(main)} BASE", cells=[]),
        Column(name="new", title="NEW", cells=[]),
        Column(name="difference", title="NEW - BASE", cells=[]),
        Column(name="verdict", title="verdict", cells=[], left=True),
        Column(name="visible", title="visible", cells=[]),
    ]
    more = [Column(name=name, title=title(name), cells=[]) for name in others]
    more.append(Column(name="notes", title="notes", cells=[], left=True))
    filled = zip([*labels, *values, *more], zip(*lines, strict=True), strict=True)
    columns = [replace(column, cells=list(cells)) for column, cells in filled]
    optional = {column.name for column in more}
    return [c for c in columns if c.name not in optional or {*c.cells} != {DASH}]


def _place(pair: Pair, report: Report) -> tuple[Any, ...]:
    """Return the place of a cell in its table: first what is to be looked at."""
    found = report.comparison.by_cell[pair.cell]
    verdicts = [found[name].verdict for name in report.names if name in found]
    main = found.get(report.names[0])
    return ([VERDICTS.index(each) for each in verdicts], -main.loss if main else 0.0, pair.cell)


def _main_cells(finding: Finding) -> list[str]:
    values = [DASH if x is None else number(x, finding) for x in (finding.base, finding.new)]
    visible = finding.smallest_visible
    return [
        *values,
        _difference(finding),
        finding.verdict,
        DASH if visible is None else f"{visible:.2g}",
    ]


def _difference(finding: Finding) -> str:
    if finding.change is None or finding.verdict == "identical":
        return DASH
    sign = "-" if finding.change < 0 else "+"
    size = f"{sign}{number(abs(finding.change), finding)}"
    if finding.difference is None or finding.is_log:
        return size
    return f"{size} ±{number(finding.difference.stderr, finding)}"


def _short(finding: Finding) -> str:
    """Return the finding on a further metric or cost in one column; that on the cell is in the first."""
    if finding.is_of_cell:
        return DASH
    if finding.verdict == "identical":
        return "="
    if finding.change is None or not finding.is_conclusive:
        return finding.verdict
    if finding.name in COSTS:
        size = relative(finding.increase)
        return size if finding.p is None else f"{size}, {finding.verdict}"
    return f"{_difference(finding)}, {finding.verdict}"


def _notes(pair: Pair, found: Mapping[str, Finding]) -> list[str]:
    """Return notes on a cell: reasons of its verdicts, and what changed in its key."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for finding in found.values():
        if finding.reason:
            by_reason[finding.reason].append(title(finding.name))
    every = len(by_reason) == 1 and len(next(iter(by_reason.values()))) == len(found)
    reasons = [
        one_line(reason if every else f"{', '.join(names)}: {reason}")
        for reason, names in by_reason.items()
    ]
    reasons += [
        shortened(one_line(f"warning in NEW: {text}"), LONGEST_CHANGES)
        for text in pair.new_warnings
    ]
    if not pair.changes:
        return reasons
    more = len(pair.changes) - MOST_CHANGES
    changes = [*pair.changes[:MOST_CHANGES], *([f"and {more} more"] if more > 0 else [])]
    return [*reasons, shortened(one_line(f"changed: {'; '.join(changes)}"), LONGEST_CHANGES)]


ERROR = (
    "NEW - BASE: difference of the means over seeds on the same test examples, with its standard "
    "error, from test examples and seeds"
)


SIGNIFICANT = "better, worse: significant at 5 %, corrected for"


VISIBLE = "visible: the smallest loss that would have been found with a probability of 80 %"


def _legend(main: str, others: Sequence[str], comparison: Comparison) -> list[str]:
    lines = []
    tested = [each for each in comparison.findings[main] if each.difference is not None]
    if tested:
        cells = several(len(tested), "tested cell")
        lines += [ERROR, f"{SIGNIFICANT} {cells} by Holm's procedure", VISIBLE]
    others = [name for name in others if comparison.in_both(name)]
    if costs := [title(name) for name in others if name in COSTS]:
        lines.append(f"{', '.join(costs)}: relative change; =: equal")
    lines += _legend_of_latencies(comparison)
    if any(pair.changes for pair in comparison.pairs):
        lines.append("changed: parts of the key, BASE -> NEW; see hepbench why")
    return lines


RECORDED = "in multiples of a reference computation that was timed in the same process"


TIMED = (
    "CPU time of a call with one example in ONNX Runtime, of both in turn in two processes; changes "
    f"below {100 * LEAST_TIMED:g} % count as none"
)


def _legend_of_latencies(comparison: Comparison) -> list[str]:
    names = (name for name in comparison.findings if "latency" in name)
    found = [finding for name in names for finding in comparison.in_both(name)]
    in_turn = any(each.timed for each in found)
    recorded = any(each.difference for each in found) or (found and not in_turn)
    return [f"latency: {text}" for text, used in ((RECORDED, recorded), (TIMED, in_turn)) if used]
