"""Finds the line of a suite file that an error message is about. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


PLACE = re.compile(r"\$(?:\.[\w-]+(?:\[\d+\])?)*")
"""A place in a suite as messages name it: ``$.run[1].models[0]``."""


TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
"""Types of TOML values in words."""


def with_line(text: str, message: str, path: str) -> str:
    """Return an error message that begins with path and line, ``suite.toml:7: ...``.

    Args:
        text: of the suite file.
        message: names a place, a line (``at line 7``), or a name in quotes.
        path: of the suite file.
    """
    given = re.search(r"\(at line (\d+), column \d+\)", message)
    place = PLACE.search(message)
    line = int(given[1]) if given else None
    if line is None and place:
        key = re.search(r"no key named '([^']+)'|^([\w-]+) at \$", message)
        inside = f".{key[1] or key[2]}" if key else ""
        line = line_of_place(text, place[0].removesuffix(inside) + inside)
    return f"{path}: {message}" if line is None else f"{path}:{line}: {message}"


def line_of_place(text: str, place: str) -> int | None:
    """Return the line of a place such as ``$.run[1].models[0]``, or of the table that it is in.

    None for the file as a whole, and for what is not found, as the line is only a help.
    """
    steps = re.findall(r"\.([\w-]+)(?:\[(\d+)\])?", place)
    lines = list(enumerate(text.splitlines(), 1))
    inside = lines
    table = None
    # the table with the longest name is the innermost one
    for n in range(len(steps), 0, -1):
        name, index = ".".join(step for step, _ in steps[:n]), int(steps[n - 1][1] or 0)
        if (header := _header(lines, name, index)) is not None:
            table, inside, steps = lines[header][0], lines[header + 1 :], steps[n:]
            break
    if not steps:
        return table
    keys = (number for number, line in _until_header(inside) if _sets(line, steps[0][0]))
    return next(keys, table)


def _header(lines: list[tuple[int, str]], name: str, index: int) -> int | None:
    """Return the place in ``lines`` of the header of a table, or of one of several tables."""
    form = re.compile(rf"\s*\[\[?\s*{re.escape(name)}\s*[\].]")
    headers = [i for i, (_, line) in enumerate(lines) if form.match(line)]
    return headers[index] if index < len(headers) else None


def _until_header(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for number, line in lines:
        if re.match(r"\s*\[\[?\s*[\w.\"'-]+\s*\]\]?\s*(#.*)?$", line):
            return
        yield number, line


def _sets(line: str, name: str) -> bool:
    return re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*[.=]", line) is not None


def line_of_name(text: str, message: str) -> int | None:
    """Return the first line with a text in quotes that an error message names, or None."""
    for name in re.findall(r"'([^']{2,})'", message)[:1]:
        quoted = re.compile(rf"[\"'{{,+ ]{re.escape(name)}[\"'}},+\[ ]|^\s*{re.escape(name)}\s*=")
        for number, line in enumerate(text.splitlines(), 1):
            if quoted.search(line.partition("#")[0]):
                return number
    return None


def in_words(message: str) -> str:
    """Return a message about a wrong type in words: ``a list is expected, not a text in quotes``."""
    found = re.fullmatch(r"Expected `([^`]+)`, got `(\w+)`(?: - at `(.*)`)?", message)
    if found is None:
        return message
    expected = " or ".join(TYPES.get(name, name) for name in found[1].split(" | "))
    what = f"{found[3].removesuffix('[...]')}: " if found[3] else ""
    return f"{what}{expected} is expected, not {TYPES.get(found[2], found[2])}"
