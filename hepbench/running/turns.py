"""Turns on the machine: a stage waits until no other stage works; the time that it waits is measured."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hepbench.running.messages import Started, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hepbench.running.messages import Event
    from hepbench.storage.locks import Machine


class Turns:
    """The turns of one stage to be alone on the machine.

    Args:
        key: of the stage.
        machine: the lock, which this process holds.
        report: takes the events of the stage.

    Attributes:
        waited: seconds in which the stage waited for others.
    """

    def __init__(self, key: str, machine: Machine, report: Callable[[Event], None]) -> None:
        self._key, self._machine = key, machine
        self.report = report
        self.waited = 0.0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the machine alone while the body runs; its time limit counts from then on."""
        self.report(Waiting(self._key))
        began = time.perf_counter()
        with self._machine.alone():
            self.waited += time.perf_counter() - began
            self.report(Started(self._key))
            yield
