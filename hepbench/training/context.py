"""The context that a method for networks is given, with its services: see ``specs.Context``."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepbench.registry.resolve import resolve
from hepbench.specs.errors import UsageError
from hepbench.specs.text import unknown
from hepbench.training import fit_settings, loop, promises
from hepbench.training.networks import batches
from hepbench.training.networks.determinism import eval_mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from hepbench.specs.method import Objective
    from hepbench.specs.training_data import Examples, TrainingData
    from hepbench.specs.types import Inputs
    from hepbench.training.fit_settings import Row
    from hepbench.training.networks.batches import BatchSource
    from hepbench.training.networks.network import Network
    from hepbench.training.promises import ZeroCount


KEPT_SOURCES = 4
"""Number of data parts that stay preprocessed in memory while a method trains a network."""


@dataclass(kw_only=True)
class NetworkContext:
    """The services that a method for networks may use: see ``specs.Context``.

    Attributes:
        validation: the examples that the method received as validation; None: what a training
            validates on is not checked.
        head: name of the method, if it declares a head.
        augmentation_functions: the dataset's augmentations, ``"module:function"`` by name.
        report_progress: takes a short text about the progress of the training.
        history: a row for each epoch of each training; ``fit`` numbers the trainings from 0.
        best: index of the row whose weights the last training kept.
        warnings: the method's warnings about its result.
        zeros_at_start: zero weights at the start of each training, masks applied.
        seconds, cpu_seconds: how long the method took, by wall clock and in CPU time.
        processed: training examples in all steps of its trainings.
    """

    seed: int
    threads: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    validation: Examples | None = None
    head: str | None = None
    augmentation_functions: Mapping[str, str] = field(default_factory=dict)
    report_progress: Callable[[str], None] = field(default=lambda _: None)
    history: list[Row] = field(default_factory=list)
    best: int | None = None
    warnings: list[str] = field(default_factory=list)
    zeros_at_start: list[dict[str, ZeroCount]] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    processed: int = 0
    _fits: int = 0
    _sources: dict[tuple[int, int], tuple[Examples, Any, BatchSource]] = field(default_factory=dict)

    @property
    def augmentations(self) -> Mapping[str, Callable[[Inputs], Inputs]]:
        """The dataset's augmentations by name; each is imported when it is called."""
        return {
            name: partial(_call_by_name, run) for name, run in self.augmentation_functions.items()
        }

    def with_head(self, network: Network, **params: Any) -> Network:
        """Return the network with a new classification head."""
        return network.with_head(self.head, **params)

    def fit(
        self, network: Network, data: TrainingData, *objectives: Objective, **training: Any
    ) -> Network:
        """Train a network in place, and return it with the weights of its best epoch.

        Raises:
            ProtocolError: it would validate on examples that the method did not receive for that.
        """
        if self.validation is not None:
            promises.check_validation(data.validation, self.validation)
        settings = fit_settings.fit_settings(training)
        network.to(self.device)
        network.apply_masks()
        self.zeros_at_start.append(promises.zero_counts(network))
        weights = data.train.weights
        job = fit_settings.FitJob(
            train=self.source(network, data.train),
            validation=self.source(network, data.validation),
            objectives=objectives,
            training=settings,
            augment=[self._augmentation(name) for name in settings.augment],
            weight=None if weights is None else float(np.mean(weights, dtype=np.float64)),
            seed=self.seed + self._fits,
            report_progress=self.report_progress,
        )
        fitted = loop.fit(network, job)
        self.processed += fitted.processed
        before = len(self.history)
        self.history += [{"fit": self._fits, **row} for row in fitted.history]
        self.best = None if fitted.best is None else before + fitted.best
        self._fits += 1
        return network

    def warn(self, text: str) -> None:
        """Add a warning about a method's result to the record."""
        self.warnings.append(text)

    def encode(self, network: Network, examples: Examples) -> NDArray[np.float32]:
        """Return the (N, D) latents of examples as numpy, computed in eval mode."""
        with eval_mode(network), torch.no_grad():
            pieces = [network.encoder.encode(b.inputs) for b in self.batches(network, examples)]
        latents: NDArray[np.float32] = torch.cat(pieces).cpu().numpy()
        return latents

    def batches(
        self, network: Network, examples: Examples, batch_size: int = 256
    ) -> Iterator[Examples]:
        """Yield examples as dense preprocessed tensors, in the order of the data."""
        network.to(self.device)
        source = self.source(network, examples)
        return (source.batch(rows) for rows in batches.spans(len(source), batch_size))

    def source(self, network: Network, examples: Examples) -> BatchSource:
        """Return examples as a source of preprocessed batches; the last few sources are kept."""
        key = (id(examples), id(network.preprocess))
        if key not in self._sources:
            while len(self._sources) >= KEPT_SOURCES:
                self._sources.pop(next(iter(self._sources)))
            source = batches.source(examples, network.preprocess, device=self.device)
            # the entry keeps both objects alive, so that no other object gets the same id
            self._sources[key] = examples, network.preprocess, source
        return self._sources[key][2]

    def _augmentation(self, name: str) -> Callable[[Inputs], Inputs]:
        if name not in self.augmentation_functions:
            known = self.augmentation_functions
            raise UsageError("training: augment: " + unknown("augmentation", name, known))
        return self.augmentations[name]


def _call_by_name(target: str, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    found: Mapping[str, Tensor] = resolve(target)(inputs)
    return found
