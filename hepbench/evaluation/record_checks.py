"""Compares keys, names and counts in a record with its key parts and stored arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench.data.splits import KEPT_TRAIN_SCORES
from hepbench.storage import keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hepbench.specs.metric import Predictions
    from hepbench.storage.records import Record


def keys_can_be_checked(record: Record) -> bool:
    """Whether a record's keys can be computed again from its key parts.

    Not those of schema 1, whose parts were renamed; they have no part "network".
    """
    names = keys.methods(record.key_parts)
    return bool(names) and "network" in record.key_parts[names[-1]]


def wrong_keys(record: Record) -> Iterator[str]:
    """Yield a line for each key in a record that differs from the hash of its key parts."""
    found, whole = keys.of_parts(record.key_parts)
    for name in sorted(found.keys() | record.stage_keys.keys()):
        if found.get(name) != record.stage_keys.get(name):
            yield (
                f"key of {name}: recorded {record.stage_keys.get(name)}, "
                f"its parts give {found.get(name)}"
            )
    if whole != record.key:
        yield f"key: recorded {record.key}, its parts give {whole or 'none'}"


def wrong_names(record: Record) -> Iterator[str]:
    """Yield a line for each name in a record (suite, cell) that differs in its key parts."""
    parts = record.key_parts.get("evaluate", {})
    recorded = {
        "suite": record.suite,
        "preset": record.preset,
        "cell": [record.dataset, record.model, record.chain, record.seed],
    }
    for name, value in recorded.items():
        if name in parts and parts[name] != value:
            yield f"{name}: recorded {value}, but the key was made for {parts[name]}"


def wrong_counts(record: Record, parts: Mapping[str, Predictions]) -> Iterator[str]:
    """Yield a line for each count in a record that differs from its stored arrays."""
    classes = record.key_parts.get("read", {}).get("classes")
    for part, held in parts.items():
        sizes = {"ids": held.ids, "scores": held.scores, "weights": held.weights, **held.values}
        sizes |= {name: np.asarray(each) for name, each in held.spectators.items()}
        for name, array in sizes.items():
            if array is not None and len(array) != len(held.labels):
                yield f"{part}: {len(array)} {name}, but {len(held.labels)} labels"
        if held.ids is not None and len(np.unique(held.ids)) != len(held.ids):
            yield f"{part}: an id occurs twice"
        if classes and held.scores.shape[1:] != (len(classes),):
            yield f"{part}: scores are {held.scores.shape}, but classes are {', '.join(classes)}"
        if record.data is not None and not _is_expected_size(record, part, len(held.labels)):
            recorded = getattr(record.data, f"n_{part}")
            yield f"{part}: {recorded} examples recorded, but {len(held.labels)} stored"


def _is_expected_size(record: Record, part: str, stored: int) -> bool:
    recorded: int = getattr(record.data, f"n_{part}")
    # of many training examples only some are scored
    return stored == recorded or (
        part == "train" and stored >= KEPT_TRAIN_SCORES and recorded > stored
    )
