"""How tables are written: numbers rounded to their errors, and the formats that hold them.

Pure: strings and numbers in, text out. What a table says is decided in ``tables``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from html import escape
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

DASH = "\N{EN DASH}"
MOST_PLACES = 6
MIN_WIDTH, MAX_WIDTH = 100, 150


@dataclass(frozen=True, slots=True)
class Figure:
    """A number over the seeds of a row, unrounded.

    Attributes:
        value: mean over the seeds that have one; None where none has.
        stderr: standard error of the test sample, mean over those seeds.
        spread: sample standard deviation over those seeds; None for one seed.
        n: how many seeds have a value.
        limit: True where a seed has only a 95 % lower limit: then the mean is a lower limit too.
    """

    value: float | None = None
    stderr: float | None = None
    spread: float | None = None
    n: int = 0
    limit: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table. ``marks`` are numbers of its ``notes``, from 1; ``best`` says which rows are."""

    title: str
    facts: str
    rows: list[list[str]]
    best: list[bool]
    marks: list[list[int]]
    notes: list[str]
    looks: list[str]


@dataclass(frozen=True, kw_only=True)
class Document:
    """Tables with the same columns.

    Attributes:
        heads: of the columns.
        left: how many columns, from the first, are labels; the others are numbers.
        main: the column by which rows are ranked, if they are.
        tie: what the mark of the best rows means; empty where none is marked.
        legend: lines below everything.
    """

    heads: list[str]
    left: int
    tables: list[Table]
    main: int | None = None
    tie: str = ""
    legend: list[str] = field(default_factory=list)


def places(figure: Figure) -> int:
    """Return the decimals that show two digits of the larger error; of none, three of the value."""
    error = max(figure.stderr or 0.0, figure.spread or 0.0) or abs(figure.value or 0.0) / 10
    return 1 - int(f"{error:.1e}".partition("e")[2]) if error else 3


def column_places(figures: Iterable[Figure]) -> int:
    """Return the decimals of a column: two digits of the smallest of its rows' errors."""
    return min(MOST_PLACES, max((places(f) for f in figures if f.value is not None), default=3))


def row_places(figure: Figure, column: int) -> int:
    """Return the decimals of one row: the column's, but at most three digits of its own error."""
    return min(column, places(figure) + 1)


def with_errors(figure: Figure, decimals: int) -> str:
    """Return a figure as ``0.7762 ±0.0086 ±0.0012``: test sample, seeds."""
    if figure.value is None or figure.limit:
        return compact(figure, decimals)
    width = max(decimals, 0) + 3
    errors = (
        f"{DASH if error is None else f'±{_fixed(error, decimals)}':>{width}}"
        for error in (figure.stderr, figure.spread)
    )
    return " ".join([_fixed(figure.value, decimals), *errors])


def compact(figure: Figure, decimals: int) -> str:
    """Return a figure as ``0.7762(86)(12)``: test sample, seeds, in units of the last digit."""
    if figure.value is None:
        return DASH
    if figure.limit:
        return f"≥{_floor(figure.value, decimals)}"
    errors = (figure.stderr, figure.spread)
    known = any(error is not None for error in errors)
    brackets = (f"({_digits(error, decimals)})" for error in errors if known)
    return "".join([_fixed(figure.value, decimals), *brackets])


def value_only(figure: Figure, decimals: int) -> str:
    """Return the value of a figure without its errors."""
    return DASH if figure.value is None else _fixed(figure.value, decimals)


def spelt_out(cell: str) -> str:
    """Return a figure in brackets with its errors written out, or nothing if it is not one."""
    if not (match := re.fullmatch(rf"(\d+\.(\d+))\((\d+)\)\((\d+|{DASH})\)", cell)):
        return ""
    value, after, *errors = match.groups()
    size = len(after)
    spelt = (DASH if e == DASH else f"±{int(e) / 10**size:.{size}f}" for e in errors)
    return f"{cell} is {value} {' '.join(spelt)}"


