"""What a suite promises: it is planned, and nothing of it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from hepbench.conformance.claims import Claim, need
from hepbench.data import finding
from hepbench.planning import plan
from hepbench.planning.matrix import Choice
from hepbench.running import session
from hepbench.storage.devices import Device

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.data.finding import DataFiles
    from hepbench.registry.plugins import Entry, Registry


@dataclass
class SampleEnvironment:
    """An environment without files and digests, for plans: see ``stages.Environment``."""

    threads: int = 1
    device: Device = field(default_factory=Device)
    libraries: Mapping[str, str] = field(default_factory=lambda: {"torch": ""})
    measuring: Mapping[str, str] = field(default_factory=dict)

    def sources(self, target: str, entry: Entry) -> Mapping[str, str]:  # noqa: ARG002
        """Return no digest."""
        return {}

    def found(self, entry: Entry) -> DataFiles:
        """Return the sample of a dataset, whose files must be there."""
        return finding.find(entry.spec, None, "sample", lambda path, _: str(path))


def of_suite(entry: Entry, registry: Registry) -> list[Claim]:
    """Return what is claimed of a suite."""
    name = entry.spec.name
    return [
        Claim("its file is a suite", partial(session.read_suite, name, registry), first=True),
        Claim("all that it names is installed, and something fits",
              partial(_planned, name, registry), first=True),
        Claim("each published figure stands beside a cell", partial(_shows, name, registry)),
    ]  # fmt: skip


def _planned(name: str, registry: Registry) -> list[plan.Plan]:
    suite = session.read_suite(name, registry)
    choices = [Choice(preset=preset) for preset in dict.fromkeys([suite.preset, *suite.presets])]
    return [plan.make(suite, registry, SampleEnvironment(), choice) for choice in choices]


def _shows(name: str, registry: Registry) -> None:
    made = _planned(name, registry)
    shown = [cell.published for each in made for cell in each.cells]
    for figure in made[0].suite.published:
        need(figure in shown, f"published '{figure.cell}' is no cell of this suite")
