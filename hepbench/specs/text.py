"""Short texts: counts, durations, and unknown names with a suggestion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.specs.renamed import explained

if TYPE_CHECKING:
    from collections.abc import Iterable


def unknown(
    kind: str, name: str, known: Iterable[str], *, listed: Iterable[str] | None = None
) -> str:
    """Return a one-line message for an unknown name, with a suggestion if a known name is similar.

    Args:
        kind, name: what is unknown.
        known: all names of this kind.
        listed: what the message lists if all known names are too many.
    """
    from difflib import get_close_matches

    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    shown = names if listed is None else sorted(listed)
    return f"no {kind} named '{name}'.{hint} Known: {', '.join(shown) or 'none'}"


def one_line(text: str) -> str:
    """Return a text in one line, with control characters written out: ``\\x1b`` moves no cursor."""
    if text.isprintable():
        return text
    text = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


LONGEST_TEXT = 1 << 16
"""Characters of an error's text or traceback that are kept."""


def error_text(error: BaseException) -> str:
    """Return the beginning of an error's text, which can be encoded; its type where it has none."""
    try:
        text = explained(error) or str(error)
    except Exception as second:  # noqa: BLE001 - a plugin's error may fail to write its text
        text = f"its text cannot be written: {type(second).__name__}"
    return encodable(text[:LONGEST_TEXT].strip() or type(error).__name__)


def encodable(text: str) -> str:
    """Return a text that can be encoded: file names may hold bytes that are no Unicode."""
    return text.encode("utf-8", "backslashreplace").decode()


DASH = "\N{EN DASH}"


def several(n: int, what: str) -> str:
    """Return ``1 cell`` or ``2 cells``."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """Return a time with two digits and its unit, or a dash for None."""
    if seconds is None:
        return DASH
    units = (("ms", 0.001), ("s", 1), ("min", 60), ("h", 3600))
    unit, size = next((u for u in units if seconds < 100 * u[1]), units[-1])
    count = seconds / size
    return f"{count:.1f} {unit}" if count < 9.95 else f"{count:.0f} {unit}"
