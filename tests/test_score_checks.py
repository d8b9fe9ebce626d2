"""Checks of the scores of a stored model."""

from __future__ import annotations

import numpy as np
import pytest
import tinynets

from hepbench import PluginError
from hepbench.training import score_checks
from hepbench.training.messages import Trained

SCORES = np.full((16, 2), 0.5)


def output(stored):
    """Return the output of a method whose stored model scores otherwise."""
    return score_checks.MethodOutput(
        Trained(seconds=1.0), lambda _: SCORES, lambda _: SCORES, lambda _: stored
    )


@pytest.mark.parametrize("stored", [SCORES + 0.1, np.full((16, 2), np.nan)])
def test_a_stored_model_with_other_scores_is_refused(stored):
    """Scores that are not numbers are other scores, too."""
    task = tinynets.task("tiny", "nets:Tiny")
    with pytest.raises(
        PluginError, match="tiny: after it was stored and loaded, its scores differ"
    ):
        score_checks.check_stored(task, output(stored), {"table": np.zeros((16, 3))})


def test_a_stored_model_with_the_same_scores_is_accepted():
    """Up to rounding."""
    task = tinynets.task("tiny", "nets:Tiny")
    score_checks.check_stored(task, output(SCORES + 1e-7), {"table": np.zeros((16, 3))})
