"""The page of backbones, docs/backbones.md, tells of all that were tried, and names what failed."""

from __future__ import annotations

import pytest
from hepbench_models import backbone_names


@pytest.fixture
def script(benchmark_script):
    """The script that writes the page."""
    return benchmark_script("backbones")


def test_the_page_is_what_its_script_writes_from_the_stored_facts(script):
    """Nothing on it is typed, and each backbone of the script was tried."""
    facts = script.stored_facts()
    assert script.PAGE.read_text() == script.page(facts)
    assert {*facts.backbones} == {label for label, *_ in script.backbones()}


def test_families_of_timm_and_every_gnn_are_there(script):
    """At least 15 families, each once; names that the libraries know."""
    families = [f.family for n, f in script.stored_facts().backbones.items() if "timm" in n]
    built = [family for family in families if family]
    assert len(built) == len({*built}) >= 15
    assert {*script.GNNS} == backbone_names.gnn_names()
    assert {*script.TIMM_MODELS} <= backbone_names.timm_names()


def test_what_failed_is_named_below_the_table(script):
    """With its step and reason; a row says that it failed."""
    facts, text = script.stored_facts(), script.PAGE.read_text()
    for label, found in facts.backbones.items():
        assert (f"`{label}`" in text) is True
        for step, error in found.errors.items():
            assert f"- `{label}`, {step}: {error}" in text
        assert script.row(label, found).count("**failed**") >= len({*found.errors} - {"trained"})
