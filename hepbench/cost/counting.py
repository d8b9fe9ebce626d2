"""Multiply-accumulates (MACs) of scoring one example, counted twice; parameters.

What is counted: convolutions, linear layers, products of matrices and whatever contracts like them
(attention, recurrent layers, distances of all pairs), one MAC for each product that is added up.
Biases, activations, softmax, batch and layer norm, pooling, interpolation, sorting, gathering and
other work that grows with the values but not with a contraction are left out, as in torch's own
counter, so that the two can agree. Products of values that are not contracted are reported apart,
as ``elementwise``: a network that hides a contraction in them is seen by that.

The count is fvcore's, a walk over the traced graph, with handlers for what it does not know or gets
wrong (``operators``); the check is half of what torch's FlopCounterMode sees while the network
runs. An operator that neither is counted nor is known to hold no MACs is a named gap, never a
silent zero.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from hepbench.cost.operators import ELEMENTWISE, UNKNOWN_TO_TORCH, handlers, in_short, is_free
from hepbench.cost.tracing import Positional, traceable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from hepbench.cost.tracing import Tensors


AGREE = 0.01
"""Two counts that differ by no more than this share agree."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """MACs of scoring one example.

    Attributes:
        macs: None where the network cannot be traced; a lower bound where there are gaps.
        by_operator: what they are made of, as fvcore names it.
        elementwise: products of values that are not contracted; no part of ``macs``.
        gaps: what was not counted, by name.
        cross_check: half of what torch's FlopCounterMode counts.
    """

    macs: int | None
    by_operator: Mapping[str, int] = field(default_factory=dict)
    elementwise: int = 0
    gaps: tuple[str, ...] = ()
    cross_check: int = 0

    @property
    def ratio(self) -> float | None:
        """The count over its check; None where one of them is missing or nothing."""
        return self.macs / self.cross_check if self.macs and self.cross_check else None

    @property
    def agrees(self) -> bool:
        """Whether both counters agree within AGREE."""
        if self.macs is None:
            return False
        return abs(self.macs - self.cross_check) <= AGREE * max(self.macs, self.cross_check)

    @property
    def warnings(self) -> list[str]:
        """What a record must say of this count."""
        found = []
        if self.gaps:
            too_low = ", so that the figure is too low" if self.macs else ""
            found.append(f"macs: not counted{too_low}: {'; '.join(self.gaps)}")
        if self.macs is not None and not self.agrees:
            found.append(
                f"macs: fvcore counts {self.macs}, torch's counter {self.cross_check}: more than "
                f"{AGREE:.0%} apart"
            )
        if self.macs is not None and self.elementwise > self.macs:
            found.append(
                f"macs: {self.elementwise} products outside of any contraction, more than the "
                f"{self.macs} MACs that are counted"
            )
        return found


def count(network: nn.Module, inputs: Tensors) -> Counted:
    """Count the MACs of scoring one example, the first of ``inputs``.

    The network is left as it was. What depends on values, such as a loop until something
    converges, is counted as it runs for this example.
    """
    one = {name: tensor[:1] for name, tensor in inputs.items()}
    with traceable(network):
        cross_check = 0
        try:
            cross_check, left = _cross_check(network, one)
            found, gaps = _walk(network, one)
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            gap = f"the network cannot be traced ({in_short(error)})"
            return Counted(macs=None, gaps=(gap,), cross_check=cross_check)
    counts = {name: int(n) for name, n in sorted(found.items()) if n}
    elementwise = sum(counts.pop(name, 0) for name in ELEMENTWISE)
    return Counted(
        macs=sum(counts.values()),
        by_operator=counts,
        elementwise=elementwise,
        gaps=tuple(sorted(gaps | left)),
        cross_check=cross_check,
    )


def parameters(module: nn.Module) -> int:
    """Return the number of parameters, trained or frozen; one that is shared counts once."""
    return sum(parameter.numel() for parameter in module.parameters())


def nonzero_parameters(module: nn.Module) -> int:
    """Return the number of parameters that are not zero."""
    return sum(int(torch.count_nonzero(parameter)) for parameter in module.parameters())


def theoretical_macs(network: nn.Module, inputs: Tensors, macs: int) -> int:
    """Return what would remain of ``macs`` if a product with a weight of zero were no work.

    No machine that hepbench times saves them: weights that a mask holds at zero are multiplied
    like any other. This is what an ideal sparse kernel could do, and a column of its own.

    Args:
        network, inputs: as counted.
        macs: its MACs for one example.
    """
    one = {name: tensor[:1] for name, tensor in inputs.items()}
    zeros = _Zeros(network)
    with traceable(network), zeros:
        network(one)
    return macs - zeros.products


# --- the count and its check

# not as a float or an integer: the sizes of a batch are taken out as these
_LEAVING = ("NumPy array", "Python list")


def _walk(network: nn.Module, one: Tensors) -> tuple[Mapping[str, float], set[str]]:
    """Return fvcore's counts by operator, and the names of what they leave out."""
    # it warns of torch's deprecations when it is imported
    from fvcore.nn import FlopCountAnalysis

    gaps: set[str] = set()
    analysis = FlopCountAnalysis(Positional(network, tuple(one)), tuple(one.values()))
    analysis.set_op_handle(**handlers(gaps)).tracer_warnings("all")
    analysis.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(enabled=False)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = analysis.by_operator()
    gaps |= {name for name in analysis.unsupported_ops() if not is_free(name)}
    said = " ".join(str(warning.message) for warning in told)
    # the tracer takes what comes back for a constant
    gaps |= {f"values taken out of torch as a {kind}" for kind in _LEAVING if f"a {kind}" in said}
    return found, gaps


def _cross_check(network: nn.Module, one: Tensors) -> tuple[int, set[str]]:
    """Return half of what torch's counter sees, and the names of what it cannot see."""
    counter = FlopCounterMode(display=False, custom_mapping=dict(UNKNOWN_TO_TORCH))
    with counter, _Leaving() as leaving:
        network(one)
    return int(counter.get_total_flops()) // 2, leaving.gaps


class _Leaving(TorchFunctionMode):
    """Sees values that leave torch unnoticed by the tracer, to be computed with elsewhere."""

    # a loop until something converges looks at one number a turn, a contraction at very many
    MANY = 64

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
        """What must be said of it."""
        found = (
            {f"{self.numbers} numbers taken out of torch"} if self.numbers > self.MANY else set()
        )
        return found | ({"values taken out of torch by DLPack"} if self.capsules else set())


class _Zeros(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the MACs whose weight, part of a parameter, is zero."""

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
        held = [parameter for parameter in network.parameters() if parameter.numel()]
        self.stored = {parameter.untyped_storage().data_ptr() for parameter in held}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        operands = args[self.WEIGHTS[packet]] if packet in self.WEIGHTS else ()
        weights = [w for w in operands if w.untyped_storage().data_ptr() in self.stored]
        if weights:
            macs = flop_registry[packet](*args, **(kwargs or {}), out_val=out) // 2
            # every value of a weight is used equally often
            zeros = weights[-1].numel() - int(torch.count_nonzero(weights[-1]))
            self.products += macs * zeros // weights[-1].numel()
        return out
