"""Progress on stderr: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from hepbench.specs.text import duration, several

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from rich.progress import TaskID

    from hepbench.storage.records import Record


LINE_SECONDS = 30
"""Between lines on what is under way."""


class Progress(Protocol):
    """What a run tells as it goes."""

    def planned(self, stages: int) -> None:
        """Show how many stages are to run."""
        ...

    def working(self, stage: str, progress: str) -> None:
        """Show that a stage is under way, and how far."""
        ...

    def ended(self, stage: str) -> None:
        """Show that a stage has ended."""
        ...

    def cell(self, record: Record) -> None:
        """Show a finished cell."""
        ...

    def note(self, text: str) -> None:
        """Show one line."""
        ...


class Quiet:
    """Tells nothing."""

    def planned(self, stages: int) -> None:
        """Say nothing."""

    def working(self, stage: str, progress: str) -> None:
        """Say nothing."""

    def ended(self, stage: str) -> None:
        """Say nothing."""

    def cell(self, record: Record) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


class Lines(Quiet):
    """One plain line for each finished cell, and now and then one on the stages before it: costs are
    measured when all else is done, so most cells finish late.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.stages = self.stages_done = 0
        self._began = self._told = time.monotonic()

    def planned(self, stages: int) -> None:
        """Remember how many stages are to run."""
        self.stages = stages

    def working(self, stage: str, progress: str) -> None:
        """Print how far the stages are, at most every ``LINE_SECONDS``."""
        now = time.monotonic()
        if now - self._told >= LINE_SECONDS:
            self._told = now
            under_way = f"{stage} {progress}".strip()
            self.note(f"{self._how_far()}, {duration(now - self._began)}; now {under_way}")

    def ended(self, stage: str) -> None:  # noqa: ARG002 - the protocol's
        """Count the stage."""
        self.stages_done += 1

    def _how_far(self) -> str:
        stages, cells = several(self.stages, "stage"), several(self.total, "cell")
        return f"{self.stages_done} of {stages}, {self.done} of {cells}"

    def cell(self, record: Record) -> None:
        """Print the cell's number, name and AUC."""
        self.done += 1
        self._told = time.monotonic()
        width = len(str(self.total))
        self.note(f"[{self.done:>{width}}/{self.total}] {summary(record)}")

    def note(self, text: str) -> None:
        """Print one line."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


class Live(Lines):
    """A bar over all stages, and a line for each that is under way."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars
        from rich.table import Column

        # in a narrow terminal it is the words that give way
        words = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self.bars = Bars(
            BarColumn(bar_width=20, table_column=Column(min_width=20)),
            TimeElapsedColumn(table_column=Column(min_width=7)),
            TextColumn("{task.description}", table_column=words),
            console=Console(stderr=True),
            expand=True,
        )
        self.all = self.bars.add_task("", total=None)
        self.under_way: dict[str, TaskID] = {}

    def planned(self, stages: int) -> None:
        """Set the length of the bar."""
        super().planned(stages)
        self.bars.update(self.all, total=stages, description=self._how_far())

    def working(self, stage: str, progress: str) -> None:
        """Show the stage in a line of its own."""
        text = f"{stage}  {progress}" if progress else stage
        if stage in self.under_way:
            self.bars.update(self.under_way[stage], description=text)
        else:
            self.under_way[stage] = self.bars.add_task(text, total=None)

    def ended(self, stage: str) -> None:
        """Take the stage's line away."""
        super().ended(stage)
        if stage in self.under_way:
            self.bars.remove_task(self.under_way.pop(stage))
        self.bars.update(self.all, advance=1, description=self._how_far())

    def cell(self, record: Record) -> None:
        """Print the cell above the bars."""
        super().cell(record)
        self.bars.update(self.all, description=self._how_far())

    def note(self, text: str) -> None:
        """Print one line above the bars."""
        self.bars.console.print(text, markup=False, highlight=False)


@contextmanager
def shown(total: int, *, quiet: bool) -> Iterator[Progress]:
    """Show progress over so many cells, as the terminal allows."""
    if quiet or not total:
        yield Quiet()
    elif sys.stderr.isatty():
        live = Live(total)
        with live.bars:
            yield live
    else:
        yield Lines(total)


def nobody(_text: str) -> None:
    """Tell nobody how far something is."""


class Ticker:
    """How far one long piece of work is, in a line on stderr: written over on a terminal, elsewhere
    a new one every ten seconds.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._live = sys.stderr.isatty()
        # what is done at once needs no line
        self._told = time.monotonic()

    def __call__(self, text: str) -> None:
        """Tell it; calls in quick succession are dropped."""
        if time.monotonic() - self._told < (0.1 if self._live else 10):
            return
        self._told = time.monotonic()
        start, end = ("\r\x1b[K", "") if self._live else ("", "\n")
        sys.stderr.write(f"{start}{self._name}: {text}{end}")
        sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[K")


def summary(record: Record) -> str:
    """Return a cell and what became of it in one line."""
    if record.error is not None:
        return f"{record.cell}  {record.status}: {record.error.type}: {record.error.message}"
    auc = record.metrics.get("auc")
    figure = f"AUC {auc.value:.4f}" if auc and auc.value is not None else "no AUC"
    seconds = record.cost.train_seconds
    return f"{record.cell}  {figure}" + (f"  {seconds:.1f} s" if seconds is not None else "")
