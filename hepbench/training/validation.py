"""Validation: losses and metrics on the whole validation part, never a running mean."""

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


FEW = 64
"""Validation examples on which terms are measured more than once at the same weights."""


METRICS: Mapping[str, Callable[[Predictions], Any]] = {
    "auc": metrics.auc,
    "accuracy": metrics.accuracy_at_half,
}
"""Of a classifier, after each epoch, on the whole validation part; higher is better."""


def validate(
    network: Network, job: FitJob, term_weights: Mapping[str, float]
) -> tuple[list[float], Row]:
    """Return each objective's loss on the whole validation part, and its terms and metrics.

    Whatever is drawn is the same after every epoch, and training draws on as if nothing had been.
    """
    source, told = job.validation, job.objectives
    sums: list[dict[str, Tensor]] = [{} for _ in told]
    seen = _Seen()
    with isolated_rng(job.seed), eval_mode(network), torch.no_grad(), _heard(network) as heard:
        for rows in spans(len(source), job.training.batch_size):
            batch = source.batch(rows)
            for objective, found in zip(told, sums, strict=True):
                terms = objective.terms(network, batch)
                objectives.check(terms, len(batch))
                for name, term in terms.items():
                    found[name] = found.get(name, 0.0) + _summed(term, batch.weights)
            if network.head is not None and batch.labels is not None:
                logits = heard.pop(id(batch.inputs), None)
                seen.add(network(batch.inputs) if logits is None else logits, batch)
            heard.clear()
            seen.weigh(batch)
            # the next batch may be written where this one is
            del batch, terms
    means = [{name: float(s) / seen.total for name, s in found.items()} for found in sums]
    losses = [sum(term_weights.get(n, 1.0) * v for n, v in found.items()) for found in means]
    return losses, {**_joined(means), **seen.figures()}


class FixedTermsCheck:
    """Terms of some validation examples at the weights of one moment, to be found again later.

    What is annealed inside of a term makes losses of different epochs incomparable: at the same
    weights one epoch would be better than another.
    """

    def __init__(self, network: Network, job: FitJob) -> None:
        self._network, self._lesson = network, job
        # a buffer that is a single number may well be a counter, and no weight
        counters = {name for name, buffer in network.named_buffers() if not buffer.ndim}
        self._weights = _copied(network, without=counters)
        self._terms = self._measured()

    def check(self) -> None:
        """Measure again, at the same weights; the network is left as it is.

        Raises:
            ProtocolError: a term, or its final weight, is another than before.
        """
        present = _copied(self._network)
        self._network.load_state_dict(self._weights, strict=False)
        found = self._measured()
        self._network.load_state_dict(present, strict=False)
        for name, before in self._terms.items():
            if abs(found[name] - before) > 1e-7 + 1e-4 * abs(before):
                msg = (
                    f"{name} went from {before:.3g} to {found[name]:.3g} in training, at the same "
                    "weights and examples, so losses of different epochs cannot be compared; what "
                    "is annealed belongs in term_weights(progress), what is learnt in parameters "
                    "and buffers"
                )
                raise ProtocolError(msg)

    def _measured(self) -> Row:
        network, job = self._network, self._lesson
        batch = job.validation.batch(next(iter(spans(len(job.validation), FEW))))
        found = {f"the final weight of {n!r}": w for n, w in weights_of_terms(network, 1.0).items()}
        with isolated_rng(job.seed), eval_mode(network), torch.no_grad():
            for objective in job.objectives:
                for name, term in objective.terms(network, batch).items():
                    found[f"the term {name!r}"] = float(term.double().mean())
        return found


def weights_of_terms(network: Network, progress: float) -> Mapping[str, float]:
    """Return the weights of the encoder's terms; ``progress`` is 1 at the end of training."""
    weigh = getattr(network.encoder, "term_weights", None)
    found: Mapping[str, float] = weigh(progress) if weigh else {}
    return found


def _copied(network: Network, without: Collection[str] = ()) -> dict[str, Tensor]:
    state = network.state_dict()
    return {name: tensor.clone() for name, tensor in state.items() if name not in without}


def _summed(term: Tensor, weights: Tensor | None) -> Tensor:
    found = term.double()
    return found.sum() if weights is None else (found * weights).sum()


def _joined(means: Sequence[Row]) -> Row:
    found: Row = {}
    for row in means:
        if clash := sorted(set(found) & set(row)):
            msg = f"two objectives have a term {clash[0]!r}; give them names of their own"
            raise PluginError(msg)
        found |= row
    return found


@contextmanager
def _heard(network: nn.Module) -> Iterator[dict[int, Tensor]]:
    """Keep what the network returns, by its inputs: metrics need no second pass."""
    outputs: dict[int, Tensor] = {}

    def hear(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        outputs[id(inputs[0])] = output

    handle = network.register_forward_hook(hear)
    try:
        yield outputs
    finally:
        handle.remove()


class _Seen:
    """Logits, labels and weights of the validation part, as batches go by."""

    def __init__(self) -> None:
        self.total = 0.0
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._weights: list[Tensor] = []

    def weigh(self, batch: Examples) -> None:
        self.total += len(batch) if batch.weights is None else float(batch.weights.double().sum())

    def add(self, logits: Tensor, batch: Examples) -> None:
        assert batch.labels is not None
        self._logits.append(logits)
        self._labels.append(batch.labels)
        if batch.weights is not None:
            self._weights.append(batch.weights)

    def figures(self) -> Row:
        """Return each metric that has a value here."""
        if not self._logits:
            return {}
        predictions = Predictions(
            labels=torch.cat(self._labels).cpu().numpy(),
            scores=softmax(torch.cat(self._logits)),
            weights=torch.cat(self._weights).double().cpu().numpy() if self._weights else None,
        )
        found = {}
        for name, compute in METRICS.items():
            try:
                found[name] = float(compute(predictions).value)
            except UndefinedMetricError:
                continue
        return found
