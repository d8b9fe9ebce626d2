"""Joint training: the encoder is trained by its own loss and by the labels together.

Either one loss, the sum of all terms, and one optimiser; or (``separate``) two objectives with an
optimiser and a schedule each, which take turns at every batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench import Objective, classification, pretraining

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from hepbench import Context, Examples, Network, TrainingData


def joint(
    start: Network,
    data: TrainingData,
    context: Context,
    *,
    encoder_learning_rate: float,
    head_learning_rate: float,
    separate: bool,
    **training: Any,
) -> Network:
    """Train the encoder by its own loss and the labels together, and the head by the labels."""
    network = context.with_head(start)
    rates = {"encoder": encoder_learning_rate, "head": head_learning_rate}
    if separate:
        own = Objective(pretraining, {"encoder": encoder_learning_rate})
        return context.fit(network, data, own, Objective(classification, rates), **training)
    return context.fit(network, data, Objective(both, rates), **training)


def both(network: Network, batch: Examples) -> Mapping[str, Tensor]:
    """Return the loss terms of classification and of the encoder's own loss for each example."""
    return {**pretraining(network, batch), **classification(network, batch)}
