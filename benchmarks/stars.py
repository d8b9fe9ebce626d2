"""Simulate tables of ten models, and count what the marks of best rows claim wrongly and find.

Each table has one test set. A score is separation * label + noise; a part of the noise belongs to the
example and is the same in all models, a part to the model and a part to the training. A training
also shifts the separation of its model. ``two errors`` marks rows whose difference to the best row is
within two errors of both, added in quadrature; ``paired`` is ``paired.not_worse``.
"""

from __future__ import annotations

import argparse
import math
import warnings
from dataclasses import dataclass
from functools import partial
from itertools import chain, product
from typing import TYPE_CHECKING

import numpy as np

from hepbench.evaluation import paired, uncertainty
from hepbench.evaluation.paired import Means

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench.specs.types import Array

MODELS = 10
SEPARATION = 1.19
"""In standard deviations of the noise: an AUC of .8."""
SLOPE = math.exp(-((SEPARATION / 2) ** 2)) / math.sqrt(4 * math.pi)
"""Change of the AUC with the separation."""
SHARED, OF_TRAINING = 0.8, 0.3
"""Fraction of the noise that all models share; fraction of the rest that differs by training."""


@dataclass(frozen=True)
class Setting:
    """One line of a table: how tables are simulated.

    Attributes:
        examples: of the test set.
        seeds: trainings of each model.
        spread: standard deviation of the AUC over trainings, in errors of the test sample.
        lead: by how much the first model's AUC is better.
    """

    examples: int
    seeds: int
    spread: float
    lead: float = 0.0


def error_of(examples: int) -> float:
    """Return the error of an AUC of .8 with equal classes (Hanley and McNeil)."""
    auc, n = 0.8, examples / 2
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    rest = (n - 1) * (first + second - 2 * auc**2)
    return math.sqrt((auc * (1 - auc) + rest) / n**2)


def simulated(setting: Setting, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return signal scores (models, seeds, examples) of one table, and labels."""
    draw = partial(rng.standard_normal, dtype=np.float32)
    labels = np.arange(setting.examples) % 2
    noise = math.sqrt(OF_TRAINING) * draw((MODELS, setting.seeds, setting.examples))
    noise += math.sqrt(1 - OF_TRAINING) * draw((MODELS, 1, setting.examples))
    noise *= math.sqrt(1 - SHARED)
    noise += math.sqrt(SHARED) * draw(setting.examples)
    spread = setting.spread * error_of(setting.examples) / SLOPE
    separation = SEPARATION + spread * rng.normal(size=(MODELS, setting.seeds, 1))
    separation[0] += setting.lead / SLOPE
    return separation * labels + noise, labels


def right_sides(scores: Array, labels: Array) -> Array:
    """Return for each example the fraction of the other class that it is on the right side of.

    Args:
        scores: (..., examples), of which none are tied.
        labels: (examples,), 0 or 1.
    """
    order = np.argsort(scores, axis=-1)
    signal = labels[order] == 1
    below = np.cumsum(~signal, axis=-1) / (labels == 0).sum()
    above = 1 - np.cumsum(signal, axis=-1) / (labels == 1).sum()
    found = np.empty(scores.shape)
    np.put_along_axis(found, order, np.where(signal, below, above), axis=-1)
    return found


def auc_means(scores: Array, labels: Array) -> Means:
    """Return what ``paired.auc_means`` returns, for all trainings at once: no scores are tied."""
    gains = right_sides(scores, labels)
    values, covariance = uncertainty.delong(gains.mean(axis=1), labels, np.ones(len(labels)))
    seeds = scores.shape[1]
    variance = gains.mean(axis=2).var(axis=1, ddof=1) / seeds
    return Means(values, covariance, variance, np.full(MODELS, seeds))


def check(setting: Setting, rng: np.random.Generator) -> None:
    """Compare the means of one table with those of ``paired``."""
    scores, labels = simulated(setting, rng)
    ours = auc_means(scores, labels)
    theirs = paired.auc_means(np.stack([-scores, scores], axis=-1), labels, None)
    for name in ("values", "covariance", "training_variance"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-6)


def marked_within_two_errors(means: Means) -> list[int]:
    """Return the models within two errors of the best one, both added in quadrature."""
    of_trainings = np.nan_to_num(means.training_variance)
    variance = np.diag(means.covariance) + of_trainings
    best = int(np.argmax(means.values))
    reach = 2 * np.sqrt(variance + variance[best])
    return np.flatnonzero(means.values[best] - means.values <= reach).tolist()


def marked_paired(means: Means) -> list[int]:
    """Return the models that are not significantly worse; all, where nothing can be said."""
    if means.trainings.min() < 2:
        return list(range(MODELS))
    return paired.not_worse(means, higher_is_better=True)


RULES = {"two errors": marked_within_two_errors, "paired": marked_paired}


def counted(setting: Setting, tables: int, rng: np.random.Generator) -> dict[str, list[float]]:
    """Return for each rule: tables with one marked row, with an unmarked row, unmarked rows.

    Of unmarked rows only those count that are behind the first row, if that leads.
    """
    sums = {name: np.zeros(3) for name in RULES}
    for _ in range(tables):
        scores, labels = simulated(setting, rng)
        means = auc_means(scores, labels)
        for name, rule in RULES.items():
            marked = rule(means)
            others = MODELS - len(marked)
            behind = len({*range(1, MODELS)} - {*marked}) / (MODELS - 1)
            sums[name] += [marked == [0] if setting.lead else len(marked) == 1, others > 0, behind]
    return {name: list(found / tables) for name, found in sums.items()}


def line(values: Sequence[object]) -> str:
    """Return a line of a Markdown table."""
    texts = (f"{v:.3f}".removeprefix("0") if isinstance(v, float) else str(v) for v in values)
    return f"| {' | '.join(texts)} |"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=2000, help="simulated tables per line")
    arguments = parser.parse_args()
    # one training has no variance
    warnings.simplefilter("ignore", RuntimeWarning)
    rng = np.random.default_rng(1)
    check(Setting(500, 3, 1), rng)
    rules = " | ".join(f"{what}, {name}" for name in RULES for what in ("alone", "any", "each"))
    print(f"| seeds | spread | {rules} |\n|{'---|' * 8}")
    for seeds, spread in product((1, 2, 3, 5), (0, 1, 3, 10)):
        found = counted(Setting(500, seeds, spread), arguments.tables, rng)
        print(line([seeds, spread, *chain(*found.values())]), flush=True)
    print(f"\n| lead | seeds | spread | {rules} |\n|{'---|' * 9}")
    for lead, (seeds, spread) in product((0.005, 0.01, 0.02, 0.04), ((3, 0.1), (3, 1), (5, 1))):
        found = counted(Setting(2000, seeds, spread, lead), arguments.tables // 5, rng)
        print(line([lead, seeds, spread, *chain(*found.values())]), flush=True)


if __name__ == "__main__":
    main()
