"""Progress of a run on stderr: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from hepbench.specs.text import duration, one_line, several

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from rich.progress import TaskID

    from hepbench.storage.records import Record


LINE_SECONDS = 30
"""Seconds between two printed lines about running stages."""


class Progress(Protocol):
    """The interface for displaying the progress of a run."""

    def planned(self, stages: int) -> None:
        """Show the number of stages that will run."""
        ...

    def time_left(self, seconds: float | None) -> None:
        """Show how long the run will take from now on; None: not known."""
        ...

    def working(self, stage: str, progress: str) -> None:
        """Show the progress of a running stage."""
        ...

    def ended(self, stage: str) -> None:
        """Show that a stage has ended."""
        ...

    def cell(self, record: Record) -> None:
        """Show the result of a finished cell."""
        ...

    def note(self, text: str) -> None:
        """Show a line of text during the run."""
        ...


class Quiet:
    """A progress display that shows nothing (``--quiet``)."""

    def planned(self, stages: int) -> None:
        """Show nothing of the run."""

    def time_left(self, seconds: float | None) -> None:
        """Show nothing of the run."""

    def working(self, stage: str, progress: str) -> None:
        """Show nothing of the run."""

    def ended(self, stage: str) -> None:
        """Show nothing of the run."""

    def cell(self, record: Record) -> None:
        """Show nothing of the run."""

    def note(self, text: str) -> None:
        """Show nothing of the run."""


class Lines(Quiet):
    """Prints a line for each finished cell, and from time to time one about running stages.

    Costs are measured when everything else is done, so most cells finish late.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.stages = self.stages_done = 0
        self._started = self._last_line = time.monotonic()
        self._end: float | None = None

    def planned(self, stages: int) -> None:
        """Set the number of stages that will run."""
        self.stages = stages

    def time_left(self, seconds: float | None) -> None:
        """Set the time at which the run is expected to end."""
        self._end = None if seconds is None else time.monotonic() + seconds

    def working(self, stage: str, progress: str) -> None:
        """Print the progress of the stages, at most every ``LINE_SECONDS``."""
        now = time.monotonic()
        if now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            under_way = f"{stage} {progress}".strip()
            self.note(f"{self._how_far()}, {duration(now - self._started)}; now {under_way}")

    def ended(self, stage: str) -> None:  # noqa: ARG002 - of the protocol
        """Count the stage that has ended."""
        self.stages_done += 1

    def _how_far(self) -> str:
        stages, cells = several(self.stages, "stage"), several(self.total, "cell")
        return f"{self.stages_done} of {stages}, {self.done} of {cells}{self._left()}"

    def _left(self) -> str:
        # a run that takes longer than expected has no known end
        if self._end is None or (left := self._end - time.monotonic()) < 1:
            return ""
        return f", about {duration(left)} left"

    def cell(self, record: Record) -> None:
        """Print the number, name and AUC of the cell."""
        self.done += 1
        self._last_line = time.monotonic()
        width = len(str(self.total))
        self.note(f"[{self.done:>{width}}/{self.total}] {summary(record)}")

    def note(self, text: str) -> None:
        """Print a line of text during the run."""
        sys.stderr.write(f"{one_line(text)}\n")
        sys.stderr.flush()


class Live(Lines):
    """A progress bar over all stages, and a line for each running stage."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars
        from rich.table import Column

        # a narrow terminal cuts the text, not the bar
        words = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self.bars = Bars(
            BarColumn(bar_width=20, table_column=Column(min_width=20)),
            TimeElapsedColumn(table_column=Column(min_width=7)),
            TextColumn("{task.description}", table_column=words, markup=False),
            console=Console(stderr=True),
            expand=True,
        )
        self.all = self.bars.add_task("", total=None)
        self.running: dict[str, TaskID] = {}

    def planned(self, stages: int) -> None:
        """Set the length of the bar."""
        super().planned(stages)
        self.bars.update(self.all, total=stages, description=self._how_far())

    def time_left(self, seconds: float | None) -> None:
        """Show the time that is left beside the bar."""
        super().time_left(seconds)
        self.bars.update(self.all, description=self._how_far())

    def working(self, stage: str, progress: str) -> None:
        """Show the stage in a line of its own."""
        text = one_line(f"{stage}  {progress}" if progress else stage)
        if stage in self.running:
            self.bars.update(self.running[stage], description=text)
        else:
            self.running[stage] = self.bars.add_task(text, total=None)

    def ended(self, stage: str) -> None:
        """Remove the line of a stage that has ended."""
        super().ended(stage)
        if stage in self.running:
            self.bars.remove_task(self.running.pop(stage))
        self.bars.update(self.all, advance=1, description=self._how_far())

    def cell(self, record: Record) -> None:
        """Print the result of a finished cell above the progress bars."""
        super().cell(record)
        self.bars.update(self.all, description=self._how_far())

    def note(self, text: str) -> None:
        """Print a line of text above the progress bars."""
        self.bars.console.print(one_line(text), markup=False, highlight=False)


@contextmanager
def shown(total: int, *, quiet: bool) -> Iterator[Progress]:
    """Yield the display of a run of ``total`` cells: live on a terminal, lines elsewhere."""
    if quiet or not total:
        yield Quiet()
    elif sys.stderr.isatty():
        live = Live(total)
        with live.bars:
            yield live
    else:
        yield Lines(total)


def ignore(_text: str) -> None:
    """Ignore a progress report of a stage or a download."""


class Ticker:
    """Shows the progress of one long task on stderr: in one line on a terminal, elsewhere
    in a new line every ten seconds.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._live = sys.stderr.isatty()
        # work that takes no time needs no line
        self._last_line = time.monotonic()

    def __call__(self, text: str) -> None:
        """Show a progress text; calls in quick succession are dropped."""
        if time.monotonic() - self._last_line < (0.1 if self._live else 10):
            return
        self._last_line = time.monotonic()
        start, end = ("\r\x1b[K", "") if self._live else ("", "\n")
        sys.stderr.write(f"{start}{self._name}: {one_line(text)}{end}")
        sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[K")


def summary(record: Record) -> str:
    """Return one line with the name of a cell and its AUC or its error."""
    if record.error is not None:
        return f"{record.cell}  {record.status}: {record.error.type}: {record.error.message}"
    auc = record.metrics.get("auc")
    result = f"AUC {auc.value:.4f}" if auc and auc.value is not None else "no AUC"
    seconds = record.cost.train_seconds
    return f"{record.cell}  {result}" + (f"  {seconds:.1f} s" if seconds is not None else "")
