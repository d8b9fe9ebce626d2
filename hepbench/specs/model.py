"""Models: the spec, and the contracts of encoders, estimators and preprocessing steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hepbench.specs.errors import PluginError
from hepbench.specs.parameters import Param, as_params, check_name, check_params
from hepbench.specs.renamed import names_new_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from hepbench.specs.references import Reference
    from hepbench.specs.training_data import TrainingData
    from hepbench.specs.types import Array, Inputs


STEPS: Mapping[str, tuple[str, ...]] = {
    "standardise": (),
    "channel-maximum": (),
    "signed-log": (),
    "zero-suppression": ("below",),
}
"""The core's preprocessing steps, each with its parameters: ``zero-suppression[below=0.001]``.

They stand here so that listing them imports no torch."""


@names_new_fields
@dataclass(frozen=True, kw_only=True)
class Model:
    """A network that encodes inputs, or an estimator that fits itself.

    Attributes:
        name, summary: as written in suites; one line.
        inputs: names of its inputs.
        build: ``(shapes, **params) -> Encoder | Estimator``; ``shapes`` maps an input to the shape
            of one example; torch's generator is seeded.
        offers: ``encode``, ``pretrain`` and ``reconstruct`` for an Encoder, ``estimate`` for an
            Estimator; a method runs only on models that offer its ``needs``.
        preprocess: steps applied to the inputs, in order: the core's (``STEPS``) by name, the
            plugin's own as ``"module:class"``. Fitted on training inputs. Every network has them
            as its parameter ``preprocess``. A ``Param`` of a list where presets change them.
        params: by name, a ``Param(default, allowed, presets)``, or a plain default.
        imports: modules worth importing once, before any worker starts.
        source: paper or document.
    """

    name: str
    summary: str
    inputs: tuple[str, ...]
    build: str
    offers: frozenset[str] = frozenset({"encode"})
    preprocess: tuple[str, ...] | Param = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        check_name("model", self.name)
        if "preprocess" in self.params:
            msg = f"model {self.name}: the core has the parameter preprocess itself"
            raise PluginError(msg)
        object.__setattr__(self, "params", as_params(self.params))
        check_params(f"model {self.name}", self.all_params)

    @property
    def all_params(self) -> dict[str, Param]:
        """Its parameters, with ``preprocess`` if it is a network."""
        return {**self.params, **({"preprocess": self._steps} if "encode" in self.offers else {})}

    @property
    def own_steps(self) -> frozenset[str]:
        """Its own preprocessing steps, ``"module:class"``, those of presets too."""
        lists = (self._steps.default, *self._steps.presets.values())
        return frozenset(step for steps in lists for step in steps if ":" in step)

    @property
    def _steps(self) -> Param:
        steps = self.preprocess
        return steps if isinstance(steps, Param) else Param(list(steps))


@runtime_checkable
class Estimator(Protocol):
    """A model that fits itself, such as boosted trees; imports no torch.

    ``vars(estimator)`` is its state: plain values and arrays are stored as JSON and npy, objects of
    scikit-learn by skops, and put back into what ``build`` returns. An attribute ``trusts`` may
    list the type names that skops does not trust by itself; ``parameters`` (int) is the number of
    fitted values, shown in tables; ``history`` (list of dicts, one per epoch or iteration) and
    ``best_epoch`` (int) go into the record. A method ``cost()`` may return what scoring one example
    takes, as it was fitted: ``{"macs": ...}`` (multiply-accumulates: features of a linear model,
    support vectors x features of an SVM) or ``{"comparisons": ...}`` (nodes on the paths through
    trees, on average over examples), or both.
    """

    def fit(self, data: TrainingData, *, seed: int) -> None:
        """Fit on ``data.train``; choose and stop early on ``data.validation`` only."""
        ...

    def scores(self, inputs: Inputs) -> Array:
        """Return (N, classes) probabilities, rows adding to 1, each from its own example alone."""
        ...


class Step(Protocol):
    """A preprocessing step: an ``nn.Module`` built as ``Step(shapes)``.

    Its constants are buffers: it is stored, scored and exported with the network. Shapes of inputs
    stay as they are; padding and the like belong to the encoder.
    """

    def fit(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Set the constants from training inputs, once, at the fresh start."""
        ...

    def __call__(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the inputs, each example's from itself alone."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """What ``Model.build`` returns where the model is a network: an ``nn.Module``.

    Only ``encode`` is a must. In eval mode nothing is random and nothing crosses the batch. Inputs
    are never written to: others are handed them too. Neither the order of a cloud's particles nor
    more padding changes a code. An encoder may also have:

    - ``head(classes) -> nn.Module``: from codes to (N, classes) logits, where linear is not meant;
    - ``pretraining_terms(inputs) -> {name: (N,)}``: the terms of its own loss, unweighted, for
      models that offer ``pretrain``;
    - ``term_weights(progress) -> {name: weight}``: of these, 1 where none is named; ``progress``
      goes from 0 to 1, where validation is;
    - ``reconstruct(inputs) -> inputs``, for models that offer ``reconstruct``;
    - ``posterior(inputs) -> (mean, log_variance)``, (N, D) each, where it is variational, and
      ``decode(codes) -> inputs``: figures show with them which dimensions are in use, and images
      that were never seen.
    """

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (N, D) float32 codes of preprocessed inputs."""
        ...


def expected_form(step: Reference) -> str:
    """Return how a preprocessing step is written if its parameters are wrong, otherwise ''."""
    needed = STEPS.get(step.name, ())
    numbers = all(type(v) in {int, float} and isfinite(v) for v in step.params.values())
    if numbers and set(step.params) == set(needed):
        return ""
    return step.name + (f"[{','.join(f'{name}=NUMBER' for name in needed)}]" if needed else "")
