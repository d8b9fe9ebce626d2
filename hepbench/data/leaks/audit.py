"""The leak audit: looks at some examples for what makes any classifier look too good. Pure.

Copies of whole examples are counted among all of them, by ``duplicates``; this audit looks at no more
than 20,000 examples, so that it costs about a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from hepbench.data import splits
from hepbench.data.leaks import near_copies, precision, single_features
from hepbench.data.leaks.row_samples import RowSample
from hepbench.storage.records import Leak

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from hepbench.specs.dataset import Input
    from hepbench.specs.types import Array


ROWS = 20_000
"""Examples that are looked at."""


LIMIT_BYTES = 64_000_000
"""Memory of these examples; of large images, fewer are looked at."""


SEED = -1
"""Of the choice of examples; suites count from 0, so no split is made in the same order."""


ROLES = ("labelled", "test", "unlabelled")


PARTS = ("train", "unlabelled", "validation", "test")
"""In the order in which copies are counted: each part must not hold examples of those before it."""


FEW_CHANGES = 0.02
"""Changes of class along the ids, relative to chance, up to which classes are in the order of ids."""


GAP = 20
"""Ids of two classes that are this many mean distances apart were numbered apart on purpose."""


@dataclass
class LeakAudit:
    """Collects some of the examples that are read, chunk by chunk, and looks for leaks in them.

    Attributes:
        classes: names of the classes.
    """

    classes: Sequence[str]
    _cells: near_copies.Cells = field(default_factory=near_copies.Cells)
    _single: RowSample = field(default_factory=lambda: RowSample(ROWS, LIMIT_BYTES))
    _together: RowSample = field(default_factory=lambda: RowSample(ROWS, LIMIT_BYTES))
    _rows: dict[str, int] = field(default_factory=dict)

    def add(
        self,
        role: str,
        inputs: Mapping[str, Array],
        hashes: NDArray[np.uint64],
        *,
        ids: NDArray[np.int64] | None = None,
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        """Add a chunk of n examples to the leak audit.

        Args:
            role: of the examples.
            inputs: (n, ...) by name.
            hashes: (n,) of the inputs of each example.
            ids, labels: (n,) each, of labelled and test examples.
        """
        first = self._rows.get(role, 0)
        self._rows[role] = first + len(hashes)
        self._together.add(
            self._cells.ranks(inputs),
            lambda rows: {
                "fingerprint": near_copies.fingerprints(inputs, rows),
                "hash": hashes[rows],
                "row": first + rows,
                "role": np.full(len(rows), ROLES.index(role)),
            },
        )
        if ids is None or labels is None:
            return
        known = np.flatnonzero(labels >= 0)
        self._single.add(
            splits.order(ids[known], SEED),
            lambda rows: {
                **{f"input.{name}": array[known[rows]] for name, array in inputs.items()},
                "ids": ids[known[rows]],
                "labels": labels[known[rows]],
            },
        )

    def leaks(self, parts: Mapping[str, NDArray[np.int64]]) -> list[Leak]:
        """Return what was found, the most serious first.

        Args:
            parts: rows of each part, counted through labelled examples and then test examples.
        """
        kept = self._single.columns()
        inputs = {n.partition(".")[2]: a for n, a in kept.items() if n.startswith("input.")}
        return [
            *single_features.tell_apart(inputs, kept["labels"], self.classes),
            *precision.differences(inputs, kept["labels"], self.classes),
            *self._near_copies(parts),
            *_in_order(kept["ids"], kept["labels"]),
        ]

    def _near_copies(self, parts: Mapping[str, NDArray[np.int64]]) -> Iterator[Leak]:
        kept = self._together.columns()
        labelled = self._rows.get("labelled", 0)
        of_row = np.full(labelled + self._rows.get("test", 0), -1)
        for part, rows in parts.items():
            of_row[rows] = PARTS.index(part)
        unlabelled = kept["role"] == ROLES.index("unlabelled")
        rows = kept["row"] + labelled * (kept["role"] == ROLES.index("test"))
        found = np.where(
            unlabelled, PARTS.index("unlabelled"), of_row[np.where(unlabelled, 0, rows)]
        )
        yield from near_copies.across_parts(kept["fingerprint"], kept["hash"], found, PARTS)


def _in_order(ids: NDArray[np.int64], labels: NDArray[np.int64]) -> Iterator[Leak]:
    """Yield how often the class changes along the ids, if it hardly does."""
    order = np.argsort(ids)
    numbers, along = ids[order], labels[order]
    changes = np.flatnonzero(along[1:] != along[:-1])
    n = len(labels)
    by_chance = n * (1 - (np.bincount(labels) ** 2).sum() / n**2)
    if not 0 < len(changes) <= FEW_CHANGES * by_chance:
        return
    steps = np.diff(numbers)
    within = np.delete(steps, changes).mean()
    if (steps[changes] <= GAP * within).any():
        yield Leak(kind="order", count=len(changes), examined=n)


def named(leaks: Iterable[Leak], inputs: Mapping[str, Input]) -> list[Leak]:
    """Return leaks whose features have their declared names in place of numbers."""
    names = {
        f"{name}.{number}": f"{name}.{declared}"
        for name, given in inputs.items()
        for number, declared in enumerate(given.names)
    }
    return [replace(leak, where=names.get(leak.where, leak.where)) for leak in leaks]


def describe(leaks: Sequence[Leak]) -> list[str]:
    """Return a warning for each leak, and one for all pairs of parts with near-copies."""
    copies = [leak for leak in leaks if leak.kind == "near_copies"]
    found = [TEXTS[leak.kind](leak) for leak in leaks if leak.kind != "near_copies"]
    return [*found, *([_near_copies(copies)] if copies else [])]


def _feature(leak: Leak) -> str:
    which = f" ({leak.detail})" if leak.detail else ""
    more = f"; {leak.count - 1} more features of this input do" if leak.count > 1 else ""
    return (
        f"leak: {leak.where}{which} alone tells {leak.label} from the rest: a small tree on it has "
        f"AUC {leak.found:.4f} on {leak.examined} examples{more}"
    )


def _precision(leak: Leak) -> str:
    return (
        f"precision: {leak.found:.1%} of the values of {leak.where} are {leak.detail} in "
        f"{leak.label}, but {leak.other:.1%} in the rest, so it tells the classes apart; "
        f"{leak.count} of {leak.examined} features of this input differ like this"
    )


def _near_copies(leaks: Iterable[Leak]) -> str:
    counts = []
    # copies in the test part come first, they change the result
    for leak in sorted(leaks, key=lambda leak: not leak.where.endswith("_test")):
        first, second = leak.where.split("_")
        fraction = f"{leak.count} of {leak.examined} {second} examples ({leak.found:.1%})"
        counts.append(f"{fraction} nearly equal {first} examples")
    return f"near-copies: {', '.join(counts)} (rounded, mirrored or with small noise)"


def _order(leak: Leak) -> str:
    times = "once" if leak.count == 1 else f"{leak.count} times"
    return (
        f"ids: the classes are in the order of ids; the class changes {times} "
        f"along {leak.examined} examples"
    )


TEXTS = {"feature": _feature, "precision": _precision, "order": _order}
