"""Checking files: the files of a dataset are read by its own reader, as in a run, and summarised.

The reader raises an error for a damaged file or another layout. A readable file gives a warning if
a value is outside the known range of the original (``Original.known``), if examples are copies or
images are empty without a known range for this, and if records would repeat a warning.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.data import duplicates, messages, naming, read_stage, split_stage, splits
from hepbench.data.checking.findings import STATISTICS, ChannelSummary, Comparison, Findings
from hepbench.data.checking.tallies import Tally, channel_names
from hepbench.data.leaks import audit
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import PluginError
from hepbench.specs.parameters import defaults
from hepbench.specs.sparse_images import SparseImages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from hepbench.data.finding import DataFiles
    from hepbench.specs.dataset import Dataset, View
    from hepbench.specs.training_data import Examples
    from hepbench.specs.types import Array


NONE = (0.0, 0.0)
"""Known range of copies and empty images if a dataset states none."""


SPLIT_SEED = 0
"""The split seed of suites that state none."""


@dataclass
class _Summary:
    """Running summary of the examples that were read: 19 bytes of each are kept, and some examples."""

    spec: Dataset
    params: Mapping[str, Any]
    audit: audit.LeakAudit
    tallies: dict[str, Tally] = field(default_factory=dict)
    columns: dict[tuple[str, str], list[NDArray[Any]]] = field(default_factory=dict)
    not_finite: dict[str, int] = field(default_factory=dict)

    @property
    def unlabelled(self) -> int:
        """The group of the checked file's unlabelled examples, after those of the classes."""
        return len(self.spec.classes)

    def add(self, role: str, examples: Examples) -> None:
        """Add a chunk that was read to what is counted."""
        if not (n := len(examples)):
            return
        unknown = np.full(n, self.unlabelled)
        labels = examples.labels if role != "unlabelled" else None
        groups = unknown if labels is None else np.asarray(labels, np.int64)
        groups = np.where(groups < 0, unknown, groups)
        for name, array, mask in self._inputs(examples):
            self._tally(name, array, groups, mask)
        for name, array in examples.spectators.items():
            self._count(f"spectator.{name}", np.asarray(array), groups)
        if examples.weights is not None:
            self._count("example.weight", np.asarray(examples.weights), groups)
        inputs = {name: examples.inputs[name] for name in sorted(self.spec.inputs)}
        hashes = duplicates.row_hashes(list(inputs.values()))
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
        known = {} if role == "unlabelled" else {"ids": kept["ids"], "labels": self.labels(groups)}
        self.audit.add(role, inputs, hashes, **known)
        for column, values in kept.items():
            self.columns.setdefault((role, column), []).append(values)

    def labels(self, groups: NDArray[Any]) -> NDArray[np.int64]:
        """Return the labels of groups of the checked file: -1 for an unknown class."""
        return np.where(groups < self.unlabelled, groups, -1).astype(np.int64)

    def column(self, name: str, *roles: str) -> NDArray[Any]:
        """Return a column of several roles, concatenated."""
        return np.concatenate(
            [part for role in roles for part in self.columns.get((role, name), ())]
        )

    def count(self, role: str) -> int:
        """Return the number of examples of a role."""
        return sum(map(len, self.columns.get((role, "ids"), ())))

    def _inputs(self, examples: Examples) -> Iterator[tuple[str, Array, Any]]:
        """Yield name, array and mask of what is checked: inputs that were read, and named views."""
        for name in self.spec.inputs:
            yield name, examples.inputs[name], examples.inputs.get("mask")
        for name, view in _named_views(self.spec).items():
            params = {key: self.params[key] for key in view.params}
            made = resolve(view.run)(examples.inputs, **params)
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
        """Add a number for each example of the checked file; those not finite are counted apart."""
        finite = np.isfinite(array)
        if name not in self.tallies:
            # a single number needs no name of its own
            self.tallies[name] = Tally((), ("",), self.unlabelled + 1)
            self.not_finite[name] = 0
        self.tallies[name].add(array[finite], groups[finite])
        self.not_finite[name] += int((~finite).sum())


