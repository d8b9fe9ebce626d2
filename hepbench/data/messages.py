"""Messages: tasks and results of the stages that prepare data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hepbench.specs.dataset import LIMITS, Dataset
from hepbench.specs.types import Json
from hepbench.storage.records import Leak

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.data.finding import DataFiles
    from hepbench.specs.dataset import Input


class DeclaredInput(msgspec.Struct, frozen=True):
    """An input as a dataset's spec declares it; see ``specs.dataset.Input``."""

    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    sparse: bool = False


class ReadTask(msgspec.Struct, frozen=True, kw_only=True):
    """The task of the read stage: how to read a dataset's files or its sample.

    Attributes:
        reader: ``"module:function"``; ``params`` are its keyword arguments.
        folder: of the original files; empty for the sample.
        files: paths that are read.
        stamps: by path, size and times of a file before its fingerprint was taken.
    """

    dataset: str
    reader: str
    params: dict[str, Json]
    inputs: dict[str, DeclaredInput]
    classes: tuple[str, ...]
    folder: str = ""
    files: tuple[str, ...] = ()
    stamps: dict[str, tuple[int, ...]] = {}


class ReadResult(msgspec.Struct, frozen=True):
    """The result of the read stage: number of examples of each role, and warnings."""

    counts: dict[str, int]
    warnings: list[str]


class SplitTask(msgspec.Struct, frozen=True, kw_only=True):
    """The task of the split stage: how to split examples into train, validation and test.

    Attributes:
        fractions: of the three parts.
        limits: the most examples of each part, ``n_train`` and so on; None: all.
        official: ``"module:function"`` of an official test set; ``params`` are its keyword arguments.
    """

    dataset: str
    classes: tuple[str, ...]
    fractions: tuple[float, float, float]
    seed: int
    limits: dict[str, int | None]
    official: str | None
    params: dict[str, Json]


class SplitResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the split stage; ``storage.records.DataSummary`` explains the fields."""

    n_train: int
    n_validation: int
    n_test: int
    n_unlabelled: int
    split_hash: str
    contents: str
    test_contents: str
    duplicates: dict[str, int]
    leaks: list[Leak] | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """The number of examples in each part of the split."""
        return {
            "train": self.n_train,
            "validation": self.n_validation,
            "test": self.n_test,
            "unlabelled": self.n_unlabelled,
        }


class ViewCall(msgspec.Struct, frozen=True):
    """The function of a view, ``"module:function"``, and its keyword arguments."""

    run: str
    params: dict[str, Json]


class InputsTask(msgspec.Struct, frozen=True, kw_only=True):
    """The task of the inputs stage: the inputs to write, and the views that make some."""

    dataset: str
    inputs: tuple[str, ...]
    views: dict[str, ViewCall]


class InputsResult(msgspec.Struct, frozen=True):
    """The empty result of the inputs stage, whose output is in its folder."""


def read_task(spec: Dataset, found: DataFiles, params: Mapping[str, Json]) -> ReadTask:
    """Return the task of the read stage for a dataset's files or its sample."""
    reader = spec.sample if found.source == "sample" else spec.original
    return ReadTask(
        dataset=spec.name,
        reader=reader.read if reader else "",
        params={name: params[name] for name in sorted(spec.read_params)},
        inputs={name: _declared_input(given) for name, given in spec.inputs.items()},
        classes=tuple(spec.classes),
        folder=found.folder,
        files=tuple(found.files),
        stamps={path: tuple(stamp) for path, stamp in found.stamps.items()},
    )


def _declared_input(given: Input) -> DeclaredInput:
    return DeclaredInput(tuple(given.shape), tuple(given.names), given.sparse)


def split_task(spec: Dataset, params: Mapping[str, Json], seed: int) -> SplitTask:
    """Return the task of the split stage for a dataset."""
    return SplitTask(
        dataset=spec.name,
        classes=tuple(spec.classes),
        fractions=spec.split.fractions,
        seed=seed,
        limits={name: params[name] for name in LIMITS},
        official=spec.split.official,
        params={name: params[name] for name in sorted(spec.split.params)},
    )


def inputs_task(spec: Dataset, wanted: tuple[str, ...], params: Mapping[str, Json]) -> InputsTask:
    """Return the task of the inputs stage for the inputs that a model takes."""
    views = {
        name: ViewCall(
            spec.views[name].run, {n: params[n] for n in sorted(spec.views[name].params)}
        )
        for name in wanted
        if name in spec.views
    }
    return InputsTask(dataset=spec.name, inputs=tuple(wanted), views=views)
