"""The page of networks and methods, docs/networks.md, is up to date."""

from __future__ import annotations

import pytest

from hepbench.registry.plugins import installed


@pytest.fixture
def script(benchmark_script):
    """The script that writes the page."""
    return benchmark_script("networks")


def test_the_page_is_what_its_script_writes_from_the_stored_facts(script):
    """Nothing on it is typed, and the suites that were run are those of the script."""
    facts = script.stored_facts()
    assert script.PAGE.read_text() == script.page(facts)
    assert facts.suites == {name: script.suite(name) for name in script.SUITES}


def test_the_page_has_a_row_for_every_network_that_comes_with_hepbench(script):
    """A network is a model that encodes; those of other distributions are not asked for."""
    models = [e for e in installed().entries("model") if "encode" in e.spec.offers]
    ours = {e.spec.name for e in models if e.plugin.distribution == "hepbench-plugins"}
    lines = script.PAGE.read_text().splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert sorted(rows[1:]) == sorted(ours)


def test_the_page_names_every_method_that_comes_with_hepbench(script):
    """In the table or among those that it leaves out; ``scratch`` begins the chains that prune."""
    entries = installed().entries("method")
    ours = {e.spec.name for e in entries if e.plugin.distribution == "hepbench-plugins"}
    text = script.PAGE.read_text()
    unnamed = {name for name in ours if f" {name} " not in text and f"`{name}`" not in text}
    assert unnamed == {"scratch"}


def test_the_same_chains_fit_the_same_networks_as_on_the_page(script, monkeypatch, tmp_path):
    """Also the reasons why others do not fit are those of today's plan."""
    monkeypatch.setenv("HEPBENCH_CACHE", str(tmp_path / "cache"))
    for name in script.SUITES:
        (tmp_path / f"{name}.toml").write_text(script.suite(name))
    cells, misfits = script.planned(tmp_path), script.planned_misfits(tmp_path)
    networks = script.stored_facts().networks
    assert {name: set(chains) for name, chains in cells.items()} == {
        name: set(facts.cells) for name, facts in networks.items()
    }
    assert misfits == {name: facts.misfits for name, facts in networks.items() if facts.misfits}
