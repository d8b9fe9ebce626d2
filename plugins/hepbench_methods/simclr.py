"""Contrastive pretraining: an encoder learns to recognise two distorted copies of one example.

SimCLR, Chen et al., ICML 2020, arXiv:2002.05709; for jets Dillon et al., SciPost Phys. 12, 188
(2022), arXiv:2108.04253. A copy passes all augmentations of the dataset, loses some of its particles
or pixels and gets noise, so that the method works on every dataset. Departures: no warm-up of the
learning rate, and any optimiser of hepbench.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from hepbench import Objective
from hepbench_methods import hiding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from hepbench import Context, Examples, Network, TrainingData


def simclr(
    start: Network,
    data: TrainingData,
    context: Context,
    *,
    learning_rate: float,
    temperature: float,
    projection: int,
    dropped_fraction: float,
    noise: float,
    **training: Any,
) -> Network:
    """Train encoder and projection head on the contrastive loss.

    Args:
        start: a new network; its head, if it has one, is replaced.
        data: all training examples, without labels.
        context: has the augmentations of the dataset, and trains.
        learning_rate: of encoder and projection head.
        temperature: divides the similarities; lower means that the nearest copies count more.
        projection: number of outputs of the projection head, which is dropped after the training.
        dropped_fraction: of the particles of a cloud, or pixels of an image, that a copy lacks.
        noise: standard deviation of the noise, in units of the preprocessed inputs.
        training: the settings of ``context.fit``: epochs, batch size and so on.
    """

    def terms(network: Network, batch: Examples) -> dict[str, Tensor]:
        copies = [
            distorted(batch.inputs, context.augmentations, dropped=dropped_fraction, noise=noise)
            for _ in range(2)
        ]
        both = {name: torch.cat([copy[name] for copy in copies]) for name in copies[0]}
        first, second = network(both).chunk(2)
        return {"contrast": contrast(first, second, temperature=temperature)}

    network = context.with_head(start, outputs=projection)
    objective = Objective(terms, {"encoder": learning_rate, "head": learning_rate})
    return context.fit(network, data, objective, **training)


def projection_head(width: int, _classes: int, *, outputs: int) -> nn.Module:
    """Build the projection head: from (N, width) latents to (N, outputs)."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))


def distorted(
    inputs: Mapping[str, Tensor],
    augmentations: Mapping[str, Any],
    *,
    dropped: float,
    noise: float,
) -> dict[str, Tensor]:
    """Return a distorted copy of the inputs of a batch, another one at each call."""
    for augment in augmentations.values():
        inputs = augment(inputs)
    if dropped:
        inputs = _thinned(inputs, dropped)
    return {name: _with_noise(values, noise) for name, values in inputs.items()}


def _thinned(inputs: Mapping[str, Tensor], fraction: float) -> Mapping[str, Tensor]:
    """Drop a fraction of the particles of clouds, and of the pixels of images in all channels."""
    if "mask" in inputs:
        inputs = hiding.without(inputs, hiding.some_of(inputs["mask"], fraction))
    if "image" in inputs:
        images = inputs["image"]
        kept = torch.rand_like(images[:, :1]) >= fraction
        inputs = {**inputs, "image": images * kept}
    return inputs


def _with_noise(values: Tensor, noise: float) -> Tensor:
    # masks and neighbours are no floats; padding and empty pixels stay 0
    if not noise or not values.is_floating_point():
        return values
    return values + noise * torch.randn_like(values) * (values != 0)


def contrast(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """Return the contrastive loss (N,) of examples from the projections (N, D) of two copies.

    Each copy has to find its partner among the 2 N - 1 other copies: the loss is the cross-entropy
    of the cosine similarities (NT-Xent), averaged over the two copies of an example.
    """
    n = len(first)
    directions = functional.normalize(torch.cat([first, second]), dim=1)
    itself = torch.eye(2 * n, dtype=torch.bool, device=first.device)
    similarities = (directions @ directions.T / temperature).masked_fill(itself, -torch.inf)
    partners = torch.arange(2 * n, device=first.device).roll(n)
    losses = functional.cross_entropy(similarities, partners, reduction="none")
    return losses.view(2, n).mean(0)
