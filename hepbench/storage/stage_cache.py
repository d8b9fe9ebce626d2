"""The stage cache: folders of finished stages, by key."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from hepbench.specs.errors import ResultsError
from hepbench.storage import locks

if TYPE_CHECKING:
    from collections.abc import Iterable


MANIFEST = "manifest.json"

Result = TypeVar("Result", bound=msgspec.Struct)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the folder of a finished stage.

    Attributes:
        files: sizes in bytes, by path relative to the folder.
        took_seconds: that the stage ran.
        result: the message that the stage returned.
    """

    files: dict[str, int]
    took_seconds: float = 0.0
    result: msgspec.Raw = msgspec.Raw(b"null")


class StageCache:
    """Finished stages, each a folder that is renamed into place when it is whole.

    Its ``manifest.json`` lists the files with their sizes, so that a truncated entry is noticed and
    built again.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._claims: dict[str, int] = {}

    def folder(self, key: str) -> Path:
        """Return where a stage is kept, whether or not it is there."""
        return self.root / "stages" / key[:2] / key

    def find(self, key: str) -> Manifest | None:
        """Return the manifest of a finished stage, or None; a damaged entry is removed."""
        folder = self.folder(key)
        try:
            manifest = _decoder.decode((folder / MANIFEST).read_bytes())
            if all((folder / n).stat().st_size == size for n, size in manifest.files.items()):
                return manifest
        except (FileNotFoundError, NotADirectoryError):
            if not folder.exists():
                return None
        except (msgspec.MsgspecError, ValueError):
            pass
        self.remove(key)
        return None

    def result(self, key: str, kind: type[Result]) -> Result:
        """Return the message that a finished stage returned.

        Raises:
            FileNotFoundError: the stage is not there.
            msgspec.MsgspecError: its message is another one.
        """
        manifest = self.find(key)
        if manifest is None:
            raise FileNotFoundError(self.folder(key))
        return msgspec.json.decode(manifest.result, type=kind)

    def remove(self, key: str) -> None:
        """Remove a stage, whole or damaged; it is renamed first, so that nobody reads half of it."""
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


def finish(scratch: Path, folder: Path, result: msgspec.Struct, took_seconds: float) -> None:
    """Turn a scratch folder into a finished stage: manifest last, then one rename.

    Where another run has finished the same stage meanwhile, that one stays.
    """
    files = {str(p.relative_to(scratch)): p.stat().st_size for p in _files(scratch)}
    raw = msgspec.Raw(msgspec.json.encode(result))
    manifest = Manifest(files=files, took_seconds=took_seconds, result=raw)
    (scratch / MANIFEST).write_bytes(msgspec.json.encode(manifest))
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


_decoder = msgspec.json.Decoder(Manifest)
