"""A dataset: jets with four observables, read from ``jets.csv`` or made up.

A line of the file is ``label,jet_pt,jet_mass,jet_tau21,jet_n_constituents``, pt and mass in GeV.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench import DataError, Examples
from hepbench_example import JETS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hepbench import Array, Inputs, Role

COLUMNS = ("label", *JETS.inputs["table"].names)
LINE = f"a line is {','.join(COLUMNS)}: numbers, the label 0 or 1"


def read(folder: Path, *, n: int) -> Iterator[tuple[Role, Examples]]:
    """Yield the first ``n`` rows of ``jets.csv``; a large file would be yielded in chunks.

    Raises:
        DataError: it is missing or not such a file. Say what, where and what is allowed.
    """
    path = folder / "jets.csv"
    try:
        lines = path.read_text().splitlines()[:n]
        rows = np.array([line.split(",") for line in lines], float)
    except (OSError, ValueError) as error:
        msg = f"example-jets: {path.name}: {error}; {LINE}"
        raise DataError(msg) from error
    whole = rows.shape[1:] == (len(COLUMNS),) and np.isfinite(rows).all()
    if not whole or not np.isin(rows[:, 0], (0, 1)).all():
        msg = f"example-jets: {path.name}: it is empty, not finite or not numbers only; {LINE}"
        raise DataError(msg)
    yield "labelled", _examples(rows[:, 1:], rows[:, 0].astype(np.int64))


def sample(*, n: int) -> Iterator[tuple[Role, Examples]]:
    """Yield ``n`` made-up jets, the same ones in every run: the seed is fixed."""
    rng = np.random.default_rng(80)
    labels = np.arange(n) % 2
    signal = labels == 1
    pt = 300 + rng.exponential(100, n)
    mass = np.where(signal, rng.normal(80, 10, n), rng.gamma(2, 0.07 * pt))
    tau21 = np.where(signal, rng.normal(0.35, 0.1, n), rng.normal(0.55, 0.15, n))
    constituents = rng.poisson(np.where(signal, 40, 50))
    yield "labelled", _examples(np.stack([pt, mass, tau21, constituents], axis=1), labels)


def _examples(table: Array, labels: Array) -> Examples:
    return Examples(
        inputs={"table": table.astype(np.float32)},
        # an id stands for its example on every machine; splits follow from ids
        ids=np.arange(len(labels)),
        labels=labels,
        # not an input: models do not see spectators
        spectators={"pt": table[:, 0], "mass": table[:, 1]},
    )


def observables(inputs: Inputs, *, with_mass: bool) -> Inputs:
    """Return all four observables, or those without the mass: a view sees inputs alone."""
    kept = [0, 1, 2, 3] if with_mass else [0, 2, 3]
    return {"table": inputs["table"][:, kept]}
