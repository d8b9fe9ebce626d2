"""Checking data: the files of a dataset read by its own reader, as a run would, and what they hold.

What is damaged or laid out otherwise is the reader's error. What can be read is *odd* where its
figures are not those known of the original (``specs.Dataset.known``), where examples are copies or
images are empty and nothing is known of that, and where records would repeat a warning.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.data import duplicates, messages, naming, read_stage, split_stage, splits
from hepbench.data.checking.findings import STATISTICS, Findings
from hepbench.data.checking.tallies import Tally, channel_names
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import PluginError
from hepbench.specs.sparse_images import SparseImages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from hepbench.data.finding import DataFiles
    from hepbench.data.messages import SplitTask
    from hepbench.specs.dataset import Dataset
    from hepbench.specs.training_data import Examples
    from hepbench.specs.types import Array


NONE = (0.0, 0.0)
"""How many copies and empty images a dataset has of which nothing is known."""


SPLIT_SEED = 0
"""A suite's, where it names none."""


@dataclass
class _Read:
    """What is kept of the examples that were read: 19 bytes of each."""

    spec: Dataset
    params: Mapping[str, Any]
    tallies: dict[str, Tally] = field(default_factory=dict)
    columns: dict[tuple[str, str], list[NDArray[Any]]] = field(default_factory=dict)
    not_finite: dict[str, int] = field(default_factory=dict)

    @property
    def unlabelled(self) -> int:
        """The group behind those of the classes."""
        return len(self.spec.classes)

    def add(self, role: str, examples: Examples) -> None:
        """Add a chunk."""
        if not (n := len(examples)):
            return
        unknown = np.full(n, self.unlabelled)
        labels = examples.labels if role != "unlabelled" else None
        groups = unknown if labels is None else np.asarray(labels, np.int64)
        groups = np.where(groups < 0, unknown, groups)
        for name, array, mask in self._inputs(examples):
            self._tally(name, array, groups, mask)
        for name, array in examples.targets.items():
            self._count(f"target.{name}", np.asarray(array), groups)
        if examples.weights is not None:
            self._count("example.weight", np.asarray(examples.weights), groups)
        hashes = duplicates.row_hashes([examples.inputs[name] for name in sorted(self.spec.inputs)])
        empty = np.zeros(n, bool)
        for name, given in self.spec.inputs.items():
            if len(given.shape) == 3:
                empty |= _empty(examples.inputs[name])
        kept: dict[str, NDArray[Any]] = {
            "ids": np.asarray(examples.ids, np.int64),
            "groups": groups.astype(np.int16),
            "hashes": hashes,
            "empty": empty,
        }
        for column, values in kept.items():
            self.columns.setdefault((role, column), []).append(values)

    def column(self, name: str, *roles: str) -> NDArray[Any]:
        """Return a column of some roles, one behind the other."""
        return np.concatenate(
            [part for role in roles for part in self.columns.get((role, name), ())]
        )

    def count(self, role: str) -> int:
        """Return how many examples of a role there are."""
        return sum(map(len, self.columns.get((role, "ids"), ())))

    def _inputs(self, examples: Examples) -> Iterator[tuple[str, Array, Any]]:
        """Yield name, array and mask of what was read, and of what views with names make of it."""
        for name in self.spec.inputs:
            yield name, examples.inputs[name], examples.inputs.get("mask")
        for name in self.spec.view_names:
            if name not in self.spec.inputs:
                handed = {key: self.params[key] for key in self.spec.handed(name)}
                made = resolve(self.spec.views[name])(examples.inputs, **handed)
                yield name, made[name], made.get("mask")

    def _tally(
        self, name: str, array: Array, groups: NDArray[Any], mask: NDArray[np.bool_] | None
    ) -> None:
        if name == "mask":
            array, mask = np.asarray(array).sum(1), None
        of_particles = mask is not None and array.ndim == 3 and array.shape[:2] == mask.shape
        if name not in self.tallies:
            shape = tuple(map(int, array.shape[1:]))
            try:
                self.tallies[name] = Tally(shape, self._names(name), self.unlabelled + 1)
            except PluginError as error:
                msg = f"{self.spec.name}: '{name}' has {error}"
                raise PluginError(msg) from error
        self.tallies[name].add(array, groups, mask if of_particles else None)

    def _names(self, name: str) -> tuple[str, ...]:
        if name == "mask":
            return ("particles",)
        if name in self.spec.inputs:
            return self.spec.inputs[name].names
        return naming.described(self.spec, name, self.params)[0]

    def _count(self, name: str, array: NDArray[Any], groups: NDArray[np.int64]) -> None:
        """Add one number for each example; what is not finite is counted by itself."""
        fine = np.isfinite(array)
        if name not in self.tallies:
            # one number needs no name of its own
            self.tallies[name] = Tally((), ("",), self.unlabelled + 1)
            self.not_finite[name] = 0
        self.tallies[name].add(array[fine], groups[fine])
        self.not_finite[name] += int((~fine).sum())


