"""Digests of files, kept for as long as a file's size and times stay the same."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def stamp(path: Path) -> list[int]:
    """Return size, times of change in ns, and number of a file: others where it is another one.

    Raises:
        OSError: it is gone.
    """
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


class DigestCache:
    """What was computed from a file, kept while its size and times stay as they are."""

    # a file changed within the clock's grain of our reading would look unchanged
    SETTLED_SECONDS = 2.0

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = False
        try:
            known = json.loads(path.read_bytes())
            self._known: dict[str, Any] = known if isinstance(known, dict) else {}
        except (OSError, ValueError):
            self._known = {}

    def __call__(self, path: Path, compute: Callable[[Path], Any]) -> Any:
        """Return ``compute(path)``, from memory where the file has not changed."""
        before = stamp(path)
        name = str(path.absolute())
        if name in self._known and self._known[name][0] == before:
            return self._known[name][1]
        value = compute(path)
        _, *changed, _ = before
        if time.time() - max(changed) / 1e9 > self.SETTLED_SECONDS:
            self._known[name] = [before, value]
            self._changed = True
        return value

    def save(self) -> None:
        """Keep what was learned; losing it costs time, never a wrong value."""
        if not self._changed:
            return
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            kept = {name: value for name, value in self._known.items() if Path(name).exists()}
            part.write_text(json.dumps(kept))
            part.replace(self._path)
            self._changed = False
