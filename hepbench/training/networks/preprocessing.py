"""Preprocessing steps, part of a network, which are fitted once on training inputs only.

Their constants are buffers, so they are stored, scored and exported with the network. Only real
particles of a cloud count, and padding becomes 0.

The steps cover the reference experiments, with two exceptions: the encoder pads images, because it
must remove the padding from its reconstructions, and flips are augmentations of a dataset.
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


UNCHANGED = frozenset({"mask", "neighbours", "momenta"})
"""Inputs that preprocessing leaves alone; scaled momenta would be no momenta."""


class Steps(nn.Module):
    """Several preprocessing steps, applied one after another."""

    def __init__(self, steps: Iterable[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the inputs after the last preprocessing step."""
        for step in self.steps:
            inputs = step(inputs)
        return inputs

    def fit(self, batches: Callable[[], Iterable[Mapping[str, Tensor]]]) -> None:
        """Fit each preprocessing step on the training inputs as the earlier steps return them.

        Args:
            batches: returns the batches of training inputs; called once for each step.
        """
        for i, step in enumerate(self.steps):
            before = Steps(list(self.steps)[:i])
            fit: Callable[[Iterable[Mapping[str, Tensor]]], None] = step.fit  # type: ignore[assignment]
            with torch.no_grad():
                fit(before(batch) for batch in batches())