def number(value: float | None) -> str:
    """Return a count or a rate: whole from 100 on, below that three digits."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def duration(seconds: float | None) -> str:
    """Return a time with two digits and its unit."""
    if seconds is None:
        return DASH
    for unit, size in (("ms", 0.001), ("s", 1), ("min", 60)):
        if seconds < 100 * size:
            return f"{_two_digits(seconds / size)} {unit}"
    return f"{_two_digits(seconds / 3600)} h"


def csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as comma-separated values after RFC 4180, a list as one field."""
    from csv import DictWriter
    from io import StringIO

    text = StringIO(newline="")
    writer = DictWriter(text, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _field(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a JSON array of objects."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(rows), indent=1).decode() + "\n"


def plain(document: Document) -> str:
    """Return text for a terminal."""
    grids = [_grid(document, table, "*{}") for table in document.tables]
    columns = zip(_heads(document), *chain.from_iterable(grids), strict=True)
    widths = [max(map(len, column)) for column in columns]
    wrap = min(max(MIN_WIDTH, sum(widths) + 2 * len(widths) - 2), MAX_WIDTH)
    parts = []
    for table, grid in zip(document.tables, grids, strict=True):
        lines = [_heads(document), ["-" * size for size in widths], *grid]
        parts.append(f"{table.title}  {table.facts}".strip())
        parts.append("\n".join(_line(cells, widths, document) for cells in lines))
        below = [_hang(f"{n:>3}  ", note, wrap) for n, note in enumerate(table.notes, 1)]
        parts.append("\n".join(below + [_hang("  ", look, wrap) for look in table.looks]))
    parts.append("\n".join(_hang("", text, wrap) for text in _legend(document, "*")))
    return "\n\n".join(filter(None, parts)) + "\n"


def github(document: Document) -> str:
    """Return GitHub's Markdown; notes are numbered text, which survives being copied."""
    heads = _heads(document)
    rule = [
        "---:" if document.left <= i < len(document.heads) else "---" for i in range(len(heads))
    ]
    parts = []
    for table in document.tables:
        rows = _grid(document, table, "**{}**", _markdown)
        parts.append(f"**{_markdown(table.title)}** {_markdown(table.facts)}".strip())
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in [heads, rule, *rows]))
        parts.append("\n".join(f"{n}. {_markdown(note)}" for n, note in enumerate(table.notes, 1)))
        parts.append("<br>\n".join(map(_markdown, table.looks)))
    parts.append("<br>\n".join(map(_markdown, _legend(document, "bold"))))
    return "\n\n".join(filter(None, parts)) + "\n"


def latex(document: Document) -> str:
    r"""Return LaTeX tables for ``\usepackage{booktabs}``, each with its notes below it."""
    heads = " & ".join(map(_latex, _heads(document)))
    numbers = len(document.heads) - document.left
    columns = (
        "l" * document.left + "r" * numbers + "l" * len(_heads(document)[len(document.heads) :])
    )
    parts = [r"% needs \usepackage{booktabs}"]
    for table in document.tables:
        rows = _grid(document, table, r"\textbf{{{}}}", _latex)
        notes = [f"$^{{{n}}}$ {_latex(note)}" for n, note in enumerate(table.notes, 1)]
        notes += map(_latex, [*table.looks, *_legend(document, "bold")])
        caption = _latex(f"{table.title} ({table.facts})" if table.facts else table.title)
        body = "\n".join(f"{' & '.join(cells)} \\\\" for cells in rows)
        parts.append(_LATEX % (caption, columns, heads, body, "\\\\\n".join(notes)))
    return "\n\n".join(parts) + "\n"


def html(document: Document) -> str:
    """Return a page that stands alone, for light and dark."""
    title = ", ".join(table.title for table in document.tables[:3])
    return _PAGE.format(title=escape(title), body=fragment(document))


def fragment(document: Document) -> str:
    """Return the tables as a part of an HTML page, with their style."""
    tables = "\n".join(_html_table(document, table) for table in document.tables)
    legend = "<br>\n".join(map(escape, _legend(document, "bold")))
    below = f'<p class="legend">{legend}</p>\n' if legend else ""
    return f'<style>{_STYLE}</style>\n<div class="hepbench">\n{tables}\n{below}</div>\n'


def _html_table(document: Document, table: Table) -> str:
    numbers = range(document.left, len(document.heads))
    tags = [(" class=number" if i in numbers else "") for i in range(len(_heads(document)))]
    heads = "".join(
        f"<th{tag}>{escape(head)}" for tag, head in zip(tags, _heads(document), strict=True)
    )
    rows = []
    for cells, best in zip(_grid(document, table, "<b>{}</b>", escape), table.best, strict=True):
        muted = (_muted(cell) if i in numbers else cell for i, cell in enumerate(cells))
        line = "".join(f"<td{tag}>{cell}" for tag, cell in zip(tags, muted, strict=True))
        rows.append(f"<tr{' class=best' if best else ''}>{line}")
    return _HTML_TABLE.format(
        title=escape(table.title),
        facts=escape(table.facts),
        heads=heads,
        rows="\n".join(rows),
        notes="\n".join(f"<li>{escape(note)}" for note in table.notes),
        looks="<br>".join(map(escape, table.looks)),
    )


def _heads(document: Document) -> list[str]:
    noted = any(table.notes for table in document.tables)
    return [*document.heads, "notes"] if noted else document.heads


def _legend(document: Document, mark: str) -> list[str]:
    return [f"{mark}: {document.tie}", *document.legend] if document.tie else [*document.legend]


