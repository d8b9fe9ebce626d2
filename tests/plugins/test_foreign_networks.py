"""Networks of other people's kinds are counted, pruned, rebuilt and exported, or a layer is named."""

from __future__ import annotations

import pytest
from conftest import TESTS
from foreign_networks import NETWORKS
from needs import needs_extra

LEFT = {
    "residual": (52_496, []),
    "squeeze-excite": (73_776, []),
    "dense": (606_224, ["layers.0", "layers.1", "layers.2"]),
    "transposed": (86_536, []),
    "shared": (2_704, []),
    "group-norm": (73_808, []),
    "gru": (9_672, ["first", "recurrent"]),
    "lstm": (5_400, ["first", "recurrent"]),
    "attention": (5_800, ["attention", "attention.out_proj", "first"]),
    "encoder-layer": (
        7_336,
        ["first", "layer.linear2", "layer.self_attn", "layer.self_attn.out_proj"],
    ),
    "edge-conv": (2_312, []),
    "sage": (1_944, []),
    "gat": (1_944, ["one.lin"]),
    "vit": (19_812, []),
}
"""MACs after structured pruning at ratio .5, and the layers that cannot shrink."""


@pytest.fixture
def script(monkeypatch):
    """The script that writes the page."""
    monkeypatch.syspath_prepend(TESTS.parent / "benchmarks")
    import foreign_networks_page

    return foreign_networks_page


@pytest.mark.slow
@needs_extra("hepbench[onnx]")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_another_kind_is_counted_pruned_rebuilt_and_exported(script, name):
    """MACs as by hand; half of all weights masked; the MACs that are left; equal scores."""
    found = script.facts(name)
    assert found["macs"] == NETWORKS[name][1]
    assert found["masked"] == pytest.approx(0.5, abs=1 / found["weights"])
    assert (found["structured"], found["cannot shrink"]) == LEFT[name]
    assert found["rebuilt"]
    assert found["onnx"] == ("no: LSTMs with projections" if name == "lstm" else "yes")


@pytest.mark.slow
@needs_extra("hepbench[onnx]")
@pytest.mark.filterwarnings("ignore")
def test_the_page_of_other_networks_is_what_its_script_writes(script):
    """Nothing on it is typed."""
    assert script.PAGE.read_text() == script.page([script.row(name) for name in NETWORKS])
