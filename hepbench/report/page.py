"""Write the content of a report as one HTML page.

Nothing that a record holds becomes markup: all of it is in one block of JSON, in which ``<`` is
written as an escape, and the script makes text nodes of it. The page forbids everything else by a
content security policy: it loads nothing, and runs no script but its own.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from contextlib import suppress
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

import msgspec

from hepbench.specs.errors import ResultsError
from hepbench.storage import temporary

if TYPE_CHECKING:
    from pathlib import Path

    from hepbench.report.content import Page, PageTable


SCRIPTS = (
    *("dom.js", "drawing.js", "table.js", "rows.js", "figures.js", "roc.js", "costs.js"),
    *("curves.js", "verdicts.js", "printing.js", "main.js"),
)
"""The parts of the page's script, in their order."""

STYLE = "report.css"


def html(page: Page) -> str:
    """Return a report as the text of an HTML page."""
    script = "\n".join(map(_static, SCRIPTS))
    style = _static(STYLE)
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return _HTML.format(
        policy=policy,
        title=escape(page.title),
        style=style,
        verdicts=_verdicts(page),
        data=_json(page),
        script=script,
    )


def write(page: Page, path: Path) -> None:
    """Write a report; the file gets its name when it is complete.

    Raises:
        ResultsError: it cannot be written.
    """
    part = temporary.part(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(html(page), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror or error}; choose another --output"
        raise ResultsError(msg) from error
    finally:
        # there is none if its folder could not be made
        with suppress(OSError):
            part.unlink()


def _static(name: str) -> str:
    return files("hepbench.report").joinpath("static", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(page: Page) -> str:
    """Return the content as JSON that may stand in a script element: it cannot end it."""
    return msgspec.json.encode(page).decode().replace("<", "\\u003c")


def _verdicts(page: Page) -> str:
    """Return the verdicts as HTML, for readers without the script."""
    return "\n".join(
        f"<li><strong>{escape(table.name)}</strong>: {escape(table.verdict)}{_findings(table)}</li>"
        for table in page.tables
    )


def _findings(table: PageTable) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in table.findings)
    return f"<ul>{items}</ul>" if items else ""


_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} - hepbench report</title>
<style>{style}</style>
</head>
<body>
<noscript>
<h1>{title}</h1>
<p>The tables and figures of this page need JavaScript, which is switched off here. The page loads
nothing from elsewhere. What the results say:</p>
<ul>
{verdicts}
</ul>
</noscript>
<script type="application/json" id="content">{data}</script>
<script>{script}</script>
</body>
</html>
"""
