"""Open a session: make the plan of a run and choose its folders from a command's options."""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepbench.planning import suite_file, suite_lines
from hepbench.planning.suite_file import ALL_MODELS, DEFAULT_SUITE
from hepbench.specs.errors import DataError, SuiteError, UsageError
from hepbench.specs.text import encodable, enumerated
from hepbench.storage import machine, regular_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hepbench.data.finding import Wanted
    from hepbench.planning.matrix import Choice
    from hepbench.planning.plan import Plan
    from hepbench.planning.suite_file import SuiteFile
    from hepbench.registry.plugins import Registry
    from hepbench.running.environment import LocalEnvironment
    from hepbench.running.validity import Validity
    from hepbench.specs.suite import Suite
    from hepbench.storage.stage_cache import StageCache


def cache_folder() -> Path:
    """Return the cache folder of a run: ``HEPBENCH_CACHE``, or the platform's default.

    Raises:
        UsageError: its path is not Unicode, or not known, as without a home folder.
    """
    if chosen := os.environ.get("HEPBENCH_CACHE"):
        return _require_unicode(Path(chosen).absolute(), "HEPBENCH_CACHE")
    import platformdirs

    found = Path(platformdirs.user_cache_dir("hepbench", appauthor=False))
    if not found.is_absolute():
        msg = f"the cache folder {found} has no absolute path; set HEPBENCH_CACHE to a folder"
        raise UsageError(msg)
    return _require_unicode(found, "the cache folder")


def known_cache_folder() -> Path | None:
    """Return the cache folder; None where there is none, for what works without one."""
    try:
        return cache_folder()
    except UsageError:
        return None


def _require_unicode(path: Path, what: str) -> Path:
    """Return the path if it can be sent to workers as JSON, or raise UsageError."""
    whole = str(path.absolute())
    if encodable(whole) != whole:
        msg = f"{what} {path} is not valid Unicode; rename it or choose another folder"
        raise UsageError(msg)
    return path


def data_folder(chosen: Path | None) -> Path | None:
    """Return the existing folder of original data files: ``--data`` or ``HEPBENCH_DATA``.

    Raises:
        DataError: the folder does not exist.
        UsageError: its path is not Unicode.
    """
    folder = named_folder(chosen)
    if folder is None:
        return None
    option = "--data" if chosen else "HEPBENCH_DATA"
    if not folder.is_dir():
        msg = f"{option} {folder}: no such folder; <dataset>/<original file> is expected in it"
        raise DataError(msg)
    return _require_unicode(folder, option)


def named_folder(chosen: Path | None) -> Path | None:
    """Return the folder that ``--data`` or ``HEPBENCH_DATA`` names, whether or not it exists."""
    default = os.environ.get("HEPBENCH_DATA")
    return chosen or (Path(default) if default else None)


def suite_name(given: str | None, choice: Choice) -> str:
    """Return the suite name of a command; the default is every model on the chosen datasets."""
    return given or (ALL_MODELS if choice.datasets else DEFAULT_SUITE)


LARGEST_SUITE = 1_000_000
"""Bytes of a suite's file."""


def read_suite(name: str, registry: Registry) -> SuiteFile:
    """Read the suite file of a run, given by the name of a plugin's suite or by its path.

    Raises:
        SuiteError: the file cannot be read or is not a suite.
        UsageError: no plugin has a suite of that name.
    """
    path, data = suite_bytes(name, registry)
    return suite_file.parse(data, str(path))


def suite_bytes(name: str, registry: Registry) -> tuple[Path, bytes]:
    """Return path and contents of a suite file; see ``read_suite``."""
    path = suite_path(name, registry)
    try:
        return path, regular_files.read(path, most=LARGEST_SUITE)
    except OSError as error:
        msg = f"suite {path}: {error.strerror}"
        raise SuiteError(msg) from error


def suite_path(name: str, registry: Registry) -> Path:
    """Return the path of a suite's file, given by the name of a plugin's suite or by its path.

    Raises:
        SuiteError: the package that has it is not installed.
        UsageError: no plugin has a suite of that name.
    """
    if is_path(name):
        return Path(name)
    entry = registry.entry("suite", name)
    spec: Suite = entry.spec
    package, _, relative = spec.path.partition(":")
    return _package_folder(package, entry.plugin.distribution) / relative


def is_path(suite: str) -> bool:
    """Return whether a suite was given as the path of a file, not by its name."""
    return suite.endswith(".toml") or "/" in suite


def _package_folder(package: str, distribution: str) -> Path:
    from importlib.util import find_spec

    found = find_spec(package)
    if found is None or found.origin is None:
        msg = f"{distribution}: its suite is in package '{package}', which is not installed"
        raise SuiteError(msg)
    return Path(found.origin).parent


