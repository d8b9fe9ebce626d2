"""Count the MACs of each torch operator in a traced network, as handlers for fvcore."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch

Shape: TypeAlias = Sequence[int]


Handler: TypeAlias = Callable[[list[Any], list[Any]], int]
"""A function from inputs and outputs of an operator in a traced graph to its MACs."""


def _shape(value: Any) -> Shape:
    sizes: Shape | None = value.type().sizes() if value.isCompleteTensor() else None
    if sizes is None:
        msg = "a shape is unknown"
        raise ValueError(msg)
    return sizes


def _integers(value: Any) -> list[int] | None:
    if value.node().kind() == "prim::ListConstruct":
        return [item.toIValue() for item in value.node().inputs()]
    found: list[int] | None = value.toIValue()
    return found


def _contracted(inputs: list[Any], outputs: list[Any], *, matrix: int) -> int:
    """Count the MACs of a matrix product: outputs times length of the last axis of ``matrix``."""
    return math.prod(_shape(outputs[0])) * _shape(inputs[matrix])[-1]


def _convolution_mode(inputs: list[Any], outputs: list[Any]) -> int:
    """Count the MACs of a convolution with named padding, such as ``same``."""
    return math.prod(_shape(outputs[0])) * math.prod(_shape(inputs[1])[1:])


def _attention(inputs: list[Any], outputs: list[Any]) -> int:
    """Count the MACs of attention: products of queries and keys, then of weights and values."""
    query, key, out = _shape(inputs[0]), _shape(inputs[1]), _shape(outputs[0])
    return math.prod(out[:-1]) * key[-2] * (query[-1] + out[-1])


def _distances(inputs: list[Any], outputs: list[Any]) -> int:
    """Count the MACs of pairwise distances.

    Above 25 points torch uses one matrix product, which is two columns wider."""
    a, b, power, mode = (*map(_shape, inputs[:2]), inputs[2].toIValue(), inputs[3].toIValue())
    by_product = power == 2 and (mode == 1 or (mode in (None, 0) and max(a[-2], b[-2]) > 25))
    return math.prod(_shape(outputs[0])) * (a[-1] + 2 * by_product)


def _tensordot(inputs: list[Any], outputs: list[Any]) -> int:
    a, dims = _shape(inputs[0]), _integers(inputs[2])
    return math.prod(_shape(outputs[0])) * math.prod(a[dim] for dim in dims or ())


def _recurrent(inputs: list[Any], _outputs: list[Any]) -> int:
    """Count the MACs of recurrent layers, which use every matrix at each step."""
    lists = [value for value in inputs if value.node().kind() == "prim::ListConstruct"]
    shapes = [_shape(value) for value in lists[-1].node().inputs()]
    weights = sum(math.prod(shape) for shape in shapes if len(shape) == 2)
    return math.prod(_shape(inputs[0])[:-1]) * weights


def _recurrent_cell(inputs: list[Any], _outputs: list[Any]) -> int:
    weights = sum(math.prod(_shape(value)) for value in inputs[2:4])
    return math.prod(_shape(inputs[0])[:-1]) * weights


def _einsum(inputs: list[Any], _outputs: list[Any]) -> int:
    """Count the MACs of an einsum as torch computes it: pairs from the left, or a given path."""
    shapes = [_shape(value) for value in inputs[1].node().inputs()]
    return einsum_macs(inputs[0].toIValue(), shapes, _integers(inputs[2]))


def einsum_macs(equation: str, shapes: Sequence[Shape], path: Sequence[int] | None = None) -> int:
    """Return the MACs of an einsum; an axis of only one operand is summed before the product.

    Args:
        equation: an equation for ``torch.einsum``; ``...`` is allowed.
        shapes: shapes of the operands.
        path: positions of the operands to contract, two per step; None: from the left.
    """
    terms, result = _axes(equation, shapes)
    sizes: Counter[str] = Counter()
    for term, shape in zip(terms, shapes, strict=True):
        sizes |= Counter(dict(zip(term, shape, strict=True)))
    operands, total = [set(term) for term in terms], 0
    steps = iter(path or [])
    while len(operands) > 1:
        first, second = sorted((next(steps, 0), next(steps, 1)))
        b, a = operands.pop(second), operands.pop(first)
        kept = set(result).union(*operands)
        shared = (a & b) - kept
        joined = (a | b) & kept
        # without a sum this is an elementwise product
        total += math.prod(sizes[axis] for axis in joined | shared) if shared else 0
        # torch puts the result first without a path, and last with one
        operands.insert(len(operands) if path else 0, joined)
    return total


def _axes(equation: str, shapes: Sequence[Shape]) -> tuple[list[str], str]:
    """Return the axes of each operand and of the result of an einsum, one character each."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    more = [
        len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes, strict=True)
    ]
    # characters that no equation uses; the axes of an ellipsis are aligned at the right
    names = "".join(map(chr, range(0x4E00, 0x4E00 + max(more))))
    terms = [t.replace("...", names[len(names) - n :]) for t, n in zip(terms, more, strict=True)]
    if not arrow:
        letters = Counter("".join(terms))
        result = "..." + "".join(sorted(a for a, n in letters.items() if n == 1 and a not in names))
    return terms, result.replace("...", names)


