"""Messages of the stage that trains a model with a method: its task and its result."""

from __future__ import annotations

from typing import Literal

import msgspec

from hepbench.specs.types import Json


class NetworkTask(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a method's task that concerns networks only.

    Attributes:
        preprocess: names of preprocessing steps.
        heads: method -> ``"module:function"`` of the head that it declares.
        freezes: parts that must come out unchanged.
        augmentations: the dataset's, ``"module:function"`` by name.
        device: as torch names it: ``cpu``, ``cuda:0``.
    """

    preprocess: list[str]
    heads: dict[str, str] = {}
    freezes: list[str] = []
    augmentations: dict[str, str] = {}
    device: str = "cpu"


class MethodTask(msgspec.Struct, frozen=True, kw_only=True):
    """The task of a method stage: run one method of a chain on a model.

    Attributes:
        run, build: ``"module:function"`` of the method, and of what builds the model.
        labels: whether the method may see labels.
        training_size: number of training examples that it sees; None: all.
        label_fraction: of these examples, whose labels it sees.
        classes: how many there are.
        steps: names of the chain's methods up to this one.
        training_weights: the dataset's rule for weights of training and validation examples.
        own_loss: whether the encoder is as its own loss left it, so that its terms mean something.
        network: None for an estimator.
    """

    method: str
    run: str
    params: dict[str, Json]
    model: str
    build: str
    model_params: dict[str, Json]
    makes: Literal["encoder", "classifier"]
    classes: int
    steps: list[str]
    seed: int
    threads: int = 1
    labels: bool = True
    training_size: int | None = None
    label_fraction: float = 1.0
    training_weights: str = "physical"
    own_loss: bool = False
    network: NetworkTask | None = None


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a trained model: number of parameters, history, training time.

    Attributes:
        seconds: wall time of the method.
        cpu_seconds: its CPU time, of all threads and of processes that have ended.
        processed: training examples in all steps of its trainings: an example counts in each epoch
            anew. None for an estimator.
        parameters, nonzero_parameters: those that a score depends on.
        history: a row for each epoch of each training.
        best_epoch: the row whose weights were kept.
    """

    seconds: float
    cpu_seconds: float | None = None
    processed: int | None = None
    parameters: int | None = None
    nonzero_parameters: int | None = None
    history: list[dict[str, float]] | None = None
    best_epoch: int | None = None
    warnings: list[str] = []


class MethodResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a method stage: facts about the trained model, and warnings.

    Attributes:
        examples: training examples whose labels it saw.
        peak_memory_mb: of the process.
        warnings: of the method and of the checks of its scores.
    """

    trained: Trained
    examples: int
    peak_memory_mb: float
    warnings: list[str] = []
