"""Masked pretraining of clouds: some particles are hidden, and predicted from the latents of the others.

As masked autoencoders (He et al., arXiv:2111.06377) and masked particle modelling (Golling et al.,
arXiv:2401.13537), for any encoder of clouds: hidden particles are taken out of the cloud, so that it
needs no token for them. All features of a hidden particle are predicted but its place, which is an
input of the head, as the place of a patch is in a masked autoencoder. Without the place, the
prediction would have to be a set, matched to the true one. The error is the squared difference in units
of the variance of each feature over all particles, so 1 is what predicting the mean would give.

Departure: all hidden particles are predicted from a single vector per jet, the latents, because that
is what classifiers of the jet use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hepbench import DataError, Objective
from hepbench_methods import hiding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench import Context, Examples, Network, TrainingData


class Predictor(nn.Module):
    """A head that predicts the features of particles from latents and the places of the particles.

    Args:
        width: number of latents.
        _classes: not used.
        features: number of features of a particle.
        places: columns of the features that say where a particle is.
        hidden: units of each of the two hidden layers.
    """

    def __init__(
        self, width: int, _classes: int, *, features: int, places: Sequence[int], hidden: int
    ) -> None:
        super().__init__()
        others = [column for column in range(features) if column not in places]
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.register_buffer("places", torch.tensor(list(places)))
        self.register_buffer("predicted", torch.tensor(others))
        self.layers = nn.Sequential(
            nn.Linear(width + len(places), hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, len(others)),
        )

    def forward(self, latents: Tensor, particles: Tensor) -> Tensor:
        """Return the squared error (M,) of predicted particles, the mean over their features.

        Args:
            latents: (M, width) of the cloud that each particle was hidden from.
            particles: (M, features).
        """
        scaled = (particles - self.mean) / self.std
        found = self.layers(torch.cat([latents, scaled[:, self.places]], 1))
        errors: Tensor = (found - scaled[:, self.predicted]).square().mean(1)
        return errors


def masked(
    start: Network,
    data: TrainingData,
    context: Context,
    *,
    learning_rate: float,
    masked_fraction: float,
    places: Sequence[int],
    hidden: int,
    **training: Any,
) -> Network:
    """Train the encoder, and a head that is dropped, to predict hidden particles.

    Args:
        start: a new network of ``cloud`` and ``mask``; its head, if it has one, is replaced.
        data: all training examples, without labels.
        context: trains.
        learning_rate: of encoder and head.
        masked_fraction: of the particles of each cloud that are hidden, drawn for each batch.
        places: columns of ``cloud`` that the head gets of a hidden particle; the others are predicted.
        hidden: units of the hidden layers of the head.
        training: the settings of ``context.fit``: epochs, batch size and so on.

    Raises:
        DataError: ``places`` names no column of the cloud, or all of them.
    """
    features = start.example_inputs()["cloud"].shape[2]
    if not {*places} < {*range(features)}:
        columns = f"some columns, but not all, of 0 to {features - 1} are expected"
        msg = f"masked: places is {list(places)}; {columns}"
        raise DataError(msg)

    def terms(network: Network, batch: Examples) -> dict[str, Tensor]:
        return {"masked": errors(network, batch, masked_fraction)}

    network = context.with_head(start, features=features, places=list(places), hidden=hidden)
    _scale(network, data, context)
    objective = Objective(terms, {"encoder": learning_rate, "head": learning_rate})
    return context.fit(network, data, objective, **training)


def errors(network: Network, batch: Examples, fraction: float) -> Tensor:
    """Return the mean error (N,) of the hidden particles of each cloud; 0 where none is hidden."""
    hidden = hiding.some_of(batch.inputs["mask"], fraction)
    latents = network.encoder.encode(hiding.without(batch.inputs, hidden))
    jets = hidden.nonzero()[:, 0]
    found = network.head(latents.index_select(0, jets), batch.inputs["cloud"][hidden])
    sums = torch.zeros_like(latents[:, 0]).index_add(0, jets, found)
    return sums / hidden.sum(1).clamp_min(1)


def _scale(network: Network, data: TrainingData, context: Context) -> None:
    """Give the head mean and standard deviation of each feature over all training particles."""
    count, sums, squares = 0, 0.0, 0.0
    for batch in context.batches(network, data.train):
        particles = batch.inputs["cloud"][batch.inputs["mask"]].double()
        count += len(particles)
        sums, squares = sums + particles.sum(0), squares + particles.square().sum(0)
    mean = sums / max(count, 1)
    std = (squares / max(count, 1) - mean**2).clamp_min(0).sqrt()
    # a constant feature is predicted exactly, whatever it is divided by
    std = torch.where(std > 1e-6 * mean.abs(), std, 1.0)
    network.head.mean.copy_(mean)
    network.head.std.copy_(std)