def _products(_inputs: list[Any], outputs: list[Any]) -> int:
    return math.prod(_shape(outputs[0]))


def _no_macs(_inputs: list[Any], _outputs: list[Any]) -> int:
    return 0


ELEMENTWISE = (
    *("mul", "mul_", "multiply", "div", "div_", "divide", "true_divide"),
    *("addcmul", "addcmul_", "outer", "ger"),
)


# fvcore's own handlers for _convolution, linear, addmm and bmm are right
_COUNTED: Mapping[str, Handler] = {
    # fvcore assumes that the result has the batch axes of the first operand
    "matmul": partial(_contracted, matrix=0),
    # fvcore parses the text of numpy.einsum_path, and allocates operands for it
    "einsum": _einsum,
    "mm": partial(_contracted, matrix=0),
    "mv": partial(_contracted, matrix=0),
    "dot": partial(_contracted, matrix=0),
    "inner": partial(_contracted, matrix=0),
    "addmv": partial(_contracted, matrix=1),
    "baddbmm": partial(_contracted, matrix=1),
    "tensordot": _tensordot,
    "_convolution_mode": _convolution_mode,
    "scaled_dot_product_attention": _attention,
    "cdist": _distances,
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _recurrent_cell),
    **dict.fromkeys(ELEMENTWISE, _products),
}


# fvcore counts these by another convention
_NOT_COUNTED = (
    *("batch_norm", "group_norm", "instance_norm", "layer_norm", "adaptive_avg_pool1d"),
    *("adaptive_avg_pool2d", "adaptive_avg_pool3d", "grid_sampler", "upsample_nearest2d"),
    *("upsample_bilinear2d", "mean"),
)


# loops, branches and calls in scripted code: fvcore ignores their contents
_OPAQUE = ("prim::Loop", "prim::If", "prim::CallMethod", "prim::CallFunction")


def handlers(gaps: set[str]) -> dict[str, Handler]:
    """Return a MAC counter for each operator; it adds names of uncounted operators to ``gaps``."""
    counted = {f"aten::{name}": _handler_with_gaps(name, h, gaps) for name, h in _COUNTED.items()}
    left_out = {f"aten::{name}": _no_macs for name in _NOT_COUNTED}
    return {**counted, **left_out, **{name: _note_gap(name, gaps) for name in _OPAQUE}}


def _handler_with_gaps(name: str, handler: Handler, gaps: set[str]) -> Handler:
    def guarded(inputs: list[Any], outputs: list[Any]) -> int:
        try:
            return handler(inputs, outputs)
        except (ValueError, TypeError, IndexError, KeyError, RuntimeError) as error:
            gaps.add(f"aten::{name} ({one_line(error)})")
            return 0

    return guarded


def _note_gap(name: str, gaps: set[str]) -> Handler:
    def gap(_inputs: list[Any], _outputs: list[Any]) -> int:
        gaps.add(name)
        return 0

    return gap


def _torch_vector(a: Shape, *_: Any, **__: Any) -> int:
    return 2 * math.prod(a)


def _torch_vector_added(_added: Shape, a: Shape, *_: Any, **__: Any) -> int:
    return 2 * math.prod(a)


