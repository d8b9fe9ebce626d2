"""Multiply-accumulates: worked by hand, seen by two counters, and never silently zero."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hepbench.cost import counting
from hepbench.cost.counting import MacCount
from hepbench.cost.operators import einsum_macs, has_no_macs

POINTS, WIDTH, HEADS, HIDDEN = 10, 8, 2, 32
# projections to queries, keys and values; each query with each key, and with each value, of every
# head; the projection of what the heads found; the two layers of the feed-forward net
BLOCK = (
    POINTS * WIDTH * 3 * WIDTH  # 1920
    + HEADS * 2 * POINTS * POINTS * (WIDTH // HEADS)  # 1600
    + POINTS * WIDTH * WIDTH  # 640
    + 2 * POINTS * WIDTH * HIDDEN  # 5120
)


class Network(nn.Module):
    """A function of one input and some modules, called as scored networks are."""

    def __init__(self, function, *parts):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, inputs):
        return self.function(inputs["x"], *self.parts)


def counted(function, *parts, shape=(3, WIDTH)):
    """Return the count of a function of an input of some shape."""
    generator = torch.Generator().manual_seed(0)
    return counting.count(Network(function, *parts), {"x": torch.randn(shape, generator=generator)})


def call(x, part):
    """Call a module."""
    return part(x)


def block(**options):
    """Return a transformer block of the sizes above."""
    return nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, batch_first=True, **options)


def test_the_block_by_hand_is_9280():
    """The sum above, written out."""
    assert BLOCK == 1920 + 1600 + 640 + 5120 == 9280


def test_an_mlp_is_counted_as_by_hand():
    """8 x 16 + 16 x 2; biases, norms, activations and dropout are no MACs."""
    mlp = nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Dropout(), nn.Linear(16, 2)
    )
    found = counted(call, mlp)
    assert found == MacCount(macs=160, by_operator={"linear": 160}, cross_check=160)
    assert found.ratio == 1
    assert found.agrees
    assert not found.warnings


def test_a_convolutional_net_is_counted_as_by_hand():
    """Every value of an output meets its channels and its window; groups divide the channels."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),  # 16 x 16 x 8 values of 3 x 3 x 3: 55296
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, groups=4),  # 6 x 6 x 8 values of 2 x 3 x 3: 5184
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),  # 16
    )
    found = counted(call, net, shape=(2, 3, 16, 16))
    assert found.macs == found.cross_check == 55296 + 5184 + 16
    assert dict(found.by_operator) == {"conv": 60480, "linear": 16}
    assert not found.gaps


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (nn.Conv1d(8, 4, 3, padding="same"), 10 * 4 * 8 * 3),
        (nn.ConvTranspose1d(8, 4, 3, stride=2), 10 * 8 * 4 * 3),
        (nn.Conv1d(8, 8, 3, groups=8), 8 * 8 * 3),
    ],
    ids=["named padding", "transposed", "depthwise"],
)
def test_convolutions_of_other_kinds(layer, macs):
    """A transposed one meets its window once for each value that it is given."""
    found = counted(call, layer, shape=(2, 8, 10))
    assert (found.macs, found.cross_check, found.gaps) == (macs, macs, ())


