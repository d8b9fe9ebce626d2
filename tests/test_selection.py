"""Selecting recorded cells by globs."""

from __future__ import annotations

import pytest
from made_records import record

from hepbench.planning.selection import chosen
from hepbench.specs.errors import UsageError

RECORDS = [
    record("gbdt", dataset="higgs[features=21]", chain="scratch"),
    record("conv-vae", dataset="jets", chain="pretrain+finetune[epochs=2]"),
    record("odd[", dataset="jets", chain="a]+["),
]


def models(*globs):
    """The models of the records that globs of datasets, models and methods choose."""
    return [each.model for each in chosen(RECORDS, *globs)]


def test_globs_choose_as_on_the_command_line_of_a_run():
    """With or without parameters; a chain also by its last method; no globs choose all."""
    assert models() == ["gbdt", "conv-vae", "odd["]
    assert models(["higgs"]) == ["gbdt"]
    assert models([], ["c*", "gbdt"]) == ["gbdt", "conv-vae"]
    assert models([], [], ["finetune"]) == ["conv-vae"]
    assert models([], ["odd["]) == ["odd["]
    assert chosen([], ()) == []


def test_a_glob_that_matches_nothing_is_answered_with_what_is_near():
    """And with what there is."""
    with pytest.raises(UsageError) as found:
        models(["higs"])
    assert str(found.value) == (
        "'higs' matches no dataset in these results. Did you mean 'higgs'? "
        "There are: higgs[features=21], jets"
    )


def test_globs_that_never_meet_are_said_not_to():
    """Each matches some cell, but no cell matches both."""
    with pytest.raises(UsageError, match="no cell matches all of -d, -m and -x"):
        models(["higgs"], ["conv-vae"])