def check(
    spec: Dataset,
    found: DataFiles,
    params: Mapping[str, Any],
    report_progress: Callable[[str], None],
) -> Findings:
    """Read the files, or the sample, chunk by chunk, and return what they hold.

    Args:
        spec, found: a dataset, and its files as ``data.find`` returns them.
        params: all of its own.
        tell: takes a few words on how far it is.

    Raises:
        DataError: the files are damaged or laid out otherwise, or no run could use them.
        PluginError: the dataset breaks its contract.
    """
    task = messages.read_task(spec, found, params)
    read = _Read(spec, params)
    odd = list(found.warnings)
    began, rows = time.perf_counter(), 0
    for role, examples in read_stage.read_chunks(task, odd):
        read.add(role, examples)
        rows += len(examples)
        report_progress(read_stage.how_far(task.files, rows, began))
    seconds = time.perf_counter() - began
    figures = {**_shares(read), **_statistics(read)}
    known = _compared(spec, figures)
    odd += [_outside(row) for row in known if row["odd"]]
    odd += [f"{name}: {n} values are not finite" for name, n in read.not_finite.items() if n]
    odd += _copied(read, messages.split_task(spec, params, SPLIT_SEED), known)
    roles = {role: read.count(role) for role in ("labelled", "test", "unlabelled")}
    groups = read.column("groups", "labelled", "test")
    return Findings(
        dataset=spec.name,
        source=found.source,
        files=found.files,
        seconds=seconds,
        roles={role: count for role, count in roles.items() if count},
        classes={name: int((groups == i).sum()) for i, name in enumerate(spec.classes)},
        rows=list(_rows(read)),
        images=[name for name, tally in read.tallies.items() if tally.image],
        figures=figures,
        known=known,
        notes=found.notes,
        odd=odd,
    )


def _empty(images: Array) -> NDArray[np.bool_]:
    """Return which images have no hit."""
    if isinstance(images, SparseImages):
        return np.equal(images.ends, images.starts)
    none: NDArray[np.bool_] = ~(images != 0).reshape(len(images), -1).any(1)
    return none


def _shares(read: _Read) -> dict[str, float]:
    """Return the shares of the classes, of copies and of empty images."""
    labels = read.column("groups", "labelled", "test")
    labelled = labels < read.unlabelled
    hashes = read.column("hashes", "labelled", "test")
    hashes = hashes[~read.column("empty", "labelled", "test")]
    total = max(int(labelled.sum()), 1)
    found = {
        f"share.{name}": int((labels == i).sum()) / total
        for i, name in enumerate(read.spec.classes)
    }
    # empty images are alike, and counted by themselves
    found["copies"] = (len(hashes) - len(np.unique(hashes))) / max(len(labels), 1)
    for name, tally in read.tallies.items():
        for ending, groups in _groups(read).items():
            if (share := tally.empty_share(groups)) is not None:
                found[f"{name}.empty{ending}"] = share
    return found


def _groups(read: _Read) -> dict[str, list[int]]:
    """Return the groups that are labelled by what ends a figure's name: all, and each class."""
    by_class = {f".{name}": [i] for i, name in enumerate(read.spec.classes)}
    return {"": list(range(read.unlabelled)), **by_class}


def _statistics(read: _Read) -> dict[str, float]:
    return {
        f"{_named(name, channel)}.{statistic}{ending}": value
        for name, tally in read.tallies.items()
        for ending, groups in _groups(read).items()
        for channel, found in tally.statistics(groups)
        for statistic, value in found.items()
    }


def _named(name: str, channel: str) -> str:
    return f"{name}.{channel}" if channel else name