@dataclass(frozen=True, kw_only=True)
class LocalOptions:
    """The data folder of a run, and the threads and device that it uses.

    Attributes:
        data: folder of the original files; None means ``HEPBENCH_DATA``.
        source: ``auto`` (the original file if found, else the sample), ``file`` or ``sample``.
        threads: threads of each worker.
        device: a value of ``--device``.
    """

    data: Path | None = None
    source: Wanted = "auto"
    threads: int = 1
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class Session:
    """A plan, with the registry, environment and cache that it needs to run."""

    registry: Registry
    environment: LocalEnvironment
    cache: StageCache
    validity: Validity
    plan: Plan


def open_session(name: str, choice: Choice, local: LocalOptions) -> Session:
    """Return the plan of a suite on this machine.

    Raises:
        HepbenchError: the names, the suite, the data or the device cannot be used.
    """
    from hepbench.planning import plan
    from hepbench.registry.plugins import installed
    from hepbench.running.validity import Validity
    from hepbench.storage.stage_cache import StageCache

    registry = installed()
    if name == ALL_MODELS:
        suite, choice = _all_models(choice)
    else:
        suite = read_suite(name, registry)
    with local_environment(local) as environment, _naming_lines(name):
        new = plan.make(suite, registry, environment, choice)
        _check_data_is_used(new, environment, local)
    new = replace(new, suite_file=encodable(name) if is_path(name) else "")
    validity = Validity(environment.digests)
    cache = StageCache(cache_folder(), validity.holds)
    return Session(
        registry=registry, environment=environment, cache=cache, validity=validity, plan=new
    )


@contextmanager
def _naming_lines(suite: str) -> Iterator[None]:
    """Add the line of a suite file to an error about a name that stands in it."""
    try:
        yield
    except UsageError as error:
        if type(error) is not UsageError or not is_path(suite):
            raise
        text = regular_files.read(Path(suite), most=LARGEST_SUITE).decode(errors="replace")
        line = suite_lines.line_of_name(text, str(error))
        if line is None:
            raise
        msg = f"{suite}:{line}: {error}"
        raise UsageError(msg) from error


def _check_data_is_used(plan: Plan, environment: LocalEnvironment, local: LocalOptions) -> None:
    """Raise DataError if ``--data`` holds no original file of any dataset of a plan that has some."""
    if local.data is None or local.source == "sample":
        return
    datasets = [entry for entry in plan.datasets if entry.spec.original is not None]
    if datasets and all(environment.found(entry).source == "sample" for entry in datasets):
        from hepbench.data.finding import why_nothing_matches

        specs = [entry.spec for entry in datasets]
        names = enumerated(spec.name for spec in specs)
        why = why_nothing_matches(specs, local.data)
        msg = f"--data {local.data} holds no original file of {names}: {why}"
        raise DataError(msg)


def _all_models(choice: Choice) -> tuple[SuiteFile, Choice]:
    """Return a suite of the chosen datasets, models and methods, and the choice that remains.

    A chain that contains a glob remains: it selects among the methods' own chains.

    Raises:
        UsageError: no dataset was chosen.
    """
    if not choice.datasets:
        msg = f"{ALL_MODELS} runs every model on the datasets that -d names; give at least one -d"
        raise UsageError(msg)
    globs = [text for text in choice.methods if "+" in text and set(text) & set("*?")]
    suite = suite_file.of_datasets(choice.datasets, choice.models, () if globs else choice.methods)
    return suite, replace(choice, datasets=(), models=(), methods=choice.methods if globs else ())


@contextmanager
def local_environment(local: LocalOptions) -> Iterator[LocalEnvironment]:
    """Yield the facts about this machine that a plan needs; at the end, save file digests."""
    from hepbench.registry.source_digests import SourceDigests
    from hepbench.running.environment import LocalEnvironment
    from hepbench.storage import devices
    from hepbench.storage.digest_cache import DIGESTS, DigestCache

    digests = DigestCache(cache_folder() / DIGESTS)
    try:
        yield LocalEnvironment(
            digests,
            SourceDigests(digests),
            folder=data_folder(local.data),
            wanted=local.source,
            threads=local.threads,
            device=devices.find(local.device),
        )
    finally:
        digests.save()


def default_jobs(threads: int) -> int:
    """Return the default of ``--jobs``: as many workers as keep every core busy."""
    return max(1, machine.cores() // threads)


def default_memory(jobs: int) -> int:
    """Return the default memory limit of a worker in bytes: 90 % of all memory, divided by jobs."""
    return int(0.9 * machine.memory() / jobs)


def check_positive(**values: Any) -> None:
    """Raise UsageError unless each option of a run is above 0 and not too large."""
    for name, value in values.items():
        most = LARGEST.get(name, math.inf)
        if value is not None and not 0 < value <= most:
            limit = "" if most == math.inf else f" and at most {most:,}"
            msg = f"--{name} is {value}; a number above 0{limit} is expected"
            raise UsageError(msg)


LARGEST = {"jobs": 1000, "threads": 1000, "memory": 1_000_000, "timeout": 1e9, "events": 10**12}
"""The largest allowed values of options of a run."""
