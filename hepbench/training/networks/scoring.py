"""Scores, latents and per-example loss values of a trained network."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hepbench.specs.training_data import Examples
from hepbench.training import objectives
from hepbench.training.networks import batches
from hepbench.training.networks.determinism import eval_mode
from hepbench.training.networks.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from hepbench.specs.types import Inputs
    from hepbench.training.networks.network import Network


SCORED = 1000
"""Examples a batch when a part is scored."""


ZERO = 0.01
"""Relative to the largest entry of the same code, in size: what is no larger counts as zero."""


RESCORED = 16
"""Examples a batch when some are scored again: in other company they must score the same."""


@contextmanager
def memory_errors() -> Iterator[None]:
    """Call torch's way of running out of memory by its name."""
    try:
        yield
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "out of memory" in str(error):
            raise MemoryError(str(error)) from error
        raise


def scores(network: Network, inputs: Inputs, *, batch_size: int = SCORED) -> NDArray[np.float32]:
    """Return (N, classes) float32: softmax of the logits in float64."""
    with memory_errors():
        found = [softmax(network(b.inputs)) for b in _batches(network, inputs, batch_size)]
    return np.concatenate(found)


def values(network: Network, inputs: Inputs) -> dict[str, NDArray[np.float32]]:
    """Return (N,) float32 of each example, in eval mode: what its encoder's own loss makes of it.

    They are the terms of that loss, unweighted; where one of them is ``kl``, ``elbo``, their sum at
    the final weights, which is the negative of the evidence lower bound; and ``latent_zeros``, the
    share of the code's entries that are no larger than ZERO times the largest.

    Raises:
        PluginError: a term has not one value for each example.
    """
    encoder, found = network.encoder, defaultdict[str, list["Tensor"]](list)
    weigh = getattr(encoder, "term_weights", None)
    final = weigh(1.0) if weigh else {}
    with memory_errors():
        for batch in _batches(network, inputs, SCORED):
            terms = encoder.pretraining_terms(batch.inputs)
            objectives.check(terms, len(batch))
            for name, term in terms.items():
                found[name].append(term)
            if "kl" in terms:
                found["elbo"].append(sum(final.get(n, 1.0) * t for n, t in terms.items()))
            size = encoder.encode(batch.inputs).abs()
            zeros = size <= ZERO * size.amax(1, keepdim=True)
            found["latent_zeros"].append(zeros.float().mean(1))
    return {name: torch.cat(pieces).float().cpu().numpy() for name, pieces in found.items()}


def codes(network: Network, inputs: Inputs) -> NDArray[np.float32]:
    """Return the (N, D) codes of a network without a head."""
    made = [network(b.inputs) for b in _batches(network, inputs, SCORED)]
    found: NDArray[np.float32] = torch.cat(made).cpu().numpy()
    return found


def _batches(network: Network, inputs: Inputs, size: int) -> Iterator[Examples]:
    n = len(next(iter(inputs.values())))
    plain = Examples(inputs=inputs, ids=np.arange(n))
    source = batches.source(plain, network.preprocess, device=network.device, limit=0)
    size = max(1, min(size, batches.CHUNK_BYTES // max(batches.row_bytes(inputs), 1)))
    with eval_mode(network), torch.no_grad():
        for rows in batches.spans(n, size):
            yield source.batch(rows)


def softmax(logits: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return (N, classes) float32 scores, rows adding to 1, computed in float64."""
    scores: np.ndarray[Any, np.dtype[np.float32]] = (
        torch.softmax(logits.double(), 1).float().cpu().numpy()
    )
    return scores
