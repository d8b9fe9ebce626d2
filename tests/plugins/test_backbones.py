"""Backbones of timm and torch-geometric by name: which exist, what they get, what is refused."""

from __future__ import annotations

import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from hepbench_models import PYG, TIMM, backbone_names
from hepbench_models.gnn_backbone import edges, pooled
from hepbench_models.timm_import import import_timm
from test_particles import jets, tensors
from torch import nn

from hepbench import PluginError
from hepbench.planning.input_shapes import why_unfit
from hepbench.registry.resolve import resolve
from hepbench.specs.parameters import defaults

torch.set_num_threads(1)

timm = import_timm("timm")

IMAGE = {"image": (2, 20, 33)}
GRAPH = {"cloud": (7, 4), "mask": (7,), "neighbours": (7, 3)}


def built(spec, shapes, **chosen):
    torch.manual_seed(0)
    return resolve(spec.build)(shapes, **{**defaults(spec.params), **chosen}).eval()


def unfit(spec, shapes, **chosen):
    return why_unfit(spec, shapes, {**defaults(spec.params), **chosen})


# --- names


def test_names_are_those_of_the_libraries():
    """They are read from files, so that a plan imports neither library."""
    from torch_geometric.nn.models import basic_gnn

    assert backbone_names.timm_names() >= {*timm.list_models()}
    classes = {name for name, value in vars(basic_gnn).items() if isinstance(value, type)}
    subclasses = {n for n in classes if issubclass(getattr(basic_gnn, n), basic_gnn.BasicGNN)}
    assert backbone_names.gnn_names() == subclasses - {"BasicGNN"}


def test_looking_for_a_name_imports_neither_library():
    """Nor torch: a plan is made in a fraction of a second."""
    code = (
        "import sys; from hepbench_models import backbone_names as b; "
        "assert b.of_timm({}, name='resnet18', arguments={}) == ''; "
        "assert b.of_torch_geometric({'cloud': (3, 2)}, name='GAT', arguments={}) == ''; "
        "print([m for m in ('torch', 'timm', 'torch_geometric') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("spec", "shapes", "name", "near"),
    [
        (TIMM, IMAGE, "resnet81", "resnet18"),
        (TIMM, IMAGE, "ResNet18", "resnet18"),
        (TIMM, IMAGE, "resnet18.a1_in1k", "resnet18"),
        (PYG, GRAPH, "gat", "GAT"),
        (PYG, GRAPH, "SAGE", "GraphSAGE"),
    ],
)
def test_an_unknown_name_gets_near_ones(spec, shapes, name, near):
    """When a run is planned; a tag of weights is no part of a name."""
    reason = unfit(spec, shapes, name=name)
    assert reason.startswith("there is no ")
    assert f"named '{name}'; near: " in reason
    assert near in reason.partition("near: ")[2].split(", ")


def test_a_name_that_is_near_none_gets_none():
    """The message ends after the name."""
    expected = "there is no timm model named '?'"
    assert unfit(TIMM, IMAGE, name="?") == expected


@pytest.mark.parametrize(
    ("spec", "shapes", "argument"),
    [(TIMM, IMAGE, "pretrained"), (TIMM, IMAGE, "in_chans"), (PYG, GRAPH, "num_layers")],
)
def test_arguments_that_the_dataset_decides_are_refused(spec, shapes, argument):
    """Also those that would load weights."""
    reason = unfit(spec, shapes, arguments={argument: True})
    assert reason.startswith(f"argument '{argument}' cannot be chosen")


def test_a_graph_of_one_point_does_not_fit():
    """As for the other graph networks."""
    shapes = {"cloud": (1, 4), "mask": (1,), "neighbours": (1, 3)}
    assert unfit(PYG, shapes).startswith("a graph of 1 point has no edges")


# --- timm


def test_a_backbone_has_the_weights_that_timm_draws():
    """The same seed, channels and arguments give the same network, without its classifier."""
    network = built(TIMM, IMAGE, name="resnet18", arguments={"stem_width": 16})
    torch.manual_seed(0)
    theirs = timm.create_model("resnet18", in_chans=2, num_classes=0, stem_width=16)
    state = theirs.state_dict()
    assert all(torch.equal(t, state[n]) for n, t in network.backbone.state_dict().items())


