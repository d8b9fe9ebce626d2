"""Count a network's parameters and its multiply-accumulates (MACs) for scoring one example.

Convolutions, linear layers, matrix products and other contractions (attention, recurrent layers,
pairwise distances) are counted: one MAC for each product that is summed. Biases, activations,
softmax, batch and layer norm, pooling, interpolation, sorting, gathering and other elementwise work
are left out, as in torch's counter, so that both counts can agree. Products that are not summed are
reported separately as ``elementwise``; a large value shows a contraction hidden in them.

fvcore counts on the traced graph, with handlers for operators that it does not know or counts
wrongly (``operators``). The cross-check is half the FLOPs that torch's FlopCounterMode counts while
the network runs. An operator that is neither counted nor known to hold no MACs is listed by name as
a gap; it never counts as zero without notice.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from hepbench.cost.operators import ELEMENTWISE, UNKNOWN_TO_TORCH, handlers, has_no_macs, one_line
from hepbench.cost.tracing import Positional, traceable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from hepbench.cost.tracing import Tensors


AGREEMENT = 0.01
"""The MACs of two counters agree if they differ by at most this fraction."""


@dataclass(frozen=True, kw_only=True)
class MacCount:
    """The MACs of scoring one example, by two counters.

    Attributes:
        macs: None if the network cannot be traced; a lower bound if there are gaps.
        by_operator: MACs by operator, with fvcore's names.
        elementwise: products that are not summed; not part of ``macs``.
        gaps: names of the operators that were not counted.
        cross_check: half the FLOPs that torch's FlopCounterMode counts.
    """

    macs: int | None
    by_operator: Mapping[str, int] = field(default_factory=dict)
    elementwise: int = 0
    gaps: tuple[str, ...] = ()
    cross_check: int = 0

    @property
    def ratio(self) -> float | None:
        """Ratio of the two MAC counts; None if one of them is missing or zero."""
        return self.macs / self.cross_check if self.macs and self.cross_check else None

    @property
    def agrees(self) -> bool:
        """Whether the two MAC counts agree within AGREEMENT."""
        if self.macs is None:
            return False
        return abs(self.macs - self.cross_check) <= AGREEMENT * max(self.macs, self.cross_check)

    @property
    def warnings(self) -> list[str]:
        """Warnings about this MAC count, for the record."""
        found = []
        if self.gaps:
            too_low = ", so the number is too low" if self.macs else ""
            found.append(f"macs: not counted{too_low}: {'; '.join(self.gaps)}")
        if self.macs is not None and not self.agrees:
            found.append(
                f"macs: fvcore counts {self.macs}, torch's counter {self.cross_check}: more than "
                f"{AGREEMENT:.0%} apart"
            )
        if self.macs is not None and self.elementwise > self.macs:
            found.append(
                f"macs: {self.elementwise} products outside of contractions, more than the "
                f"{self.macs} MACs counted"
            )
        return found


def count(network: nn.Module, inputs: Tensors) -> MacCount:
    """Count the MACs that a network needs to score one example, the first of ``inputs``.

    The network is not changed. Work that depends on values, such as a loop until convergence, is
    counted as it happens for this example.
    """
    one = {name: tensor[:1] for name, tensor in inputs.items()}
    with traceable(network):
        cross_check = 0
        try:
            cross_check, more_gaps = _count_by_torch(network, one)
            found, gaps = _count_by_fvcore(network, one)
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            gap = f"the network cannot be traced ({one_line(error)})"
            return MacCount(macs=None, gaps=(gap,), cross_check=cross_check)
    counts = {name: int(n) for name, n in sorted(found.items()) if n}
    elementwise = sum(counts.pop(name, 0) for name in ELEMENTWISE)
    return MacCount(
        macs=sum(counts.values()),
        by_operator=counts,
        elementwise=elementwise,
        gaps=tuple(sorted(gaps | more_gaps)),
        cross_check=cross_check,
    )


def parameters(module: nn.Module) -> int:
    """Return the number of a network's parameters, trained or frozen; shared ones count once."""
    return sum(parameter.numel() for parameter in module.parameters())


def nonzero_parameters(module: nn.Module) -> int:
    """Return the number of a network's parameters that are not zero."""
    return sum(int(torch.count_nonzero(parameter)) for parameter in module.parameters())


