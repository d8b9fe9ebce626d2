"""Perceptron on a frozen encoder: the latents are classified by a small network instead of a line.

Between the linear probe, which finds what a line separates, and fine-tuning, which changes the encoder
too. What a perceptron gains over the linear probe was in the latents, but not linearly.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from torch import nn

from hepbench import Objective, classification

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench import Context, Network, TrainingData


def head(width: int, classes: int, *, hidden: Sequence[int], dropout: float) -> nn.Module:
    """Build the perceptron, from (N, width) latents to (N, classes) logits.

    Latents are normalised over the batch first, so that their scale does not matter; with no hidden
    layer this is the head of the linear probe.
    """
    layers: list[nn.Module] = [nn.BatchNorm1d(width, affine=False)]
    for n, m in pairwise([width, *hidden]):
        layers += [nn.Linear(n, m), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear([width, *hidden][-1], classes))


def mlp_probe(
    start: Network,
    data: TrainingData,
    context: Context,
    *,
    learning_rate: float,
    hidden: Sequence[int],
    dropout: float,
    **training: Any,
) -> Network:
    """Train a perceptron on the latents of a frozen encoder.

    Args:
        start: its encoder makes the latents.
        data: labels of two or more classes.
        context: trains.
        learning_rate: of the perceptron.
        hidden: units of each hidden layer.
        dropout: fraction of the units of each hidden layer that is dropped in training.
        training: the settings of ``context.fit``.
    """
    network = context.with_head(start, hidden=list(hidden), dropout=dropout)
    return context.fit(
        network, data, Objective(classification, {"head": learning_rate}), **training
    )
