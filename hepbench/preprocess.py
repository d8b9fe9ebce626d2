"""Preprocessing: steps inside the network, fitted once, on training inputs alone.

Their constants are buffers, so they are stored, scored and exported with the network.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hepbench.errors import PluginError, unknown
from hepbench.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hepbench.specs import Step


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

    Features are the last axis of ``table``, ``scalars`` and ``cloud`` (real particles count,
    padding stays 0) and the channels of an ``image``. Masks and constant features are left alone.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.names = [name for name in shapes if name != "mask"]
        self.axes = {name: 1 if name == "image" else -1 for name in self.names}
        for name in self.names:
            n = shapes[name][0] if name == "image" else shapes[name][-1]
            self.register_buffer(f"mean_{name}", torch.zeros(n))
            self.register_buffer(f"std_{name}", torch.ones(n))

    def fit(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Set means and standard deviations, gathered in float64 batch by batch."""
        found: dict[str, tuple[int, Tensor, Tensor]] = {}
        for batch in batches:
            for name in self.names:
                rows = self._features(name, batch).double()
                found[name] = _merged(found.get(name), rows)
        for name, (n, mean, squares) in found.items():
            std = (squares / max(n, 1)).sqrt()
            # rounding alone can spread a constant a little
            constant = std <= 1e-7 * mean.abs()
            getattr(self, f"mean_{name}").copy_(mean.masked_fill(constant, 0))
            getattr(self, f"std_{name}").copy_(std.masked_fill(constant, 1))

    def forward(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the standardised inputs."""
        made = dict(inputs)
        for name in self.names:
            values = inputs[name]
            shape = [1] * values.ndim
            shape[self.axes[name]] = -1
            mean, std = getattr(self, f"mean_{name}"), getattr(self, f"std_{name}")
            made[name] = (values - mean.view(shape)) / std.view(shape)
            if name == "cloud" and "mask" in inputs:
                made[name] = made[name] * inputs["mask"][..., None]
        return made

    def _features(self, name: str, batch: Mapping[str, Tensor]) -> Tensor:
        """Return (rows, features): each real particle or pixel is a row."""
        values = batch[name].movedim(self.axes[name], -1)
        if name == "cloud" and "mask" in batch:
            return values[batch["mask"]]
        return values.reshape(-1, values.shape[-1])


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


STEPS: Mapping[str, Callable[[Mapping[str, tuple[int, ...]]], Step]] = {
    "standardise": Standardise,
}
"""The core's own, by the name that ``Model.preprocess`` gives."""


def build(names: Iterable[str], shapes: Mapping[str, tuple[int, ...]]) -> Steps:
    """Return steps that are not fitted yet.

    Raises:
        PluginError: a name is none of the core's, and no ``"module:class"`` of a module.
    """
    makers = [STEPS[n] if n in STEPS else partial(_theirs, n) for n in names]
    return Steps([make(shapes) for make in makers])  # type: ignore[misc]


def _theirs(name: str, shapes: Mapping[str, tuple[int, ...]]) -> nn.Module:
    if ":" not in name:
        raise PluginError(unknown("preprocessing step", name, STEPS))
    step = resolve(name)(shapes)
    if not isinstance(step, nn.Module) or not hasattr(step, "fit"):
        msg = f"preprocessing step {name}: an nn.Module with fit(batches) is expected"
        raise PluginError(msg)
    return step
