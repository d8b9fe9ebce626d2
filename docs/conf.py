"""How Sphinx builds the docs: `make docs`. The pages are Markdown that GitHub shows as well."""

from __future__ import annotations

import re
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

LISTED = re.compile(r"^- \[[^\]]+\]\(([^)#:]+)\.md\)", re.MULTILINE)
"""An entry of a list of pages, such as ``- [A suite file](suite.md): every key``."""


def add_contents(_app: Sphinx, page: str, source: list[str]) -> None:
    """Make the pages that an index lists its contents, in the order of its list."""
    if page.rpartition("/")[2] == "index":
        pages = "\n".join(LISTED.findall(source[0]))
        source[0] += f"\n```{{toctree}}\n:hidden:\n\n{pages}\n```\n"


def setup(app: Sphinx) -> None:
    """Connect this file to Sphinx."""
    app.connect("source-read", add_contents)