def _grid(
    document: Document, table: Table, bold: str, escaped: Callable[[str], str] = str
) -> list[list[str]]:
    """Return the cells of a table with the best marked and the numbers of notes at the end."""
    noted = len(_heads(document)) > len(document.heads)
    grid = []
    for cells, best, marks in zip(table.rows, table.best, table.marks, strict=True):
        row = [escaped(cell) for cell in cells]
        if best and document.main is not None:
            row[document.main] = bold.format(row[document.main])
        grid.append([*row, ", ".join(map(str, marks))] if noted else row)
    return grid


def _line(cells: Sequence[str], widths: Sequence[int], document: Document) -> str:
    """Return cells side by side: labels and notes to the left, numbers to the right."""
    numbers = range(document.left, len(document.heads))
    aligned = (
        f"{cell:>{size}}" if i in numbers else f"{cell:<{size}}"
        for i, (cell, size) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(aligned).rstrip()


def _hang(start: str, text: str, width: int) -> str:
    if len(start) + len(text) <= width:
        return start + text
    from textwrap import fill

    indent = " " * len(start)
    return fill(text, width, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False)


def _fixed(value: float, decimals: int) -> str:
    if value == 0:
        return "0"
    # z: what rounds to zero has no sign
    return f"{round(value, decimals):z.{max(decimals, 0)}f}"


def _floor(value: float, decimals: int) -> str:
    # a lower limit is rounded down, or it would say more than was found
    step = Decimal(1).scaleb(-decimals)
    return f"{Decimal(repr(value)).quantize(step, ROUND_FLOOR):f}"


def _digits(error: float | None, decimals: int) -> str:
    """Return an error in units of the last digit; above 1 with its decimal point, as the PDG."""
    if error is None:
        return DASH
    text = _fixed(error, decimals)
    return text if error >= 1 else text.replace(".", "").lstrip("0") or "0"


def _two_digits(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def _field(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return "; ".join(value) if isinstance(value, list) else value


def _markdown(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("](", "]\\(")
    return re.sub(r"([\\`*|~$]|\b_|_\b)", r"\\\1", " ".join(text.split()))


def _latex(text: str) -> str:
    return "".join(_LATEX_SIGNS.get(sign, sign) for sign in " ".join(text.split()))


def _muted(cell: str) -> str:
    """Return a cell with its errors set apart from its value."""
    pattern = rf"( +(±[\d.]+|{DASH})|\([\d.{DASH}]+\))+"
    return re.sub(pattern, r"<span>\g<0></span>", cell)


_LATEX_SIGNS = {
    **{sign: f"\\{sign}" for sign in "%_&#${}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "→": r"$\to$",
    "²": "$^2$",
    "ε": r"$\varepsilon$",
    DASH: "--",
}

_LATEX = r"""\begin{table}
\centering
\caption{%s}
\begin{tabular}{%s}
\toprule
%s \\
\midrule
%s
\bottomrule
\end{tabular}
\par\medskip
\begin{minipage}{\linewidth}\footnotesize
%s
\end{minipage}
\end{table}"""

_HTML_TABLE = """<section>
<h2>{title} <small>{facts}</small></h2>
<div class="wide"><table>
<thead><tr>{heads}</thead>
<tbody>
{rows}
</tbody>
</table></div>
<ol>{notes}</ol>
<p>{looks}</p>
</section>"""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 2rem; }}
</style>
{body}</html>
"""

_STYLE = """
.hepbench { font: 15px/1.5 system-ui, sans-serif; }
.hepbench section { margin-bottom: 2.5rem; }
.hepbench h2 { font-size: 1.25rem; margin: 0 0 .5rem; }
.hepbench small { font-weight: normal; font-size: .9rem; margin-left: .5rem; }
.hepbench .wide { overflow-x: auto; }
.hepbench table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.hepbench th, .hepbench td { padding: .3rem .7rem; text-align: left; white-space: nowrap; }
.hepbench .number { text-align: right; }
.hepbench thead th { border-bottom: 2px solid; font-weight: 600; }
.hepbench tbody td { border-bottom: 1px solid color-mix(in srgb, currentColor 18%, transparent); }
.hepbench tr.best { background: color-mix(in srgb, #2a8 14%, transparent); }
.hepbench td span { font-size: .9em; font-weight: normal; white-space: pre; }
.hepbench small, .hepbench td span, .hepbench ol, .hepbench p { opacity: .75; }
.hepbench ol, .hepbench p { font-size: .9rem; margin: .6rem 0; max-width: 75rem; }
.hepbench ol { padding-left: 1.5rem; }
.hepbench ol:empty, .hepbench p:empty { display: none; }
"""

WRITERS = {"plain": plain, "github": github, "latex": latex, "html": html}
