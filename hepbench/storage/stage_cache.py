"""The stage cache: folders of finished stages, by key."""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from hepbench.specs.errors import ResultsError
from hepbench.storage import durable, locks, regular_files, temporary
from hepbench.storage.records import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


MANIFEST = "manifest.json"

PIECE_BYTES = 1 << 20

SEAL = b'{"checksum":"'

Result = TypeVar("Result", bound=msgspec.Struct)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The files and the result of a finished stage.

    Attributes:
        files: sizes in bytes, by path relative to the folder.
        checksums: their CRC-32, by the same paths; entries of older versions have none.
        took_seconds: how long the stage ran.
        used: by the stage and by those that it depends on; None in entries of older versions.
        result: the message that the stage returned, as JSON.
    """

    files: dict[str, int]
    checksums: dict[str, int] = {}
    took_seconds: float = 0.0
    used: Usage | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")


class StageCache:
    """Finished stages, each in a folder that is moved into place when it is complete.

    Its ``manifest.json`` lists the files with their sizes and checksums, so that an incomplete or
    damaged stage is noticed and run again.

    Args:
        root: folder of the cache.
        holds: tells whether what a stage used is still the same.
    """

    def __init__(self, root: Path, holds: Callable[[Usage | None], bool] | None = None) -> None:
        self.root = root
        self._holds = holds
        self._claims: dict[str, int] = {}

    def folder(self, key: str) -> Path:
        """Return the folder of a stage, whether or not it exists."""
        return self.root / "stages" / key[:2] / key

    def find(self, key: str) -> Manifest | None:
        """Return the manifest of a finished stage, or None; an incomplete stage is removed.

        Files are compared by their size only, see ``intact``.
        """
        folder = self.folder(key)
        try:
            manifest = _decoder.decode(_unsealed(regular_files.read_text(folder / MANIFEST)))
            if all((folder / n).stat().st_size == size for n, size in manifest.files.items()):
                return manifest
        except (FileNotFoundError, NotADirectoryError):
            if not folder.exists():
                return None
        except (msgspec.MsgspecError, OSError, RecursionError, ValueError):
            pass
        self.remove(key)
        return None

    def intact(self, key: str) -> bool:
        """Return whether a stage is finished and its files are as written; otherwise remove it.

        This reads all of its files: 1.4 GB in a second.
        """
        manifest, folder = self.find(key), self.folder(key)
        if manifest is None:
            return False
        with suppress(OSError):
            if all(_crc(folder / name) == crc for name, crc in manifest.checksums.items()):
                return True
        self.remove(key)
        return False

    def find_valid(self, key: str) -> Manifest | None:
        """Return the manifest of a finished stage if what it used is still the same.

        Asked when a run is planned and before a stage starts; what the run has made stays.
        """
        manifest = self.find(key)
        if manifest is None or (self._holds and not self._holds(manifest.used)):
            return None
        return manifest

    def usable(self, key: str) -> bool:
        """Return whether a stage is valid and intact: it need not run again."""
        return self.find_valid(key) is not None and self.intact(key)

    def used(self, key: str) -> Usage:
        """Return what a finished stage and those that it depends on used."""
        manifest = self.find(key)
        return (manifest and manifest.used) or Usage()

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
        """Remove a stage if it is there; its folder is moved first, so that no run reads half of it."""
        folder = self.folder(key)
        if folder.exists():
            trash = self.scratch()
            # another run may have removed it meanwhile
            with self._writing(), suppress(FileNotFoundError):
                folder.rename(trash / "removed")
            shutil.rmtree(trash, ignore_errors=True)

    def check(self) -> None:
        """Raise ResultsError if the cache cannot be written; called before any work is done."""
        with self._writing():
            self.scratch().rmdir()
            for name in ("stages", "claims"):
                (self.root / name).mkdir(exist_ok=True)

    def scratch(self) -> Path:
        """Return a new empty folder on the cache's file system."""
        with self._writing():
            parent = self.root / "tmp"
            parent.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=f"{temporary.owner()}~", dir=parent))

    def claim(self, keys: Iterable[str]) -> bool:
        """Claim all of the keys, or none if another run works on one of them."""
        taken: list[str] = []
        for key in keys:
            with self._writing():
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
        """Remove the temporary files, scratch folders and claims of processes that have ended."""
        for folder in filter(temporary.is_left_over, (self.root / "tmp").glob("*")):
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            temporary.remove_left_over(self.root, ".*.part")
            for path in (self.root / "claims").glob("*.lock"):
                if (descriptor := locks.claim(path)) is not None:
                    locks.release(path, descriptor)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = error.filename or self.root
            reason = f"cache {self.root} cannot be written: {where}: {error.strerror or error}"
            msg = f"{reason}; set HEPBENCH_CACHE to another folder"
            raise ResultsError(msg) from error

    def _claim_path(self, key: str) -> Path:
        return self.root / "claims" / f"{key}.lock"


def finish(
    scratch: Path, folder: Path, result: msgspec.Struct, *, took_seconds: float, used: Usage
) -> None:
    """Turn a scratch folder into a finished stage: write the manifest last, then move the folder.

    All is on disk before the folder moves, so a power cut leaves no half of a stage. If another run
    has finished the same stage in the meantime, its folder stays.
    """
    paths = {str(path.relative_to(scratch)): path for path in _files(scratch)}
    manifest = Manifest(
        files={name: path.stat().st_size for name, path in paths.items()},
        checksums={name: _crc(path) for name, path in paths.items()},
        took_seconds=took_seconds,
        used=used,
        result=msgspec.Raw(msgspec.json.encode(result)),
    )
    (scratch / MANIFEST).write_bytes(_sealed(msgspec.json.encode(manifest)))
    durable.sync_tree(scratch)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        scratch.rename(folder)
    except OSError:
        if not (folder / MANIFEST).exists():
            raise
        shutil.rmtree(scratch)
    durable.sync(folder.parent)


def _files(folder: Path) -> Iterable[Path]:
    return (Path(root) / name for root, _, names in os.walk(folder) for name in names)


def _crc(path: Path) -> int:
    """Return the CRC-32 of a file: any one changed bit changes it."""
    crc = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            crc = zlib.crc32(piece, crc)
    return crc


def _sealed(table: bytes) -> bytes:
    """Return a JSON table with the checksum of the rest of its text as first field."""
    rest = table[1:]
    return b'{"checksum":"%08x",' % zlib.crc32(rest) + rest


def _unsealed(text: bytes) -> bytes:
    """Return a sealed text; one of an older version has no checksum.

    Raises:
        ValueError: the text is not the one that was sealed.
    """
    if text.startswith(SEAL) and text != _sealed(b"{" + text[len(SEAL) + 10 :]):
        msg = "the checksum differs"
        raise ValueError(msg)
    return text


def used_in(folder: Path) -> Usage:
    """Return what the stage in a finished folder used."""
    return _decoder.decode(_unsealed((folder / MANIFEST).read_bytes())).used or Usage()


_decoder = msgspec.json.Decoder(Manifest)