@pytest.mark.parametrize(
    "name", ["resnet10t", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"]
)
def test_images_of_any_size_are_padded_with_zeros(name):
    """As much on both sides as the next multiple of 32 needs: 20 x 33 becomes 32 x 64."""
    network = built(TIMM, IMAGE, name=name)
    seen = []
    network.backbone.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    image = torch.ones(2, 2, 20, 33)
    with torch.no_grad():
        latents = network.encode({"image": image})
    assert latents.ndim == 2
    assert seen[0].shape == (2, 2, 32, 64)
    assert torch.equal(seen[0][:, :, 6:26, 15:48], image)
    assert seen[0].sum() == image.sum()


def test_no_weights_are_fetched(monkeypatch):
    """A network that timm has weights for is built without any connection."""

    def refuse(*_args, **_more):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert built(TIMM, IMAGE, name="resnet10t")


def test_an_argument_that_timm_refuses_is_one_line():
    """It names backbone, size and timm's reason."""
    expected = "^timm: resnet18 cannot be built for images of 32 x 64: TypeError: .*'depthh'"
    with pytest.raises(PluginError, match=expected) as caught:
        built(TIMM, IMAGE, name="resnet18", arguments={"depthh": 3})
    assert "\n" not in str(caught.value)


# --- torch-geometric


GNNS = sorted(backbone_names.gnn_names())
each_gnn = pytest.mark.parametrize("name", GNNS)


@each_gnn
def test_a_network_of_padded_clouds_is_torch_geometrics_on_each_cloud_alone(name):
    """The latents of each cloud without its padding, in eval mode and in training."""
    network = built(PYG, GRAPH, name=name, width=8)
    inputs, counts = jets([7, 5, 2]), [7, 5, 2]
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    for mode in (False, True):
        network.train(mode)
        found = network.encode(tensors(inputs)).detach()
        for i, n in enumerate(counts):
            target = torch.arange(n)[:, None].expand(-1, 3)
            source = torch.from_numpy(inputs["neighbours"][i, :n])
            joined = torch.stack([source[source != target], target[source != target]])
            x = network.network(torch.from_numpy(inputs["cloud"][i, :n]), joined)
            expected = torch.cat([x.mean(0), x.amax(0)])
            torch.testing.assert_close(found[i], expected.detach(), rtol=1e-3, atol=1e-4)


def test_statistics_in_training_are_those_of_points():
    """A norm gets as many rows as there are points, without padding."""
    network = built(PYG, GRAPH, name="GIN", width=8, arguments={"norm": "batch_norm"}).train()
    inputs, seen = tensors(jets([7, 5, 2])), []
    norm = next(m for m in network.modules() if isinstance(m, nn.BatchNorm1d))
    norm.register_forward_pre_hook(lambda _m, args: seen.append(args[0].detach()))
    network.encode(inputs)
    assert len(seen[0]) == 14


@each_gnn
def test_a_cloud_without_points_has_latents_of_zero(name):
    """Also alone, and in training."""
    network = built(PYG, GRAPH, name=name, width=8)
    for mode, counts in ((False, [0]), (False, [0, 3]), (True, [0, 3])):
        assert not network.train(mode).encode(tensors(jets(counts)))[0].any()


def test_edges_go_from_neighbours_to_points():
    """Indices count the points of all clouds; none from a point to itself, none to padding."""
    near = torch.tensor([[[1, 2], [0, 1], [2, 2]], [[1, 0], [0, 0], [2, 2]]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    source, target, exists = edges(near, mask)
    found = {*zip(source[exists].tolist(), target[exists].tolist(), strict=True)}
    assert found == {(1, 0), (2, 0), (0, 1), (4, 3), (3, 4)}


def test_pooling_ignores_padding():
    """Negative features too; no point gives zeros."""
    features = torch.tensor([[[-1.0], [-3], [5]], [[1], [1], [1]]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert pooled(features, mask).tolist() == [[-2, -1], [0, 0]]


def test_arguments_of_a_class_reach_it():
    """As its own parameters do; an unknown one is one line."""
    network = built(
        PYG, GRAPH, name="GAT", width=8, layers=2, arguments={"heads": 4, "norm": "layer"}
    )
    assert [conv.heads for conv in network.network.convs] == [4, 4]
    with pytest.raises(PluginError, match=r"^torch-geometric: GAT cannot be built with .*'headss'"):
        built(PYG, GRAPH, name="GAT", arguments={"headss": 4})
    assert np.isfinite(network.encode(tensors(jets([7, 2]))).detach().numpy()).all()
