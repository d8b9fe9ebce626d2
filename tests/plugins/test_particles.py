"""Networks of particles: counts and formulas by hand, statistics of real particles, any cloud."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import onnx
import pytest
import tinynets
import torch
from hepbench_models import DEEPSETS, PARTICLE_TRANSFORMER, PARTICLENET, particle_pairs
from hepbench_models.particlenet import EdgeConvolution, nearest
from hepbench_models.particles import ParticleNorm, mean_of_real
from torch import nn

from hepbench.conformance.trained_networks import boosted
from hepbench.cost import counting, export, onnx_runtime
from hepbench.planning.input_shapes import why_unfit
from hepbench.registry.resolve import resolve
from hepbench.specs.parameters import defaults
from hepbench.training import network_runs

torch.set_num_threads(1)

SPECS = {spec.name: spec for spec in (DEEPSETS, PARTICLENET, PARTICLE_TRANSFORMER)}
SMALL = {
    "deepsets": {"widths": [6, 8], "jet_widths": [5]},
    "particlenet": {"widths": [6, 8], "layers": 2, "hidden": 5},
    "particle-transformer": {"width": 8, "embedding": [6], "pair_widths": [5], "heads": 2},
}
FEATURES, K = 4, 3
each_network = pytest.mark.parametrize("name", SPECS)


def encoder(name, preset="", *, particles=7, features=FEATURES, k=K, **chosen):
    """Return an encoder as drawn, in eval mode."""
    torch.manual_seed(0)
    shapes = {"cloud": (particles, features), "mask": (particles,), "momenta": (particles, 4)}
    shapes["neighbours"] = (particles, k)
    spec = SPECS[name]
    return resolve(spec.build)(shapes, **{**defaults(spec.params, preset), **chosen}).eval()


def jets(counts, particles=7, seed=1):
    """Return jets with some numbers of particles, massive and massless."""
    rng = np.random.default_rng(seed)
    mask = np.arange(particles) < np.array(counts)[:, None]
    three = rng.normal(size=(len(counts), particles, 3)) * 10
    mass = np.where(np.arange(particles) % 2, 5.0, 0.0)
    energy = np.sqrt((three**2).sum(2) + mass**2)
    near = np.broadcast_to(np.arange(particles)[:, None], (len(counts), particles, K)).copy()
    for i, n in enumerate(counts):
        for j in range(n):
            others = rng.permutation([m for m in range(n) if m != j])[:K]
            near[i, j, : len(others)] = others
    real = mask[..., None]
    return {
        "cloud": (rng.normal(size=(len(counts), particles, FEATURES)) * real).astype(np.float32),
        "momenta": (np.concatenate([three, energy[..., None]], 2) * real).astype(np.float32),
        "mask": mask,
        "neighbours": near,
    }


def tensors(inputs, dtype=None):
    found = {name: torch.as_tensor(array) for name, array in inputs.items()}
    return {n: t.to(dtype) if dtype and t.is_floating_point() else t for n, t in found.items()}


def fresh(name, inputs):
    """Return a small network with a head."""
    torch.manual_seed(0)
    spec = SPECS[name]
    task = tinynets.task(name, spec.build, **{**defaults(spec.params), **SMALL[name]})
    used = {n: inputs[n] for n in spec.inputs}
    return network_runs.fresh(task, used, classes=2).with_head().eval()


# --- layers


def test_statistics_of_normalisation_are_those_of_real_particles():
    """Values, gradients and running statistics are torch's on real particles alone."""
    torch.manual_seed(0)
    x, mask = torch.randn(5, 4, 3) * 2 + 1, torch.rand(5, 4) < 0.6
    ours, theirs = ParticleNorm(3), nn.BatchNorm1d(3)
    found = ours(x, mask)
    assert torch.equal(found[mask], theirs(x[mask]))
    assert not found[~mask].any()
    assert torch.equal(ours.running_var, theirs.running_var)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x, mask)[mask], theirs(x[mask]))


@pytest.mark.parametrize("real", [0, 1])
def test_a_batch_of_one_particle_or_none_changes_no_statistics(real):
    """It has no variance; torch would stop the training."""
    norm, mask = ParticleNorm(2), torch.arange(3)[None] < real
    assert not norm(torch.ones(1, 3, 2), mask).any()
    assert torch.equal(norm.running_mean, torch.zeros(2))


def test_the_mean_is_that_of_real_particles():
    """And 0 of a jet without particles."""
    x, mask = (
        torch.tensor([[[1.0], [3], [9]], [[5], [5], [5]]]),
        torch.tensor([[1, 1, 0], [0, 0, 0]]),
    )
    assert mean_of_real(x, mask.bool(), 1).tolist() == [[2], [0]]


# --- ParticleNet


def test_neighbours_are_the_nearest_others_by_features():
    """Against a search one by one; padding is none, and too few others are marked."""
    torch.manual_seed(0)
    x, counts = torch.randn(3, 6, 2), [6, 3, 1]
    mask = torch.arange(6) < torch.tensor(counts)[:, None]
    near, exist = nearest(x, mask, 4)
    for jet, n in enumerate(counts):
        for i in range(n):
            others = sorted(range(n), key=lambda j: float((x[jet, i] - x[jet, j]).norm()))[1:5]
            assert near[jet, i][exist[jet, i]].tolist() == others
    assert not exist[~mask].any()


