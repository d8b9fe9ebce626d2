"""Claims about a suite. Testing them plans the suite and runs nothing."""

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
    """An environment for plans on bundled samples, without digests: see ``stages.Environment``."""

    threads: int = 1
    device: Device = field(default_factory=Device)
    libraries: Mapping[str, str] = field(default_factory=lambda: {"torch": ""})
    measuring: Mapping[str, str] = field(default_factory=dict)

    def sources(self, target: str, entry: Entry) -> Mapping[str, str]:  # noqa: ARG002
        """Return no digests."""
        return {}

    def declared(self, files: Sequence[str], entry: Entry) -> tuple[str, ...]:
        """Return the labels of the files that a spec declares; they must exist."""
        return tuple(portable_paths.declared(name, entry.spec) for name in files)

    def found(self, entry: Entry) -> DataFiles:
        """Return the bundled sample of a dataset of the suite under test; its files must exist."""
        return finding.find(entry.spec, None, "sample", lambda path, _: str(path))


def suite_claims(entry: Entry, registry: Registry) -> list[Claim]:
    """Return the claims about a suite."""
    name = entry.spec.name
    return [
        Claim("the file can be read as a suite",
              partial(session.read_suite, name, registry), first=True),
        Claim("all names are installed, and at least one cell can run",
              partial(_planned, name, registry), first=True),
        Claim("every published value belongs to a cell", partial(_shows, name, registry)),
    ]  # fmt: skip


def _planned(name: str, registry: Registry) -> list[plan.Plan]:
    suite = session.read_suite(name, registry)
    choices = [Choice(preset=preset) for preset in dict.fromkeys([suite.preset, *suite.presets])]
    return [plan.make(suite, registry, SampleEnvironment(), choice) for choice in choices]


def _shows(name: str, registry: Registry) -> None:
    plans = _planned(name, registry)
    in_cells = [cell.published for planned in plans for cell in planned.cells]
    for value in plans[0].suite.published:
        need(value in in_cells, f"published '{value.cell}' is no cell of this suite")
