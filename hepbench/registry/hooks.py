"""All hooks of hepbench: five return specs, three observe a run and return nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench.specs.dataset import Dataset
    from hepbench.specs.method import Method
    from hepbench.specs.metric import Metric
    from hepbench.specs.model import Model
    from hepbench.specs.suite import Suite
    from hepbench.storage.records import Record, Run


hookspec = pluggy.HookspecMarker("hepbench")


hookimpl = pluggy.HookimplMarker("hepbench")


@hookspec
def hepbench_datasets() -> Sequence[Dataset]:
    """Return the datasets of this plugin."""
    return ()


@hookspec
def hepbench_models() -> Sequence[Model]:
    """Return the models of this plugin."""
    return ()


@hookspec
def hepbench_methods() -> Sequence[Method]:
    """Return the methods of this plugin."""
    return ()


@hookspec
def hepbench_metrics() -> Sequence[Metric]:
    """Return the metrics of this plugin."""
    return ()


@hookspec
def hepbench_suites() -> Sequence[Suite]:
    """Return the suites of this plugin."""
    return ()


@hookspec
def hepbench_run_started(run: Run) -> None:
    """Observe the start of a run, after planning."""


@hookspec
def hepbench_cell_finished(record: Record) -> None:
    """Observe a record that was just written, also of a failed cell."""


@hookspec
def hepbench_run_finished(run: Run) -> None:
    """Observe the end of a run."""
