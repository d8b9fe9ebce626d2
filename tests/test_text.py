"""Short texts: names in messages, and characters that would move a cursor."""

from __future__ import annotations

import json
from unicodedata import category

from hypothesis import given
from hypothesis import strategies as st

from hepbench.specs import text, toml


@given(st.text())
def test_no_control_character_is_printed(words):
    """Neither of a terminal, nor one that turns the direction of writing; lines stay lines."""
    shown = text.printable(words)
    lines = [line.removesuffix("\r") for line in shown.split("\n")]
    assert all(c.isprintable() or category(c) == "Zs" for line in lines for c in line)
    assert shown.count("\n") == words.count("\n")
    assert text.printable(shown) == shown


@given(st.text(), st.booleans())
def test_what_is_printed_of_json_is_the_same_json(words, ascii_only):
    """Programs read back what was written."""
    written = json.dumps([words], ensure_ascii=ascii_only)
    assert json.loads(text.printable(written)) == [words]


@given(st.text(max_size=500), st.integers(10, 100))
def test_a_shortened_text_has_its_beginning_and_its_end(words, most):
    """At most as many characters as are allowed."""
    shown = text.shortened(words, most)
    assert len(shown) <= most
    assert shown == words or (shown[:3], shown[-3:]) == (words[:3], words[-3:])


def test_a_message_lists_some_of_many_names_and_suggests_one():
    """10,000 cells are no message, and a misspelt one is still found among them."""
    names = [f"toy[n={i}]/line/fit#0" for i in range(10_000)]
    message = text.unknown("cell", names[5000] + "0", names)
    assert f"Did you mean '{names[5000]}'?" in message
    assert f"Nearest of 10,000: {names[5000]}, " in message
    assert len(message) < 1000


@given(st.text())
def test_toml_is_read_or_refused(words):
    """No other error, whatever the text."""
    try:
        found = toml.loads(words)
    except toml.TomlError:
        return
    assert isinstance(found, dict)
