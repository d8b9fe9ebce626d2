"""Choose the spectators (mass, pt) of a dataset for a figure, and the bins of their values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from hepbench.data import naming
from hepbench.evaluation import metrics
from hepbench.plots import selection
from hepbench.plots.results import signal_scores
from hepbench.registry.plugins import installed
from hepbench.specs.errors import HepbenchError, UsageError
from hepbench.specs.references import reference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hepbench.plots.request import Request
    from hepbench.plots.results.signal_scores import SignalScores
    from hepbench.plots.selection import Panel
    from hepbench.specs.metric import Predictions
    from hepbench.specs.types import Array


MASS = re.compile(r"(.*_)?(m|m0|mass|msd|m_?sd|softdrop_?mass)(_.*)?", re.IGNORECASE)
"""Matches the name of a mass."""


@dataclass(frozen=True)
class Against:
    """A spectator of a dataset that scores are drawn against.

    Attributes:
        panel: the dataset and its rows.
        scores: test predictions of all rows, which hold the spectators.
        name, label: the spectator; its name with its unit.
    """

    panel: Panel
    scores: SignalScores
    name: str
    label: str

    def values(self, predictions: Predictions) -> Array:
        """Return the spectator of each example, (N,)."""
        return np.asarray(predictions.spectators[self.name], float)


def chosen(request: Request, suits: Callable[[str], bool]) -> list[Against]:
    """Return what to draw: each dataset, each possible signal and each chosen spectator.

    Args:
        request: its globs choose spectators; without globs all that suit the figure are drawn.
        suits: whether a spectator suits it, by name.

    Raises:
        UsageError: no dataset has such a spectator.
    """
    found, lacking = [], []
    for panel in selection.panels(request, "auc"):
        for scores in signal_scores.of_panel(request.results, panel):
            first = scores.rows[0][0]
            varied = [name for name in first.spectators if _varies(first, name)]
            wanted = [name for name in varied if _is_wanted(name, request.spectators, suits)]
            if not wanted:
                lacking.append(f"{panel.title} has {', '.join(varied) or 'no spectators'}")
            found += [Against(panel, scores, n, _label(panel, n)) for n in wanted]
    if not found:
        asked = ", ".join(request.spectators) or "such a spectator (mass, pt)"
        msg = f"nothing to draw: no dataset has {asked}; {'; '.join(dict.fromkeys(lacking))}"
        raise UsageError(msg)
    return found


def _varies(predictions: Predictions, name: str) -> bool:
    """Whether the background examples have several finite values of a spectator, as bins need."""
    values = np.asarray(predictions.spectators[name], float)[predictions.labels == 0]
    return len(np.unique(values[np.isfinite(values)])) > 1


def _is_wanted(name: str, globs: Sequence[str], suits: Callable[[str], bool]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs) if globs else suits(name)


def _label(panel: Panel, name: str) -> str:
    """Return the name of a spectator with its unit, if its dataset is installed."""
    try:
        dataset = reference(panel.dataset).name
        units = installed().entry("dataset", dataset).spec.spectators
    except HepbenchError:
        units = {}
    return naming.with_unit(name.replace("_", " "), units.get(name, ""))


def passing(predictions: Predictions, efficiency: float) -> Array:
    """Return which examples pass the cut with this signal efficiency, (N,) bool."""
    part = metrics.part_of(predictions)
    part.require_every_class()
    found: Array = part.signal_scores >= part.cut_at(efficiency)[0]
    return found


def weights_of(predictions: Predictions) -> Array:
    """Return the weight of each example, (N,); 1 without weights."""
    weights = predictions.weights
    return np.ones(len(predictions.labels)) if weights is None else np.asarray(weights, float)
