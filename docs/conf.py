"""How Sphinx builds the docs: `make docs`. The pages are Markdown that GitHub shows as well."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hepbench import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "hepbench"
author = "the authors of hepbench"
release = __version__
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
nitpicky = True

myst_heading_anchors = 4  # as GitHub names them: page.md#a-heading

html_theme = "furo"
html_title = f"hepbench {release}"
html_copy_source = False
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["site.css"]

LISTED = re.compile(r"^- \[[^\]]+\]\(([^)#:]+)\.md\)", re.MULTILINE)
"""An entry of a list of pages, such as ``- [A suite file](suite.md): every key``."""


LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)]+)\)")
"""A link to a file in another folder, no image."""

DOCS = Path(__file__).resolve().parent


def prepare(_app: Sphinx, page: str, source: list[str]) -> None:
    """Change the Markdown of a page as only the site needs it."""
    source[0] = without_links_to_code(page, source[0])
    if page.rpartition("/")[2] == "index":
        source[0] += contents(source[0])


def contents(index: str) -> str:
    """Return the table of contents of an index: the pages that it lists, in their order."""
    pages = "\n".join(LISTED.findall(index))
    return f"\n```{{toctree}}\n:hidden:\n\n{pages}\n```\n"


def without_links_to_code(page: str, text: str) -> str:
    """Return a page in which links to files outside of docs/ are text: they are not on the site."""

    def linked(link: re.Match[str]) -> str:
        target = (DOCS / page).parent / link[2].partition("#")[0]
        return link[0] if target.resolve().is_relative_to(DOCS) else link[1]

    return LINK.sub(linked, text)


def setup(app: Sphinx) -> None:
    """Connect this file to Sphinx."""
    app.connect("source-read", prepare)
