"""Compute scores, latents and per-example loss values of a trained network."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepbench.specs.training_data import Examples
from hepbench.training import objectives
from hepbench.training.networks import batches
from hepbench.training.networks.determinism import eval_mode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from hepbench.specs.types import Inputs
    from hepbench.training.networks.network import Network


BATCH_SIZE = 1000
"""Number of examples in a batch when a network scores a part of the data."""


ZERO = 0.01
"""A latent counts as zero up to this fraction of the largest latent of its example."""


RESCORING_BATCH_SIZE = 16
"""Number of examples in a batch for the second scoring, which must give the same scores."""


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise MemoryError if torch runs out of memory in the body."""
    try:
        yield
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "out of memory" in str(error):
            raise MemoryError(str(error)) from error
        raise


def scores(
    network: Network, inputs: Inputs, *, batch_size: int = BATCH_SIZE
) -> NDArray[np.float32]:
    """Return (N, classes) float32 scores of a network: softmax of its logits in float64."""
    with memory_errors():
        pieces = [softmax(network(b.inputs)) for b in _batches(network, inputs, batch_size)]
    return np.concatenate(pieces)


def values(network: Network, inputs: Inputs) -> dict[str, NDArray[np.float32]]:
    """Return the values of each loss term, (N,) float32 by name, computed in eval mode.

    They are the unweighted terms of the encoder's own loss; ``elbo`` (the negative evidence lower
    bound: the sum of all terms with their final weights) if there is a term ``kl``; and
    ``latent_zeros``, the fraction of latents that are at most ZERO times the largest.

    Raises:
        PluginError: a term does not have one value for each example.
    """
    encoder, found = network.encoder, defaultdict[str, list["Tensor"]](list)
    final = objectives.encoder_term_weights(network, 1.0)
    with memory_errors():
        for batch in _batches(network, inputs, BATCH_SIZE):
            terms = encoder.pretraining_terms(batch.inputs)
            objectives.check(terms, len(batch))
            for name, term in terms.items():
                found[name].append(term)
            if "kl" in terms:
                found["elbo"].append(sum(final.get(n, 1.0) * t for n, t in terms.items()))
            sizes = encoder.encode(batch.inputs).abs()
            zeros = sizes <= ZERO * sizes.amax(1, keepdim=True)
            found["latent_zeros"].append(zeros.float().mean(1))
    return {name: torch.cat(pieces).float().cpu().numpy() for name, pieces in found.items()}


def latents(network: Network, inputs: Inputs) -> NDArray[np.float32]:
    """Return the (N, D) latents that a network without a head computes."""
    pieces = [network(b.inputs) for b in _batches(network, inputs, BATCH_SIZE)]
    found: NDArray[np.float32] = torch.cat(pieces).cpu().numpy()
    return found


def _batches(network: Network, inputs: Inputs, size: int) -> Iterator[Examples]:
    n = len(next(iter(inputs.values())))
    examples = Examples(inputs=inputs, ids=np.arange(n))
    source = batches.source(examples, network.preprocess, device=network.device, limit=0)
    size = max(1, min(size, batches.CHUNK_BYTES // max(batches.row_bytes(inputs), 1)))
    with eval_mode(network), torch.no_grad():
        for rows in batches.spans(n, size):
            yield source.batch(rows)


def softmax(logits: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the softmax of logits as (N, classes) float32, computed in float64."""
    scores: np.ndarray[Any, np.dtype[np.float32]] = (
        torch.softmax(logits.double(), 1).float().cpu().numpy()
    )
    return scores
