"""Conformance tests: ``hepbench check NAME``, and the same in a plugin author's own pytest::

    from hepbench.testing import checks

    @pytest.mark.parametrize("check", checks("my-plugin"), ids=str)
    def test_conformance(check):
        check()

Each is a claim about one thing that a plugin brings; what is claimed of which kind is in
``hepbench/conformance/``, a module for each.
"""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import SkipTest

from hepbench.conformance import datasets, estimators, methods, metrics, plugins, suites
from hepbench.conformance.claims import of_spec
from hepbench.registry.plugins import KINDS, installed, kind_of
from hepbench.specs.errors import HepbenchError, UsageError
from hepbench.specs.text import unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hepbench.conformance.claims import Claim
    from hepbench.registry.plugins import Entry, Plugin, Registry


_STANDARD = Path(traceback.__file__).parent


_NOT_THEIRS = (
    Path(__file__).parents[1],
    *(Path(place) for place in getattr(find_spec("torch"), "submodule_search_locations", ())),
    *(_STANDARD / name for name in ("functools.py", "contextlib.py", "importlib")),
)
"""Files that stand between a check and the plugin's own lines."""


@dataclass(frozen=True)
class Check:
    """One claim about one subject; called, it returns or raises what speaks against it."""

    subject: str
    claim: Claim

    def __call__(self) -> None:
        """Try the claim.

        Raises:
            PluginError: it does not hold; one line says why.
            SkipTest: it cannot be tried here.
        """
        self.claim.run()

    def __str__(self) -> str:
        return f"{self.subject}: {self.claim.text}"


@dataclass(frozen=True)
class Result:
    """What became of a check.

    Attributes:
        subject: kind and name of what was checked.
        claim: what should hold of it.
        error: why it does not, in one line; None where it does.
        skipped: why it could not be tried here.
    """

    subject: str
    claim: str
    error: str | None = None
    skipped: str | None = None


def checks(name: str, *, quick: bool = False) -> list[Check]:
    """Return the checks of all that a name stands for; nothing is run yet.

    Args:
        name: of a distribution, an entry point, a dataset, model, method, metric or suite.
        quick: leave out what takes more than a few seconds.

    Raises:
        UsageError: nothing has this name.
    """
    registry = installed()
    meant, entries = _meant(name, registry)
    found = [Check(f"plugin {p.distribution}:{p.name}", claim)
             for p in meant for claim in plugins.of_plugin(p, registry)]  # fmt: skip
    for entry in entries:
        kind = kind_of(entry.spec)
        claims = _claims(kind, entry, registry)
        found += [Check(f"{kind} {entry.spec.name}", claim) for claim in claims]
    return [check for check in found if not (quick and check.claim.slow)]


def check(name: str, *, quick: bool = False) -> list[Result]:
    """Run the checks of all that a name stands for.

    Where a claim fails that others of the same subject stand on, these are left out, and its error
    says how many.

    Raises:
        UsageError: nothing has this name.
    """
    waiting = checks(name, quick=quick)
    results = []
    while waiting:
        now = waiting.pop(0)
        result = attempt(now)
        if result.error and now.claim.first:
            others = [check for check in waiting if check.subject != now.subject]
            left_out = _left_out(len(waiting) - len(others))
            result = replace(result, error=result.error + left_out)
            waiting = others
        results.append(result)
    return results


def attempt(check: Check) -> Result:
    """Return what becomes of a check."""
    error = skipped = None
    try:
        check()
    except SkipTest as reason:
        skipped = str(reason)
    except HepbenchError as problem:
        error = " ".join(str(problem).split())
    except Exception as problem:  # noqa: BLE001 - a plugin's own error is what is looked for
        error = f"{type(problem).__name__}: {' '.join(str(problem).split())}{_place(problem)}"
    return Result(check.subject, check.claim.text, error, skipped)


def _meant(name: str, registry: Registry) -> tuple[list[Plugin], list[Entry]]:
    """Return the plugins of that name or distribution, and what they bring or has the name."""
    plugins = [p for p in registry.plugins if _same(p.distribution, name) or p.name == name]
    entries = [e for e in _entries(registry) if e.plugin in plugins or e.spec.name == name]
    if not plugins and not entries:
        names = {n for p in registry.plugins for n in (p.distribution, p.name)}
        names |= {n for kind in KINDS for n in registry.names(kind)}
        raise UsageError(unknown("plugin or part of one", name, names))
    return plugins, entries


def _same(one: str, other: str) -> bool:
    # what PEP 503 makes of a distribution's name
    return re.sub("[-_.]+", "-", one).lower() == re.sub("[-_.]+", "-", other).lower()


def _entries(registry: Registry) -> Iterator[Entry]:
    return (entry for kind in KINDS for entry in registry.entries(kind))


def _claims(kind: str, entry: Entry, registry: Registry) -> Iterable[Claim]:
    if kind == "dataset":
        return datasets.of_dataset(entry)
    if kind == "model":
        return [*of_spec(entry.spec), *_of_model(entry, registry)]
    if kind == "method":
        return [*of_spec(entry.spec), *_of_method(entry, registry)]
    if kind == "metric":
        return metrics.of_metric(entry)
    return suites.of_suite(entry, registry)


def _of_model(entry: Entry, registry: Registry) -> Iterable[Claim]:
    if "estimate" in entry.spec.offers:
        return estimators.of_estimator(entry, registry)
    # it imports torch, which nobody else is to wait for
    from hepbench.conformance import networks

    return networks.of_network(entry, registry)


def _of_method(entry: Entry, registry: Registry) -> Iterator[Claim]:
    """A method that needs nothing works with both."""
    needs = entry.spec.needs
    if not needs or "estimate" in needs:
        yield from methods.of_method(entry, registry)
    if "estimate" not in needs:
        from hepbench.conformance import network_methods

        yield from network_methods.of_method(entry, registry)


def _place(error: Exception) -> str:
    """Return the first line of the plugin's that led to an error, where there is one."""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_file() and not any(path.is_relative_to(folder) for folder in _NOT_THEIRS):
            return f" ({path.name}:{frame.lineno})"
    return ""


def _left_out(count: int) -> str:
    return f"; {count} other claims stand on this one and were left out" if count else ""
