"""The training loop for networks, with early stopping."""

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
from hepbench.training.networks.dropout import faster_dropout
from hepbench.training.validation import (
    METRICS,
    CollectedPredictions,
    FixedTermsCheck,
    collected_outputs,
    validate,
)

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

REPORT_SECONDS = 0.5

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class FitResult:
    """The result of training a network: a history, and the number of its best epoch.

    Attributes:
        history: one row per epoch: ``epoch``; ``train_loss``, the mean over the training batches, and
            of a classifier ``train_auc`` and ``train_accuracy`` of their scores, all as they were
            trained on, with augmentation, dropout and the weights of that moment; ``loss`` and each of its terms on the whole validation part, with the final weights of
            the terms; ``auc`` and ``accuracy`` there, of a classifier; the ``learning_rate`` of each
            part during the epoch.
        best: the epoch whose weights were kept; None if none was trained.
        processed: training examples in all steps; an example counts in each epoch anew.
    """

    history: list[Row]
    best: int | None
    processed: int


def fit(network: Network, job: FitJob) -> FitResult:
    """Train a network in place; it ends in eval mode, with the weights of its best epoch.

    Raises:
        UsageError: a setting names something that does not exist.
        PluginError: an objective breaks its contract.
        ProtocolError: a term of an objective changes as training goes on.
        FloatingPointError: training diverged.
    """
    network.apply_masks()
    loop = _Loop(network, job)
    for epoch in range(job.training.epochs):
        loop.epoch(epoch)
        if loop.patience_is_over(epoch):
            break
    loop.restore()
    network.requires_grad_(True)
    network.eval()
    return FitResult(loop.history, loop.best, loop.processed)


@dataclass
class _ObjectiveState:
    """One objective of a training, with its optimiser; ``scaler`` is for fp16 only."""

    objective: Objective
    terms: Callable[[Any, Any], Mapping[str, Tensor]]
    parameters: list[nn.Parameter]
    optimizer: Optimizer
    schedule: Callable[[float], None]
    gradient_clip: float | None
    scaler: torch.amp.GradScaler | None

    def loss(
        self, network: Network, batch: Examples, term_weights: Mapping[str, float], *, check: bool
    ) -> Tensor:
        """Return the mean loss of a training batch; ``check``: check the shapes of its terms."""
        terms = self.terms(network, batch)
        if check and self.terms is self.objective.terms:
            objectives.check(terms, len(batch))
        return objectives.total(terms, term_weights, batch.weights)

    def step(self, loss: Tensor, *, alone: bool) -> None:
        """Take a training step on the parameters of this objective; no others get gradients."""
        for parameter in self.parameters:
            parameter.grad = None
        inputs = None if alone else self.parameters
        if self.scaler is None:
            loss.backward(inputs=inputs)  # type: ignore[no-untyped-call]
            self._clip()
            self.optimizer.step()
            return
        self.scaler.scale(loss).backward(inputs=inputs)  # type: ignore[no-untyped-call]
        if self.gradient_clip is not None:
            self.scaler.unscale_(self.optimizer)
            self._clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _clip(self) -> None:
        if self.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.gradient_clip)