def _torch_distances(a: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    return 2 * math.prod(out_shape) * a[-1]


def _torch_distances_by_product(a: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    return 2 * math.prod(out_shape) * (a[-1] + 2)


UNKNOWN_TO_TORCH: Mapping[Any, Any] = {
    torch.ops.aten.mv: _torch_vector,
    torch.ops.aten.dot: _torch_vector,
    torch.ops.aten.addmv: _torch_vector_added,
    torch.ops.aten._cdist_forward: _torch_distances,
    torch.ops.aten._euclidean_dist: _torch_distances_by_product,
}


def has_no_macs(kind: str) -> bool:
    """Return whether a torch operator is known to need no MACs."""
    space, _, name = kind.partition("::")
    if space != "aten":
        return False
    plain = name.removesuffix("_")
    if {name, plain} & _WITHOUT_MACS or plain.startswith(_PREFIXES_WITHOUT_MACS):
        return True
    return any(_is_tagged(known) for known in (name, plain))


def _is_tagged(name: str) -> bool:
    packet = getattr(torch.ops.aten, name, None)
    if packet is None:
        return False
    tags = {tag for overload in packet.overloads() for tag in getattr(packet, overload).tags}
    return bool(tags & {torch.Tag.pointwise, torch.Tag.reduction})


_PREFIXES_WITHOUT_MACS = (
    *("adaptive_avg_pool", "adaptive_max_pool", "avg_pool", "max_pool", "fractional_max_pool"),
    *("max_unpool", "upsample_", "_upsample_", "reflection_pad", "replication_pad", "is_"),
)


# first block: shapes, copies, constants, random values; second: comparison, selection, sorting,
# counting; third: sums, norms, activations
_NAMES_WITHOUT_MACS = """
H T _pack_padded_sequence _pad_packed_sequence adjoint alias as_strided atleast_1d atleast_2d
atleast_3d bernoulli bool broadcast_tensors broadcast_to channel_shuffle clone col2im column_stack
combinations concat concatenate conj copy cpu cuda detach diag diag_embed diagflat diagonal
diagonal_scatter dim double dstack empty_like empty_permuted empty_strided expand_as eye fill flip
fliplr flipud float full full_like half hsplit hstack im2col imag int item lift_fresh linspace long
mH mT matrix_H meshgrid moveaxis movedim multinomial new_empty_strided new_ones normal numel
numpy_T ones_like pad pad_sequence pixel_shuffle pixel_unshuffle rand rand_like randint
randint_like randn randn_like randperm range ravel real repeat repeat_interleave reshape_as
resolve_conj resolve_neg result_type rot90 row_stack scalar_tensor select_scatter slice_scatter
squeeze swapaxes swapdims t tensor tensor_split tile transpose tril tril_indices triu triu_indices
unflatten unfold unsafe_chunk unsafe_split unsqueeze view_as view_as_complex view_as_real vsplit
vstack zero zeros_like

__and__ __or__ __xor__ argmax argmin argsort argwhere bincount bucketize cummax cummin embedding
gather greater greater_equal histc index_add index_copy index_fill index_put index_reduce
index_select isclose isin isreal kthvalue less less_equal masked_scatter masked_select median min
mode msort nanmedian nonzero nonzero_numpy not_equal one_hot put scatter scatter_add scatter_reduce
searchsorted segment_reduce sort take take_along_dim topk unique unique_consecutive unique_dim
where

_weight_norm absolute alpha_dropout aminmax arccos arccosh arcsin arcsinh arctan arctan2 arctanh
complex count_nonzero cumprod cumsum diff dropout feature_alpha_dropout feature_dropout fix glu
hardsigmoid hardswish log_sigmoid log_softmax logcumsumexp logsumexp nanmean native_batch_norm
native_dropout native_group_norm native_layer_norm negative norm_except_dim normalize polar prelu
rms_norm rrelu softmax softmin subtract trace
"""


_WITHOUT_MACS = frozenset(_NAMES_WITHOUT_MACS.split())


def one_line(error: Exception) -> str:
    """Return one line with type and first words of an error during counting."""
    words = str(error).split()
    return f"{type(error).__name__}: {' '.join(words[:20])}"
