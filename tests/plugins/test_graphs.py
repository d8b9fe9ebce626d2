"""Graph networks: torch-geometric's convolutions on padded clouds, whatever the padding holds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import tinynets
import torch
from hepbench_methods import channels, hepbench_methods
from hepbench_methods.prune_structured import shrunk
from hepbench_models import GAT, GCN, GIN, GRAPHSAGE
from torch import nn

from hepbench import TrainingData
from hepbench.cost import counting, export, onnx_runtime
from hepbench.planning.input_shapes import why_unfit
from hepbench.registry.resolve import resolve
from hepbench.specs.parameters import defaults
from hepbench.specs.training_data import Examples
from hepbench.training import network_runs
from hepbench.training.context import NetworkContext
from hepbench.training.networks import batches, scoring, stored_networks
from hepbench.training.networks.recipes import TrustedCode

torch.set_num_threads(1)

SPECS = {spec.name: spec for spec in (GCN, GAT, GIN, GRAPHSAGE)}
SMALL = {"gcn": {}, "gat": {"heads": 2}, "gin": {}, "graphsage": {}}
WIDTH, FEATURES = 8, 6
METHODS = {method.name: method for method in hepbench_methods()}
each_network = pytest.mark.parametrize("name", SPECS)


def params(name, **chosen):
    return {**defaults(SPECS[name].params), "width": WIDTH, **SMALL[name], **chosen}


def encoder(name, points=7, seed=0, **chosen):
    """Return a network that is built, in eval mode, without its preprocessing."""
    torch.manual_seed(seed)
    shapes = {"cloud": (points, FEATURES), "mask": (points,), "neighbours": (points, 3)}
    return resolve(SPECS[name].build)(shapes, **params(name, **chosen)).eval()


def clouds(counts, points=7, k=3):
    """Return clouds with some numbers of points; the last of k neighbours is the point itself."""
    rng = np.random.default_rng(1)
    mask = np.arange(points) < np.array(counts)[:, None]
    cloud = rng.normal(size=(len(counts), points, FEATURES)) * mask[:, :, None]
    near = np.broadcast_to(np.arange(points)[:, None], (len(counts), points, k)).copy()
    for i, n in enumerate(counts):
        for j in range(n):
            others = rng.permutation([m for m in range(n) if m != j])[: k - 1]
            near[i, j, : len(others)] = others
    return {"cloud": cloud.astype(np.float32), "mask": mask, "neighbours": near}


def tensors(inputs):
    return {name: torch.as_tensor(array) for name, array in inputs.items()}


def latents(network, inputs):
    with torch.no_grad():
        return network.encode(tensors(inputs))


def examples(n, first=0):
    """Return examples whose first feature tells the class."""
    inputs = clouds((4 + np.arange(n) % 4).tolist())
    labels = np.arange(n) % 2
    inputs["cloud"][:, :, 0] += labels[:, None] * inputs["mask"]
    # as datasets store them
    inputs["neighbours"] = inputs["neighbours"].astype(np.uint8)
    return Examples(inputs=inputs, ids=first + np.arange(n), labels=labels)


def fresh(name, inputs):
    torch.manual_seed(0)
    spec = SPECS[name]
    task = tinynets.task(name, spec.build, preprocess=spec.preprocess, **params(name))
    return network_runs.fresh(task, inputs, classes=2)


# --- against torch-geometric's own form, with lists of edges


def sparse_form(name, layer):
    """Return torch-geometric's convolution over a list of edges, with the weights of a layer."""
    from torch_geometric.nn import GATConv, GCNConv, GINConv, SAGEConv

    if name == "gin":
        # it draws the weights of the network that it is given
        made = GINConv(nn.Identity())
        made.nn = layer.nn
        return made
    if name == "graphsage":
        n, m = layer.in_channels, layer.out_channels
        made = SAGEConv(n, m)
        made.lin_l.weight, made.lin_l.bias = layer.lin_rel.weight, layer.lin_root.bias
        made.lin_r.weight = layer.lin_root.weight
        return made
    n = layer.lin.in_features
    if name == "gcn":
        made = GCNConv(n, layer.out_channels)
    else:
        made = GATConv(n, layer.out_channels, heads=layer.heads)
        made.att_src, made.att_dst = (nn.Parameter(a[0]) for a in (layer.att_src, layer.att_dst))
    made.lin.weight, made.bias = layer.lin.weight, layer.bias
    return made


