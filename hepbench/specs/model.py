"""Models: the spec, and the interfaces of encoders, estimators and preprocessing steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hepbench.specs.errors import PluginError
from hepbench.specs.parameters import Param, as_params, check_files, check_name, check_params

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

- ``standardise``: subtract the mean and divide by the standard deviation of each feature (``table``,
  ``scalars``, ``cloud``) or channel (``image``, of all pixels). A constant feature stays as it is.
- ``channel-maximum``: divide by the largest value of each feature or channel, if it is positive.
- ``signed-log``: sign(x) log(1 + |x| / m), with the median |x| of the values other than 0 as m.
- ``zero-suppression``: set pixels of an image below a threshold to 0.

What a step fits, it fits on training inputs. Only real particles of a cloud count, those with
``mask`` True, and afterwards the features of all other particles are 0. ``mask``, ``neighbours`` and
``momenta`` stay as they are."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model plugin: a network that encodes inputs, or an estimator that fits itself.

    Attributes:
        name: as written in suites.
        summary: one line.
        inputs: names of its inputs.
        build: ``"module:function"`` of ``(shapes, **params) -> Encoder | Estimator``, or a class;
            ``shapes`` maps an input to the shape of one example; torch's generator is seeded.
        offers: ``encode``, ``pretrain`` and ``reconstruct`` for an Encoder, ``estimate`` for an
            Estimator; a method runs only on models that offer its ``needs``.
        preprocess: steps applied to the inputs, in order: the core's (``STEPS``) by name, the
            plugin's own as ``"module:class"``. Fitted on training inputs. Every network has them
            as its parameter ``preprocess``. A ``Param`` of a list where presets change them.
        params: by name, a ``Param(default, allowed, presets)``, or a plain default.
        fits: ``"module:function"`` of ``(shapes, **params) -> str``: why the model cannot take
            inputs of these shapes, such as ``patches of 4 x 4 do not divide its images of 30 x 30``,
            or ''. Called when a run is planned, so its module imports nothing heavy. Empty: no
            shape is refused.
        onnx: ``"module:function"`` of ``(estimator) -> onnx.ModelProto``, for an estimator without
            the method ``onnx`` (see ``Estimator``). A module of its own is no part of the key of a
            training: its trainings stay valid when only the graph changes.
        imports: modules worth importing once, before any worker starts.
        files: files that its functions open through C libraries (HDF5, parquet, safetensors), which
            a run cannot see: ``"package:path"``, or an absolute path. A result is used again only
            while they are the same. What Python itself opens is seen without this.
        source: paper or document.
    """

    name: str
    summary: str
    inputs: tuple[str, ...]
    build: str
    offers: frozenset[str] = frozenset({"encode"})
    preprocess: tuple[str, ...] | Param = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    fits: str = ""
    onnx: str = ""
    imports: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        check_name("model", self.name)
        check_files(f"model {self.name}", self.files)
        if "preprocess" in self.params:
            msg = f"model {self.name}: the parameter name 'preprocess' is reserved"
            raise PluginError(msg)
        object.__setattr__(self, "params", as_params(self.params))
        check_params(f"model {self.name}", self.all_params)

    @property
    def all_params(self) -> dict[str, Param]:
        """The model's parameters, including ``preprocess`` if the model is a network."""
        return {
            **self.params,
            **({"preprocess": self._preprocess_param} if "encode" in self.offers else {}),
        }

    @property
    def own_steps(self) -> frozenset[str]:
        """The model's preprocessing steps written as ``"module:class"``, also those in presets."""
        lists = (self._preprocess_param.default, *self._preprocess_param.presets.values())
        return frozenset(step for steps in lists for step in steps if ":" in step)

    @property
    def _preprocess_param(self) -> Param:
        steps = self.preprocess
        return steps if isinstance(steps, Param) else Param(list(steps))


@runtime_checkable
class Estimator(Protocol):
    """Interface of models that fit themselves, such as boosted trees; they import no torch.

    ``vars(estimator)`` is its state. Plain values and arrays are stored as JSON and npy, objects of
    scikit-learn with skops; loading sets them on a new object from ``build``. Optional attributes:

    - ``trusts``: type names that skops does not trust by itself;
    - ``parameters`` (int): number of fitted values, for tables;
    - ``history`` (list of dicts, one per epoch or iteration) and ``best_epoch`` (int), for records;
    - ``cost() -> dict``: operations to score one example: ``{"macs": ...}`` (multiply-accumulates:
      features of a linear model, support vectors x features of an SVM) or ``{"comparisons": ...}``
      (nodes on the paths through trees, mean over examples), or both. Tables mark what an estimator
      states about itself;
    - ``onnx() -> onnx.ModelProto``: its graph, whose latency in ONNX Runtime stands beside that of
      networks. Its inputs have the names of the model's inputs and any batch size, its first output
      is (N, classes) probabilities. It is checked against ``scores``.
    """

    def fit(self, data: TrainingData, *, seed: int) -> None:
        """Interface: fit on ``data.train``; early stopping may use ``data.validation``."""
        ...

    def scores(self, inputs: Inputs) -> Array:
        """Interface: return (N, classes) probabilities; each row depends on its example alone."""
        ...


class Step(Protocol):
    """Interface of preprocessing steps: an ``nn.Module`` built as ``Step(shapes)``.

    Its constants are buffers, stored and exported with the network. It keeps the shapes of inputs;
    padding belongs to the encoder.
    """

    def fit(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Interface: set a step's constants from training inputs, once, before any training."""
        ...

    def __call__(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Interface: return preprocessed inputs; examples must not affect each other."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Interface of the encoders (``nn.Module``) that ``Model.build`` returns.

    Only ``encode`` is required. In eval mode it is deterministic, and an example's result depends on
    no other example. It must not change its inputs. Neither the order of the particles of a cloud nor
    more padding changes its latents. An encoder may also have:

    - ``head(classes) -> nn.Module``: latents to (N, classes) logits, if not linear;
    - ``pretraining_terms(inputs) -> {name: (N,)}``: the terms of its own loss, unweighted, for
      models that offer ``pretrain``; in training mode they may be random, in eval mode they are
      deterministic, and an example's terms depend on no other example;
    - ``term_weights(progress) -> {name: weight}``: 1 for terms that it does not name; ``progress``
      rises from 0 to 1 during training and is 1 for validation;
    - ``reconstruct(inputs) -> inputs``, for models that offer ``reconstruct``;
    - ``visible(inputs) -> inputs``: the values that ``reconstruct`` starts from, 0 where it sees
      none: for plots of masked autoencoders;
    - ``posterior(inputs) -> (mean, log_variance)``, (N, D) each, if it is variational, and
      ``decode(latents) -> inputs``: for plots of the latents and of generated images;
    - ``symmetries``: names of transformations of ``momenta`` that its latents do not depend on, for
      ``hepbench check``: ``boosts-along-beam``.
    """

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Interface: return (N, D) float32 latents of preprocessed inputs."""
        ...


def expected_form(step: Reference) -> str:
    """Return the right notation of a preprocessing step with wrong parameters, otherwise ''."""
    needed = STEPS.get(step.name, ())
    numbers = all(type(v) in {int, float} and isfinite(v) for v in step.params.values())
    if numbers and set(step.params) == set(needed):
        return ""
    return step.name + (f"[{','.join(f'{name}=NUMBER' for name in needed)}]" if needed else "")
