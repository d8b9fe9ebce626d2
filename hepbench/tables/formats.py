"""Write tables of texts as plain text, Markdown, LaTeX, HTML, CSV or JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

from hepbench.specs.text import DASH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence


MIN_WIDTH, MAX_WIDTH = 100, 150


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of texts, with its title and notes.

    Attributes:
        title, subtitle: above it.
        best: for each row, whether it is marked as best.
        notes: numbered lines below it.
        remarks: lines that say how often each test set was looked at, and why no row is marked.
    """

    title: str
    subtitle: str
    rows: list[list[str]]
    best: list[bool]
    notes: list[str]
    remarks: list[str]


@dataclass(frozen=True, kw_only=True)
class Document:
    """Tables of texts with common columns; each table leaves out its empty optional columns.

    Attributes:
        verdict: lines above all tables: the verdict on each dataset.
        heads, align: titles of the columns; ``left`` or ``right``.
        optional: for each column, whether a table without a value in it leaves it out.
        main: index of the column that ranks the rows.
        tie: meaning of the mark of the best rows; empty if no row is marked.
        legend: lines below all tables.
    """

    verdict: list[str]
    heads: list[str]
    align: list[str]
    optional: list[bool]
    tables: list[Table]
    main: int
    tie: str
    legend: list[str]


def csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return table rows as comma-separated values (RFC 4180); a list is one field."""
    from csv import DictWriter
    from io import StringIO

    text = StringIO(newline="")
    writer = DictWriter(text, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _field(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return table rows as a JSON array of objects."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(rows), indent=1).decode() + "\n"


def plain(document: Document) -> str:
    """Return tables as plain text for a terminal."""
    grids = []
    for part in _parts(document):
        rows = _rows(part, part.tables[0], "*{}")
        # given as a row: tabulate pads columns for its own headers
        rule, head, *lines, _ = _grid(part, [part.heads, *rows], "simple").split("\n")
        grids.append([head, rule, *lines])
    width = min(max(MIN_WIDTH, *(len(grid[0]) for grid in grids)), MAX_WIDTH)
    blocks = []
    for table, grid in zip(document.tables, grids, strict=True):
        notes = (f"{n:>3}  {note}" for n, note in enumerate(table.notes, 1))
        below = [_wrapped(note, width, " " * 5) for note in notes]
        below += (f"  {remark}" for remark in table.remarks)
        title = f"{table.title}  {table.subtitle}".strip()
        blocks += [title, "\n".join(grid), "\n".join(below)]
    verdict = "\n".join(_wrapped(line, width, "  ") for line in document.verdict)
    return _joined(
        [verdict, *blocks, "\n".join(_wrapped(line, width) for line in _legend(document, "*"))]
    )


def github(document: Document) -> str:
    """Return tables as Markdown for GitHub, with numbered notes."""
    blocks = []
    for part in _parts(document):
        (table,), heads = part.tables, [*map(markdown, part.heads)]
        rows = _rows(part, table, "**{}**", markdown)
        notes = [f"{n}. {markdown(note)}" for n, note in enumerate(table.notes, 1)]
        blocks.append(f"**{markdown(table.title)}** {markdown(table.subtitle)}".strip())
        blocks += [_grid(part, rows, "pipe", heads), "\n".join(notes)]
        blocks.append("<br>\n".join(map(markdown, table.remarks)))
    return _joined([*blocks, "<br>\n".join(map(markdown, _legend(document, "bold")))])


def latex(document: Document) -> str:
    r"""Return LaTeX tables for ``\usepackage{booktabs}``, each with its notes below."""
    blocks = [r"% needs \usepackage{booktabs}"]
    for part in _parts(document):
        (table,) = part.tables
        rows = _rows(part, table, r"\textbf{{{}}}", _latex)
        # the style latex_booktabs would escape the bold marks
        grid = _grid(part, rows, "latex_raw", map(_latex, part.heads))
        for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
            grid = grid.replace(r"\hline", rule, 1)
        notes = [f"$^{{{n}}}$ {_latex(note)}" for n, note in enumerate(table.notes, 1)]
        notes += map(_latex, [*table.remarks, *_legend(document, "bold")])
        caption = _latex(f"{table.title} ({table.subtitle})" if table.subtitle else table.title)
        blocks.append(_LATEX % (caption, grid, "\\\\\n".join(notes)))
    return _joined(blocks)


def html(document: Document) -> str:
    """Return tables as a self-contained HTML page with light and dark colours."""
    return html_page(", ".join(table.title for table in document.tables[:3]), html_tables(document))


def html_tables(document: Document) -> str:
    """Return tables with notes and legend as the body of an HTML page."""
    sections = []
    for part in _parts(document):
        (table,) = part.tables
        rows = _rows(part, table, "<b>{}</b>", escape)
        grid = _grid(part, rows, "unsafehtml", map(escape, part.heads))
        title = f"{escape(table.title)} <small>{escape(table.subtitle)}</small>"
        notes = "\n".join(f"<li>{escape(note)}" for note in table.notes)
        remarks = "<br>\n".join(map(escape, table.remarks))
        sections.append(f"<h2>{title}</h2>\n<div>{grid}</div>\n<ol>{notes}</ol>\n<p>{remarks}</p>")
    legend = "<br>\n".join(map(escape, _legend(document, "bold")))
    return "\n".join([*sections, f"<p>{legend}</p>"])


def html_page(title: str, body: str) -> str:
    """Return a self-contained HTML page with a title, which is escaped, and a body of HTML."""
    return _HTML.format(title=escape(title), body=body)


def _parts(document: Document) -> Iterator[Document]:
    """Yield each table as a document of its own, without its empty optional columns."""
    for table in document.tables:
        kept = [
            i
            for i, optional in enumerate(document.optional)
            if not optional or any(row[i] != DASH for row in table.rows)
        ]
        yield replace(
            document,
            heads=[document.heads[i] for i in kept],
            align=[document.align[i] for i in kept],
            optional=[False] * len(kept),
            tables=[replace(table, rows=[[row[i] for i in kept] for row in table.rows])],
            main=kept.index(document.main),
        )


def _rows(
    document: Document, table: Table, mark: str, escaped: Callable[[str], str] = str
) -> list[list[str]]:
    """Return the rows of a table with a mark on the best ones."""
    rows = [[escaped(cell) for cell in row] for row in table.rows]
    for row, best in zip(rows, table.best, strict=True):
        if best:
            row[document.main] = mark.format(row[document.main])
    return rows


def _grid(
    document: Document, rows: Sequence[Sequence[str]], style: str, heads: Iterable[str] = ()
) -> str:
    from tabulate import tabulate

    return tabulate(rows, list(heads), style, disable_numparse=True, colalign=document.align)


def _legend(document: Document, mark: str) -> list[str]:
    return [f"{mark}: {document.tie}", *document.legend] if document.tie else document.legend


def _joined(blocks: Iterable[str]) -> str:
    return "\n\n".join(filter(None, blocks)) + "\n"


def _wrapped(text: str, width: int, indent: str = "") -> str:
    from textwrap import fill

    if len(text) <= width:
        return text
    return fill(text, width, subsequent_indent=indent, break_on_hyphens=False)


def _field(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return "; ".join(value) if isinstance(value, list) else value


def markdown(text: str) -> str:
    """Escape a text for Markdown."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("](", "]\\(")
    return re.sub(r"([\\`*|~$]|\b_|_\b)", r"\\\1", text)


def _latex(text: str) -> str:
    return " ".join(text.split()).translate(_LATEX_SIGNS)


_LATEX_SIGNS = str.maketrans(
    {sign: f"\\{sign}" for sign in "%_&#${}"}
    | {sign: f"${sign}$" for sign in "<>|"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"±": r"$\pm$", "≥": r"$\geq$", "\N{EN DASH}": "--"}
)


_LATEX = r"""\begin{table}
\centering
\caption{%s}
%s
\par\medskip
\begin{minipage}{\linewidth}\footnotesize
%s
\end{minipage}
\end{table}"""


_HTML = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 2rem; font: 15px/1.5 system-ui, sans-serif; }}
h2 {{ font-size: 1.25rem; margin: 2rem 0 .5rem; }}
div {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .7rem; text-align: left; white-space: pre; }}
tr {{ border-bottom: 1px solid #8884; }}
tr:has(b) {{ background: #2a82; }}
small, ol, p {{ font-size: .9rem; font-weight: normal; max-width: 75rem; }}
</style>
{body}
"""


WRITERS = {"plain": plain, "github": github, "latex": latex, "html": html}
