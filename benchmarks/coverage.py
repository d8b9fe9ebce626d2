"""Coverage of the errors of metrics: how often the 68 % interval of a toy contains the true value.

    python benchmarks/coverage.py --toys 2000 > benchmarks/coverage.md

Toys are Gaussian scores of signal and background, calibrated for their fraction of signal; weights
are independent of the scores, so that the true values are those without weights. They are log-normal,
or 1 and -1, as of a generator at next-to-leading order. Where no background passes, the rejection is
a 95 % limit. Of weights of both signs, a toy of which a class has no positive sum is drawn again: a
run refuses it.
"""

from __future__ import annotations

import argparse
import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from hepbench import Array, Measured, Predictions
from hepbench.evaluation import effective_examples, metrics

if TYPE_CHECKING:
    from collections.abc import Callable

METRICS = {
    "AUC": metrics.auc,
    "accuracy at .5": metrics.accuracy_at_half,
    "log loss": metrics.log_loss,
    "Brier": metrics.brier,
    "rej. 50 %": metrics.rejection_50,
}
WEIGHTS: dict[str, Callable[[int, np.random.Generator], Array] | None] = {
    "none": None,
    "log-normal, sigma 1.2": lambda n, rng: rng.lognormal(0, 1.2, n),
    "one in ten is -1": lambda n, rng: np.where(rng.random(n) < 0.1, -1.0, 1.0),
}
"""Name of a kind of weights -> a function that draws n of them."""


def toy(n: int, ratio: int, area: float, kind: str, rng: np.random.Generator) -> Predictions:
    """Return scores of n examples, one of signal on ``ratio`` of background, with this AUC.

    Args:
        n, ratio, area: number, background over signal, AUC.
        kind: of weights, a name in WEIGHTS.
        rng: draws the toy.
    """
    labels = np.append([0, 1], rng.random(n - 2) * (1 + ratio) < 1).astype(int)
    distance = math.sqrt(2) * NormalDist().inv_cdf(area)
    x = rng.normal(size=n) + distance * labels
    # the likelihood ratio, so that scores are calibrated
    signal = 1 / (1 + ratio * np.exp(distance**2 / 2 - distance * x))
    draw = WEIGHTS[kind]
    weights = draw(n, rng) if draw else None
    if weights is not None and np.bincount(labels, weights).min() <= 0:
        return toy(n, ratio, area, kind, rng)
    scores = np.stack([1 - signal, signal], 1)
    return Predictions(labels=labels, scores=scores, weights=weights)


def contains(found: Measured, truth: float) -> bool:
    """Return whether an interval contains the true value; a limit does if it is below."""
    if found.limit:
        return found.value <= truth
    if found.stderr is None:
        return found.low is not None and found.low <= truth <= (found.high or math.inf)
    if found.low is not None and found.high is not None:
        return found.low <= truth <= found.high
    return abs(found.value - truth) <= found.stderr


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toys", type=int, default=2000)
    toys = parser.parse_args().toys
    heads = ["n", "signal : background", "AUC", "weights", *METRICS, "marked"]
    print("# Coverage of errors\n")
    print(
        f"Fractions of {toys:,} toys whose 68 % interval contains the true value; nominal: .683. "
        "Marked: the fraction whose\nrecord would warn that errors may be too small "
        "(`errors: ...`). Rejections include 95 % limits. Made by\n`benchmarks/coverage.py`.\n"
    )
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for ratio in (1, 20):
        for area in (0.7, 0.9, 0.99):
            large = toy(2_100_000, ratio, area, "none", np.random.default_rng(1))
            truth = {name: metric(large).value for name, metric in METRICS.items()}
            for n in (100, 300, 1000):
                for kind in WEIGHTS:
                    print(row(n, ratio, area, kind, truth, toys), flush=True)


def row(n: int, ratio: int, area: float, kind: str, truth: dict[str, float], toys: int) -> str:
    """Return a line of the table."""
    rng = np.random.default_rng(0)
    inside, marked = dict.fromkeys(METRICS, 0), 0
    for _ in range(toys):
        p = toy(n, ratio, area, kind, rng)
        marked += any(
            line.startswith("errors: ")
            for line in effective_examples.describe_few(p, ("background", "signal"))
        )
        for name, metric in METRICS.items():
            inside[name] += contains(metric(p), truth[name])
    numbers = [f"{count / toys:.2f}".lstrip("0") for count in (*inside.values(), marked)]
    return f"| {n} | 1 : {ratio} | {area} | {kind} | {' | '.join(numbers)} |"


if __name__ == "__main__":
    main()
