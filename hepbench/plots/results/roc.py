"""Draw ROC curves: background rejection against signal efficiency, one mean curve for each row.

With more than two classes there is a figure for each class against all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench.plots import style
from hepbench.plots.results import efficiency_curves
from hepbench.plots.results.efficiency_curves import Kind
from hepbench.plots.results.roc_curves import EFFICIENCIES, over_seeds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from hepbench.plots.request import Request
    from hepbench.plots.results.roc_curves import Curve
    from hepbench.plots.sheets import Sheet


def draw(request: Request) -> list[Sheet]:
    """Draw the ROC curves of each dataset, with their ratios below."""
    return efficiency_curves.draw(request, KIND)


def _finish(axes: Axes, curves: Sequence[Curve]) -> None:
    """Draw the line of random guessing; set scale and range from the curves."""
    axes.plot(EFFICIENCIES, 1 / EFFICIENCIES, color=style.GREY, linewidth=0.6, linestyle=":")
    # an error as large as the value would flatten all curves
    reach = (each.value + np.minimum(each.stderr, each.value) for each in curves)
    tops = [float(each.max(initial=1.0)) for each in reach]
    drawn = [np.asarray(each.get_ydata(), float).max(initial=1.0) for each in axes.get_lines()[:-1]]
    style.logarithmic(axes.yaxis, 1.0, 1.6 * max([*tops, *drawn, 2.0]))


KIND = Kind(
    title="ROC curves: background rejection against signal efficiency",
    label="background rejection $1/\\epsilon_B$",
    curve=over_seeds,
    finish=_finish,
    limits=True,
    note="dotted grey: random guessing",
)