def _rows(read: _Read) -> Iterator[dict[str, Any]]:
    """Yield each channel and feature with its statistics over all, by class, and unlabelled."""
    for name, tally in read.tallies.items():
        whole = dict(tally.statistics(range(read.unlabelled)))
        each = [dict(tally.statistics([i])) for i in range(read.unlabelled + 1)]
        for channel in tally.names:
            by_class = {
                label: each[i].get(channel, {}) for i, label in enumerate(read.spec.classes)
            }
            yield {
                "input": name.partition(".")[0],
                "name": channel or name.partition(".")[2],
                **whole.get(channel, {}),
                "classes": by_class,
                "unlabelled": each[-1].get(channel, {}),
            }


def _compared(spec: Dataset, figures: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return what is known of the original beside what was found; None where a file lacks it."""
    unsaid = {
        name: NONE
        for name in figures
        if name == "copies" or (name.endswith(".empty") and name not in spec.known)
    }
    rows = []
    for name, (least, most) in {**unsaid, **spec.known}.items():
        value = figures.get(name)
        odd = value is not None and not least <= value <= most
        # nobody wants to be told that there is nothing
        if odd or name in spec.known:
            rows.append({"name": name, "least": least, "most": most, "found": value, "odd": odd})
    return rows


def misnamed(spec: Dataset) -> list[str]:
    """Return what is known under a name that no figure of the dataset can have."""
    channels = {
        name: channel_names(given.shape, given.names) for name, given in spec.inputs.items()
    }
    channels |= {
        name: naming.described(spec, name, spec.params)[0]
        for name in spec.view_names
        if name not in spec.inputs
    }
    if "mask" in channels:
        channels["mask"] = ("particles",)
    columns = {f"{name}.{channel}" for name, names in channels.items() for channel in names}
    figures = {f"{column}.{statistic}" for column in columns for statistic in STATISTICS}
    figures |= {f"{name}.empty" for name, given in spec.inputs.items() if len(given.shape) == 3}
    figures |= {f"{figure}.{label}" for figure in figures for label in spec.classes}
    figures |= {"copies", *(f"share.{label}" for label in spec.classes)}
    # targets are not declared
    return [n for n in spec.known if n not in figures and not n.startswith("target.")]


def _outside(row: Mapping[str, Any]) -> str:
    known = f"{row['least']:.4g} to {row['most']:.4g} is"
    expected = "none are" if (row["least"], row["most"]) == NONE else known
    return f"{row['name']} is {row['found']:.4g}; {expected} known of the original"


def _copied(read: _Read, task: SplitTask, known: Sequence[Mapping[str, Any]]) -> list[str]:
    """Divide the examples as a run does, and say what copies do to the parts where they are odd.

    Raises:
        DataError, PluginError: no run could divide them.
    """
    ids, groups = (read.column(name, "labelled", "test") for name in ("ids", "groups"))
    labels = np.where(groups < read.unlabelled, groups, -1).astype(np.int64)
    split_stage.check_ids(task.dataset, ids)
    official = split_stage.official_rows(task, ids, read.count("test"))
    parts = splits.divide(labels, ids, shares=task.fractions, seed=task.seed, official=official)
    split_stage.check_classes(task, parts, labels)
    if any(row["name"] == "copies" and not row["odd"] for row in known):
        return []
    hashes, empty = (read.column(name, "labelled", "test") for name in ("hashes", "empty"))
    by_part = {part: hashes[rows[~empty[rows]]] for part, rows in parts.items()}
    sizes = {part: len(rows) for part, rows in parts.items()}
    if read.count("unlabelled"):
        hashes_, empty_ = (read.column(name, "unlabelled") for name in ("hashes", "empty"))
        by_part["unlabelled"], sizes["unlabelled"] = hashes_[~empty_], len(hashes_)
    told = duplicates.describe_copies(duplicates.duplicates(by_part), sizes)
    return [*_contradictions(hashes[~empty], labels[~empty]), *told]


def _contradictions(hashes: NDArray[np.uint64], labels: NDArray[np.int64]) -> list[str]:
    """Say how many copies have another label."""
    order = np.lexsort((labels, hashes))
    same = hashes[order][1:] == hashes[order][:-1]
    other = int((same & (labels[order][1:] != labels[order][:-1])).sum())
    return [f"labels: {other} examples are copies of ones with another label"] if other else []