def test_an_edge_convolution_is_the_mean_over_neighbours_of_a_perceptron():
    """One edge after another, from the particle and the difference to its neighbour."""
    torch.manual_seed(0)
    block, inputs = EdgeConvolution(FEATURES, 5, 2).eval(), tensors(jets([7, 4, 2, 1]))
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    x, mask, near = inputs["cloud"], inputs["mask"], inputs["neighbours"]
    edges = (near != torch.arange(7)[:, None]) & mask[..., None]
    found = block(x, mask, near, edges)
    # the layer of (particle, difference) that the two layers stand for
    both = torch.cat([block.own.weight + block.other.weight, block.other.weight], 1)
    real = torch.tensor([True])
    for jet, i in mask.nonzero().tolist():
        messages = [torch.zeros(5)]
        for j in near[jet, i][edges[jet, i]].tolist():
            edge = both @ torch.cat([x[jet, i], x[jet, j] - x[jet, i]])
            edge = block.norms[0](edge[None], real).relu()
            messages.append(block.norms[1](block.layers[0](edge), real).relu()[0])
        mean = torch.stack(messages).sum(0) / max(len(messages) - 1, 1)
        shortcut = block.shortcut_norm(block.shortcut(x[jet, i][None]), real)[0]
        torch.testing.assert_close(found[jet, i], (mean + shortcut).relu(), rtol=1e-4, atol=1e-5)


def test_a_first_layer_is_drawn_like_one_layer():
    """Weights of the difference have torch's bound for twice the features; those of both add up."""
    torch.manual_seed(0)
    block = EdgeConvolution(50, 200, 1)
    bound = 1 / math.sqrt(100)
    other, own = block.other.weight, block.own.weight + block.other.weight
    for weight in (other, own):
        assert 0.99 * bound < weight.abs().max() <= bound + 1e-7


# --- pairs


def pair_by_hand(a, b):
    """Return the four features of a pair of momenta, from their definitions in double precision."""

    def angles(p):
        px, py, pz, energy = p
        return math.hypot(px, py), math.atanh(pz / energy), math.atan2(py, px)

    (pt, y, phi), (other_pt, other_y, other_phi) = angles(a), angles(b)
    around = (phi - other_phi + math.pi) % (2 * math.pi) - math.pi
    apart, softer = math.hypot(y - other_y, around), min(pt, other_pt)
    total = [u + v for u, v in zip(a, b, strict=True)]
    mass2 = total[3] ** 2 - sum(c**2 for c in total[:3])
    return [
        math.log(max(v, 1e-8)) for v in (softer * apart, softer / (pt + other_pt), apart, mass2)
    ]


def test_features_of_pairs_are_those_of_their_definitions():
    """Massive and massless particles; each particle with those before it."""
    momenta = tensors(jets([7], seed=3), torch.float64)["momenta"]
    first, second = particle_pairs.pairs(momenta)
    found = particle_pairs.features(momenta, first, second)[0]
    assert len(first) == 28
    for i, j, values in zip(first.tolist(), second.tolist(), found, strict=True):
        if i != j:
            expected = pair_by_hand(momenta[0, i].tolist(), momenta[0, j].tolist())
            np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5)


