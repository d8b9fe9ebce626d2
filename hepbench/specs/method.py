"""Methods: the spec, and the contracts of what a method is given: network, objective, services."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from hepbench.specs.errors import PluginError
from hepbench.specs.parameters import as_params, check_name, check_params
from hepbench.specs.renamed import names_new_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch
    from torch import Tensor, nn

    from hepbench.specs.training_data import Examples, TrainingData
    from hepbench.specs.types import Array


@names_new_fields
@dataclass(frozen=True, kw_only=True)
class Method:
    """One step of a chain: it trains or changes a model on a dataset.

    Attributes:
        name, summary: as written in suites; one line.
        run: ``(start, data, work, **params) -> `` what follows, of the kind of ``start``;
            ``data`` is TrainingData, ``context`` is Work.
        after: what it may follow: methods, or whatever makes an ``encoder`` or a ``classifier``, or
            ``fresh``, a model as built. The first is what it follows when it is named alone.
        needs: what the model must offer.
        labels: False for a method that may see no label: it gets every training input, those of
            unlabelled examples too.
        makes: ``encoder`` or ``classifier``; only a classifier ends a chain. A head that an
            encoder-making method used on its way is dropped.
        freezes: parts (``encoder``, ``encoder.blocks``, ``head``) that come out bit-identical,
            buffers too. It is checked.
        head: ``(width, classes, **params) -> nn.Module``, what ``Context.with_head`` puts on: (N,
            width) codes in, (N, classes) logits out. None: the encoder's own, else linear.
        params: by name, a ``Param(default, allowed, presets)``, or a plain default. Values that are
            not allowed, or not of the default's type, are refused before anything runs. A method
            that trains takes ``training_params(...)`` in.
        imports: modules worth importing once, before any worker starts.
    """

    name: str
    summary: str
    run: str
    after: tuple[str, ...] = ("fresh",)
    needs: frozenset[str] = frozenset({"encode"})
    labels: bool = True
    makes: Literal["encoder", "classifier"] = "classifier"
    freezes: frozenset[str] = frozenset()
    head: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name("method", self.name)
        object.__setattr__(self, "params", as_params(self.params))
        check_params(f"method {self.name}", self.params)
        if not self.after:
            msg = f"method {self.name}: 'after' names nothing that it may follow"
            raise PluginError(msg)


class Recipe(Protocol):
    """What a network is rebuilt from, as far as a method may rely on it.

    Attributes:
        model: the model's name.
        classes: how many logits a head gives.
    """

    @property
    def model(self) -> str: ...

    @property
    def classes(self) -> int: ...


class Network(Protocol):
    """The core's ``nn.Module``: preprocessing, an encoder, and perhaps a head.

    Attributes:
        recipe: what it is rebuilt from; ``recipe.classes`` is the number of classes.
        preprocess: applied by whoever makes batches, never in the call.
        encoder, head: the parts that rates and ``freezes`` name.
        masks: parameter name -> (shape of it) bool, False where a weight is pruned. ``Context.fit``
            applies them after every step; they are stored beside the weights.
    """

    recipe: Recipe
    preprocess: nn.Module
    encoder: Any
    head: nn.Module | None
    masks: dict[str, Tensor]

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (N, classes) logits of preprocessed inputs, or (N, D) codes without a head."""
        ...

    def example_inputs(self, n: int = 2) -> dict[str, Tensor]:
        """Return n inputs of the right shapes, for tracing."""
        ...

    def trim(self) -> Network:
        """Drop what scoring does not use (decoder, log-variance), in place."""
        ...

    def reinitialise(self) -> Network:
        """Draw every weight anew, in place; shapes, masks and preprocessing stay."""
        ...

    def apply_masks(self) -> None:
        """Set pruned weights to zero."""
        ...


@names_new_fields
@dataclass(frozen=True)
class Objective:
    """A loss and the parts of the network that minimise it, with an optimiser of its own.

    Attributes:
        terms: ``(network, batch) -> {name: (N,)}``; the core has ``classification`` and
            ``pretraining``. Their sum, weighted by the encoder's ``term_weights`` and the examples'
            weights, is the loss.
        learning_rates: part of the network -> learning rate. A part is a prefix of parameters' names
            (``encoder``, ``encoder.blocks.3``; ``""`` is all), the longest that fits counts. What
            no part covers is frozen and stays in eval mode.
    """

    terms: Callable[[Any, Any], Mapping[str, Tensor]]
    learning_rates: Mapping[str, float]

    def __post_init__(self) -> None:
        rates = self.learning_rates
        wrong = [f"{part!r}: {rate!r}" for part, rate in rates.items() if not rate > 0]
        if wrong or not rates:
            found = wrong[0] if wrong else "none"
            msg = f"an objective needs learning rates above 0; got {found}"
            raise PluginError(msg)


class Context(Protocol):
    """What a method is lent. All but ``seed`` and ``threads`` is for networks only.

    Attributes:
        seed: drawn from the cell's seed and the stage's key; numpy's and torch's global generators
            are seeded with it too.
        threads: how many threads it may use.
        device: where networks and batches are.
        augmentations: the dataset's, by name: ``(inputs) -> inputs`` on batches.
    """

    seed: int
    threads: int
    device: torch.device
    augmentations: Mapping[str, Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]]

    def with_head(self, network: Network, **params: Any) -> Network:
        """Return the same network under a new head: ``Method.head``, else the encoder's own, else
        linear.
        """
        ...

    def fit(
        self, network: Network, data: TrainingData, *objectives: Objective, **training: Any
    ) -> Network:
        """Train in place and return the network as it was after its best epoch.

        Args:
            network, data: what is trained, and on what.
            objectives: one, or several that take turns at every batch.
            training: the keys of TRAINING; see ``train.FitSettings``.
        """
        ...

    def warn(self, text: str) -> None:
        """Put into the record what must be said of the result, as ``name: what``, one line."""
        ...

    def encode(self, network: Network, examples: Examples) -> Array:
        """Return (N, D) codes as numpy, in eval mode."""
        ...

    def batches(
        self, network: Network, examples: Examples, batch_size: int = 256
    ) -> Iterator[Examples]:
        """Yield examples as dense preprocessed tensors, in their order."""
        ...
