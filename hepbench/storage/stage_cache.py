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
from hepbench.storage import locks, machine

if TYPE_CHECKING:
    from collections.abc import Iterable


MANIFEST = "manifest.json"

Result = TypeVar("Result", bound=msgspec.Struct)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The files and the result of a finished stage.

    Attributes:
        files: sizes in bytes, by path relative to the folder.
        took_seconds: how long the stage ran.
        result: the message that the stage returned, as JSON.
    """

    files: dict[str, int]
    took_seconds: float = 0.0
    result: msgspec.Raw = msgspec.Raw(b"null")


class StageCache:
    """Finished stages, each in a folder that is moved into place when it is complete.

    Its ``manifest.json`` lists the files with their sizes, so that an incomplete stage is noticed
    and run again.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._claims: dict[str, int] = {}

    def folder(self, key: str) -> Path:
        """Return the folder of a stage, whether or not it exists."""
        return self.root / "stages" / key[:2] / key

    def find(self, key: str) -> Manifest | None:
        """Return the manifest of a finished stage, or None; a damaged stage is removed."""
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
            FileNotFoundError: the stage is not in the cache.
            msgspec.MsgspecError: its message is of another kind.
        """
        manifest = self.find(key)
        if manifest is None:
            raise FileNotFoundError(self.folder(key))
        return msgspec.json.decode(manifest.result, type=kind)

    def remove(self, key: str) -> None:
        """Remove a stage; its folder is moved first, so that no run reads half of it."""
        with suppress(FileNotFoundError):
            trash = self.scratch() / "removed"
            self.folder(key).rename(trash)
            shutil.rmtree(trash.parent, ignore_errors=True)

    def check(self) -> None:
        """Raise ResultsError if the cache cannot be written; called before any work is done."""
        self.scratch().rmdir()

    def scratch(self) -> Path:
        """Return a new empty folder on the cache's file system."""
        try:
            parent = self.root / "tmp"
            parent.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
        except OSError as error:
            reason = f"cache {self.root} cannot be written: {error.strerror}"
            msg = f"{reason}; set HEPBENCH_CACHE to another folder"
            raise ResultsError(msg) from error

    def claim(self, keys: Iterable[str]) -> bool:
        """Claim all of the keys, or none if another run works on one of them."""
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
        """Release the claims on keys."""
        for key in keys:
            locks.release(self._claim_path(key), self._claims.pop(key))

    def sweep(self) -> None:
        """Remove the scratch folders of processes that have ended."""
        for folder in (self.root / "tmp").glob("*-*"):
            pid = folder.name.partition("-")[0]
            if pid.isdigit() and not machine.is_running(int(pid)):
                shutil.rmtree(folder, ignore_errors=True)

    def _claim_path(self, key: str) -> Path:
        return self.root / "claims" / f"{key}.lock"


def finish(scratch: Path, folder: Path, result: msgspec.Struct, took_seconds: float) -> None:
    """Turn a scratch folder into a finished stage: write the manifest last, then move the folder.

    If another run has finished the same stage in the meantime, its folder stays.
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


_decoder = msgspec.json.Decoder(Manifest)
