"""The spread of scores, which is near 0 for a network that scores all examples alike.

Sharpness, in the words of Gneiting, Balabdaoui and Raftery, J. R. Stat. Soc. B 69 (2007) 243. Scores
that differ by rounding and noise alone still have an AUC, which then means nothing.
"""

from __future__ import annotations

import numpy as np

from hepbench import Measured, Predictions


def score_spread(predictions: Predictions) -> Measured:
    """Return the standard deviation of the signal's score, with its standard error."""
    scores = np.asarray(predictions.scores, float)[:, 1]
    weights = predictions.weights
    fractions = np.ones(len(scores)) if weights is None else np.asarray(weights, float)
    fractions = fractions / fractions.sum()
    squares = (scores - fractions @ scores) ** 2
    variance = fractions @ squares
    if not variance:
        return Measured(0.0)
    # from the variance of the squares, which assumes no distribution of the scores
    error = np.sqrt(fractions**2 @ (squares - variance) ** 2)
    spread = np.sqrt(variance)
    return Measured(float(spread), stderr=float(error / (2 * spread)))
