"""All hooks that plugins may implement: five return specs, three observe a run."""

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
    """Hook: return the datasets of a plugin."""
    return ()


@hookspec
def hepbench_models() -> Sequence[Model]:
    """Hook: return the models of a plugin."""
    return ()


@hookspec
def hepbench_methods() -> Sequence[Method]:
    """Hook: return the methods of a plugin."""
    return ()


@hookspec
def hepbench_metrics() -> Sequence[Metric]:
    """Hook: return the metrics of a plugin."""
    return ()


@hookspec
def hepbench_suites() -> Sequence[Suite]:
    """Hook: return the suites of a plugin."""
    return ()


@hookspec
def hepbench_run_started(run: Run) -> None:
    """Hook: observe the start of a run, after planning."""


@hookspec
def hepbench_cell_finished(record: Record) -> None:
    """Hook: observe a record that was just written, also that of a failed cell."""


@hookspec
def hepbench_run_finished(run: Run) -> None:
    """Hook: observe the end of a run."""