class _Loop:
    """The state of a training: network, objectives, best weights, history."""

    def __init__(self, network: Network, job: FitJob) -> None:
        self.network = network
        self.job = job
        self.history: list[Row] = []
        self.best: int | None = None
        self.processed = 0
        self._best_value = -math.inf
        self._best_weights: dict[str, Tensor] = {}
        self._final_since: int | None = None
        self._terms_check: FixedTermsCheck | None = None
        self._rng = np.random.default_rng(job.seed)
        self._states = [self._state(objective) for objective in job.objectives]
        trained = {id(p) for state in self._states for p in state.parameters}
        for parameter in network.parameters():
            parameter.requires_grad_(id(parameter) in trained)
        self._masked = [
            (p, m.to(p.device, p.dtype))
            for n, m in network.masks.items()
            if id(p := network.get_parameter(n)) in trained
        ]
        settings = job.training
        steps = batches.steps(len(job.train), settings.batch_size)
        self._passes = fit_settings.passes(settings, steps)
        self._steps = steps * self._passes * settings.epochs
        self._step = 0
        self._progress = _ProgressReport(job, self._passes)

    def _state(self, objective: Objective) -> _ObjectiveState:
        settings = self.job.training
        groups = objectives.groups(self.network, objective)
        optimizer = optimisation.optimizer(groups, settings.optimizer)
        return _ObjectiveState(
            objective,
            terms=objectives.steps(objective, weighted=self.job.weight is not None),
            parameters=[p for group in groups for p in group["params"]],
            optimizer=optimizer,
            schedule=optimisation.schedule(optimizer, settings.schedule, settings.epochs),
            gradient_clip=settings.gradient_clip,
            scaler=_scaler(settings.precision, self.network.device),
        )

    # --- an epoch

    def epoch(self, number: int) -> None:
        """Train for an epoch, validate, and copy the weights if they are the best so far."""
        row: Row = {"epoch": number, **self._learning_rates()}
        objectives.set_modes(self.network, self.job.objectives)
        row |= self._train()
        losses, values = validate(self.network, self.job, self._term_weights(1.0))
        row |= {"loss": sum(losses), **values}
        self.history.append(row)
        for state, loss in zip(self._states, losses, strict=True):
            state.schedule(loss)
        if self._final_since is None and self._terms_are_final():
            self._final_since = number
        self._keep_if_best(number, row)
        if self._terms_check is None:
            self._terms_check = FixedTermsCheck(self.network, self.job)
        elif number == 1:
            self._terms_check.check()
        self._progress.epoch(number, row["loss"])

    def _train(self) -> Row:
        """Train on each batch of an epoch; return mean loss and metrics of the training batches."""
        varying = hasattr(self.network.encoder, "term_weights")
        precision = _autocast(self.job.training.precision, self.network.device)
        term_weights: Mapping[str, float] = {}
        losses: list[Tensor] = []
        sizes: list[int] = []
        predictions = CollectedPredictions()
        with faster_dropout(self.network), collected_outputs(self.network) as outputs:
            for rows in self._rows():
                batch = self._batch(rows)
                n = len(batch)
                if varying:
                    term_weights = self._term_weights(self._step / self._steps)
                for state in self._states:
                    with precision:
                        loss = state.loss(self.network, batch, term_weights, check=not self._step)
                    state.step(loss, alone=len(self._states) == 1)
                    if self._masked:
                        self._apply_masks()
                    losses.append(loss.detach())
                    sizes.append(n)
                if (logits := outputs.pop(id(batch.inputs), None)) is not None:
                    predictions.add(logits.detach(), batch)
                outputs.clear()
                # the next batch may be written into the same memory
                del batch, loss
                self._step += 1
                self.processed += n
                self._progress.batch(n)
        weights = torch.tensor(sizes, dtype=torch.float64)
        found = torch.stack(losses).double().cpu()
        mean = float((found * weights).sum() / weights.sum()) * len(self._states)
        metrics = {f"train_{name}": value for name, value in predictions.metrics().items()}
        return {"train_loss": mean, **metrics}

    def _rows(self) -> Iterator[Rows]:
        """Yield the row numbers of each training batch of an epoch."""
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

    def _learning_rates(self) -> Row:
        found = {}
        for i, state in enumerate(self._states):
            for group in state.optimizer.param_groups:
                for part in group["parts"]:
                    name = f"learning_rate.{part or 'all'}"
                    found[f"{name}.{i + 1}" if name in found else name] = float(group["lr"])
        return found

    # --- weights of terms that vary

    def _term_weights(self, progress: float) -> Mapping[str, float]:
        return objectives.encoder_term_weights(self.network, progress)

    def _terms_are_final(self) -> bool:
        return self._term_weights(self._step / self._steps) == self._term_weights(1.0)

    # --- the best epoch

    def _keep_if_best(self, number: int, row: Row) -> None:
        if not math.isfinite(row["loss"]):
            msg = f"validation loss is {row['loss']} after epoch {number}: training diverged; "
            raise FloatingPointError(msg + "try a lower learning_rate, or gradient_clip")
        monitor = self.job.training.monitor
        known = [n for n in row if n != "epoch" and not n.startswith(("train_", "learning_rate"))]
        if monitor not in known:
            msg = f"training: monitor is {monitor!r}; allowed here: {', '.join(known)}"
            raise UsageError(msg)
        value = row[monitor] if monitor in METRICS else -row[monitor]
        if value > self._best_value:
            self._best_value, self.best = value, number
            state = self.network.state_dict()
            self._best_weights = {
                n: t.clone() for n, t in state.items() if n.split(".")[0] != "preprocess"
            }

    def patience_is_over(self, number: int) -> bool:
        """Return whether to stop early; patience begins when the weights of all terms are final."""
        patience = self.job.training.patience
        if patience is None or self._final_since is None or self.best is None:
            return False
        return number - max(self.best, self._final_since) >= patience

    def restore(self) -> None:
        """Load the weights of the best epoch, after a check that epochs can be compared."""
        if self._terms_check is not None:
            self._terms_check.check()
        if self.best is not None and self.best != len(self.history) - 1:
            self.network.load_state_dict(self._best_weights, strict=False)


def _autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which forward passes of a training use the given precision."""
    if precision not in HALF:
        return nullcontext()
    return torch.autocast(device.type, dtype=HALF[precision])


def _scaler(precision: str, device: torch.device) -> torch.amp.GradScaler | None:
    """Return a gradient scaler for fp16, in which small gradients would become zero."""
    return torch.amp.GradScaler(device.type) if precision == "fp16" else None


class _ProgressReport:
    """Reports the progress of a training: epoch, examples per second, time left."""

    def __init__(self, job: FitJob, passes: int) -> None:
        self._report, self._epochs = job.report_progress, job.training.epochs
        self._whole = len(job.train) * passes * max(self._epochs, 1)
        self._began = time.monotonic()
        self._next = self._began
        self._seen = 0
        self._text = f"epoch 1/{self._epochs}"

    def batch(self, n: int) -> None:
        """Count n trained examples, and report progress every REPORT_SECONDS."""
        self._seen += n
        if (now := time.monotonic()) >= self._next:
            self._next = now + REPORT_SECONDS
            rate = self._seen / max(now - self._began, 1e-9)
            left = (self._whole - self._seen) / rate
            self._report(f"{self._text}, {rate:,.0f} examples/s, {left:,.0f} s left at most")

    def epoch(self, number: int, loss: float) -> None:
        """Set the epoch and the loss that the next progress reports name."""
        self._text = f"epoch {min(number + 2, self._epochs)}/{self._epochs}, loss {loss:.4g}"
