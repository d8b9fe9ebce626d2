"""A figure may need several files: each is a sheet with a name and a caption. Save them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import chain, count
from typing import TYPE_CHECKING

from hepbench.specs.errors import ResultsError, UsageError
from hepbench.specs.text import one_line
from hepbench.tables.latex import escape

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Sheet:
    """One file of a figure.

    Attributes:
        figure: as wide as it is printed.
        title: what the figure shows, the beginning of the caption; it names the dataset.
        name: tells the file from the others of the same command.
        notes: further parts of the caption.
    """

    figure: Figure
    title: str
    name: str
    notes: list[str] = field(default_factory=list)

    @property
    def caption(self) -> str:
        """The caption as plain text, in one line."""
        notes = dict.fromkeys(one_line(note).rstrip(".") for note in self.notes)
        return f"{one_line(self.title)}: {'; '.join(filter(None, notes))}."


def save(sheets: Sequence[Sheet], path: Path) -> list[Path]:
    """Save sheets, and return their files: ``path`` of one, ``path-<name>`` of several.

    Raises:
        ResultsError: a file cannot be written.
    """
    from hepbench.plots import style

    paths = _paths(sheets, path)
    for sheet, where in zip(sheets, paths, strict=True):
        style.save(sheet.figure, where, sheet.caption)
    return paths


def _paths(sheets: Sequence[Sheet], path: Path) -> list[Path]:
    if len(sheets) == 1:
        return [path]
    used: dict[str, None] = {}
    for name in (slug(sheet.name) for sheet in sheets):
        numbered = (f"{name}-{n}" for n in count(2))
        used[next(each for each in chain([name], numbered) if each not in used)] = None
    return [path.with_name(f"{path.stem}-{name}{path.suffix}") for name in used]


def slug(text: str) -> str:
    """Return a text as a part of a file's name."""
    return re.sub(r"[^\w.]+", "-", text).strip("-.") or "figure"


CAPTIONS = (".tex", ".txt")


def check_caption(path: Path | None) -> None:
    """Raise UsageError if captions cannot be written to a file of this name."""
    if path is not None and path.suffix and path.suffix not in CAPTIONS:
        msg = f"--caption {path}: captions are written as .tex and .txt; leave the suffix out"
        raise UsageError(msg)


def write_captions(sheets: Sequence[Sheet], files: Sequence[Path], path: Path) -> list[Path]:
    """Write the captions of figures as LaTeX and as plain text; return both files.

    Args:
        sheets, files: the figures, and where they were saved.
        path: its suffix is replaced by ``.tex`` and ``.txt``.

    Raises:
        ResultsError: a file cannot be written.
    """
    pairs = list(zip(sheets, files, strict=True))
    texts = {
        ".tex": "\n".join(_latex(sheet, file) for sheet, file in pairs),
        ".txt": "\n\n".join(f"{file.name}\n{sheet.caption}" for sheet, file in pairs) + "\n",
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix, text in texts.items():
            path.with_suffix(suffix).write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}; choose another --caption"
        raise ResultsError(msg) from error
    return [path.with_suffix(suffix) for suffix in texts]


def _latex(sheet: Sheet, file: Path) -> str:
    from hepbench.plots import style

    wide = sheet.figure.get_figwidth() > style.SIZES["column"].width
    kind, width = ("figure*", r"\textwidth") if wide else ("figure", r"\columnwidth")
    return _LATEX % (kind, width, file.name, escape(sheet.caption), slug(file.stem), kind)


_LATEX = r"""\begin{%s}
  \includegraphics[width=%s]{%s}
  \caption{%s}
  \label{fig:%s}
\end{%s}
"""