@each_network
def test_a_network_is_torch_geometrics_message_passing(name):
    """The same latents as with edge lists, for each cloud alone, without its padding."""
    network, counts = encoder(name), [7, 5, 2]
    inputs = clouds(counts)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    found = latents(network, inputs)
    for i, n in enumerate(counts):
        target = torch.arange(n)[:, None].expand(-1, 3)
        source = torch.from_numpy(inputs["neighbours"][i, :n])
        edges = torch.stack([source[source != target], target[source != target]])
        x = torch.from_numpy(inputs["cloud"][i, :n])
        for layer, norm in zip(network.layers, network.norms, strict=True):
            x = norm(sparse_form(name, layer)(x, edges)).relu()
        expected = torch.cat([x.mean(0), x.amax(0)])
        torch.testing.assert_close(found[i], expected, rtol=1e-4, atol=1e-5)


# --- clouds


@each_network
def test_neither_order_nor_padding_of_points_changes_latents(name):
    """Points permuted with their neighbours, and five more of padding."""
    network, inputs = encoder(name), clouds([7, 4, 1])
    expected = latents(network, inputs)
    order = np.random.default_rng(0).permutation(7)
    mixed = {n: array[:, order] for n, array in inputs.items()}
    mixed["neighbours"] = np.argsort(order)[mixed["neighbours"]]
    torch.testing.assert_close(latents(network, mixed), expected)
    own = np.broadcast_to(np.arange(7, 12)[:, None], (3, 5, 3))
    longer = {
        "cloud": np.pad(inputs["cloud"], [(0, 0), (0, 5), (0, 0)]),
        "mask": np.pad(inputs["mask"], [(0, 0), (0, 5)]),
        "neighbours": np.concatenate([inputs["neighbours"], own], 1),
    }
    torch.testing.assert_close(latents(network, longer), expected)


@each_network
def test_clouds_of_one_point_or_none_have_latents(name):
    """A cloud without points has zeros; one point hears itself alone; also with room for one only."""
    found = latents(encoder(name), clouds([0, 1, 3]))
    assert not found[0].any()
    assert found[1].isfinite().all()
    assert found[1].any()
    alone = latents(encoder(name, points=1), clouds([0, 1], points=1))
    torch.testing.assert_close(alone[1, :WIDTH], alone[1, WIDTH:])


