"""Preprocessing: steps inside the network, fitted once, on training inputs alone.

Their constants are buffers, so they are stored, scored and exported with the network. Of a cloud
only real particles count, and padding becomes 0.

What reference experiments need is here, but for two things: padding of images is part of the
encoder, which cuts it off again where it reconstructs, and flips are augmentations of a dataset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hepbench.registry.resolve import resolve
from hepbench.specs.errors import PluginError
from hepbench.specs.references import reference
from hepbench.specs.text import unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hepbench.specs.model import Step


class Steps(nn.Module):
    """Several steps, one after another."""

    def __init__(self, steps: Iterable[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the inputs after the last step."""
        for step in self.steps:
            inputs = step(inputs)
        return inputs

    def fit(self, batches: Callable[[], Iterable[Mapping[str, Tensor]]]) -> None:
        """Fit each step to what those before it make of the training inputs.

        Args:
            batches: called once for each step.
        """
        for i, step in enumerate(self.steps):
            before = Steps(list(self.steps)[:i])
            fit: Callable[[Iterable[Mapping[str, Tensor]]], None] = step.fit  # type: ignore[assignment]
            with torch.no_grad():
                fit(before(batch) for batch in batches())


class Standardise(nn.Module):
    """Subtract the mean and divide by the standard deviation, feature by feature.

    Features are the last axis of ``table``, ``scalars`` and ``cloud``, and the channels of an
    ``image``, of which every pixel counts. Masks, neighbours and constant features are left alone.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.sizes = _features(shapes)
        for name, n in self.sizes.items():
            self.register_buffer(f"mean_{name}", torch.zeros(n))
            self.register_buffer(f"std_{name}", torch.ones(n))

    def fit(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Set means and standard deviations, gathered in float64 batch by batch."""
        found: dict[str, tuple[int, Tensor, Tensor]] = {}
        for batch in batches:
            for name in self.sizes:
                # each real particle or pixel is a row
                rows = _real(name, batch).movedim(_axis(name), -1).reshape(-1, self.sizes[name])
                found[name] = _merged(found.get(name), rows.double())
        for name, (n, mean, squares) in found.items():
            std = (squares / max(n, 1)).sqrt()
            # rounding alone can spread a constant a little
            constant = std <= 1e-7 * mean.abs()
            getattr(self, f"mean_{name}").copy_(mean.masked_fill(constant, 0))
            getattr(self, f"std_{name}").copy_(std.masked_fill(constant, 1))

    def forward(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the standardised inputs."""
        made = dict(inputs)
        for name in self.sizes:
            values = inputs[name]
            mean, std = (_along(self, f"{what}_{name}", name, values) for what in ("mean", "std"))
            made[name] = _without_padding(name, (values - mean) / std, inputs)
        return made


def _merged(before: tuple[int, Tensor, Tensor] | None, rows: Tensor) -> tuple[int, Tensor, Tensor]:
    """Return count, mean and sum of squared deviations with more rows (Chan et al., 1979)."""
    n, mean = len(rows), rows.sum(0) / max(len(rows), 1)
    squares = (rows - mean).square().sum(0)
    if before is None:
        return n, mean, squares
    n0, mean0, squares0 = before
    total = max(n0 + n, 1)
    step = mean - mean0
    return n0 + n, mean0 + step * n / total, squares0 + squares + step.square() * n0 * n / total


class ChannelMaximum(nn.Module):
    """Divide each channel or feature by its largest value; where that is not above 0, leave it."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.sizes = _features(shapes)
        for name, n in self.sizes.items():
            self.register_buffer(f"maximum_{name}", torch.ones(n))

    def fit(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Set the maxima of all batches together."""
        found = {name: torch.zeros(n) for name, n in self.sizes.items()}
        for batch in batches:
            for name, before in found.items():
                values = _real(name, batch)
                others = [d for d in range(values.ndim) if d != _axis(name) % values.ndim]
                if len(values):
                    found[name] = torch.maximum(before, values.amax(others).cpu())
        for name, maximum in found.items():
            getattr(self, f"maximum_{name}").copy_(maximum.masked_fill(maximum == 0, 1))

    def forward(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the inputs as shares of their maxima."""
        made = dict(inputs)
        for name in self.sizes:
            shares = inputs[name] / _along(self, f"maximum_{name}", name, inputs[name])
            made[name] = _without_padding(name, shares, inputs)
        return made


class SignedLog(nn.Module):
    """Take sign(x) log(1 + |x| / m), m being the median |x| of the hits of a channel or feature.

    Hits are what is not 0; 0 stays 0. A channel without hits has m = 1.
    """

    DROPPED = 12
    """Bits of a float32 that are not told apart when hits are counted: m is too low by less than
    a share of 2^-11, the same for batches of any size."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.sizes = _features(shapes)
        for name, n in self.sizes.items():
            self.register_buffer(f"median_{name}", torch.ones(n))

    def fit(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Set the medians, from hits counted by the leading bits of their size."""
        # the bits of floats that are not negative are in their order
        bins = 2 ** (31 - self.DROPPED)
        found = {name: torch.zeros(n, bins, dtype=torch.int64) for name, n in self.sizes.items()}
        for batch in batches:
            for name, counts in found.items():
                for i, values in enumerate(_real(name, batch).movedim(_axis(name), 0)):
                    hits = values[values != 0].abs().cpu().view(torch.int32)
                    counts[i] += torch.bincount(hits >> self.DROPPED, minlength=bins)
        for name, counts in found.items():
            median = getattr(self, f"median_{name}")
            for i, count in enumerate(counts):
                if n := int(count.sum()):
                    # the lower of two in the middle
                    middle = torch.searchsorted(count.cumsum(0), (n + 1) // 2)
                    value = (middle << self.DROPPED).int().view(torch.float32)
                    # smaller ones cannot be divided by
                    median[i] = value.clamp_min(torch.finfo(torch.float32).tiny)

    def forward(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the logarithms."""
        made = dict(inputs)
        for name in self.sizes:
            values = inputs[name]
            scaled = values / _along(self, f"median_{name}", name, values)
            made[name] = _without_padding(name, scaled.sign() * scaled.abs().log1p(), inputs)
        return made


class ZeroSuppression(nn.Module):
    """Set pixels of an ``image`` below a threshold to 0, so negative ones too; nothing is fitted.

    Other inputs are left alone. Channels in which the sign means something are not made for it.

    Source: Andrews et al., NIM A 977, 164304 (2020), arXiv:1902.08276: quark and gluon jets below
    1e-3, of energies in GeV.

    Raises:
        PluginError: there is no image.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], *, below: float) -> None:
        super().__init__()
        if "image" not in shapes:
            msg = f"zero-suppression is made for images; the inputs are {', '.join(shapes)}"
            raise PluginError(msg)
        self.register_buffer("below", torch.tensor(float(below)))

    def fit(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Do nothing: the threshold was given."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the inputs, the image without what lies below the threshold."""
        image = inputs["image"]
        return {**inputs, "image": image.masked_fill(image < self.get_buffer("below"), 0)}


def _features(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Return how many features or channels each input has; masks and neighbours have none."""
    without = {"mask", "neighbours"}
    named = {name: shape for name, shape in shapes.items() if name not in without}
    return {name: shape[0] if name == "image" else shape[-1] for name, shape in named.items()}


def _axis(name: str) -> int:
    """Return the axis of features in a batch."""
    return 1 if name == "image" else -1


def _real(name: str, batch: Mapping[str, Tensor]) -> Tensor:
    """Return what counts of an input: all of it, but of a cloud the real particles (n, features)."""
    values = batch[name]
    return values[batch["mask"]] if name == "cloud" and "mask" in batch else values


def _without_padding(name: str, values: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return values that are 0 where a cloud has no real particle."""
    if name == "cloud" and "mask" in inputs:
        return values * inputs["mask"][..., None]
    return values


def _along(step: nn.Module, buffer: str, name: str, values: Tensor) -> Tensor:
    """Return a constant of each feature, to be broadcast over values."""
    shape = [1] * values.ndim
    shape[_axis(name)] = -1
    return step.get_buffer(buffer).view(shape)


STEPS: Mapping[str, Callable[..., Step]] = {
    "standardise": Standardise,
    "channel-maximum": ChannelMaximum,
    "signed-log": SignedLog,
    "zero-suppression": ZeroSuppression,
}
"""The core's own, by the names that ``specs.STEPS`` lists."""


def build(steps: Iterable[str], shapes: Mapping[str, tuple[int, ...]]) -> Steps:
    """Return steps that are not fitted yet.

    Raises:
        PluginError: a name is none of the core's, and no ``"module:class"`` of a module.
    """
    return Steps([_built(step, shapes) for step in steps])


def _built(step: str, shapes: Mapping[str, tuple[int, ...]]) -> nn.Module:
    asked = reference(step)
    if asked.name in STEPS:
        made = STEPS[asked.name](shapes, **asked.params)
    elif ":" in step:
        made = resolve(step)(shapes)
    else:
        raise PluginError(unknown("preprocessing step", asked.name, STEPS))
    if not isinstance(made, nn.Module) or not hasattr(made, "fit"):
        msg = f"preprocessing step {step}: an nn.Module with fit(batches) is expected"
        raise PluginError(msg)
    return made
