"""Export: the graph gives the scores of the network at any batch size, or export fails."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from needs import needs_extra
from torch import nn

from hepbench.cost import export
from hepbench.cost.tracing import batch
from hepbench.specs.errors import ExportError

pytestmark = needs_extra("hepbench[onnx]")

rng = np.random.default_rng(0)
CLOUD = rng.normal(size=(20, 10, 8)).astype(np.float32)
MASK = np.arange(10) < rng.integers(1, 10, size=(20, 1))
INPUTS = {"cloud": CLOUD, "mask": MASK}


class Network(nn.Module):
    """A network from a function of the inputs and some modules."""

    def __init__(self, function, *parts):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, inputs):
        return self.function(inputs, *self.parts)


def transformer_logits(inputs, encoder, head):
    """Return the logits of a transformer on particles; the mask removes padding."""
    code = encoder(inputs["cloud"], src_key_padding_mask=~inputs["mask"])
    return head((code * inputs["mask"][..., None]).sum(1))


def transformer():
    """Return a small transformer with three classes."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return Network(
        transformer_logits,
        nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        nn.Linear(8, 3),
    )


def linear_network(function):
    """Return a linear network whose logits a function changes."""

    def forward(inputs, part):
        return function(part(inputs["cloud"].flatten(1)))

    return Network(forward, nn.Linear(80, 2))


@pytest.fixture(autouse=True)
def seed():
    """Draw the same weights in every test."""
    torch.manual_seed(0)


def test_a_graph_gives_the_scores_of_the_network_at_another_batch_size(tmp_path):
    """Traced with 2 examples in training mode, run with 1 and 13: scores agree to 1e-5."""
    network = transformer().train()
    difference = export.export(network, INPUTS, tmp_path / "network.onnx")
    assert difference <= export.TOLERANCE == 1e-5
    assert export.TRACED != export.CHECKED
    assert network.training
    session = export.session(tmp_path / "network.onnx")
    network.eval()
    for n in (1, 13):
        tensors = batch(INPUTS, n)
        (logits,) = session.run(None, export.feeds(session, tensors))
        np.testing.assert_allclose(logits, network(tensors).detach(), atol=1e-5)


def test_masks_are_boolean_inputs_of_the_graph(tmp_path):
    """Values of padded particles do not change the logits."""
    export.export(transformer(), INPUTS, tmp_path / "network.onnx")
    session = export.session(tmp_path / "network.onnx")
    assert {i.name: i.type for i in session.get_inputs()} == {
        "cloud": "tensor(float)",
        "mask": "tensor(bool)",
    }
    other = {"cloud": np.where(MASK[..., None], CLOUD, 7).astype(np.float32), "mask": MASK}
    (a,), (b,) = session.run(None, INPUTS), session.run(None, other)
    np.testing.assert_allclose(a, b, atol=1e-6)
    (all_real,) = session.run(None, {"cloud": CLOUD, "mask": np.ones_like(MASK)})
    assert abs(a - all_real).max() > 1e-3


@pytest.mark.parametrize(
    "network",
    [
        linear_network(
            lambda logits: logits.reshape(int(logits.shape[0]), -1)[: int(logits.shape[0])]
        ),
        linear_network(lambda logits: logits + torch.zeros(int(logits.shape[0]), 1)),
        linear_network(lambda logits: logits + logits.sum(0) / int(logits.shape[0])),
    ],
    ids=["sliced", "added", "averaged"],
)
def test_a_graph_with_a_fixed_batch_size_is_an_error(network, tmp_path):
    """The graph may fail, return fewer rows or give other scores. No file is left."""
    with pytest.raises(ExportError, match="traced with 2 examples"):
        export.export(network, INPUTS, tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (linear_network(lambda logits: logits + torch.rand_like(logits)), "differ from torch's"),
        (linear_network(lambda logits: logits * torch.nan), "differ from torch's by nan"),
        (linear_network(lambda logits: torch.as_tensor(logits.numpy())), "returns .2, 2. for 7"),
        (
            linear_network(lambda logits: torch.fft.rfft(logits, 3).real),
            "cannot be exported to ONNX",
        ),
    ],
    ids=["random", "nan", "numpy", "operator"],
)
def test_a_graph_with_other_scores_is_an_error(network, says, tmp_path, capfd):
    """The error is one line, and no file is left."""
    with pytest.raises(ExportError, match=says) as caught:
        export.export(network, INPUTS, tmp_path / "network.onnx")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_input_that_the_network_ignores_is_not_in_the_graph(tmp_path):
    """A linear network does not use the mask."""
    export.export(linear_network(lambda logits: logits), INPUTS, tmp_path / "network.onnx")
    session = export.session(tmp_path / "network.onnx")
    assert set(export.feeds(session, batch(INPUTS, 3))) == {"cloud"}


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    """The error gives the command that installs the package."""
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxruntime" else 1)
    with pytest.raises(ExportError, match=r"onnxruntime not installed.*hepbench\[onnx\]"):
        export.export(transformer(), INPUTS, tmp_path / "network.onnx")


def test_few_examples_are_repeated():
    """A batch larger than the inputs repeats their rows, in order."""
    assert batch({"x": np.arange(3)}, 7)["x"].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert batch({"x": torch.arange(3)}, 2)["x"].tolist() == [0, 1]