def test_a_massless_particle_with_itself_has_the_smallest_mass():
    """Not the rounding noise of a difference of two large squared energies."""
    momentum = torch.tensor([[[300.0, 400.0, 1200.0, 1300.0]]])
    zero = torch.tensor([0])
    found = particle_pairs.features(momentum, zero, zero)[0, 0]
    expected = [math.log(1e-8), math.log(0.5), math.log(1e-8), math.log(1e-8)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_features_of_pairs_do_not_change_under_a_boost():
    """Nor under a rotation around the beam."""
    momenta = jets([7, 7], seed=4)["momenta"]
    turned = momenta.copy()
    turned[..., 0], turned[..., 1] = -momenta[..., 1], momenta[..., 0]
    first, second = particle_pairs.pairs(torch.as_tensor(momenta))
    apart = first != second
    expected, *others = (
        particle_pairs.features(torch.as_tensor(m), first[apart], second[apart])
        for m in (momenta, boosted(momenta), turned)
    )
    for other in others:
        torch.testing.assert_close(other, expected, rtol=0, atol=2e-3)


def test_a_matrix_of_pairs_is_symmetric():
    """Row i, column j has the value of the pair (i, j) in either order."""
    first, second = particle_pairs.pairs(torch.zeros(1, 5, 4))
    values = (10 * first + second).double()[None, :, None]
    matrix = particle_pairs.as_matrix(values, 5)[0, :, :, 0]
    for i in range(5):
        for j in range(5):
            assert matrix[i, j] == 10 * max(i, j) + min(i, j)


@pytest.mark.parametrize("x", [0, 1e-5, 0.3, 0.5, 0.8, 6, -0.2, -7])
def test_hyperbolic_functions_are_exact(x):
    """They are written anew, because the exporter does not know torch's."""
    given = torch.tensor(float(x))
    np.testing.assert_allclose(particle_pairs._sinh(given), math.sinh(x), rtol=3e-6)
    np.testing.assert_allclose(particle_pairs._asinh(given), math.asinh(x), rtol=3e-7)


# --- networks


@each_network
def test_a_jet_without_particles_has_finite_latents(name):
    """Also beside others, and while training."""
    network, inputs = encoder(name, **SMALL[name]), tensors(jets([0, 1, 2, 7]))
    for mode in (False, True):
        assert network.train(mode).encode(inputs).isfinite().all()


@each_network
def test_statistics_in_training_ignore_padding(name):
    """After a step in training mode, five more padded particles would have changed nothing."""
    inputs = jets([7, 4, 2])
    own = np.broadcast_to(np.arange(7, 12)[:, None], (3, 5, K))
    longer = {n: np.pad(a, [(0, 0), (0, 5), (0, 0)][: a.ndim]) for n, a in inputs.items()}
    longer["neighbours"][:, 7:] = own
    dropout = {"dropout": 0.0}
    states = []
    for given in (inputs, longer):
        network = encoder(name, **{**SMALL[name], **dropout}).train()
        latents = network.encode(tensors(given))
        states.append({"latents": latents.detach(), **network.state_dict()})
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "features", "k", "classes", "expected"),
    [
        # by hand: (4 + 1) 100 + 101 100 + 101 256 + 257 100 + 2 x 101 100, and a head of 101 x 2
        ("deepsets", 4, 1, 2, 500 + 10_100 + 25_856 + 25_700 + 20_200 + 202),
        # as weaver-core's: benchmarks/weaver_core.py
        ("particlenet", 17, 16, 10, 370_156),
        ("particle-transformer", 17, 1, 10, 2_143_486),
    ],
)
def test_the_paper_preset_has_the_published_number_of_parameters(
    name, features, k, classes, expected
):
    """82, 370 and 2,140 thousand."""
    network = encoder(name, "paper", particles=20, features=features, k=k)
    zeros = {"cloud": torch.zeros(1, 20, features), "momenta": torch.zeros(1, 20, 4)}
    zeros |= {"mask": torch.ones(1, 20).bool(), "neighbours": torch.zeros(1, 20, k).long()}
    width = network.encode(zeros).shape[1]
    head = (width + 1) * classes
    assert sum(p.numel() for p in network.parameters()) + head == expected


def linear(*sizes):
    return sum(n * m for n, m in pairwise(sizes))


MACS = {
    "deepsets": 7 * linear(FEATURES, 6, 8) + linear(8, 5, 2),
    # two layers for particles, one for 7 x 3 edges, a shortcut; distances of 7 x 7 particles
    "particlenet": 7 * (3 * FEATURES * 6 + 3 * 6 * 8)
    + 21 * (6 * 6 + 8 * 8)
    + 7 * 7 * 6
    + linear(8, 5, 2),
    "particle-transformer": 7 * linear(FEATURES, 6, 8)
    + 28 * linear(4, 5, 2)
    # two blocks: qkv and out, queries x keys and weights x values, a feed-forward net of 16
    + 2 * (7 * 4 * 8 * 8 + 2 * 7 * 7 * 8 + 7 * 2 * 8 * 16)
    # the class token asks, itself and seven particles answer
    + (2 * 8 * 8 + 8 * 8 * 16 + 2 * 8 * 8 + 2 * 8 * 16)
    + 8 * 2,
}


@each_network
def test_both_counters_agree_with_a_count_by_hand(name):
    """Padding is multiplied like particles; nothing is left uncounted."""
    inputs = jets([7, 3])
    network = fresh(name, inputs)
    used = {n: t for n, t in tensors(inputs).items() if n in SPECS[name].inputs}
    counted = counting.count(network, used)
    assert counted.macs == counted.cross_check == MACS[name]
    assert not counted.gaps


@each_network
def test_the_graph_in_onnx_scores_jets_of_any_length(name, tmp_path):
    """Within the tolerance of an export, also jets without particles."""
    inputs = jets([7, 0, 1, 5, 2, 7, 3, 4, 6])
    used = {n: t for n, t in tensors(inputs).items() if n in SPECS[name].inputs}
    path = tmp_path / "network.onnx"
    assert export.export(fresh(name, inputs), used, path) <= onnx_runtime.TOLERANCE
    # the newer exporter takes seconds
    assert onnx.load(path).opset_import[0].version == export.OPSET


def test_shapes_that_do_not_fit_are_named_before_anything_is_built():
    """One particle has no neighbour; heads must divide the width."""
    params = defaults(PARTICLENET.params)
    shapes = {"cloud": (1, 4), "mask": (1,), "neighbours": (1, 2)}
    assert why_unfit(PARTICLENET, shapes, params).startswith("a graph of 1 point has no edges")
    params = {**defaults(PARTICLE_TRANSFORMER.params), "heads": 3}
    assert why_unfit(PARTICLE_TRANSFORMER, {}, params) == "width 64 is no multiple of heads 3"