def theoretical_macs(network: nn.Module, inputs: Tensors, macs: int) -> int:
    """Return the MACs of a network without those whose weight is zero.

    An ideal sparse kernel would need only these. The kernels that hepbench times multiply zeros
    too, so this number has its own column.

    Args:
        network: the network that was counted.
        inputs: its inputs.
        macs: its MACs for one example.
    """
    one = {name: tensor[:1] for name, tensor in inputs.items()}
    zeros = _ZeroProducts(network)
    with traceable(network), zeros:
        network(one)
    return macs - zeros.products


# --- the count and its check

# floats and integers are not listed: the sizes of a batch leave torch as such
_LEAVING_KINDS = ("NumPy array", "Python list")


def _count_by_fvcore(network: nn.Module, one: Tensors) -> tuple[Mapping[str, float], set[str]]:
    """Return the MACs that fvcore counts by operator, and the names of uncounted operators."""
    # imported here: the import warns of deprecations in torch
    from fvcore.nn import FlopCountAnalysis

    gaps: set[str] = set()
    analysis = FlopCountAnalysis(Positional(network, tuple(one)), tuple(one.values()))
    analysis.set_op_handle(**handlers(gaps)).tracer_warnings("all")
    analysis.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(enabled=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = analysis.by_operator()
    gaps |= {name for name in analysis.unsupported_ops() if not has_no_macs(name)}
    messages = " ".join(str(warning.message) for warning in caught)
    # the tracer treats values that left torch as constants
    gaps |= {
        f"values taken out of torch as a {kind}"
        for kind in _LEAVING_KINDS
        if f"a {kind}" in messages
    }
    return found, gaps


def _count_by_torch(network: nn.Module, one: Tensors) -> tuple[int, set[str]]:
    """Return the MACs by torch's FLOP counter, and the names of operations that it cannot count."""
    counter = FlopCounterMode(display=False, custom_mapping=dict(UNKNOWN_TO_TORCH))
    with counter, _ComplexProducts() as complex_products, _LeavingValues() as leaving_values:
        network(one)
    return int(counter.get_total_flops()) // 2, leaving_values.gaps | complex_products.gaps


class _LeavingValues(TorchFunctionMode):
    """Counts values that a network takes out of torch, where a tracer cannot follow them."""

    # a loop until convergence reads one number per iteration, a contraction reads very many
    MAX_NUMBERS = 64

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0
        self.capsules = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in {"item", "__float__"} and args[0].is_floating_point():
            self.numbers += 1
        self.capsules += name == "__dlpack__"
        return func(*args, **(kwargs or {}))

    @property
    def gaps(self) -> set[str]:
        """Descriptions of operations that are missing from the MAC count."""
        found = (
            {f"{self.numbers} numbers taken out of torch"}
            if self.numbers > self.MAX_NUMBERS
            else set()
        )
        return found | ({"values taken out of torch by DLPack"} if self.capsules else set())


class _ComplexProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes contractions of complex numbers, each product of which is counted as one."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.gaps: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        packet = func.overloadpacket
        operands = (each for each in args if isinstance(each, torch.Tensor))
        counted = packet in flop_registry or packet in UNKNOWN_TO_TORCH
        if counted and any(each.is_complex() for each in operands):
            name = str(packet).replace(".", "::")
            self.gaps.add(f"{name} of complex numbers (a complex product is four real ones)")
        return func(*args, **(kwargs or {}))


class _ZeroProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the MACs of a network whose weight is zero and belongs to a parameter."""

    WEIGHTS: Mapping[Any, slice] = {
        torch.ops.aten.mm: slice(0, 2),
        torch.ops.aten.bmm: slice(0, 2),
        torch.ops.aten.addmm: slice(1, 3),
        torch.ops.aten.baddbmm: slice(1, 3),
        torch.ops.aten.convolution: slice(1, 2),
    }

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products = 0
        parameters_with_values = [
            parameter for parameter in network.parameters() if parameter.numel()
        ]
        self.stored = {
            parameter.untyped_storage().data_ptr() for parameter in parameters_with_values
        }

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        operands = args[self.WEIGHTS[packet]] if packet in self.WEIGHTS else ()
        weights = [w for w in operands if w.untyped_storage().data_ptr() in self.stored]
        if weights:
            macs = flop_registry[packet](*args, **(kwargs or {}), out_val=out) // 2
            # all values of a weight are used equally often
            zeros = weights[-1].numel() - int(torch.count_nonzero(weights[-1]))
            self.products += macs * zeros // weights[-1].numel()
        return out
