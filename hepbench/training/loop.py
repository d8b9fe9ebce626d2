"""The training loop, the only one of the core."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hepbench.specs.errors import UsageError
from hepbench.training import fit_settings, objectives, optimisation
from hepbench.training.networks import batches
from hepbench.training.validation import METRICS, FixedTermsCheck, encoder_term_weights, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from torch import nn
    from torch.optim import Optimizer

    from hepbench.specs.method import Objective
    from hepbench.specs.training_data import Examples
    from hepbench.training.fit_settings import FitJob, Row
    from hepbench.training.networks.batches import Rows
    from hepbench.training.networks.network import Network


TOLD_SECONDS = 0.5


@dataclass(frozen=True)
class FitResult:
    """What became of a training.

    Attributes:
        history: one row an epoch: ``epoch``; ``train_loss``, the mean over the batches as they
            were trained on; ``loss`` and each term of it on the whole validation part, with
            annealed weights at their final values; ``auc`` and ``accuracy`` there, of a classifier;
            the ``rate`` of each part during the epoch.
        best: the epoch whose weights were kept; None where none was trained.
    """

    history: list[Row]
    best: int | None


def fit(network: Network, job: FitJob) -> FitResult:
    """Train a network in place; it ends in eval mode, as it was after its best epoch.

    Raises:
        UsageError: the training names what does not exist.
        PluginError: an objective breaks its contract.
        ProtocolError: a term of it changes as training goes on.
        FloatingPointError: training diverged.
    """
    network.apply_masks()
    loop = _Loop(network, job)
    for epoch in range(job.training.epochs):
        loop.epoch(epoch)
        if loop.waited_enough(epoch):
            break
    loop.restore()
    network.requires_grad_(True)
    network.eval()
    return FitResult(loop.history, loop.best)


@dataclass
class _ObjectiveState:
    """An objective and what minimises it."""

    objective: Objective
    terms: Callable[[Any, Any], Mapping[str, Tensor]]
    parameters: list[nn.Parameter]
    optimizer: Optimizer
    schedule: Callable[[float], None]


class _Loop:
    """A training under way."""

    def __init__(self, network: Network, job: FitJob) -> None:
        self.network = network
        self.job = job
        self.history: list[Row] = []
        self.best: int | None = None
        self._value = -math.inf
        self._kept: dict[str, Tensor] = {}
        self._settled: int | None = None
        self._unchanging: FixedTermsCheck | None = None
        self._rng = np.random.default_rng(job.seed)
        self._sides = [self._side(objective) for objective in job.objectives]
        trained = {id(p) for side in self._sides for p in side.parameters}
        for parameter in network.parameters():
            parameter.requires_grad_(id(parameter) in trained)
        self._masked = [
            (p, m.to(p.device, p.dtype))
            for n, m in network.masks.items()
            if id(p := network.get_parameter(n)) in trained
        ]
        told = job.training
        steps = batches.steps(len(job.train), told.batch_size)
        self._passes = fit_settings.passes(told, steps)
        self._steps = steps * self._passes * told.epochs
        self._step = 0
        self._pace = _Pace(job)

    def _side(self, objective: Objective) -> _ObjectiveState:
        told = self.job.training
        groups = objectives.groups(self.network, objective)
        optimizer = optimisation.optimizer(groups, told.optimizer)
        parameters = [p for group in groups for p in group["params"]]
        schedule = optimisation.schedule(optimizer, told.schedule, told.epochs)
        terms = objectives.steps(objective, weighted=self.job.weight is not None)
        return _ObjectiveState(objective, terms, parameters, optimizer, schedule)

    # --- an epoch

    def epoch(self, number: int) -> None:
        """Train for an epoch, validate, and keep the weights if they are the best yet."""
        row: Row = {"epoch": number, **self._rates()}
        objectives.set_modes(self.network, self.job.objectives)
        row["train_loss"] = self._train()
        losses, figures = validate(self.network, self.job, self._term_weights(1.0))
        row |= {"loss": sum(losses), **figures}
        self.history.append(row)
        for side, loss in zip(self._sides, losses, strict=True):
            side.schedule(loss)
        if self._settled is None and self._is_final():
            self._settled = number
        self._choose(number, row)
        if self._unchanging is None:
            self._unchanging = FixedTermsCheck(self.network, self.job)
        elif number == 1:
            self._unchanging.check()
        self._pace.epoch(number, row["loss"])

    def _train(self) -> float:
        """Return the mean loss of the batches of an epoch, as they were trained on."""
        job, network, sides = self.job, self.network, self._sides
        clip = job.training.clip
        annealed = hasattr(network.encoder, "term_weights")
        alone = len(sides) == 1
        precision = _precision(network.device)
        term_weights: Mapping[str, float] = {}
        losses: list[Tensor] = []
        sizes: list[int] = []
        for rows in self._rows():
            batch = self._batch(rows)
            n = len(batch)
            if annealed:
                term_weights = self._term_weights(self._step / self._steps)
            for side in sides:
                with precision:
                    terms = side.terms(network, batch)
                    if not self._step and side.terms is side.objective.terms:
                        objectives.check(terms, n)
                    loss = objectives.total(terms, term_weights, batch.weights)
                for parameter in side.parameters:
                    parameter.grad = None
                # what another objective trains gets no gradient from this one
                loss.backward(inputs=None if alone else side.parameters)  # type: ignore[no-untyped-call]
                if clip is not None:
                    torch.nn.utils.clip_grad_norm_(side.parameters, clip)
                side.optimizer.step()
                if self._masked:
                    self._apply_masks()
                losses.append(loss.detach())
                sizes.append(n)
            # the next batch may be written where this one is
            del batch, terms, loss
            self._step += 1
            self._pace.batch(n)
        weights = torch.tensor(sizes, dtype=torch.float64)
        found = torch.stack(losses).double().cpu()
        return float((found * weights).sum() / weights.sum()) * len(sides)

    def _rows(self) -> Iterator[Rows]:
        """Yield the rows of each batch of an epoch."""
        size = self.job.training.batch_size
        for _ in range(self._passes):
            order = self._rng.permutation(len(self.job.train))
            yield from batches.spans(len(order), size, order)

    def _batch(self, rows: slice | Tensor) -> Examples:
        job = self.job
        batch = job.train.batch(rows)
        if batch.weights is not None and job.weight is not None:
            batch = replace(batch, weights=batch.weights / job.weight)
        for augment in job.augment:
            batch = replace(batch, inputs=augment(batch.inputs))
        return batch

    def _apply_masks(self) -> None:
        with torch.no_grad():
            for parameter, mask in self._masked:
                parameter.mul_(mask)

    def _rates(self) -> Row:
        found = {}
        for i, side in enumerate(self._sides):
            for group in side.optimizer.param_groups:
                for part in group["parts"]:
                    name = f"rate.{part or 'all'}"
                    found[f"{name}.{i + 1}" if name in found else name] = float(group["lr"])
        return found

    # --- terms that are annealed

    def _term_weights(self, progress: float) -> Mapping[str, float]:
        return encoder_term_weights(self.network, progress)

    def _is_final(self) -> bool:
        return self._term_weights(self._step / self._steps) == self._term_weights(1.0)

    # --- the best epoch

    def _choose(self, number: int, row: Row) -> None:
        if not math.isfinite(row["loss"]):
            msg = f"validation loss is {row['loss']} after epoch {number}: training diverged; "
            raise FloatingPointError(msg + "try lower learning rates, or clip")
        choose = self.job.training.choose
        known = [n for n in row if n not in {"epoch", "train_loss"} and not n.startswith("rate")]
        if choose not in known:
            msg = f"training: choose is {choose!r}; known here: {', '.join(known)}"
            raise UsageError(msg)
        value = row[choose] if choose in METRICS else -row[choose]
        if value > self._value:
            self._value, self.best = value, number
            state = self.network.state_dict()
            self._kept = {n: t.clone() for n, t in state.items() if n.split(".")[0] != "preprocess"}

    def waited_enough(self, number: int) -> bool:
        """Whether patience is at an end; it begins when the weights of all terms are final."""
        patience = self.job.training.patience
        if patience is None or self._settled is None or self.best is None:
            return False
        return number - max(self.best, self._settled) >= patience

    def restore(self) -> None:
        """Bring back the weights of the best epoch; all must have been measured alike."""
        if self._unchanging is not None:
            self._unchanging.check()
        if self.best is not None and self.best != len(self.history) - 1:
            self.network.load_state_dict(self._kept, strict=False)


def _precision(device: torch.device) -> AbstractContextManager[Any]:
    """Return half precision where it is faster: on a CPU it is a hundred times slower."""
    if device.type != "cuda":
        return nullcontext()
    return torch.autocast("cuda", dtype=torch.bfloat16)


class _Pace:
    """Says how far a training is."""

    def __init__(self, job: FitJob) -> None:
        self._tell, self._epochs = job.report_progress, job.training.epochs
        steps = batches.steps(len(job.train), job.training.batch_size)
        passes = fit_settings.passes(job.training, steps)
        self._whole = len(job.train) * passes * max(self._epochs, 1)
        self._began = time.monotonic()
        self._next = self._began
        self._seen = 0
        self._said = f"epoch 1/{self._epochs}"

    def batch(self, n: int) -> None:
        """Count n examples, and tell twice a second."""
        self._seen += n
        if (now := time.monotonic()) >= self._next:
            self._next = now + TOLD_SECONDS
            rate = self._seen / max(now - self._began, 1e-9)
            left = (self._whole - self._seen) / rate
            self._tell(f"{self._said}, {rate:,.0f} examples/s, {left:,.0f} s left at most")

    def epoch(self, number: int, loss: float) -> None:
        """Note that an epoch has ended."""
        self._said = f"epoch {min(number + 2, self._epochs)}/{self._epochs}, loss {loss:.4g}"