def test_edges_go_from_neighbours_to_points():
    """Each once, none from a point to itself, none to padding; loops are added where asked for."""
    from hepbench_models.graphs import edges

    near = torch.tensor([[[1, 2], [0, 0], [2, 2], [3, 3]]])
    mask = torch.tensor([[True, True, True, False]])
    expected = torch.tensor([[0.0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert torch.equal(edges(near, mask, loops=False)[0], expected)
    assert torch.equal(edges(near, mask, loops=True)[0], expected + torch.eye(4))


@each_network
def test_graphs_of_one_point_do_not_fit(name):
    """They have no edges, so nothing of a graph network is left."""
    reason = "a graph of 1 point has no edges; at least 2 are expected"
    for points, expected in ((1, reason), (2, "")):
        shapes = {"cloud": (points, FEATURES), "mask": (points,), "neighbours": (points, 3)}
        assert why_unfit(SPECS[name], shapes, params(name)) == expected


def test_heads_that_do_not_divide_the_width_do_not_fit():
    """With both numbers; a planner asks before anything is built."""
    shapes = {"cloud": (7, FEATURES), "mask": (7,), "neighbours": (7, 3)}
    found = [why_unfit(SPECS["gat"], shapes, params("gat", heads=n)) for n in (3, 4)]
    assert found == ["width 8 is no multiple of heads 3", ""]


@pytest.mark.slow
@each_network
def test_512_points_make_a_step_of_training(name):
    """As in the preset paper of quark-gluon-gnn, with 16 neighbours and two jets."""
    inputs = clouds([512, 300], points=512, k=16)
    train, validation = (
        Examples(inputs=inputs, ids=first + np.arange(2), labels=np.arange(2)) for first in (0, 2)
    )
    data = TrainingData(train=train, validation=validation, classes=2)
    spec, method = SPECS[name], METHODS["scratch"]
    task = tinynets.task(name, spec.build, **defaults(spec.all_params))
    torch.manual_seed(0)
    network = network_runs.fresh(task, data.train.inputs, classes=2)
    chosen = {**defaults(method.params), "epochs": 1, "batch_size": 2, "min_steps": 1}
    trained = resolve(method.run)(network, data, NetworkContext(seed=0), **chosen)
    assert all(parameter.isfinite().all() for parameter in trained.parameters())


# --- cost


MACS = {
    # a linear layer for each point, and the matrix of edges times the features of all points
    "gcn": lambda n, m, p: p * n * m + p * p * m,
    "gat": lambda n, m, p: p * n * m + p * p * m,
    "gin": lambda n, m, p: p * p * n + p * (n * m + m * m),
    "graphsage": lambda n, m, p: p * p * n + 2 * p * n * m,
}


@each_network
def test_both_counters_agree_with_a_count_by_hand(name):
    """Padding is multiplied like points; the head has two classes and twice the width."""
    inputs = clouds([7, 3])
    network = fresh(name, inputs).with_head()
    counted = counting.count(network, tensors(inputs))
    sizes = [FEATURES, WIDTH, WIDTH, WIDTH]
    layers = sum(MACS[name](n, m, 7) for n, m in pairwise(sizes))
    assert counted.macs == counted.cross_check == layers + 2 * 2 * WIDTH
    assert not counted.gaps


@each_network
def test_the_graph_in_onnx_scores_clouds_of_any_length(name, tmp_path):
    """Within the tolerance of an export, also clouds without points."""
    inputs = clouds([7, 0, 1, 5, 2, 7, 3, 4, 6])
    network = fresh(name, inputs).with_head()
    path = tmp_path / "network.onnx"
    assert export.export(network, tensors(inputs), path) <= onnx_runtime.TOLERANCE


# --- methods


@each_network
def test_half_of_the_channels_can_be_removed(name, tmp_path):
    """Of every layer; operations fall as the widths say, and it scores the same after loading."""
    data = TrainingData(train=examples(60), validation=examples(20, first=100), classes=2)
    context = NetworkContext(seed=0)
    network = resolve(METHODS["scratch"].run)(
        fresh(name, data.train.inputs),
        data,
        context,
        **{**defaults(METHODS["scratch"].params), "epochs": 1, "batch_size": 20},
    ).eval()
    assert channels.find(network).unproven == []
    small = shrunk(network, 0.5, context)
    sizes = [FEATURES, *[WIDTH // 2] * 3]
    inputs = batches.RawInputs(data.validation.inputs, torch.device("cpu"))(slice(None))
    expected = sum(MACS[name](n, m, 7) for n, m in pairwise(sizes))
    assert counting.count(small, inputs).macs == expected + 2 * WIDTH
    assert context.warnings == []
    stored_networks.save(small, tmp_path)
    again = stored_networks.load(tmp_path, TrustedCode(models={name: SPECS[name].build}))
    scores = scoring.scores(small, data.validation.inputs)
    assert np.array_equal(scores, scoring.scores(again, data.validation.inputs))