def by_hand(x, part):
    """Attention written in matrices."""
    queries, keys, values = (
        y.unflatten(2, (HEADS, -1)).transpose(1, 2)
        for y in nn.functional.linear(x, part.self_attn.in_proj_weight).chunk(3, 2)
    )
    weights = (queries @ keys.mT / math.sqrt(WIDTH // HEADS)).softmax(-1)
    found = part.self_attn.out_proj((weights @ values).transpose(1, 2).flatten(2))
    return part.linear2(part.linear1(found).relu())


def fused(x, part):
    """Attention in torch's fused function."""
    queries, keys, values = (
        y.unflatten(2, (HEADS, -1)).transpose(1, 2)
        for y in nn.functional.linear(x, part.self_attn.in_proj_weight).chunk(3, 2)
    )
    found = nn.functional.scaled_dot_product_attention(queries, keys, values)
    found = part.self_attn.out_proj(found.transpose(1, 2).flatten(2))
    return part.linear2(part.linear1(found).relu())


def with_weights(x, part):
    """The layer of torch, asked for its attention weights, which is another path in it."""
    return part.linear2(part.linear1(part.self_attn(x, x, x)[0]).relu())


def padded(x, part):
    """With padding, as clouds of particles have."""
    mask = torch.zeros(x.shape[:2], dtype=torch.bool)
    mask[:, -3:] = True
    return part(x, src_key_padding_mask=mask)


@pytest.mark.parametrize("function", [call, by_hand, fused, with_weights, padded])
@pytest.mark.parametrize("norm_first", [False, True])
def test_attention_is_seen_however_it_is_written(function, norm_first):
    """One transformer block has the MACs worked out above, on every path through torch."""
    found = counted(function, block(norm_first=norm_first), shape=(3, POINTS, WIDTH))
    assert (found.macs, found.cross_check, found.gaps) == (BLOCK, BLOCK, ())


def test_a_whole_encoder_is_counted():
    """Its fast path, one operator for all, is not taken."""
    encoder = nn.TransformerEncoder(block(), 3)
    assert counted(padded, encoder, shape=(3, POINTS, WIDTH)).macs == 3 * BLOCK


def test_what_torchs_counter_sees_without_care_is_too_little():
    """Why fused attention and fast paths are turned off: the block would be free."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        block().eval()(torch.zeros(1, POINTS, WIDTH))
    assert counter.get_total_flops() == 0


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        # 4 gates of 5 values meet 8 inputs and 5 values, 10 times, in both directions; then 10
        (nn.LSTM(8, 5, 2, batch_first=True, bidirectional=True), 10 * 40 * (8 + 5 + 10 + 5)),
        (nn.LSTM(8, 5, batch_first=True, proj_size=3), 10 * (20 * 8 + 20 * 3 + 5 * 3)),
        (nn.GRU(8, 5, batch_first=True), 10 * 15 * (8 + 5)),
        (nn.RNN(8, 5, batch_first=True), 10 * 5 * (8 + 5)),
    ],
    ids=["lstm", "projected", "gru", "rnn"],
)
def test_recurrent_layers_are_counted(layer, macs):
    """Neither counter knows them by itself."""
    found = counted(lambda x, part: part(x)[0], layer, shape=(3, 10, 8))
    assert (found.macs, found.cross_check, found.gaps) == (macs, macs, ())


@pytest.mark.parametrize(
    ("function", "macs"),
    [
        (lambda x: x @ torch.ones(4, 5, 8, 6), 4 * 5 * 8 * 6),
        (lambda x: x @ torch.ones(8), 8),
        (lambda x: x[0] @ torch.ones(8), 8),
        (lambda x: torch.baddbmm(torch.zeros(1, 1, 1), x[:, None], x[:, :, None]), 8),
        (lambda x: torch.tensordot(x, torch.ones(8, 3), 1), 24),
        (lambda x: torch.cdist(x, torch.ones(5, 8)), 5 * 8),
        # above 25 points torch makes it a product of matrices with two more columns
        (lambda x: torch.cdist(x, torch.ones(30, 8)), 30 * 10),
        (lambda x: torch.cdist(x, torch.ones(30, 8), p=1), 30 * 8),
        (lambda x: torch.einsum("nd,dk->nk", x, torch.ones(8, 5)), 40),
        (lambda x: torch.einsum("nd,nk->ndk", x, x), 0),
    ],
    ids=(
        *("broadcast", "vector", "dot", "added", "tensordot", "distances"),
        *("more distances", "other distances", "einsum", "outer"),
    ),
)
def test_contractions_of_every_kind(function, macs):
    """Worked by hand; both counters agree."""
    found = counted(function)
    assert (found.macs, found.cross_check, found.gaps) == (macs, macs, ())


sizes_of_axes = st.lists(st.integers(1, 4), min_size=5, max_size=5)


@st.composite
def einsums(draw):
    """Draw an equation of two to four operands and their shapes."""
    sizes = dict(zip("abcde", draw(sizes_of_axes), strict=True))
    axes = st.lists(st.sampled_from("abcde"), min_size=1, max_size=3, unique=True)
    terms = draw(st.lists(axes, min_size=2, max_size=4))
    known = sorted(set().union(*terms))
    result = draw(st.lists(st.sampled_from(known), max_size=2, unique=True))
    equation = f"{','.join(map(''.join, terms))}->{''.join(result)}"
    return equation, [[sizes[axis] for axis in term] for term in terms]


@settings(max_examples=100, deadline=None)
@given(einsums())
def test_an_einsum_is_what_torch_makes_of_it(drawn):
    """torch's counter watches it contract; axes of size 1 it may leave out."""
    equation, shapes = drawn
    with FlopCounterMode(display=False) as counter:
        torch.einsum(equation, *(torch.ones(shape) for shape in shapes))
    if all(size > 1 for shape in shapes for size in shape):
        assert einsum_macs(equation, shapes) == counter.get_total_flops() // 2
    assert einsum_macs(equation, shapes) >= counter.get_total_flops() // 2


@torch.library.custom_op("hepbench_tests::product", mutates_args=())
def product(x: torch.Tensor) -> torch.Tensor:
    """A product of matrices that nothing can look into."""
    return x @ torch.ones(WIDTH, 4)


class Function(torch.autograd.Function):
    """The same as a function with a gradient of its own."""

    @staticmethod
    def forward(_context, x):
        return x @ torch.ones(WIDTH, 4)


def through_numpy(x):
    """The same outside of torch."""
    return torch.as_tensor(x.numpy() @ torch.ones(WIDTH, 4).numpy())


def through_dlpack(x):
    """The same outside of torch, by a door that the tracer does not watch."""
    return x[:, :4] + torch.from_dlpack(np.from_dlpack(x) @ np.ones((WIDTH, 4), np.float32))


def number_by_number(x):
    """The same in Python's own numbers: nine times eight of them."""
    return x[:, :1] + sum(value.item() for _ in range(9) for value in x[0])


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (product, "hepbench_tests::product"),
        (Function.apply, "prim::PythonOp.Function"),
        (through_numpy, "NumPy array"),
        (through_dlpack, "DLPack"),
        (number_by_number, "numbers taken out of torch"),
        (torch.fft.rfft, "aten::fft_rfft"),
        (lambda x: nn.functional.bilinear(x, x, torch.ones(3, 8, 8)), "aten::bilinear"),
    ],
    ids=[
        *("custom operator", "autograd function", "numpy", "dlpack", "numbers", "fourier"),
        "bilinear",
    ],
)
def test_what_cannot_be_counted_is_named(function, named):
    """Never a silent zero: the gap has a name, the record a warning."""
    found = counted(function)
    assert found.macs == 0
    assert any(named in gap for gap in found.gaps)
    assert any(named in warning for warning in found.warnings)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_that_cannot_be_traced_has_no_count():
    """None, with the reason; torch's counter still saw it run. The network is as it was."""
    part = torch.jit.trace(nn.Linear(8, 4), torch.zeros(1, 8))
    network = Network(call, nn.Linear(8, 8), part).train()
    network.function = lambda x, first, second: second(first(x))
    found = counting.count(network, {"x": torch.zeros(3, 8)})
    assert (found.macs, found.cross_check) == (None, 64 + 32)
    assert "cannot be traced" in found.gaps[0]
    assert not any(module._forward_hooks for module in network.modules())
    assert network.training
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_contraction_hidden_in_products_is_told():
    """(x * w).sum() is a product of matrices that no counter sees; the products are."""
    found = counted(lambda x: (x[:, None] * torch.ones(6, 8)).sum(2))
    assert (found.macs, found.elementwise, found.gaps) == (0, 48, ())
    assert any("48 products" in warning for warning in found.warnings)


