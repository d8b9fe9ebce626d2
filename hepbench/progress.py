"""Progress on stderr: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from hepbench.records import Record


class Progress(Protocol):
    """What a run tells as it goes."""

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

    def working(self, stage: str, progress: str) -> None:
        """Say nothing."""

    def ended(self, stage: str) -> None:
        """Say nothing."""

    def cell(self, record: Record) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


class Lines(Quiet):
    """One plain line for each finished cell."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0

    def cell(self, record: Record) -> None:
        """Print the cell's number, name and AUC."""
        self.done += 1
        width = len(str(self.total))
        self.note(f"[{self.done:>{width}}/{self.total}] {summary(record)}")

    def note(self, text: str) -> None:
        """Print one line."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


class Live(Lines):
    """A bar over all cells, and a line for each stage under way."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        columns = [BarColumn(bar_width=20), TimeElapsedColumn(), TextColumn("{task.description}")]
        self.bars = Bars(*columns, console=Console(stderr=True))
        self.all = self.bars.add_task(f"0 of {total} cells", total=total)
        self.stages: dict[str, int] = {}

    def working(self, stage: str, progress: str) -> None:
        """Show the stage in a line of its own."""
        text = f"{stage}  {progress}" if progress else stage
        if stage in self.stages:
            self.bars.update(self.stages[stage], description=text)  # type: ignore[arg-type]
        else:
            self.stages[stage] = self.bars.add_task(text, total=None)

    def ended(self, stage: str) -> None:
        """Take the stage's line away."""
        if stage in self.stages:
            self.bars.remove_task(self.stages.pop(stage))  # type: ignore[arg-type]

    def cell(self, record: Record) -> None:
        """Print the cell above the bars."""
        super().cell(record)
        text = f"{self.done} of {self.total} cells"
        self.bars.update(self.all, advance=1, description=text)

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
