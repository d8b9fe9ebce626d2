"""Short texts: counts, durations, and unknown names with a suggestion."""

from __future__ import annotations

import re
from bisect import bisect
from typing import TYPE_CHECKING

from hepbench.specs.renamed import explained

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


COMPARED = 200
"""Names before and behind an unknown one that a suggestion is taken from."""


def unknown(
    kind: str, name: str, known: Iterable[str], *, listed: Iterable[str] | None = None
) -> str:
    """Return a one-line error message for an unknown name, with a suggestion if one is near.

    Args:
        kind, name: what is unknown.
        known: all names of this kind.
        listed: what the message lists if all known names are too many.
    """
    names = sorted(known)
    named = shortened(name, LONGEST_NAME)
    shown = known_or_near(name, names if listed is None else sorted(listed))
    return f"no {kind} named '{named}'.{did_you_mean(name, names)} {shown}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that suggests the nearest known name, after a space; "" if none is near."""
    near = _near(name, sorted(known), most=1)
    return f" Did you mean '{shortened(near[0], LONGEST_NAME)}'?" if near else ""


def known_or_near(name: str, known: Sequence[str]) -> str:
    """Return all known names as a text, or of many only the nearest to a name, if some are near."""
    near = _near(name, known, most=MOST_NEAR) if len(known) > MOST_NAMES else []
    if near:
        return f"Nearest of {len(known):,}: {enumerated(near)}"
    return f"Known: {enumerated(known)}"


def _near(name: str, names: Sequence[str], *, most: int) -> list[str]:
    from difflib import get_close_matches

    # looking at all of many thousand names would take seconds; a misspelt one is near in order
    place = bisect(names, name)
    around = names[max(0, place - COMPARED) : place + COMPARED]
    return get_close_matches(name, around, n=most)


MOST_NAMES, MOST_NEAR = 20, 5
"""Names that a message lists; of more names, those that are nearest."""


LONGEST_NAME = 100
"""Characters of a name in a message."""


def enumerated(names: Iterable[str]) -> str:
    """Return names as a text separated by commas; a long list or name is shortened."""
    found = list(names)
    shown = [shortened(name, LONGEST_NAME) for name in found[:MOST_NAMES]]
    if len(found) > MOST_NAMES:
        shown.append(f"and {len(found) - MOST_NAMES:,} more")
    return ", ".join(shown) or "none"


LONGEST_LINE = 1500
"""Characters of an error on the command line."""


def shortened(text: str, most: int = LONGEST_LINE) -> str:
    """Shorten a text to at most ``most`` characters by leaving out its middle."""
    if len(text) <= most:
        return text
    kept = (most - 3) // 2
    return f"{text[:kept]}...{text[-kept:]}"


def one_line(text: str) -> str:
    """Return a text as one line in which control characters such as ``\\x1b`` are escaped."""
    return text if text.isprintable() else _escape_control_characters(" ".join(text.split()))


def printable(text: str) -> str:
    """Return a text in which control characters except line ends are escaped."""
    return "\n".join(map(_printable_line, text.split("\n")))


def _printable_line(line: str) -> str:
    if line.isprintable():
        return line
    # lines of CSV end with it
    end = "\r" if line.endswith("\r") else ""
    return _escape_control_characters(line.removesuffix("\r")) + end


def _escape_control_characters(text: str) -> str:
    return "".join(
        c if c.isprintable() or _is_space_within_line(c) else _escape_character(c) for c in text
    )


def _is_space_within_line(character: str) -> bool:
    """Return whether a character is a space (also a thin one) that does not end a line."""
    return character.isspace() and character > "\x9f" and character not in "\u2028\u2029"


def _escape_character(character: str) -> str:
    if character < " ":
        return character.encode("unicode_escape").decode()
    # JSON may hold the others as they are, and reads only this notation of them
    data = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{data[i : i + 2].hex()}" for i in range(0, len(data), 2))


LONGEST_TEXT = 1 << 16
"""Characters of an error's text or traceback that are kept."""


def error_text(error: BaseException) -> str:
    """Return the beginning of an error's text, or its type if it has no text."""
    try:
        text = explained(error) or str(error)
    except Exception as second:  # noqa: BLE001 - a plugin's error may fail to write its text
        text = f"the text of this error cannot be read: {type(second).__name__}"
    return encodable(text[:LONGEST_TEXT].strip() or type(error).__name__)


def encodable(text: str) -> str:
    """Return a text with bytes that are not Unicode (from file names) escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


DASH = "\N{EN DASH}"


def natural_order(value: object) -> list[tuple[bool, float, str]]:
    """Return a key that sorts texts with numbers in them by these: ``n=9`` before ``n=10``."""
    parts = re.split(r"(\d+(?:\.\d+)?)", str(value))
    # every second part is a number
    return [(i % 2 == 1, float(p) if i % 2 else 0.0, p) for i, p in enumerate(parts)]


def several(n: int, what: str) -> str:
    """Return a count with its noun, ``1 cell`` or ``2 cells``."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """Return a duration with two digits and its unit, or a dash for None."""
    if seconds is None:
        return DASH
    units = (("ms", 0.001), ("s", 1), ("min", 60), ("h", 3600))
    unit, size = next((u for u in units if seconds < 100 * u[1]), units[-1])
    count = seconds / size
    return f"{count:.1f} {unit}" if count < 9.95 else f"{count:.0f} {unit}"
