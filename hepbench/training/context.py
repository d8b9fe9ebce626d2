"""What a method is lent where the model is a network: see ``specs.Context``."""

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
    from hepbench.training.promises import Zeros


KEPT_SOURCES = 4
"""Parts of the data that are kept preprocessed between two calls of a method."""


@dataclass(kw_only=True)
class NetworkContext:
    """See ``specs.Context``.

    Attributes:
        head: the method, where it declares a head.
        augmentation_functions: the dataset's augmentations, ``"module:function"`` by name.
        tell: takes a few words on how far the training is.
        history: a row for each epoch of each training, ``fit`` counting these from 0.
        best: the row whose weights the last training kept.
        warnings: what the method said of its result.
        began: weights of zero as each training began, masks applied.
        seconds: that the method took.
    """

    seed: int
    threads: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    head: str | None = None
    augmentation_functions: Mapping[str, str] = field(default_factory=dict)
    report_progress: Callable[[str], None] = field(default=lambda _: None)
    history: list[Row] = field(default_factory=list)
    best: int | None = None
    warnings: list[str] = field(default_factory=list)
    began: list[dict[str, Zeros]] = field(default_factory=list)
    seconds: float = 0.0
    _fits: int = 0
    _sources: dict[tuple[int, int], tuple[Examples, Any, BatchSource]] = field(default_factory=dict)

    @property
    def augmentations(self) -> Mapping[str, Callable[[Inputs], Inputs]]:
        """The dataset's, by name; what they name is imported when they are called."""
        return {name: partial(_call, run) for name, run in self.augmentation_functions.items()}

    def with_head(self, network: Network, **params: Any) -> Network:
        """Return the same network under a new head."""
        return network.with_head(self.head, **params)

    def fit(
        self, network: Network, data: TrainingData, *objectives: Objective, **training: Any
    ) -> Network:
        """Train in place and return the network as it was after its best epoch."""
        told = fit_settings.fit_settings(training)
        network.to(self.device)
        network.apply_masks()
        self.began.append(promises.zeros(network))
        weights = data.train.weights
        job = fit_settings.FitJob(
            train=self.source(network, data.train),
            validation=self.source(network, data.validation),
            objectives=objectives,
            training=told,
            augment=[self._augmentation(name) for name in told.augment],
            weight=None if weights is None else float(np.mean(weights, dtype=np.float64)),
            seed=self.seed + self._fits,
            report_progress=self.report_progress,
        )
        fitted = loop.fit(network, job)
        before = len(self.history)
        self.history += [{"fit": self._fits, **row} for row in fitted.history]
        self.best = None if fitted.best is None else before + fitted.best
        self._fits += 1
        return network

    def warn(self, text: str) -> None:
        """Put into the record what must be said of the result."""
        self.warnings.append(text)

    def encode(self, network: Network, examples: Examples) -> NDArray[np.float32]:
        """Return (N, D) codes as numpy, in eval mode."""
        with eval_mode(network), torch.no_grad():
            made = [network.encoder.encode(b.inputs) for b in self.batches(network, examples)]
        codes: NDArray[np.float32] = torch.cat(made).cpu().numpy()
        return codes

    def batches(
        self, network: Network, examples: Examples, batch_size: int = 256
    ) -> Iterator[Examples]:
        """Yield examples as dense preprocessed tensors, in their order."""
        network.to(self.device)
        source = self.source(network, examples)
        return (source.batch(rows) for rows in batches.spans(len(source), batch_size))

    def source(self, network: Network, examples: Examples) -> BatchSource:
        """Return a source of batches; of the last few, preprocessing is done once."""
        key = (id(examples), id(network.preprocess))
        if key not in self._sources:
            while len(self._sources) >= KEPT_SOURCES:
                self._sources.pop(next(iter(self._sources)))
            made = batches.source(examples, network.preprocess, device=self.device)
            # held beside it, so that no other object gets the same id
            self._sources[key] = examples, network.preprocess, made
        return self._sources[key][2]

    def _augmentation(self, name: str) -> Callable[[Inputs], Inputs]:
        if name not in self.augmentation_functions:
            known = self.augmentation_functions
            raise UsageError("training: augment: " + unknown("augmentation", name, known))
        return self.augmentations[name]


def _call(target: str, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    found: Mapping[str, Tensor] = resolve(target)(inputs)
    return found
