"""The cache: finished stages by key, and digests of files that have not changed since."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepbench.specs.errors import ResultsError
from hepbench.storage import locks

if TYPE_CHECKING:
    from collections.abc import Iterable


MANIFEST = "manifest.json"


class StageCache:
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