class Standardise(nn.Module):
    """Preprocessing: subtract each feature's mean and divide by its standard deviation.

    Features are the last axis of ``table``, ``scalars`` and ``cloud``, and the channels of an
    ``image``, where every pixel counts. Constant features, and UNCHANGED, stay as they are.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.sizes = _feature_counts(shapes)
        for name, n in self.sizes.items():
            self.register_buffer(f"mean_{name}", torch.zeros(n))
            self.register_buffer(f"std_{name}", torch.ones(n))

    def fit(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Set the features' means and standard deviations, summed in float64 batch by batch."""
        found: dict[str, tuple[int, Tensor, Tensor]] = {}
        for batch in batches:
            for name in self.sizes:
                # each real particle or pixel is a row
                rows = (
                    _values_to_fit(name, batch)
                    .movedim(_axis(name), -1)
                    .reshape(-1, self.sizes[name])
                )
                found[name] = _updated_moments(found.get(name), rows.double())
        for name, (n, mean, squares) in found.items():
            std = (squares / max(n, 1)).sqrt()
            # rounding can give a constant feature a small spread
            constant = std <= 1e-7 * mean.abs()
            getattr(self, f"mean_{name}").copy_(mean.masked_fill(constant, 0))
            getattr(self, f"std_{name}").copy_(std.masked_fill(constant, 1))

    def forward(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the standardised inputs."""
        made = dict(inputs)
        for name in self.sizes:
            values = inputs[name]
            mean, std = (_constants(self, f"{n}_{name}", name, values) for n in ("mean", "std"))
            made[name] = _without_padding(name, (values - mean) / std, inputs)
        return made


def _updated_moments(
    before: tuple[int, Tensor, Tensor] | None, rows: Tensor
) -> tuple[int, Tensor, Tensor]:
    """Return count, mean and sum of squared deviations after adding rows (Chan et al., 1979)."""
    n, mean = len(rows), rows.sum(0) / max(len(rows), 1)
    squares = (rows - mean).square().sum(0)
    if before is None:
        return n, mean, squares
    n0, mean0, squares0 = before
    total = max(n0 + n, 1)
    step = mean - mean0
    return n0 + n, mean0 + step * n / total, squares0 + squares + step.square() * n0 * n / total


class ChannelMaximum(nn.Module):
    """Preprocessing: divide each channel or feature by its largest value, if that is positive."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.sizes = _feature_counts(shapes)
        for name, n in self.sizes.items():
            self.register_buffer(f"maximum_{name}", torch.ones(n))

    def fit(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Set the largest value of each channel or feature over all batches."""
        found = {name: torch.zeros(n) for name, n in self.sizes.items()}
        for batch in batches:
            for name, before in found.items():
                values = _values_to_fit(name, batch)
                others = [d for d in range(values.ndim) if d != _axis(name) % values.ndim]
                if len(values):
                    found[name] = torch.maximum(before, values.amax(others).cpu())
        for name, maximum in found.items():
            getattr(self, f"maximum_{name}").copy_(maximum.masked_fill(maximum == 0, 1))

    def forward(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the inputs, with each channel or feature divided by its largest value."""
        made = dict(inputs)
        for name in self.sizes:
            scaled = inputs[name] / _constants(self, f"maximum_{name}", name, inputs[name])
            made[name] = _without_padding(name, scaled, inputs)
        return made


class SignedLog(nn.Module):
    """Preprocessing: sign(x) log(1 + |x| / m); m is the median |x| of hits in a channel or feature.

    Hits are values other than 0; 0 stays 0. A channel without hits has m = 1.
    """

    DROPPED = 12
    """Number of lowest bits of |x| that are ignored when hits are counted.

    m is too low by a relative error below 2^-11, whatever the size of the batches.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.sizes = _feature_counts(shapes)
        for name, n in self.sizes.items():
            self.register_buffer(f"median_{name}", torch.ones(n))

    def fit(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Set the median |x| of hits in each channel or feature, from counts of leading bits."""
        # floats of at least 0 have the same order as their bits read as whole numbers
        bins = 2 ** (31 - self.DROPPED)
        found = {name: torch.zeros(n, bins, dtype=torch.int64) for name, n in self.sizes.items()}
        for batch in batches:
            for name, counts in found.items():
                for i, values in enumerate(_values_to_fit(name, batch).movedim(_axis(name), 0)):
                    hits = values[values != 0].abs().cpu().view(torch.int32)
                    counts[i] += torch.bincount(hits >> self.DROPPED, minlength=bins)
        for name, counts in found.items():
            median = getattr(self, f"median_{name}")
            for i, count in enumerate(counts):
                if n := int(count.sum()):
                    # the lower median if the number of hits is even
                    middle = torch.searchsorted(count.cumsum(0), (n + 1) // 2)
                    value = (middle << self.DROPPED).int().view(torch.float32)
                    # dividing by a smaller number could overflow
                    median[i] = value.clamp_min(torch.finfo(torch.float32).tiny)

    def forward(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the signed logarithms of the inputs."""
        made = dict(inputs)
        for name in self.sizes:
            values = inputs[name]
            scaled = values / _constants(self, f"median_{name}", name, values)
            made[name] = _without_padding(name, scaled.sign() * scaled.abs().log1p(), inputs)
        return made


class ZeroSuppression(nn.Module):
    """Preprocessing: set all pixels of an image below a threshold to 0, also negative ones.

    Other inputs stay unchanged. Do not use it for channels where the sign carries information.

    Source: Andrews et al., NIM A 977, 164304 (2020), arXiv:1902.08276: quark and gluon jets, with
    a threshold of 1e-3 for energies in GeV.

    Raises:
        PluginError: the inputs hold no image.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], *, below: float) -> None:
        super().__init__()
        if "image" not in shapes:
            msg = f"zero-suppression: the inputs are {', '.join(shapes)}; an image is expected"
            raise PluginError(msg)
        self.register_buffer("below", torch.tensor(float(below)))

    def fit(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Do nothing: the threshold for pixels is a parameter, not fitted."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the inputs, with pixels below the threshold set to 0."""
        image = inputs["image"]
        return {**inputs, "image": image.masked_fill(image < self.get_buffer("below"), 0)}


def _feature_counts(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Return the number of features or channels of each input that preprocessing changes."""
    numeric = {name: shape for name, shape in shapes.items() if name not in UNCHANGED}
    return {name: shape[0] if name == "image" else shape[-1] for name, shape in numeric.items()}


def _axis(name: str) -> int:
    """Return the axis of the features or channels of an input in a batch."""
    return 1 if name == "image" else -1


def _values_to_fit(name: str, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the values to fit preprocessing on: for a cloud, only those of real particles."""
    values = batch[name]
    return values[batch["mask"]] if name == "cloud" and "mask" in batch else values


def _without_padding(name: str, values: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return preprocessed values, with the padding of a cloud set to 0."""
    if name == "cloud" and "mask" in inputs:
        return values * inputs["mask"][..., None]
    return values


def _constants(step: nn.Module, buffer: str, name: str, values: Tensor) -> Tensor:
    """Return a fitted constant for each feature, in a shape that broadcasts over the values."""
    shape = [1] * values.ndim
    shape[_axis(name)] = -1
    return step.get_buffer(buffer).view(shape)


STEPS: Mapping[str, Callable[..., Step]] = {
    "standardise": Standardise,
    "channel-maximum": ChannelMaximum,
    "signed-log": SignedLog,
    "zero-suppression": ZeroSuppression,
}
"""The preprocessing steps of hepbench, by the names that ``specs.STEPS`` lists."""


def build(steps: Iterable[str], shapes: Mapping[str, tuple[int, ...]]) -> Steps:
    """Return new preprocessing steps, not yet fitted.

    Raises:
        PluginError: a name is neither a step of the core nor the ``"module:class"`` of a module.
    """
    return Steps([_build_step(step, shapes) for step in steps])


def _build_step(step: str, shapes: Mapping[str, tuple[int, ...]]) -> nn.Module:
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
