"""Runs conformance tests of plugins: ``hepbench check NAME``, and ``hepbench.testing``.

Each check tests one claim about one thing that a plugin provides. The other modules of
``hepbench/conformance`` hold the claims, one module for each kind of plugin.
"""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import SkipTest

from hepbench.conformance import datasets, estimator_methods, estimators, metrics, plugins, suites
from hepbench.conformance.claims import spec_claims
from hepbench.registry.plugins import KINDS, installed, kind_of
from hepbench.specs.errors import HepbenchError, UsageError
from hepbench.specs.text import several, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hepbench.conformance.claims import Claim
    from hepbench.registry.plugins import Entry, Plugin, Registry


_STANDARD = Path(traceback.__file__).parent


_OTHER_CODE = (
    Path(__file__).parents[1],
    *(Path(place) for place in getattr(find_spec("torch"), "submodule_search_locations", ())),
    *(_STANDARD / name for name in ("functools.py", "contextlib.py", "importlib")),
)
"""Files and folders in a traceback that are not the plugin's own code."""


@dataclass(frozen=True)
class Check:
    """A check of one claim about one plugin; calling it tests the claim."""

    subject: str
    claim: Claim

    def __call__(self) -> None:
        """Test whether the claim about a plugin holds.

        Raises:
            PluginError: the claim does not hold; one line says why.
            SkipTest: the claim cannot be tested on this machine.
        """
        self.claim.run()

    def __str__(self) -> str:
        return f"{self.subject}: {self.claim.text}"


@dataclass(frozen=True)
class Result:
    """The result of one check of a plugin.

    Attributes:
        subject: kind and name of the thing that was checked.
        claim: the text of the claim.
        error: why the claim does not hold, in one line; None if it holds.
        skipped: why the claim could not be tested on this machine; None if it was tested.
    """

    subject: str
    claim: str
    error: str | None = None
    skipped: str | None = None


def checks(name: str, *, quick: bool = False) -> list[Check]:
    """Return the checks of the plugin with this name, without running them.

    Args:
        name: of a distribution, an entry point, a dataset, model, method, metric or suite.
        quick: leave out checks that take more than a few seconds.

    Raises:
        UsageError: no plugin or spec has this name.
    """
    registry = installed()
    found_plugins, entries = _plugins_and_entries(name, registry)
    found = [Check(f"plugin {p.distribution}:{p.name}", claim)
             for p in found_plugins for claim in plugins.plugin_claims(p, registry)]  # fmt: skip
    for entry in entries:
        kind = kind_of(entry.spec)
        claims = _claims_for_kind(kind, entry, registry)
        found += [Check(f"{kind} {entry.spec.name}", claim) for claim in claims]
    return [check for check in found if not (quick and check.claim.slow)]


def check(name: str, *, quick: bool = False) -> list[Result]:
    """Run all checks of the plugin with this name and return the results.

    If a claim fails that later claims about the same subject depend on, those are left out, and
    the error says how many.

    Raises:
        UsageError: no plugin or spec has this name.
    """
    waiting = checks(name, quick=quick)
    results = []
    while waiting:
        current = waiting.pop(0)
        result = attempt(current)
        if result.error and current.claim.first:
            others = [check for check in waiting if check.subject != current.subject]
            left_out = _left_out_note(len(waiting) - len(others))
            result = replace(result, error=result.error + left_out)
            waiting = others
        results.append(result)
    return results


def attempt(check: Check) -> Result:
    """Run one check of a plugin and return its result."""
    error = skipped = None
    try:
        check()
    except SkipTest as reason:
        skipped = str(reason)
    except HepbenchError as problem:
        error = " ".join(str(problem).split())
    except Exception as problem:  # noqa: BLE001 - a plugin may raise anything
        error = f"{type(problem).__name__}: {' '.join(str(problem).split())}{_source_line(problem)}"
    return Result(check.subject, check.claim.text, error, skipped)


def _plugins_and_entries(name: str, registry: Registry) -> tuple[list[Plugin], list[Entry]]:
    """Return the plugins and specs to check for a name."""
    plugins = [p for p in registry.plugins if _same_name(p.distribution, name) or p.name == name]
    entries = [e for e in _all_entries(registry) if e.plugin in plugins or e.spec.name == name]
    if not plugins and not entries:
        names = {n for p in registry.plugins for n in (p.distribution, p.name)}
        names |= {n for kind in KINDS for n in registry.names(kind)}
        raise UsageError(unknown("plugin, dataset, model, method, metric or suite", name, names))
    return plugins, entries


def _same_name(one: str, other: str) -> bool:
    # PEP 503: case does not matter, and '-', '_' and '.' are the same
    return re.sub("[-_.]+", "-", one).lower() == re.sub("[-_.]+", "-", other).lower()


def _all_entries(registry: Registry) -> Iterator[Entry]:
    return (entry for kind in KINDS for entry in registry.entries(kind))


def _claims_for_kind(kind: str, entry: Entry, registry: Registry) -> Iterable[Claim]:
    if kind == "dataset":
        return datasets.dataset_claims(entry)
    if kind == "model":
        return [*spec_claims(entry.spec), *_model_claims(entry, registry)]
    if kind == "method":
        return [*spec_claims(entry.spec), *_method_claims(entry, registry)]
    if kind == "metric":
        return metrics.metric_claims(entry)
    return suites.suite_claims(entry, registry)


def _model_claims(entry: Entry, registry: Registry) -> Iterable[Claim]:
    if "estimate" in entry.spec.offers:
        return estimators.estimator_claims(entry, registry)
    # imported here: it imports torch, which the other checks do not need
    from hepbench.conformance import networks

    return networks.network_claims(entry, registry)


def _method_claims(entry: Entry, registry: Registry) -> Iterator[Claim]:
    """Yield the claims to check about a method, with estimators, networks or both."""
    needs = entry.spec.needs
    if not needs or "estimate" in needs:
        yield from estimator_methods.method_claims(entry, registry)
    if "estimate" not in needs:
        from hepbench.conformance import network_methods

        yield from network_methods.method_claims(entry, registry)


def _source_line(error: Exception) -> str:
    """Return file and line in the plugin's code where a failed check's error came from, or ''."""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_file() and not any(path.is_relative_to(folder) for folder in _OTHER_CODE):
            return f" ({path.name}:{frame.lineno})"
    return ""


def _left_out_note(count: int) -> str:
    return f"; {several(count, 'other claim')} could not be tested because of this" if count else ""
