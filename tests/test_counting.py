"""Multiply-accumulates: compared with counts by hand, and never zero without notice."""

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
# projections to queries, keys and values; products of queries and keys, and of weights and values,
# for each head; the output projection; the two layers of the feed-forward network
BLOCK = (
    POINTS * WIDTH * 3 * WIDTH  # 1920
    + HEADS * 2 * POINTS * POINTS * (WIDTH // HEADS)  # 1600
    + POINTS * WIDTH * WIDTH  # 640
    + 2 * POINTS * WIDTH * HIDDEN  # 5120
)


class Network(nn.Module):
    """A network from a function of one input and some modules."""

    def __init__(self, function, *parts):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, inputs):
        return self.function(inputs["x"], *self.parts)


def count(function, *parts, shape=(3, WIDTH)):
    """Count the MACs of a function of one input."""
    generator = torch.Generator().manual_seed(0)
    return counting.count(Network(function, *parts), {"x": torch.randn(shape, generator=generator)})


def call(x, part):
    """Call a module."""
    return part(x)


def transformer_block(**options):
    """Return a transformer block with the sizes above."""
    return nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, batch_first=True, **options)


def test_the_transformer_block_has_9280_macs():
    """The sum of the terms above."""
    assert BLOCK == 1920 + 1600 + 640 + 5120 == 9280


def test_an_mlp_is_counted_as_by_hand():
    """It has 8 x 16 + 16 x 2; biases, norms, activations and dropout have none."""
    mlp = nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Dropout(), nn.Linear(16, 2)
    )
    found = count(call, mlp)
    assert found == MacCount(macs=160, by_operator={"linear": 160}, cross_check=160)
    assert found.ratio == 1
    assert found.agrees
    assert not found.warnings


def test_a_convolutional_net_is_counted_as_by_hand():
    """Each output value sums over input channels and window; groups divide the channels."""
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
    found = count(call, net, shape=(2, 3, 16, 16))
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
    """A transposed convolution uses its window once per input value."""
    found = count(call, layer, shape=(2, 8, 10))
    assert (found.macs, found.cross_check, found.gaps) == (macs, macs, ())


