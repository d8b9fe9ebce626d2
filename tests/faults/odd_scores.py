"""Points 6 and 11: models whose scores have one fault each.

``squashed``: in the right order, but all above 0.5; ``neighbours``: relative to the median of the
batch; ``constant``: the same for all examples; ``swapped``: those of the other class; ``hard``: classes
in place of probabilities; ``saturated``: rounded to 0 or 1; ``nan``, ``narrow``, ``unnormed``, ``negative``, ``words``: not probabilities.
"""

from __future__ import annotations

import numpy as np

from hepbench import Model, hookimpl


class FaultyScores:
    """Scores by the first feature, with one fault."""

    def __init__(self, fault):
        self.fault = fault

    def fit(self, data, *, seed):
        pass

    def scores(self, inputs):
        logits = 3 * inputs["table"][:, 0].astype(float)
        if self.fault == "neighbours":
            logits -= np.median(logits)
        signal = 1 / (1 + np.exp(-logits))
        if self.fault == "squashed":
            signal = 0.6 + 0.4 * signal
        scores = np.stack([1 - signal, signal], 1)
        return FAULTS.get(self.fault, lambda scores: scores)(scores)


def with_nan(scores):
    scores[3] = np.nan
    return scores


FAULTS = {
    "nan": with_nan,
    "narrow": lambda scores: scores[:, 1],
    "unnormed": lambda scores: scores[:, [1, 1]],
    "negative": lambda scores: scores * 3 - 1,
    "words": lambda scores: scores.astype(str),
    "swapped": lambda scores: scores[:, ::-1],
    "hard": np.round,
    "saturated": lambda scores: np.clip(20 * scores - 9.5, 0, 1),
    "constant": lambda scores: np.full_like(scores, 0.5),
}


@hookimpl
def hepbench_models():
    return [
        Model(
            name=fault,
            summary="faulty scores",
            inputs=("table",),
            build="odd_scores:build",
            offers=frozenset({"estimate"}),
            params={"fault": fault},
        )
        for fault in ("squashed", "neighbours", *FAULTS)
    ]


def build(shapes, *, fault):
    return FaultyScores(fault)
