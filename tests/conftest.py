"""What tests share: plugins without pip, and the command line in a process of its own."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import needs
import one_number
import pytest
import skipped
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

    from hepbench.storage.records import Record

TESTS = Path(__file__).parent

BENCHMARKS = TESTS.parent / "benchmarks"

LOCKS = "HEPBENCH_LOCKS"

# on a busy machine the first example of a test may take a second; what it imports takes that long
settings.register_profile("hepbench", settings(), deadline=None)
settings.load_profile("hepbench")


@dataclass
class Workbench:
    """An empty place to work: plugins, cache, results and the command line.

    Attributes:
        folder: the current folder of every command.
        environment: added to that of this process.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def site(self) -> Path:
        """Where plugins are importable from."""
        return self.folder / "site"

    def plugin(self, source: str | Path, name: str = "", *, version: str = "0.1") -> Path:
        """Install a one-module plugin: its source, or the path of a file that holds it.

        A ``*.dist-info`` folder is all that an entry point needs.
        """
        if isinstance(source, Path):
            name, source = name or source.stem, source.read_text()
        self.site.mkdir(exist_ok=True)
        path = self.site / f"{name}.py"
        path.write_text(source)
        info = self.site / f"{name}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[hepbench]\n{name} = {name}\n")
        return path

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start ``hepbench`` with some arguments."""
        command = [sys.executable, "-P", "-m", "hepbench", *map(str, arguments)]
        settings = {"cwd": self.folder, "env": self.variables(), "text": True, **options}
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
        self.started.append(subprocess.Popen(command, **settings))
        return self.started[-1]

    def __call__(self, *arguments: str | Path, timeout: float = 120, **options: Any) -> Done:
        """Run ``hepbench`` with some arguments and wait for its end."""
        with self.start(*arguments, **options) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Done(process.returncode, out, err)

    def variables(self) -> Mapping[str, str]:
        """Return the environment of every command."""
        kept = {k: v for k, v in os.environ.items() if k == LOCKS or not k.startswith("HEPBENCH_")}
        path = os.pathsep.join(filter(None, [str(self.site), os.environ.get("PYTHONPATH", "")]))
        cache = str(self.folder / "cache")
        return {**kept, "PYTHONPATH": path, "HEPBENCH_CACHE": cache, **self.environment}

    def records(self, results: str = "results") -> dict[str, Record]:
        """Return the newest record of every cell by its name."""
        from hepbench.storage.results import ResultsFolder

        found = ResultsFolder(self.folder / results).records()
        ordered = sorted(found, key=lambda record: record.provenance.finished)
        return {record.cell: record for record in ordered}

    def forget(self) -> None:
        """Remove cache and results."""
        for name in ("cache", "results"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def bench_that_ran(folder: Path, name: str, suite: str) -> Workbench:
    """Return a workbench with the plugin of small networks, where every cell of a suite ran."""
    bench = Workbench(folder)
    bench.plugin(TESTS / "plugins" / "nets.py")
    bench.write(f"{name}.toml", suite)
    done = bench("run", f"{name}.toml", "--jobs", "2", timeout=300)
    assert done.code == 0, done.err
    return bench


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


@pytest.fixture(scope="session", autouse=True)
def _own_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests do not wait for other runs on the machine, nor runs for tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LOCKS, str(tmp_path_factory.mktemp("locks")))
        yield


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """Yield an empty workbench; what it started ends with the test, also with one that fails."""
    bench = Workbench(tmp_path)
    yield bench
    for process in bench.started:
        # the workers of a run end with it; one that goes on would keep the machine's lock
        process.kill()


PAIR = """
name = "pair"
cost = false
seeds = 2
[[run]]
datasets = ["toy"]
models = {models}
methods = ["fit"]
"""


def run_pair(folder: Path, *models: str) -> Workbench:
    """Return a workbench where the suite ``pair``, some toy models with two seeds, ran once."""
    bench = Workbench(folder)
    bench.plugin(TESTS / "plugins" / "toys.py")
    bench.write("pair.toml", PAIR.format(models=json.dumps(models)))
    assert bench("run", "pair.toml", "--quiet").code == 0
    return bench


@pytest.fixture
def benchmark_script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Return a function that imports a script of the folder ``benchmarks``."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture
def toys(bench: Workbench) -> Workbench:
    """Return a workbench with the plugin ``toys``: a dataset, models that misbehave, a method."""
    bench.plugin(TESTS / "plugins" / "toys.py")
    return bench


@pytest.fixture
def pack(bench: Workbench) -> Workbench:
    """Return a workbench with the plugin package ``pack``, whose one number is ``pack.slope``."""
    return one_number.install(bench)


@pytest.fixture
def real_data() -> Path:
    """Return the folder of real data, or skip if there is none."""
    return needs.real_data()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Record which tests were skipped and why, for `skipped.py`."""
    skipped.record(terminalreporter.stats.get("skipped", []))
