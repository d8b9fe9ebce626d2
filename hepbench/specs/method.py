"""Methods: the spec, and the interfaces that a method uses: network, objective, context."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from hepbench.specs.errors import PluginError
from hepbench.specs.parameters import as_params, check_files, check_name, check_params

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch
    from torch import Tensor, nn

    from hepbench.specs.training_data import Examples, TrainingData
    from hepbench.specs.types import Array


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method plugin: one step of a chain, which trains or changes a model.

    Attributes:
        name: as written in suites.
        summary: one line.
        run: ``"module:function"`` of ``(start, data, context, **params) -> Network | Estimator``, of
            the same type as ``start``; ``data`` is TrainingData. ``start`` is its own copy, which it
            may change.
        after: what it may follow: names of methods; ``encoder`` or ``classifier`` for any method
            that makes one; ``fresh`` for a new model. The first is the default if the method is
            named alone.
        needs: what the model must offer: see ``Model.offers``.
        inputs: names of inputs that the model must have, such as ``cloud`` and ``mask`` for a method
            that hides particles. Empty: a model of any inputs.
        labels: False if the method must not see labels; it then gets all training inputs, those of
            unlabelled examples too.
        makes: ``encoder`` or ``classifier``; only a classifier ends a chain. The head of an encoder
            is dropped, so a head may also be what only the training needs, such as a projection.
        freezes: parts (``encoder``, ``encoder.blocks``, ``head``) that the method leaves
            bit-identical, buffers too. This is checked.
        head: ``"module:function"`` of ``(width, classes, **params) -> nn.Module``, or of such a
            class, for ``Context.with_head``: it maps (N, width) latents to (N, classes) logits; a
            head that is dropped may return anything. ``params`` are those given to ``with_head``;
            they are stored, and the head is built again from them when the network is loaded, so
            all that is fitted belongs in parameters and buffers. None: the encoder's own head, or a
            linear one.
        params: by name, a ``Param(default, allowed, presets)``, or a plain default. Values that are
            not allowed, or not of the default's type, are refused before anything runs. A method
            that trains takes ``training_params(...)`` in.
        former: parameters of earlier versions, each with what became of it, in words that follow
            the name: ``is now 'max_iterations'``. A suite that sets one is answered with them.
        imports: modules worth importing once, before any worker starts.
        files: files that its functions open through C libraries: see ``Model.files``.
    """

    name: str
    summary: str
    run: str
    after: tuple[str, ...] = ("fresh",)
    needs: frozenset[str] = frozenset({"encode"})
    inputs: tuple[str, ...] = ()
    labels: bool = True
    makes: Literal["encoder", "classifier"] = "classifier"
    freezes: frozenset[str] = frozenset()
    head: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    former: Mapping[str, str] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name("method", self.name)
        check_files(f"method {self.name}", self.files)
        object.__setattr__(self, "params", as_params(self.params))
        check_params(f"method {self.name}", self.params)
        if not self.after:
            msg = f"method {self.name}: 'after' is empty; name at least one method, or 'fresh'"
            raise PluginError(msg)


class Recipe(Protocol):
    """Interface of a network's recipe: model and number of classes, for methods to read.

    Attributes:
        model: name of the model.
        classes: number of classes, and of logits.
    """

    @property
    def model(self) -> str: ...

    @property
    def classes(self) -> int: ...


class Network(Protocol):
    """Interface of the networks that methods get: preprocessing, an encoder, perhaps a head.

    Attributes:
        recipe: the description that it is rebuilt from.
        preprocess: applied when batches are made, not in the call.
        encoder, head: the parts that learning rates and ``freezes`` name.
        masks: name of a parameter -> bool mask of its shape, False for pruned weights.
            ``Context.fit`` applies masks after every step; they are stored with the weights.
    """

    recipe: Recipe
    preprocess: nn.Module
    encoder: Any
    head: nn.Module | None
    masks: dict[str, Tensor]

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Interface: return (N, classes) logits, or (N, D) latents if the network has no head."""
        ...

    def example_inputs(self, n: int = 2) -> dict[str, Tensor]:
        """Interface: return n example inputs, for methods that trace the network."""
        ...

    def trim(self) -> Network:
        """Interface: remove the modules that scoring does not use (decoder, log-variance)."""
        ...

    def reinitialise(self) -> Network:
        """Interface: draw all weights of the network again, in place; shapes and masks stay."""
        ...

    def apply_masks(self) -> None:
        """Interface: set the network's pruned weights to zero."""
        ...


