"""Draw the significance improvement of a cut against its signal efficiency.

A cut on the score changes the significance S / sqrt(B) of a counting experiment by the factor
epsilon_S / sqrt(epsilon_B). Source: Gallicchio et al., JHEP 04 (2011) 069, arXiv:1010.3698.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench.plots import style
from hepbench.plots.results import efficiency_curves
from hepbench.plots.results.efficiency_curves import Kind
from hepbench.plots.results.roc_curves import EFFICIENCIES, known_in_all, mean_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from hepbench.plots.request import Request
    from hepbench.plots.results.roc_curves import Curve, Roc
    from hepbench.plots.sheets import Sheet
    from hepbench.specs.types import Array


def improvement(found: Roc) -> tuple[Array, Array]:
    """Return the significance improvement at each of EFFICIENCIES, and its statistical error."""
    with np.errstate(invalid="ignore"):
        root = np.sqrt(found.rejection)
        return EFFICIENCIES * root, EFFICIENCIES * found.stderr / (2 * root)


def over_seeds(rocs: Sequence[Roc]) -> Curve:
    """Return the mean significance improvement over seeds, where enough background passes."""
    known = known_in_all(rocs)
    seeds = [improvement(each) for each in rocs]
    return mean_curve(known, [(value[known], error[known]) for value, error in seeds])


def draw(request: Request) -> list[Sheet]:
    """Draw the significance improvement of each dataset, with ratios below."""
    return efficiency_curves.draw(request, KIND)


def _finish(axes: Axes, curves: Sequence[Curve]) -> None:
    """Draw the line of random guessing; set the range from the curves."""
    axes.plot(EFFICIENCIES, np.sqrt(EFFICIENCIES), color=style.GREY, linewidth=0.6, linestyle=":")
    # an error as large as the value would flatten all curves
    reach = (each.value + np.minimum(each.stderr, 0.3 * each.value) for each in curves)
    axes.set_ylim(0, 1.12 * max(float(each.max(initial=1.0)) for each in reach))


KIND = Kind(
    title="Significance improvement of a cut on the score against its signal efficiency",
    label="improvement $\\epsilon_S$ / \N{SQUARE ROOT}$\\epsilon_B$",
    curve=over_seeds,
    finish=_finish,
    limits=False,
    note="dotted grey: random guessing",
)
