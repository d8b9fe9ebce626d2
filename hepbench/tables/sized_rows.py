"""Rows that differ in their number of training examples or of labels, and in nothing else. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hepbench.tables import row_names
from hepbench.tables.rows import newest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hepbench.tables.columns import Labels
    from hepbench.tables.rows import Row


Axis = Literal["training_size", "label_fraction"]


AXES: dict[Axis, str] = {
    "training_size": "training examples",
    "label_fraction": "training examples with labels",
}
"""Parameters of datasets that change what methods see, with the name of what they count."""


class Setting(NamedTuple):
    """What rows share that differ in an axis only.

    Attributes:
        dataset: with its other parameters, as labels write it.
        params: its other parameters, as text.
        labels: other names of the rows, with an empty dataset.
    """

    dataset: str
    params: str
    labels: Labels


def without(label: str, axis: str) -> str:
    """Return the label of a dataset without one of its parameters."""
    steps = row_names.steps(label)
    kept = (tuple(p for p in step.params if p.partition("=")[0] != axis) for step in steps)
    return "+".join(s._replace(params=p).text for s, p in zip(steps, kept, strict=True))


def series(rows: Iterable[Row], axis: Axis) -> dict[Setting, list[Row]]:
    """Return rows with a result that differ in an axis only, fewest examples first.

    Of rows of one name, the newest is kept.
    """
    found: dict[Setting, list[Row]] = defaultdict(list)
    for row in newest(rows).values():
        if row.ok and row.data:
            params = dict(row.record.params.get("dataset", {}))
            params.pop(axis, None)
            dataset = without(row.labels.dataset, axis)
            shared = row.labels._replace(dataset="")
            found[Setting(dataset, repr(sorted(params.items())), shared)].append(row)
    return {setting: sorted(some, key=number) for setting, some in sorted(found.items())}


def number(row: Row) -> int:
    """Return the number of training examples with labels that a row's methods saw."""
    return row.data.n_train if row.data else 0


def numbers(rows: Sequence[Row]) -> list[int]:
    """Return the different numbers of training examples of rows, in rising order."""
    return sorted({number(row) for row in rows})


def is_pretrained(row: Row) -> bool:
    """Whether a row's chain begins with a method that trains an encoder without labels."""
    first: Mapping[str, Any] = next(iter(row.methods), {})
    return first.get("makes") == "encoder" and not first.get("labels", True)


def is_from_scratch(row: Row) -> bool:
    """Whether a row's chain is one training of a new network, of all its parts, by labels alone."""
    methods = row.methods
    if len(methods) != 1 or not (network := methods[0].get("network")):
        return False
    return methods[0].get("makes") == "classifier" and not (
        network.get("freezes") or methods[0].get("own_loss")
    )
