r"""Write tables in LaTeX, whole and as wide as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.tables.printed import joined

if TYPE_CHECKING:
    from hepbench.tables.printed import Document, Table


def write(document: Document) -> str:
    r"""Return LaTeX tables for ``\usepackage{booktabs}``, each with its notes below."""
    tables = (_full(table, document) for table in document.tables)
    return joined([r"% needs \usepackage{booktabs}", *tables])


def _full(table: Table, document: Document) -> str:
    notes = [f"$^{{{n}}}$ {escape(note)}" for n, note in enumerate(table.notes, 1)]
    notes += map(escape, [*shared(table), *table.remarks, *document.explained("bold", table)])
    align = "".join("l" if column.left else "r" for column in table.columns)
    return _FULL % (caption(table), align, _grid(table), "\\\\\n".join(notes))


def shared(table: Table) -> list[str]:
    """Return the line about parameters that all rows have, if there are any."""
    return [f"left out of the names: {', '.join(table.shared)}"] if table.shared else []


def caption(table: Table) -> str:
    """Return the escaped caption of a table."""
    return escape(f"{table.title} ({table.subtitle})" if table.subtitle else table.title)


def _grid(table: Table) -> str:
    """Return titles and rows between the rules of booktabs."""
    heads = " & ".join(escape(column.title) for column in table.columns)
    rows = (" & ".join(row) + r" \\" for row in table.rows(r"\textbf{{{}}}".format, escape))
    return "\n".join([r"\toprule", heads + r" \\", r"\midrule", *rows, r"\bottomrule"])


def escape(text: str) -> str:
    """Return a text in which signs with a meaning in TeX are printed."""
    return "".join(map(_printable, " ".join(text.split()).translate(_SIGNS)))


def _printable(character: str) -> str:
    """Return a character, or its number if fonts of LaTeX may lack it."""
    return character if character <= "\xff" else f"U+{ord(character):04X}"


_SIGNS = str.maketrans(
    {sign: f"\\{sign}" for sign in "%_&#${}"}
    # behind a line end they would be read as its arguments
    | {sign: f"{{{sign}}}" for sign in "[*"}
    | {sign: f"${sign}$" for sign in "<>|"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"±": r"$\pm$", "≥": r"$\geq$", "†": r"$\dagger$", "\N{EN DASH}": "--"}
)


_FULL = r"""\begin{table}
\centering
\caption{%s}
\begin{tabular}{%s}
%s
\end{tabular}
\par\medskip
\begin{minipage}{\linewidth}\footnotesize
%s
\end{minipage}
\end{table}"""