def test_counters_that_disagree_are_told():
    """More than one percent apart, and the record says so."""
    assert MacCount(macs=1000, cross_check=1010).agrees
    assert not MacCount(macs=1000, cross_check=1011).agrees
    assert "1011" in MacCount(macs=1000, cross_check=1011).warnings[0]
    assert MacCount(macs=0, cross_check=0).agrees


def test_only_operators_that_are_known_are_free():
    """No contraction is among them, whatever its name ends with."""
    assert all(has_no_macs(f"aten::{name}") for name in ("add", "relu_", "softmax", "topk", "mT"))
    contractions = "mm bmm addmm addbmm linear conv2d einsum bilinear kron cov multi_dot lstm"
    others = "fft_fft linalg_inv _sparse_mm cosine_similarity no_such_operator"
    for name in (contractions + " " + others).split():
        assert not has_no_macs(f"aten::{name}"), name
    assert not has_no_macs("mine::add")


def test_parameters_that_are_shared_count_once():
    """Two layers with one weight of 64 values have one, and two biases of 8."""
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = first.weight
    assert counting.parameters(nn.Sequential(first, second)) == 64 + 8 + 8


def test_masks_save_no_macs():
    """A weight held at zero is multiplied like any other; what it could save is a figure apart."""
    mlp = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    network, inputs = Network(call, mlp), {"x": torch.ones(3, 8)}
    dense = counting.count(network, inputs)
    for parameter in network.parameters():
        nn.init.ones_(parameter)
    with torch.no_grad():
        mlp[0].weight[:, ::2] = 0
    assert counting.count(network, inputs) == dense
    assert dense.macs == 8 * 16 + 16 * 2
    assert counting.parameters(network) == 8 * 16 + 16 + 16 * 2 + 2
    assert counting.nonzero_parameters(network) == 4 * 16 + 16 + 16 * 2 + 2
    assert counting.theoretical_macs(network, inputs, dense.macs) == 4 * 16 + 16 * 2


@pytest.mark.parametrize(
    ("layer", "shape", "saved"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), (2, 3, 6, 6), 6 * 6 * 8 * 27 // 2),
        (nn.MultiheadAttention(8, 2, batch_first=True), (2, 10, 8), 10 * 8 * 24 // 2),
        (nn.LSTM(8, 5, batch_first=True), (2, 10, 8), 10 * 20 * 8 // 2),
    ],
    ids=["convolution", "attention", "lstm"],
)
def test_what_masks_could_save_in_other_layers(layer, shape, saved):
    """Half of the first weight at zero is half of the MACs that it has a part in."""
    with torch.no_grad():
        for parameter in layer.parameters():
            nn.init.ones_(parameter)
        first = next(layer.parameters())
        first.view(-1)[::2] = 0
    attends = isinstance(layer, nn.MultiheadAttention)
    network = Network(lambda x, part: part(x, x, x)[0] if attends else part(x), layer)
    inputs = {"x": torch.ones(shape)}
    macs = counting.count(network, inputs).macs
    assert macs - counting.theoretical_macs(network, inputs, macs) == saved
