"""Export: the graph gives the scores of the network at any batch size, or export fails."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from needs import needs_extra
from torch import nn

from hepbench.cost import export, onnx_runtime
from hepbench.cost.tracing import batch, traceable
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


def token_logits(inputs, part):
    """Return the logits of particles and of a token that is put before them."""
    token = inputs["cloud"][:1, :1].expand(len(inputs["cloud"]), -1, -1)
    return part(torch.cat([token, inputs["cloud"]], 1)).mean(1)


@pytest.fixture(autouse=True)
def seed():
    """Draw the same weights in every test."""
    torch.manual_seed(0)


def test_a_graph_gives_the_scores_of_the_network_at_another_batch_size(tmp_path):
    """Traced with 2 examples in training mode, run with 1 and 13: scores agree to 1e-5."""
    network = transformer().train()
    difference = export.export(network, INPUTS, tmp_path / "network.onnx")
    assert difference <= onnx_runtime.TOLERANCE == 1e-5
    assert export.TRACED != onnx_runtime.CHECKED
    assert network.training
    session = onnx_runtime.session(tmp_path / "network.onnx")
    network.eval()
    for n in (1, 13):
        tensors = batch(INPUTS, n)
        (logits,) = session.run(None, onnx_runtime.feeds(session, tensors))
        np.testing.assert_allclose(logits, network(tensors).detach(), atol=1e-5)


def test_masks_are_boolean_inputs_of_the_graph(tmp_path):
    """Values of padded particles do not change the logits."""
    export.export(transformer(), INPUTS, tmp_path / "network.onnx")
    session = onnx_runtime.session(tmp_path / "network.onnx")
    assert {i.name: i.type for i in session.get_inputs()} == {
        "cloud": "tensor(float)",
        "mask": "tensor(bool)",
    }
    other = {"cloud": np.where(MASK[..., None], CLOUD, 7).astype(np.float32), "mask": MASK}
    (a,), (b,) = session.run(None, INPUTS), session.run(None, other)
    np.testing.assert_allclose(a, b, atol=1e-6)
    (all_real,) = session.run(None, {"cloud": CLOUD, "mask": np.ones_like(MASK)})
    assert abs(a - all_real).max() > 1e-3


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.InstanceNorm1d])
def test_a_norm_without_weights_has_none_after_the_export_either(norm, tmp_path):
    """It has some while the graph is written: the exporter needs them if it has lost the sizes."""

    def forward(inputs, norm, head):
        return head(norm(inputs["cloud"].transpose(1, 2)).mean(2))

    network = Network(forward, norm(8, affine=False), nn.Linear(8, 2))
    names = list(network.state_dict())
    assert export.export(network, INPUTS, tmp_path / "network.onnx") <= onnx_runtime.TOLERANCE
    assert list(network.state_dict()) == names


@pytest.mark.parametrize(
    "network",
    [
        linear_network(
            lambda logits: logits.reshape(int(logits.shape[0]), -1)[: int(logits.shape[0])]
        ),
        linear_network(lambda logits: logits + torch.zeros(len(logits), 1)),
        linear_network(lambda logits: logits + logits.sum(0) / int(logits.shape[0])),
        Network(token_logits, nn.Linear(8, 2)),
    ],
    ids=["sliced", "added", "averaged", "token"],
)
def test_code_that_fixes_the_batch_size_of_a_trace_is_exported_all_the_same(network, tmp_path):
    """By the newer exporter: the traced graph fails, returns fewer rows or gives other scores."""
    path = tmp_path / "network.onnx"
    with traceable(network):
        export._write(network, batch(INPUTS, 2), path, fixed_sizes=[])
    with pytest.raises(ExportError, match="traced with 2 examples"):
        export.check(network, INPUTS, path)
    assert export.export(network, INPUTS, path) <= onnx_runtime.TOLERANCE
    assert list(tmp_path.iterdir()) == [path]


def test_if_both_exporters_fail_the_likely_line_is_named(tmp_path):
    """In one line, with both errors; no file is left."""
    network = linear_network(
        lambda logits: torch.stack([logits[i] for i in range(len(logits))]).tanh()
    )
    with pytest.raises(ExportError) as caught:
        export.export(network, INPUTS, tmp_path / "network.onnx")
    older, _, rest = str(caught.value).partition("; with the newer exporter: ")
    newer, _, cause = rest.partition("; likely cause: a fixed number from ")
    assert older == (
        "the ONNX graph, traced with 2 examples, returns (2, 2) for 7 examples; torch returns (7, 2)"
    )
    assert newer.startswith("the network cannot be exported to ONNX: ")
    assert cause.startswith("test_export.py, line ")
    assert cause.endswith("torch.stack([logits[i] for i in range(len(logits))]).tanh()")
    assert "\n" not in newer
    assert not list(tmp_path.iterdir())


def test_without_the_newer_exporter_its_package_is_named(monkeypatch, tmp_path):
    """Beside the error of the older one, and the line."""
    installed = export.find_spec
    monkeypatch.setattr(
        export, "find_spec", lambda name: None if name == "onnxscript" else installed(name)
    )
    with pytest.raises(ExportError) as caught:
        export.export(Network(token_logits, nn.Linear(8, 2)), INPUTS, tmp_path / "network.onnx")
    message = str(caught.value)
    assert "needs onnxscript: pip install 'hepbench[onnx]'; likely cause" in message
    assert message.endswith('token = inputs["cloud"][:1, :1].expand(len(inputs["cloud"]), -1, -1)')


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (linear_network(lambda logits: logits + torch.rand_like(logits)), "differ from torch's"),
        (linear_network(lambda logits: logits * torch.nan), "differ from torch's by nan"),
        (linear_network(torch.linalg.svdvals), "cannot be exported to ONNX"),
    ],
    ids=["random", "nan", "operator"],
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
    session = onnx_runtime.session(tmp_path / "network.onnx")
    assert set(onnx_runtime.feeds(session, batch(INPUTS, 3))) == {"cloud"}


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    """The error gives the command that installs the package."""
    monkeypatch.setattr(
        onnx_runtime, "find_spec", lambda name: None if name == "onnxruntime" else 1
    )
    with pytest.raises(ExportError, match=r"onnxruntime not installed.*hepbench\[onnx\]"):
        export.export(transformer(), INPUTS, tmp_path / "network.onnx")


def test_few_examples_are_repeated():
    """A batch larger than the inputs repeats their rows, in order."""
    assert batch({"x": np.arange(3)}, 7)["x"].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert batch({"x": torch.arange(3)}, 2)["x"].tolist() == [0, 1]
