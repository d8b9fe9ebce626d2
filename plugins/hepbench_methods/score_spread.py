"""The spread of scores: what tells a network that has collapsed from one that ranks badly.

Sharpness, in the words of Gneiting, Balabdaoui and Raftery, J. R. Stat. Soc. B 69 (2007) 243. Scores
that no longer differ by more than rounding and noise still have an AUC, whatever that is.
"""

from __future__ import annotations

import numpy as np

from hepbench import Measured, Predictions


def score_spread(predictions: Predictions) -> Measured:
    """Return the standard deviation of the signal's score, with its standard error."""
    scores = np.asarray(predictions.scores, float)[:, 1]
    weights = predictions.weights
    shares = np.ones(len(scores)) if weights is None else np.asarray(weights, float)
    shares = shares / shares.sum()
    squares = (scores - shares @ scores) ** 2
    variance = shares @ squares
    if not variance:
        return Measured(0.0)
    # by the variance of the squares: no shape of the scores is taken for granted
    error = np.sqrt(shares**2 @ (squares - variance) ** 2)
    spread = np.sqrt(variance)
    return Measured(float(spread), stderr=float(error / (2 * spread)))
