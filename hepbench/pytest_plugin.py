"""The pytest plugin: ``pytest --hepbench SUITE`` runs a suite, a test for each of its cells.

Where a suite measures costs and pytest-benchmark is installed, each cell has a second test, which
times its ONNX graph with one example. The plugin does nothing unless ``--hepbench`` is given, but for
the fixture ``hepbench_run``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hepbench.storage.records import Record


@dataclass(frozen=True)
class Run:
    """A finished run of a suite.

    Attributes:
        code: exit code of ``hepbench run``: 1 if cells failed, 2 if data or a plugin were wrong.
        text: what it printed: a summary in JSON, and messages.
        folder: its results.
    """

    code: int
    text: str
    folder: Path

    @property
    def records(self) -> list[Record]:
        """The records, one for each cell and seed."""
        from hepbench.storage.results import Results

        return Results(self.folder).records()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, none of which is needed."""
    group = parser.getgroup("hepbench")
    group.addoption(
        "--hepbench", metavar="SUITE", help="Run this suite of hepbench: a test for each cell."
    )
    group.addoption(
        "--hepbench-baseline",
        metavar="RESULTS",
        help="Folder or packed file of results: a cell that is worse than the suite's [gate] "
        "allows fails, and so does one that cannot be judged.",
    )
    group.addoption(
        "--hepbench-results",
        metavar="DIR",
        default="results",
        help="Folder in which the suite's records are kept.  [results]",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect the suite's file, alone if no other file or folder was named."""
    if suite := config.getoption("--hepbench"):
        if config.args_source is not pytest.Config.ArgsSource.ARGS:
            config.args.clear()
        config.args.append(str(_suite_path(suite)))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SuiteFile | None:
    """Collect the cells of the suite that ``--hepbench`` names."""
    suite = parent.config.getoption("--hepbench")
    if suite is None or not file_path.samefile(_suite_path(suite)):
        return None
    collected: SuiteFile = SuiteFile.from_parent(parent, path=file_path)
    return collected


def _suite_path(suite: str) -> Path:
    from hepbench.registry.plugins import installed
    from hepbench.running import session
    from hepbench.specs.errors import HepbenchError

    try:
        return session.suite_path(suite, installed()).absolute()
    except HepbenchError as error:
        raise pytest.UsageError(str(error)) from error


class SuiteFile(pytest.File):
    """The file of a suite: its items are dataset, model and chain of each cell, for all seeds."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield a test for each cell that can run.

        Raises:
            CollectError: the suite cannot be planned.
        """
        from hepbench.planning.matrix import Choice
        from hepbench.running import session
        from hepbench.specs.errors import HepbenchError

        suite = self.config.getoption("--hepbench")
        try:
            opened = session.open_session(suite, Choice(), session.LocalOptions())
        except HepbenchError as error:
            raise self.CollectError(str(error)) from error
        timed = opened.plan.suite.cost and self.config.pluginmanager.hasplugin("benchmark")
        for labels in dict.fromkeys(cell.combination.labels for cell in opened.plan.cells):
            name = "/".join(labels)
            yield CellItem.from_parent(self, name=name, labels=labels)
            if timed:
                yield LatencyItem.from_parent(self, name=f"{name}::latency", labels=labels)


class CellItem(pytest.Function):
    """A cell of a suite, for all seeds, as a test."""

    def __init__(self, *, labels: tuple[str, str, str], **given: Any) -> None:
        def passes(hepbench_outcome: Callable[[str], str]) -> None:
            if why := hepbench_outcome("/".join(labels)):
                pytest.fail(why, pytrace=False)

        super().__init__(callobj=passes, **given)
        self.labels = labels


class LatencyItem(pytest.Function):
    """The latency of a cell's ONNX graph for one example, measured by pytest-benchmark."""

    def __init__(self, *, labels: tuple[str, str, str], **given: Any) -> None:
        def times(benchmark: Callable[..., object], hepbench_graphs: Callable[[str], Any]) -> None:
            benchmark(hepbench_graphs("/".join(labels)))

        super().__init__(callobj=times, **given)
        self.labels = labels


@pytest.fixture
def hepbench_run(tmp_path: Path) -> Callable[..., Run]:
    """Return a function that runs a suite: ``run("suite.toml", "--seeds", "1")``.

    Its results are in the test's ``tmp_path``; the cache is that of all runs. The options are those
    of ``hepbench run``.
    """

    def run(suite: str | Path, *options: str) -> Run:
        return _run(suite, tmp_path / "results", *options)

    return run


@pytest.fixture(scope="session")
def hepbench_suite(request: pytest.FixtureRequest) -> Run:
    """Run the collected cells of the suite."""
    option = request.config.option
    items = [i for i in request.session.items if isinstance(i, (CellItem, LatencyItem))]
    done = _run(option.hepbench, Path(option.hepbench_results), *_selecting(items))
    if done.code not in {0, 1}:
        pytest.fail(done.text, pytrace=False)
    return done


@pytest.fixture(scope="session")
def hepbench_outcome(request: pytest.FixtureRequest, hepbench_suite: Run) -> Callable[[str], str]:
    """Return a function that says why a cell of the suite fails, or ""."""
    failures = _failures(hepbench_suite)
    if baseline := request.config.option.hepbench_baseline:
        for cell, text in _judgements(baseline, hepbench_suite).items():
            failures.setdefault(cell, text)
    return lambda cell: failures.get(cell, "")


@pytest.fixture(scope="session")
def hepbench_graphs(hepbench_suite: Run) -> Callable[[str], Callable[[], object]]:
    """Return a function that gives, for a cell, the call whose latency is measured."""
    from hepbench.running.session import cache_folder
    from hepbench.sharing import onnx_files
    from hepbench.specs.errors import ResultsError
    from hepbench.storage.stage_cache import StageCache

    cache = StageCache(cache_folder())
    of_cell = {record.cell.rpartition("#")[0]: record for record in hepbench_suite.records}

    def call_of(cell: str) -> Callable[[], object]:
        try:
            return onnx_files.call(of_cell[cell], cache)
        except ResultsError as error:
            return pytest.skip(str(error))

    return call_of


def _selecting(items: Sequence[CellItem | LatencyItem]) -> list[str]:
    """Return options that select the cells of these items, and perhaps a few more."""
    names = zip(*(item.labels for item in items), strict=True)
    return [
        text
        for option, labels in zip(("-d", "-m", "-x"), names, strict=True)
        for label in dict.fromkeys(labels)
        for text in (option, label)
    ]


def _run(suite: str | Path, results: Path, *options: str) -> Run:
    """Run a suite in a process of its own, as ``hepbench run`` does."""
    command = ("run", str(suite), "--results", str(results), "--quiet", "--json", *options)
    done = _hepbench(*command)
    if done.returncode not in {0, 1}:
        return Run(done.returncode, done.stderr.strip(), results)
    return Run(done.returncode, done.stderr, Path(json.loads(done.stdout)["results"]))


def _failures(done: Run) -> dict[str, str]:
    """Return why cells failed, by dataset, model and chain."""
    found = {}
    for record in done.records:
        if failure := record.error:
            cell = record.cell.rpartition("#")[0]
            found[cell] = f"{record.cell}: {failure.type}: {failure.message}\n{failure.traceback}"
    return found


def _judgements(baseline: str, done: Run) -> dict[str, str]:
    """Return why blocking rules of ``hepbench gate`` do not pass, by dataset, model and chain."""
    gate = _hepbench("gate", baseline, str(done.folder), "--format", "json")
    if gate.returncode == 2:
        pytest.fail(gate.stderr.strip(), pytrace=False)
    found: dict[str, list[str]] = {}
    for each in json.loads(gate.stdout)["gate"]["judgements"]:
        if each["tier"] == "blocking" and each["outcome"] != "passed":
            found.setdefault(each["cell"] or "", []).append(f"{each['name']}: {each['text']}")
    if "" in found:
        pytest.fail(f"hepbench gate: {'; '.join(found[''])}", pytrace=False)
    return {cell: "; ".join(texts) for cell, texts in found.items()}


def _hepbench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "hepbench", *arguments)
    # the warnings of pytest's process are not those of workers
    environment = {name: x for name, x in os.environ.items() if name != "PYTHONWARNINGS"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
