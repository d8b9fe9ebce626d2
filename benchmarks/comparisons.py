"""Simulate pairs of runs, and count what ``hepbench compare`` claims wrongly and what it finds.

A score is separation * label + noise. Most of the noise belongs to the example and is the same in all
trainings of both runs, the rest is of each training alone; a training also shifts its separation. So
two runs differ by their seeds alone, unless a loss is planted in the second one. ``own`` gives each
run noise of its own too, as another network has that is equally good.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from stars import SEPARATION, SHARED, SLOPE, line, right_sides

from hepbench.evaluation import paired, paired_runs, uncertainty
from hepbench.evaluation.paired import Means

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hepbench.evaluation.paired_runs import RunDifference
    from hepbench.specs.types import Array

CELLS = 30
"""Cells of a table."""


@dataclass(frozen=True)
class Setting:
    """One line of a table: how pairs of runs are simulated.

    Attributes:
        examples: of the test set.
        seeds: trainings of each run.
        spread: standard deviation of the AUC over trainings.
        own: fraction of the noise that is not shared, which each run has of its own.
        loss: AUC that the second run has lost.
    """

    examples: int
    seeds: int
    spread: float
    own: float = 0.0
    loss: float = 0.0


def simulated(setting: Setting, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return signal scores (2 runs, seeds, examples) of one pair, and labels."""

    def draw(*shape: int) -> Array:
        return rng.standard_normal(shape, dtype=np.float32)

    n = setting.examples
    labels = np.arange(n) % 2
    noise = math.sqrt(1 - setting.own) * draw(2, setting.seeds, n)
    if setting.own:
        noise += math.sqrt(setting.own) * draw(2, 1, n)
    noise *= math.sqrt(1 - SHARED)
    noise += math.sqrt(SHARED) * draw(n)
    separation = SEPARATION + setting.spread / SLOPE * rng.normal(size=(2, setting.seeds, 1))
    separation[1] -= setting.loss / SLOPE
    return (separation * labels).astype(np.float32) + noise, labels


def difference(scores: Array, labels: Array) -> RunDifference:
    """Return the difference of two runs, as ``hepbench compare`` does; no scores are tied."""
    seeds, n = scores.shape[1:]
    gains = right_sides(scores.reshape(-1, n), labels)
    values, covariance = uncertainty.delong(gains, labels, np.ones(n))
    return paired_runs.of_means(Means(values, covariance, values, values), seeds)


def check(setting: Setting, rng: np.random.Generator) -> None:
    """Compare the difference of one pair with that of the code that hepbench runs."""
    scores, labels = simulated(setting, rng)
    ours = difference(scores, labels)
    two = np.stack([-scores, scores], axis=-1).reshape(-1, 1, setting.examples, 2)
    theirs = paired_runs.of_means(paired.auc_means(two, labels, None), setting.seeds)
    for name in ("value", "of_examples", "of_trainings", "p"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-6)


def differences(setting: Setting, pairs: int, rng: np.random.Generator) -> list[RunDifference]:
    """Return the differences of simulated pairs of runs."""
    return [difference(*simulated(setting, rng)) for _ in range(pairs)]


def table(settings: Sequence[Setting], rng: np.random.Generator) -> list[float]:
    """Return the corrected probabilities of the cells of one table, as ``hepbench compare`` does."""
    cells = [difference(*simulated(setting, rng)) for setting in settings]
    return paired_runs.holm([each.p for each in paired_runs.moderated(cells)])


LEVEL = paired.LEVEL

SPREADS = ((0, 0), (0.002, 0), (0.01, 0), (0.002, 0.7))
"""Spreads over trainings, and noise of each run's own."""


def head(*columns: str) -> None:
    """Print the head of a Markdown table."""
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")


COLUMNS = ("test examples", "seeds", "spread 0", "spread .002", "spread .01", "other networks")
"""The last one has noise of each run's own, and a spread of .002."""


SIZES = (1000, 2000, 5000, 20_000)
"""Numbers of test examples."""


def false_alarms(sizes: Sequence[int], pairs: int, rng: np.random.Generator) -> None:
    """Print how often runs that differ by seed alone, or are equally good, are called different."""
    head(*COLUMNS)
    for examples, seeds in product(sizes, (2, 3, 5)):
        settings = [Setting(examples, seeds, *each) for each in SPREADS]
        found = (mean(e.p < LEVEL for e in differences(each, pairs, rng)) for each in settings)
        print(line([examples, seeds, *found]), flush=True)


def false_tables(tables: int, rng: np.random.Generator) -> None:
    """Print how often a table of equal runs has a false alarm; in the last column spreads differ."""
    head(*COLUMNS, "spreads 0 to .02")
    for examples, seeds in product((1000, 5000), (2, 3, 5)):
        equal = [[Setting(examples, seeds, *each)] * CELLS for each in SPREADS]
        found = [mean(min(table(each, rng)) < LEVEL for _ in range(tables)) for each in equal]
        spreads = rng.choice([0, 0.002, 0.02], (tables, CELLS))
        several = [[Setting(examples, seeds, spread) for spread in row] for row in spreads]
        found.append(mean(min(table(each, rng)) < LEVEL for each in several))
        print(line([examples, seeds, *found]), flush=True)


def power(tables: int, rng: np.random.Generator) -> None:
    """Print how often a loss is found alone and among CELLS, and one as large as is called visible."""
    head("test examples", "seeds", "spread", ".02 found", "among 30", "visible", "visible found")
    for examples, seeds, spread in product((2000, 20_000), (2, 3, 5), (0, 0.002, 0.005)):
        setting = Setting(examples, seeds, spread)
        lost = differences(replace(setting, loss=0.02), CELLS * tables, rng)
        among: list[float] = []
        for i in range(0, len(lost), CELLS):
            among += [each.p < LEVEL / CELLS for each in paired_runs.moderated(lost[i : i + CELLS])]
        equal = differences(setting, CELLS * tables, rng)
        visible = [each.smallest_visible(LEVEL) for each in equal]
        # each pair loses as much as is visible in it
        planted = [replace(e, new=e.new - v) for e, v in zip(equal, visible, strict=True)]
        found = [mean(each.p < LEVEL for each in some) for some in (lost, planted)]
        median = float(np.median(visible))
        print(line([examples, seeds, spread, found[0], mean(among), median, found[1]]), flush=True)


def mean(values: Iterable[bool]) -> float:
    """Return the fraction of true values."""
    return float(np.mean(list(values)))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000, help="simulated pairs per line")
    parser.add_argument("--examples", type=int, nargs="+", default=SIZES, help="of the first table")
    parser.add_argument("--first", action="store_true", help="print only the first table")
    given = parser.parse_args()
    pairs = given.pairs
    rng = np.random.default_rng(1)
    started = time.process_time()
    check(Setting(500, 3, 0.002, 0.5), rng)
    false_alarms(given.examples, pairs, rng)
    if given.first:
        return
    false_tables(max(1, pairs // 5), rng)
    power(max(1, pairs // 50), rng)
    print(f"\n{time.process_time() - started:.0f} s of CPU time", file=sys.stderr)


if __name__ == "__main__":
    main()