def check(
    spec: Dataset,
    found: DataFiles,
    params: Mapping[str, Any],
    report_progress: Callable[[str], None],
) -> Findings:
    """Read the files, or the sample, chunk by chunk, and return a summary.

    Args:
        spec, found: a dataset, and its files as ``finding.find`` returns them.
        params: values of all its own parameters.
        report_progress: takes a short text on the progress.

    Raises:
        DataError: the files are damaged or have another layout, or no run could use them.
        PluginError: the dataset breaks its contract.
    """
    task = messages.read_task(spec, found, params)
    read = _Summary(spec, params, audit.LeakAudit(spec.classes))
    warnings = list(found.warnings)
    began, rows = time.perf_counter(), 0
    for role, examples in read_stage.read_chunks(task, warnings):
        read.add(role, examples)
        rows += len(examples)
        report_progress(read_stage.how_far(found.files, rows, began))
    seconds = time.perf_counter() - began
    values = {**_fractions(read), **_statistics(read)}
    known = _compared(spec, values)
    warnings += [_outside(each) for each in known if each.outside]
    warnings += [f"{name}: {n} values are not finite" for name, n in read.not_finite.items() if n]
    parts = _split(read)
    warnings += _copied(read, known, parts)
    warnings += audit.describe(audit.named(read.audit.leaks(parts), spec.inputs))
    return _findings(read, found, seconds, values=values, known=known, warnings=warnings)


def _findings(read: _Summary, found: DataFiles, seconds: float, **parts: Any) -> Findings:
    """Return the findings of a summary; ``parts`` are the fields that were computed from it."""
    spec = read.spec
    roles = {role: read.count(role) for role in ("labelled", "test", "unlabelled")}
    groups = read.column("groups", "labelled", "test")
    return Findings(
        dataset=spec.name,
        source=found.source,
        files=found.files,
        seconds=seconds,
        roles={role: count for role, count in roles.items() if count},
        classes={name: int((groups == i).sum()) for i, name in enumerate(spec.classes)},
        channels=list(_channels(read)),
        images=[name for name, tally in read.tallies.items() if tally.image],
        notes=found.notes,
        **parts,
    )


def _named_views(spec: Dataset) -> dict[str, View]:
    """Return the views to check: those that have names and do not replace an input."""
    return {n: view for n, view in spec.views.items() if view.names and n not in spec.inputs}


def _empty(images: Array) -> NDArray[np.bool_]:
    """Return (N,) True for images without a hit."""
    if isinstance(images, SparseImages):
        return np.equal(images.ends, images.starts)
    none: NDArray[np.bool_] = ~(images != 0).reshape(len(images), -1).any(1)
    return none


def _fractions(read: _Summary) -> dict[str, float]:
    """Return the fractions of the classes, of copies and of empty images."""
    labels = read.column("groups", "labelled", "test")
    labelled = labels < read.unlabelled
    hashes = read.column("hashes", "labelled", "test")
    hashes = hashes[~read.column("empty", "labelled", "test")]
    total = max(int(labelled.sum()), 1)
    found = {
        f"fraction.{name}": int((labels == i).sum()) / total
        for i, name in enumerate(read.spec.classes)
    }
    # empty images are equal to each other, and counted separately
    found["copies"] = (len(hashes) - len(np.unique(hashes))) / max(len(labels), 1)
    for name, tally in read.tallies.items():
        for ending, groups in _groups(read).items():
            if (fraction := tally.empty_fraction(groups)) is not None:
                found[f"{name}.empty{ending}"] = fraction
    return found


def _groups(read: _Summary) -> dict[str, list[int]]:
    """Return the labelled groups by the ending of a value's name: all classes, and each class."""
    by_class = {f".{name}": [i] for i, name in enumerate(read.spec.classes)}
    return {"": list(range(read.unlabelled)), **by_class}


def _statistics(read: _Summary) -> dict[str, float]:
    return {
        f"{_named(name, channel)}.{statistic}{ending}": value
        for name, tally in read.tallies.items()
        for ending, groups in _groups(read).items()
        for channel, found in tally.statistics(groups)
        for statistic, value in found.items()
    }


def _named(name: str, channel: str) -> str:
    return f"{name}.{channel}" if channel else name


