"""Nearest neighbours: an example is classified by the training examples with the nearest latents.

Cover and Hart (1967); weighted by similarity as in Wu et al. (2018), arXiv:1805.01978, section 3.4.
Nothing is trained, so the AUC says how the encoder itself arranges the examples. The latents and labels
of the training examples are the head's buffers: it is stored, exported and counted like any network.

Departures: latents are standardised first (``scale``); votes vanish at the first neighbour that has none,
so that rounding, which can exchange two neighbours of nearly the same similarity, does not move a
score; and the fractions of the classes have one vote, so that no score is exactly 0 or 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.preprocessing import normalize
from torch import Tensor, nn
from torch.nn import functional

from hepbench_methods.latents import need_every_class, scaling

if TYPE_CHECKING:
    from hepbench import Array, Context, Network, TrainingData

LEAST = 1e-12
"""Smallest number that votes are divided by: of examples with equal latents none has a vote."""


class Neighbours(nn.Module):
    """A head that computes logits from latents by a vote of the nearest training examples.

    The similarity of two examples is the cosine between their latents, or minus half of their mean
    squared difference (``euclidean``). Of the k + 1 nearest, a neighbour's vote for its class is
    exp(similarity / temperature) minus that of the last one, relative to the vote of the nearest.

    Args:
        width: number of latents.
        classes: number of classes.
        examples: number of training examples.
        k: number of neighbours that vote.
        metric: ``cosine`` or ``euclidean``.
        temperature: of the votes.
    """

    def __init__(
        self, width: int, classes: int, *, examples: int, k: int, metric: str, temperature: float
    ) -> None:
        super().__init__()
        self.k, self.metric, self.temperature = k, metric, temperature
        shapes = {
            "mean": (width,),
            "std": (width,),
            "latents": (examples, width),
            "votes": (examples, classes),
            "fractions": (classes,),
        }
        for name, shape in shapes.items():
            # in float32 a similarity differs by more than the latents do
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    def forward(self, latents: Tensor) -> Tensor:
        """Return the (N, classes) logits of latents: the logarithms of the fractions of votes."""
        similar = self.similarity((latents.double() - self.mean) / self.std)
        last = similar.topk(self.k + 1, dim=1).values[:, -1:]
        # the nearest has exponent 0, so that nothing overflows
        top = similar.amax(1, keepdim=True)
        scaled = ((similar - top) / self.temperature).exp()
        votes = (scaled - ((last - top) / self.temperature).exp()).clamp_min(0)
        votes = votes / votes.amax(1, keepdim=True).clamp_min(LEAST)
        return (votes @ self.votes + self.fractions).log()

    def similarity(self, scaled: Tensor) -> Tensor:
        """Return the similarities (N, examples) of scaled latents to those of training examples.

        For the cosine, the latter have length 1 already.
        """
        if self.metric == "cosine":
            return functional.normalize(scaled, dim=1) @ self.latents.T
        squares = scaled.square().sum(1, keepdim=True) + self.latents.square().sum(1)
        return (scaled @ self.latents.T - squares / 2) / scaled.shape[1]


def knn(
    start: Network,
    data: TrainingData,
    context: Context,
    *,
    k: int,
    metric: str,
    temperature: float,
    scale: str,
    examples: int,
) -> Network:
    """Store the latents of training examples with their labels in a head that lets them vote.

    Args:
        start: its encoder makes the latents.
        data: labels of two or more classes; a neighbour's vote is multiplied by its weight.
        context: its seed draws the examples, where there are more than ``examples``.
        k: number of neighbours that vote; all but one, with a warning, where there are no more.
        metric: ``cosine`` or ``euclidean``: see ``Neighbours``.
        temperature: of the votes: the lower, the more the nearest count.
        scale: ``each``: each latent is standardised; ``raw``: latents as they are.
        examples: largest number of training examples that are kept.

    Raises:
        DataError: a class has no training example.
    """
    need_every_class("knn", data)
    rows = np.random.default_rng(context.seed).permutation(len(data.train))[:examples]
    if len(rows) <= k:
        k, given = len(rows) - 1, k
        context.warn(f"knn: of {len(rows)} training examples {k} vote, instead of k = {given}")
    latents = context.encode(start, data.train).astype(np.float64)
    mean, std = scaling(latents, data.train.weights)
    if scale == "raw":
        mean, std = np.zeros_like(mean), np.ones_like(std)
    scaled = (latents[rows] - mean) / std
    votes = _votes(data)
    values = {
        "mean": mean,
        "std": std,
        "latents": normalize(scaled) if metric == "cosine" else scaled,
        "votes": votes[rows],
        "fractions": votes.sum(0) / votes.sum(),
    }
    network = context.with_head(
        start, examples=len(rows), k=k, metric=metric, temperature=temperature
    )
    network.head.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    return network


def _votes(data: TrainingData) -> Array:
    """Return the weight of each training example in the column of its class, (N, classes)."""
    votes: Array = np.eye(data.classes)[np.asarray(data.train.labels)]
    weights = data.train.weights
    return votes if weights is None else votes * np.asarray(weights, float)[:, None]
