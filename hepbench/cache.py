"""The cache: finished stages by key, and digests of files that have not changed since."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepbench import locks
from hepbench.errors import ResultsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MANIFEST = "manifest.json"


class Cache:
    """Finished stages, each a folder that is renamed into place when it is whole.

    ``manifest.json`` names its files with their sizes: an entry that was cut short is found and
    built again.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._claims: dict[str, int] = {}

    def folder(self, key: str) -> Path:
        """Return where a stage is kept, whether or not it is there."""
        return self.root / "stages" / key[:2] / key

    def find(self, key: str) -> dict[str, Any] | None:
        """Return the manifest of a finished stage, or None; one that is damaged is removed."""
        folder = self.folder(key)
        try:
            manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
            sizes: dict[str, int] = manifest["files"]
            if all((folder / name).stat().st_size == size for name, size in sizes.items()):
                return manifest
        except (FileNotFoundError, NotADirectoryError):
            if not folder.exists():
                return None
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        self.remove(key)
        return None

    def remove(self, key: str) -> None:
        """Remove a stage, whole or damaged; renamed first, so nobody sees half of it."""
        with suppress(FileNotFoundError):
            trash = self.scratch() / "removed"
            self.folder(key).rename(trash)
            shutil.rmtree(trash.parent, ignore_errors=True)

    def check(self) -> None:
        """Raise ResultsError, before any work is done, where the cache cannot be written."""
        self.scratch().rmdir()

    def scratch(self) -> Path:
        """Return a new empty folder on the cache's file system."""
        try:
            parent = self.root / "tmp"
            parent.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
        except OSError as error:
            msg = f"cache {self.root} cannot be written: {error.strerror}; set HEPBENCH_CACHE"
            raise ResultsError(msg) from error

    def claim(self, keys: Iterable[str]) -> bool:
        """Claim all of some keys, or none while another run works on one of them."""
        taken: list[str] = []
        for key in keys:
            descriptor = locks.claim(self._claim_path(key))
            if descriptor is None:
                self.release(taken)
                return False
            self._claims[key] = descriptor
            taken.append(key)
        return True

    def release(self, keys: Iterable[str]) -> None:
        """Give claims back."""
        for key in keys:
            locks.release(self._claim_path(key), self._claims.pop(key))

    def sweep(self) -> None:
        """Remove the scratch folders of processes that are gone."""
        for folder in (self.root / "tmp").glob("*-*"):
            pid = folder.name.partition("-")[0]
            if pid.isdigit() and not _alive(int(pid)):
                shutil.rmtree(folder, ignore_errors=True)

    def _claim_path(self, key: str) -> Path:
        return self.root / "claims" / f"{key}.lock"


def finish(scratch: Path, folder: Path, facts: dict[str, Any]) -> None:
    """Turn a scratch folder into a finished stage: manifest last, then one rename.

    Where the stage is there already (another run was quicker), that one stays.
    """
    files = {str(p.relative_to(scratch)): p.stat().st_size for p in _files(scratch)}
    (scratch / MANIFEST).write_text(json.dumps({**facts, "files": files}))
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        scratch.rename(folder)
    except OSError:
        if not (folder / MANIFEST).exists():
            raise
        shutil.rmtree(scratch)


def _files(folder: Path) -> Iterable[Path]:
    return (Path(root) / name for root, _, names in os.walk(folder) for name in names)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # in a container nobody may reap: a zombie counts as dead
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:
        return True


def stamp(path: Path) -> list[int]:
    """Return size, times of change in ns, and number of a file: others where it is another one.

    Raises:
        OSError: it is gone.
    """
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


class Remembered:
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
