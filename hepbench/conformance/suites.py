"""Checks of suites that plugins ship; they plan the suite and run nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from hepbench.conformance.claims import Claim, need
from hepbench.data import finding
from hepbench.planning import plan
from hepbench.planning.matrix import Choice
from hepbench.registry import portable_paths
from hepbench.running import session
from hepbench.storage.devices import Device

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hepbench.data.finding import DataFiles
    from hepbench.registry.plugins import Entry, Registry


@dataclass
class SampleEnvironment:
    """The environment in which suites under test are planned: samples, no digests."""

    threads: int = 1
    device: Device = field(default_factory=Device)
    libraries: Mapping[str, str] = field(default_factory=lambda: {"torch": ""})
    measuring: Mapping[str, str] = field(default_factory=dict)

    def sources(self, target: str, entry: Entry) -> Mapping[str, str]:  # noqa: ARG002
        """Return no source digests; checks of suites do not need them."""
        return {}

    def declared(self, files: Sequence[str], entry: Entry) -> tuple[str, ...]:
        """Return labels of the files that a spec under test declares; they must exist."""
        return tuple(portable_paths.declared(name, entry.spec) for name in files)

    def found(self, entry: Entry) -> DataFiles:
        """Return the sample of a dataset in the suite under test; its files must exist."""
        return finding.find(entry.spec, None, "sample", lambda path, _: str(path))


def suite_claims(entry: Entry, registry: Registry) -> list[Claim]:
    """Return the claims to check about a suite of a plugin."""
    name = entry.spec.name
    return [
        Claim("the file can be read as a suite",
              partial(session.read_suite, name, registry), first=True),
        Claim("all names are installed, and at least one cell can run",
              partial(_plans_of_suite, name, registry), first=True),
        Claim("every published value belongs to a cell", partial(_check_published_values, name, registry)),
    ]  # fmt: skip


def _plans_of_suite(name: str, registry: Registry) -> list[plan.Plan]:
    suite = session.read_suite(name, registry)
    choices = [Choice(preset=preset) for preset in dict.fromkeys([suite.preset, *suite.presets])]
    return [plan.make(suite, registry, SampleEnvironment(), choice) for choice in choices]


def _check_published_values(name: str, registry: Registry) -> None:
    plans = _plans_of_suite(name, registry)
    in_cells = [cell.published for planned in plans for cell in planned.cells]
    for value in plans[0].suite.published:
        need(
            value in in_cells,
            f"the published value for '{value.cell}' belongs to no cell of this suite",
        )