def _channels(read: _Summary) -> Iterator[ChannelSummary]:
    """Yield the statistics of each channel and feature."""
    for name, tally in read.tallies.items():
        whole = dict(tally.statistics(range(read.unlabelled)))
        each = [dict(tally.statistics([i])) for i in range(read.unlabelled + 1)]
        for channel in tally.names:
            by_class = {
                label: each[i].get(channel, {}) for i, label in enumerate(read.spec.classes)
            }
            yield ChannelSummary(
                input=name.partition(".")[0],
                name=channel or name.partition(".")[2],
                labelled=whole.get(channel, {}),
                classes=by_class,
                unlabelled=each[-1].get(channel, {}),
            )


def _compared(spec: Dataset, values: Mapping[str, float]) -> list[Comparison]:
    """Return the values that were found beside the known ranges of the original."""
    unstated = {
        name: NONE
        for name in values
        if name == "copies" or (name.endswith(".empty") and name not in spec.known)
    }
    rows = []
    for name, (least, most) in {**unstated, **spec.known}.items():
        value = values.get(name)
        outside = value is not None and not least <= value <= most
        # the expected absence of copies and empty images needs no line
        if outside or name in spec.known:
            rows.append(Comparison(name=name, least=least, most=most, found=value, outside=outside))
    return rows


def misnamed(spec: Dataset) -> list[str]:
    """Return the names in ``known`` that no value of the dataset can have."""
    channels = {
        name: channel_names(given.shape, given.names) for name, given in spec.inputs.items()
    }
    channels |= {
        name: naming.described(spec, name, defaults(spec.params))[0] for name in _named_views(spec)
    }
    if "mask" in channels:
        channels["mask"] = ("particles",)
    columns = {f"{name}.{channel}" for name, names in channels.items() for channel in names}
    values = {f"{column}.{statistic}" for column in columns for statistic in STATISTICS}
    values |= {f"{name}.empty" for name, given in spec.inputs.items() if len(given.shape) == 3}
    values |= {f"{value}.{label}" for value in values for label in spec.classes}
    values |= {"copies", *(f"fraction.{label}" for label in spec.classes)}
    # a dataset need not declare every spectator
    return [n for n in spec.known if n not in values and not n.startswith("spectator.")]


def _outside(each: Comparison) -> str:
    known = (each.least, each.most)
    expected = "0" if known == NONE else f"{each.least:.4g} to {each.most:.4g}"
    return f"{each.name} is {each.found:.4g}; the original has {expected}"


def _split(read: _Summary) -> dict[str, NDArray[np.int64]]:
    """Split the checked examples as a run does, and return the rows of each part.

    Raises:
        DataError, PluginError: no run could split them.
    """
    spec = read.spec
    task = messages.split_task(spec, read.params, SPLIT_SEED)
    ids, groups = (read.column(name, "labelled", "test") for name in ("ids", "groups"))
    labels = read.labels(groups)
    split_stage.check_ids(spec.name, ids)
    official = split_stage.official_rows(task, ids, read.count("test"))
    parts = splits.divide(labels, ids, fractions=task.fractions, seed=task.seed, official=official)
    split_stage.check_classes(task, parts, labels)
    return parts


def _copied(
    read: _Summary, known: Sequence[Comparison], parts: Mapping[str, NDArray[np.int64]]
) -> list[str]:
    """Describe unexpected copies across the parts of the checked examples."""
    if any(each.name == "copies" and not each.outside for each in known):
        return []
    hashes, empty = (read.column(name, "labelled", "test") for name in ("hashes", "empty"))
    labels = read.labels(read.column("groups", "labelled", "test"))
    by_part = {part: hashes[rows[~empty[rows]]] for part, rows in parts.items()}
    sizes = {part: len(rows) for part, rows in parts.items()}
    if read.count("unlabelled"):
        hashes_, empty_ = (read.column(name, "unlabelled") for name in ("hashes", "empty"))
        by_part["unlabelled"], sizes["unlabelled"] = hashes_[~empty_], len(hashes_)
    copies = duplicates.describe_copies(duplicates.duplicates(by_part), sizes)
    return [*_contradictions(hashes[~empty], labels[~empty]), *copies]


def _contradictions(hashes: NDArray[np.uint64], labels: NDArray[np.int64]) -> list[str]:
    """Return a line with the number of copies that have another label, if there are any."""
    order = np.lexsort((labels, hashes))
    same = hashes[order][1:] == hashes[order][:-1]
    other = int((same & (labels[order][1:] != labels[order][:-1])).sum())
    return [f"labels: {other} examples are copies of ones with another label"] if other else []