@dataclass(frozen=True)
class Objective:
    """A loss, and the parts of the network that are trained on it by an optimiser of their own.

    ``terms`` gets batches of two kinds. In training, the parts that are trained are in training mode,
    and the chosen augmentations were applied. After each epoch come the batches of the validation
    part, in order, in eval mode, without gradients and without augmentations; before each such pass
    the random generators of Python, numpy and torch are seeded alike. So a term may draw random
    numbers and may compare the examples of a batch with each other, but with the same weights its
    validation value must stay the same: it may not count calls or keep state outside of buffers.
    This is checked. What must change during training is the weight of a term: see ``Encoder``.

    Attributes:
        terms: ``(network, batch) -> {name: (N,)}``: one value for each example, unweighted; the core
            has ``classification`` and ``pretraining``. ``batch`` is Examples of torch tensors on the
            network's device: ``inputs`` dense and preprocessed, ready for ``network(batch.inputs)``
            and ``network.encoder.encode(batch.inputs)``; ``labels`` and ``weights``
            may be None; the weights of the training part have mean 1. Its memory is used again:
            keep no batch.
            The sum of the terms, weighted by the encoder's ``term_weights`` and the examples'
            weights, is the loss. Two objectives may not use one name.
        learning_rates: part of the network -> learning rate. A part is a prefix of the names of
            parameters (``encoder``, ``encoder.blocks.3``; ``""`` is all); the longest that fits
            applies. Parameters outside of all parts are frozen and stay in eval mode. Modules that
            are not part of the network cannot be trained: see ``Method.head``.
    """

    terms: Callable[[Any, Any], Mapping[str, Tensor]]
    learning_rates: Mapping[str, float]

    def __post_init__(self) -> None:
        rates = self.learning_rates
        wrong = [f"{part!r}: {rate!r}" for part, rate in rates.items() if not rate > 0]
        if wrong or not rates:
            found = wrong[0] if wrong else "none"
            msg = f"learning rates of an objective must be above 0; got {found}"
            raise PluginError(msg)


class Context(Protocol):
    """Interface of the context: services of the core that a method may use.

    All but ``seed`` and ``threads`` are for networks only.

    Attributes:
        seed: from the seed of the cell and the names of the steps; the global generators of numpy
            and torch are seeded with it too.
        threads: number of threads it may use.
        device: of networks and batches.
        augmentations: the dataset's, by name: ``(inputs) -> inputs`` on preprocessed batches. ``fit``
            applies those of the setting ``augment`` to each training batch; terms that compare two
            versions of an example call them themselves, and then in validation too.
    """

    seed: int
    threads: int
    device: torch.device
    augmentations: Mapping[str, Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]]

    def with_head(self, network: Network, **params: Any) -> Network:
        """Interface: return a network of the same modules with a new head.

        It is ``Method.head``, or the encoder's own head, or a linear one; ``params`` are its
        parameters, of JSON's types.
        """
        ...

    def fit(
        self, network: Network, data: TrainingData, *objectives: Objective, **training: Any
    ) -> Network:
        """Interface: train a network in place and return it as it was after its best epoch.

        The validation value that ``monitor`` names selects the epoch. A method may call ``fit``
        several times, or not at all.

        Args:
            network: is trained.
            data: training and validation examples; the latter are those that the method received
                as validation, or some of them, with unchanged inputs.
            objectives: one, or several that take turns at every batch.
            training: settings by the names in TRAINING; see
                ``hepbench.training.fit_settings.FitSettings``.
        """
        ...

    def warn(self, text: str) -> None:
        """Interface: add a method's one-line warning to the record."""
        ...

    def encode(self, network: Network, examples: Examples) -> Array:
        """Interface: return the (N, D) latents of examples, as numpy, computed in eval mode."""
        ...

    def batches(
        self, network: Network, examples: Examples, batch_size: int = 256
    ) -> Iterator[Examples]:
        """Interface: yield batches of examples as dense preprocessed tensors, in order."""
        ...
