"""Losses and metrics of the whole validation part, and metrics of training batches."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hepbench.evaluation import metrics
from hepbench.specs.errors import PluginError, ProtocolError, UndefinedMetricError
from hepbench.specs.metric import Predictions
from hepbench.training import objectives
from hepbench.training.networks.batches import spans
from hepbench.training.networks.determinism import eval_mode, isolated_rng
from hepbench.training.networks.scoring import softmax

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from torch import nn

    from hepbench.specs.training_data import Examples
    from hepbench.training.fit_settings import FitJob, Row
    from hepbench.training.networks.network import Network


FIXED_TERMS_EXAMPLES = 64
"""Number of validation examples whose loss terms are computed twice with the same weights."""


METRICS: Mapping[str, Callable[[Predictions], Any]] = {
    "auc": metrics.auc,
    "accuracy": metrics.accuracy_at_half,
}
"""Metrics of a classifier on the validation part after each epoch; higher is better."""


def validate(
    network: Network, job: FitJob, term_weights: Mapping[str, float]
) -> tuple[list[float], Row]:
    """Return each objective's loss, its terms and metrics on the whole validation part.

    Validation draws the same random numbers after every epoch and leaves those of training as
    they were.
    """
    source = job.validation
    sums: list[dict[str, Tensor]] = [{} for _ in job.objectives]
    predictions = CollectedPredictions()
    with (
        isolated_rng(job.seed),
        eval_mode(network),
        torch.no_grad(),
        collected_outputs(network) as outputs,
    ):
        for rows in spans(len(source), job.training.batch_size):
            batch = source.batch(rows)
            for objective, found in zip(job.objectives, sums, strict=True):
                terms = objective.terms(network, batch)
                objectives.check(terms, len(batch))
                for name, term in terms.items():
                    found[name] = found.get(name, 0.0) + _weighted_sum(term, batch.weights)
            if network.head is not None and batch.labels is not None:
                logits = outputs.pop(id(batch.inputs), None)
                predictions.add(network(batch.inputs) if logits is None else logits, batch)
            outputs.clear()
            predictions.count(batch)
            # the next batch may reuse the memory of this one
            del batch, terms
    means = [{name: float(s) / predictions.total for name, s in found.items()} for found in sums]
    losses = [sum(term_weights.get(n, 1.0) * v for n, v in found.items()) for found in means]
    return losses, {**_merged_terms(means), **predictions.metrics()}


class FixedTermsCheck:
    """Checks that loss terms do not change during training for the same weights and examples.

    A term that changes by itself during training makes the losses of different epochs
    incomparable: with the same weights, one epoch would be better than another.
    """

    def __init__(self, network: Network, job: FitJob) -> None:
        self._network, self._job = network, job
        # a buffer of a single number may be a counter, not a weight
        counters = {name for name, buffer in network.named_buffers() if not buffer.ndim}
        self._weights = _copied_tensors(network, without=counters)
        self._terms = self._compute()

    def check(self) -> None:
        """Check that loss terms with the first weights are still the same.

        The network keeps its present weights.

        Raises:
            ProtocolError: a term, or its final weight, has changed.
        """
        present = _copied_tensors(self._network)
        self._network.load_state_dict(self._weights, strict=False)
        found = self._compute()
        self._network.load_state_dict(present, strict=False)
        for name, before in self._terms.items():
            if abs(found[name] - before) > 1e-7 + 1e-4 * abs(before):
                msg = (
                    f"{name} changed from {before:.3g} to {found[name]:.3g} during training, for "
                    "the same weights and examples, so losses of different epochs cannot be "
                    "compared; change the weight of a term in term_weights(progress), and keep "
                    "learned values in parameters and buffers"
                )
                raise ProtocolError(msg)

    def _compute(self) -> Row:
        network, job = self._network, self._job
        batch = job.validation.batch(next(iter(spans(len(job.validation), FIXED_TERMS_EXAMPLES))))
        found = {
            f"the final weight of {n!r}": w
            for n, w in objectives.encoder_term_weights(network, 1.0).items()
        }
        with isolated_rng(job.seed), eval_mode(network), torch.no_grad():
            for objective in job.objectives:
                for name, term in objective.terms(network, batch).items():
                    found[f"the term {name!r}"] = float(term.double().mean())
        return found


def _copied_tensors(network: Network, without: Collection[str] = ()) -> dict[str, Tensor]:
    state = network.state_dict()
    return {name: tensor.clone() for name, tensor in state.items() if name not in without}


def _weighted_sum(term: Tensor, weights: Tensor | None) -> Tensor:
    values = term.double()
    return values.sum() if weights is None else (values * weights).sum()


def _merged_terms(means: Sequence[Row]) -> Row:
    found: Row = {}
    for row in means:
        if clash := sorted(set(found) & set(row)):
            msg = f"two objectives have a term named {clash[0]!r}; give each term a different name"
            raise PluginError(msg)
        found |= row
    return found


@contextmanager
def collected_outputs(network: nn.Module) -> Iterator[dict[int, Tensor]]:
    """Collect the outputs of a network by the id of their inputs, for metrics of training."""
    outputs: dict[int, Tensor] = {}

    def collect(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        outputs[id(inputs[0])] = output

    handle = network.register_forward_hook(collect)
    try:
        yield outputs
    finally:
        handle.remove()


class CollectedPredictions:
    """Collects logits, labels and weights of a data part, batch by batch, to compute metrics."""

    def __init__(self) -> None:
        self.total = 0.0
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._weights: list[Tensor] = []

    def count(self, batch: Examples) -> None:
        """Add a batch to the total weight, or to the number of examples if it has no weights."""
        self.total += len(batch) if batch.weights is None else float(batch.weights.double().sum())

    def add(self, logits: Tensor, batch: Examples) -> None:
        """Add the logits, labels and weights of a batch."""
        assert batch.labels is not None
        self._logits.append(logits)
        self._labels.append(batch.labels)
        if batch.weights is not None:
            self._weights.append(batch.weights)

    def metrics(self) -> Row:
        """Return the defined metrics of all examples that were added."""
        if not self._logits:
            return {}
        predictions = Predictions(
            labels=torch.cat(self._labels).cpu().numpy(),
            scores=softmax(torch.cat(self._logits).float()),
            weights=torch.cat(self._weights).double().cpu().numpy() if self._weights else None,
        )
        found = {}
        for name, compute in METRICS.items():
            try:
                found[name] = float(compute(predictions).value)
            except UndefinedMetricError:
                continue
        return found
