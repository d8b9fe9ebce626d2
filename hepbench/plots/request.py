"""The request for a figure of results: records, globs, panels and axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench.plots.style import Size
    from hepbench.storage.records import Record
    from hepbench.storage.results import Results
    from hepbench.tables.columns import Metrics
    from hepbench.tables.label_efficiency import CountLabels


@dataclass(frozen=True, kw_only=True)
class Request:
    """A user's request for a figure of results.

    Attributes:
        results: the folder or packed file with the records.
        records: all its records; the globs choose those that are drawn.
        metrics: direction and comparability of each metric.
        datasets, models, methods: globs; empty means all.
        group: each of its values gets a panel; one of ``document.GROUPS``.
        error, against: the axes of ``error-vs-flops``; ``error`` is the metric of ``training-size``.
        channels: draw each channel of an image separately instead of their sum.
        count_labels: counts the labels that a training from scratch needs; None: they are not shown.
        size: printed width, a name in ``style.SIZES``; None: what suits the figure.
        reference: a glob for the row that ratios are taken to; "": the best row.
        efficiency: the signal efficiency of the cut, where a figure needs one.
        spectators: globs for the quantities that a figure needs; empty means those that suit it.
    """

    results: Results
    records: Sequence[Record]
    metrics: Metrics
    datasets: Sequence[str] = ()
    models: Sequence[str] = ()
    methods: Sequence[str] = ()
    group: str = "dataset"
    error: str = "auc"
    against: str = "flops"
    channels: bool = False
    count_labels: CountLabels | None = None
    size: str | None = None
    reference: str = ""
    efficiency: float = 0.5
    spectators: Sequence[str] = ()

    def sized(self, usual: str) -> Size:
        """Return the printed size of a figure, ``usual`` if the user asked for none."""
        from hepbench.plots.style import SIZES

        return SIZES[self.size or usual]