def attention_from_matrices(x, part):
    """Compute attention from matrix products."""
    queries, keys, values = (
        y.unflatten(2, (HEADS, -1)).transpose(1, 2)
        for y in nn.functional.linear(x, part.self_attn.in_proj_weight).chunk(3, 2)
    )
    weights = (queries @ keys.mT / math.sqrt(WIDTH // HEADS)).softmax(-1)
    found = part.self_attn.out_proj((weights @ values).transpose(1, 2).flatten(2))
    return part.linear2(part.linear1(found).relu())


def fused_attention(x, part):
    """Compute attention with torch's fused function."""
    queries, keys, values = (
        y.unflatten(2, (HEADS, -1)).transpose(1, 2)
        for y in nn.functional.linear(x, part.self_attn.in_proj_weight).chunk(3, 2)
    )
    found = nn.functional.scaled_dot_product_attention(queries, keys, values)
    found = part.self_attn.out_proj(found.transpose(1, 2).flatten(2))
    return part.linear2(part.linear1(found).relu())


def attention_with_weights(x, part):
    """Call torch's layer so that it returns attention weights, which takes another code path."""
    return part.linear2(part.linear1(part.self_attn(x, x, x)[0]).relu())


def with_padding(x, part):
    """Call a layer with padding, as for clouds of particles."""
    mask = torch.zeros(x.shape[:2], dtype=torch.bool)
    mask[:, -3:] = True
    return part(x, src_key_padding_mask=mask)


@pytest.mark.parametrize(
    "function",
    [call, attention_from_matrices, fused_attention, attention_with_weights, with_padding],
)
@pytest.mark.parametrize("norm_first", [False, True])
def test_attention_is_counted_however_it_is_written(function, norm_first):
    """The transformer block has the MACs above on every code path of torch."""
    found = count(function, transformer_block(norm_first=norm_first), shape=(3, POINTS, WIDTH))
    assert (found.macs, found.cross_check, found.gaps) == (BLOCK, BLOCK, ())


def test_a_whole_encoder_is_counted():
    """The fast path, one operator for the whole encoder, is off."""
    encoder = nn.TransformerEncoder(transformer_block(), 3)
    assert count(with_padding, encoder, shape=(3, POINTS, WIDTH)).macs == 3 * BLOCK


def test_torchs_counter_misses_fused_attention():
    """This is why fused attention and fast paths are off: the block would count zero."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        transformer_block().eval()(torch.zeros(1, POINTS, WIDTH))
    assert counter.get_total_flops() == 0


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        # 4 gates of 5 values use 8 inputs and 5 values, at 10 steps, in both directions; then 10
        (nn.LSTM(8, 5, 2, batch_first=True, bidirectional=True), 10 * 40 * (8 + 5 + 10 + 5)),
        (nn.LSTM(8, 5, batch_first=True, proj_size=3), 10 * (20 * 8 + 20 * 3 + 5 * 3)),
        (nn.GRU(8, 5, batch_first=True), 10 * 15 * (8 + 5)),
        (nn.RNN(8, 5, batch_first=True), 10 * 5 * (8 + 5)),
    ],
    ids=["lstm", "projected", "gru", "rnn"],
)
def test_recurrent_layers_are_counted(layer, macs):
    """Neither counter knows recurrent layers without the handlers."""
    found = count(lambda x, part: part(x)[0], layer, shape=(3, 10, 8))
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
        # above 25 points torch computes one matrix product, two columns wider
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
    """Both counters agree with the count by hand."""
    found = count(function)
    assert (found.macs, found.cross_check, found.gaps) == (macs, macs, ())


sizes_of_axes = st.lists(st.integers(1, 4), min_size=5, max_size=5)


@st.composite
def einsums(draw):
    """Draw an equation with two to four operands, and their shapes."""
    sizes = dict(zip("abcde", draw(sizes_of_axes), strict=True))
    axes = st.lists(st.sampled_from("abcde"), min_size=1, max_size=3, unique=True)
    terms = draw(st.lists(axes, min_size=2, max_size=4))
    known = sorted(set().union(*terms))
    result = draw(st.lists(st.sampled_from(known), max_size=2, unique=True))
    equation = f"{','.join(map(''.join, terms))}->{''.join(result)}"
    return equation, [[sizes[axis] for axis in term] for term in terms]


@settings(max_examples=100, deadline=None)
@given(einsums())
def test_einsum_macs_agree_with_torchs_counter(einsum):
    """torch may skip axes of size 1, so then its count may be lower."""
    equation, shapes = einsum
    with FlopCounterMode(display=False) as counter:
        torch.einsum(equation, *(torch.ones(shape) for shape in shapes))
    if all(size > 1 for shape in shapes for size in shape):
        assert einsum_macs(equation, shapes) == counter.get_total_flops() // 2
    assert einsum_macs(equation, shapes) >= counter.get_total_flops() // 2


@torch.library.custom_op("hepbench_tests::product", mutates_args=())
def product(x: torch.Tensor) -> torch.Tensor:
    """Multiply matrices inside an opaque operator."""
    return x @ torch.ones(WIDTH, 4)


class Function(torch.autograd.Function):
    """The same product in a function with its own gradient."""

    @staticmethod
    def forward(_context, x):
        return x @ torch.ones(WIDTH, 4)


def through_numpy(x):
    """Compute the same product in numpy."""
    return torch.as_tensor(x.numpy() @ torch.ones(WIDTH, 4).numpy())


def through_dlpack(x):
    """Compute the same product in numpy, through DLPack, which the tracer does not notice."""
    return x[:, :4] + torch.from_dlpack(np.from_dlpack(x) @ np.ones((WIDTH, 4), np.float32))


def number_by_number(x):
    """Compute with Python numbers: nine times eight of them."""
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
def test_work_that_cannot_be_counted_is_named(function, named):
    """The count has a named gap, and the record a warning."""
    found = count(function)
    assert found.macs == 0
    assert any(named in gap for gap in found.gaps)
    assert any(named in warning for warning in found.warnings)


COMPLEX = {
    "matrices": lambda x: (x.cfloat() @ x.cfloat().mT).abs(),
    "an einsum": lambda x: (
        torch.einsum("bi,ij->bj", x.cfloat(), torch.ones(WIDTH, 4).cfloat()).real
    ),
    "a layer": lambda x: torch.nn.functional.linear(x.cfloat(), torch.ones(4, WIDTH).cfloat()).imag,
}


@pytest.mark.parametrize("function", COMPLEX.values(), ids=COMPLEX)
def test_products_of_complex_numbers_are_a_named_gap(function):
    """Each is four products of real numbers and is counted as one, so the number is too low."""
    counted = count(function)
    assert counted.gaps
    assert any(
        "of complex numbers (a complex product is four real ones)" in g for g in counted.gaps
    )
    assert any("so the number is too low" in each for each in counted.warnings)
    assert not count(lambda x: x.cfloat().abs() @ x.mT).gaps


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_that_cannot_be_traced_has_no_count():
    """The count is None, with the reason; torch's counter works. The network is unchanged."""
    part = torch.jit.trace(nn.Linear(8, 4), torch.zeros(1, 8))
    network = Network(call, nn.Linear(8, 8), part).train()
    network.function = lambda x, first, second: second(first(x))
    found = counting.count(network, {"x": torch.zeros(3, 8)})
    assert (found.macs, found.cross_check) == (None, 64 + 32)
    assert "cannot be traced" in found.gaps[0]
    assert not any(module._forward_hooks for module in network.modules())
    assert network.training
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_contraction_hidden_in_products_gives_a_warning():
    """No counter counts (x * w).sum() as a matrix product, but its products are counted."""
    found = count(lambda x: (x[:, None] * torch.ones(6, 8)).sum(2))
    assert (found.macs, found.elementwise, found.gaps) == (0, 48, ())
    assert any("48 products" in warning for warning in found.warnings)


def test_counters_that_disagree_give_a_warning():
    """They disagree if they are more than 1 % apart."""
    assert MacCount(macs=1000, cross_check=1010).agrees
    assert not MacCount(macs=1000, cross_check=1011).agrees
    assert "1011" in MacCount(macs=1000, cross_check=1011).warnings[0]
    assert MacCount(macs=0, cross_check=0).agrees


class Token(nn.Module):
    """A learned token, expanded to the batch, and a layer."""

    def __init__(self):
        super().__init__()
        self.token, self.layer = nn.Parameter(torch.ones(1, WIDTH)), nn.Linear(WIDTH, 3)

    def forward(self, x):
        return self.layer(self.token.expand(x.shape[0], -1)) + x.sum()


def test_a_view_of_a_parameter_may_enter_a_module():
    """As class tokens do; afterwards the parameters are trained as before."""
    part = Token()
    part.layer.bias.requires_grad_(False)
    found = count(call, part, shape=(2, WIDTH))
    assert (found.macs, found.cross_check, found.gaps) == (3 * WIDTH, 3 * WIDTH, ())
    assert [p.requires_grad for p in part.parameters()] == [True, True, False]


def test_only_known_operators_have_no_macs():
    """No contraction is among them."""
    assert all(
        has_no_macs(f"aten::{name}") for name in ("add", "relu_", "softmax", "topk", "__or__")
    )
    contractions = "mm bmm addmm addbmm linear conv2d einsum bilinear kron cov multi_dot lstm"
    others = "fft_fft linalg_inv _sparse_mm cosine_similarity no_such_operator"
    for name in (contractions + " " + others).split():
        assert not has_no_macs(f"aten::{name}"), name
    assert not has_no_macs("mine::add")


def test_shared_parameters_count_once():
    """Two layers that share a weight of 64 values have two biases of 8."""
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = first.weight
    assert counting.parameters(nn.Sequential(first, second)) == 64 + 8 + 8


def test_masks_save_no_macs():
    """Weights of zero are multiplied too; ``theoretical_macs`` shows what could be saved."""
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
def test_theoretical_macs_of_other_layers(layer, shape, saved):
    """With half of the first weight zero, half of the MACs of this weight are saved."""
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
