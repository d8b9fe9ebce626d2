"""Write tables as Markdown for GitHub, or as an HTML page."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from hepbench.tables.printed import joined

if TYPE_CHECKING:
    from collections.abc import Callable

    from hepbench.tables.printed import Document, Table


def github(document: Document) -> str:
    """Return tables as Markdown for GitHub, with numbered notes."""
    verdicts = (
        line
        for verdict, findings in document.verdicts
        for line in (f"- {markdown(verdict)}", *(f"  - {markdown(each)}" for each in findings))
    )
    blocks = ["\n".join(verdicts)]
    for table in document.tables:
        notes = [f"{n}. {markdown(note)}" for n, note in enumerate(table.notes, 1)]
        blocks.append(f"**{markdown(table.title)}** {markdown(table.subtitle)}".strip())
        if table.shared:
            blocks.append(f"Left out of the names below: {markdown(', '.join(table.shared))}")
        blocks += [_grid(table, "pipe", "**{}**".format, markdown), "\n".join(notes)]
        blocks.append("<br>\n".join(map(markdown, table.remarks)))
    return joined([*blocks, "<br>\n".join(map(markdown, document.explained("bold")))])


def html(document: Document) -> str:
    """Return tables as a self-contained HTML page with light and dark colours."""
    return html_page(", ".join(table.title for table in document.tables[:3]), html_tables(document))


def html_tables(document: Document) -> str:
    """Return tables with verdict, notes and legend as the body of an HTML page."""
    legend = "<br>\n".join(map(escape, document.explained("bold")))
    lines = (line for verdict, findings in document.verdicts for line in (verdict, *findings))
    verdict = "<br>\n".join(map(escape, lines))
    blocks = [verdict and f"<p>{verdict}</p>", *map(_section, document.tables), f"<p>{legend}</p>"]
    return "\n".join(filter(None, blocks))


def _section(table: Table) -> str:
    title = f"{escape(table.title)} <small>{escape(table.subtitle)}</small>"
    text = f"Left out of the names below: {escape(', '.join(table.shared))}"
    shared = f"<p>{text}</p>\n" if table.shared else ""
    grid = _grid(table, "unsafehtml", "<b>{}</b>".format, escape)
    notes = "\n".join(f"<li>{escape(note)}" for note in table.notes)
    remarks = "<br>\n".join(map(escape, table.remarks))
    return f"<h2>{title}</h2>\n{shared}<div>{grid}</div>\n<ol>{notes}</ol>\n<p>{remarks}</p>"


def html_page(title: str, body: str) -> str:
    """Return a self-contained HTML page with a title, which is escaped, and a body of HTML."""
    return _HTML.format(title=escape(title), body=body)


def _grid(
    table: Table, style: str, mark: Callable[[str], str], escaped: Callable[[str], str]
) -> str:
    from tabulate import tabulate

    heads = [escaped(column.title) for column in table.columns]
    align = ["left" if column.left else "right" for column in table.columns]
    rows = table.rows(mark, escaped)
    return tabulate(rows, heads, style, disable_numparse=True, colalign=align)


def markdown(text: str) -> str:
    """Escape a text for Markdown."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("](", "]\\(")
    return re.sub(r"([\\`*|~$]|\b_|_\b)", r"\\\1", text)


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
