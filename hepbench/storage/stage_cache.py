"""The stage cache: one folder on disk for each finished stage, by key."""

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
    """The manifest of a finished stage in the cache: its files, usage and result.

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
    """The cache of finished stages, each in a folder that is moved into place when complete.

    Its ``manifest.json`` lists the files with their sizes and checksums, so that an incomplete or
    damaged stage is noticed and run again.

    Args:
        root: folder of the cache.
        holds: says whether what a stage used is still the same.
    """

    def __init__(self, root: Path, holds: Callable[[Usage | None], bool] | None = None) -> None:
        self.root = root
        self._holds = holds
        self._claims: dict[str, int] = {}

    def folder(self, key: str) -> Path:
        """Return the cache folder of a stage, whether or not it exists."""
        return self.root / f"stages/{key[:2]}/{key}"

    def find(self, key: str) -> Manifest | None:
        """Return the manifest of a cached stage, or None; an incomplete stage is removed.

        Files are compared by their size only, see ``intact``.
        """
        folder = self.folder(key)
        try:
            manifest = _decoder.decode(_verified(regular_files.read_text(folder / MANIFEST)))
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
        """Return whether the files of a cached stage match their checksums; if not, remove it.

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
        """Return the manifest of a cached stage if the files and versions it used are unchanged.

        Called when a run is planned and before a stage starts.
        """
        manifest = self.find(key)
        if manifest is None or (self._holds and not self._holds(manifest.used)):
            return None
        return manifest

    def usable(self, key: str) -> bool:
        """Return whether a cached stage is valid and intact, so that it need not run again."""
        return self.find_valid(key) is not None and self.intact(key)

    def used(self, key: str) -> Usage:
        """Return the files and versions that a cached stage and its parents used."""
        manifest = self.find(key)
        return (manifest and manifest.used) or Usage()

    def result(self, key: str, kind: type[Result]) -> Result:
        """Return the result message that the cache stores on disk for a stage.

        Raises:
            FileNotFoundError: the stage is not in the cache.
            msgspec.MsgspecError: the message has another type.
        """
        manifest = self.find(key)
        if manifest is None:
            raise FileNotFoundError(self.folder(key))
        return msgspec.json.decode(manifest.result, type=kind)

    def remove(self, key: str) -> None:
        """Remove a stage from the cache, in one move, so that no run reads half of it."""
        folder = self.folder(key)
        if folder.exists():
            trash = self.scratch()
            # another run may have removed it meanwhile
            with self._explaining_write_errors(), suppress(FileNotFoundError):
                folder.rename(trash / "removed")
            shutil.rmtree(trash, ignore_errors=True)

    def check(self) -> None:
        """Raise ResultsError if the cache folder cannot be written to."""
        with self._explaining_write_errors():
            self.scratch().rmdir()
            for name in ("stages", "claims"):
                (self.root / name).mkdir(exist_ok=True)

    def scratch(self) -> Path:
        """Create an empty temporary folder in the cache."""
        with self._explaining_write_errors():
            parent = self.root / "tmp"
            parent.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=f"{temporary.owner()}~", dir=parent))

    def claim(self, keys: Iterable[str]) -> bool:
        """Claim stages by key for this run: all, or none if another run works on one."""
        taken: list[str] = []
        for key in keys:
            with self._explaining_write_errors():
                descriptor = locks.claim(self._claim_path(key))
            if descriptor is None:
                self.release(taken)
                return False
            self._claims[key] = descriptor
            taken.append(key)
        return True

    def release(self, keys: Iterable[str]) -> None:
        """Release this run's claims on stages."""
        for key in keys:
            locks.release(self._claim_path(key), self._claims.pop(key))

    def sweep(self) -> None:
        """Remove temporary files, folders and claims in the cache of processes that have ended."""
        for folder in filter(temporary.is_left_over, (self.root / "tmp").glob("*")):
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            for folder in (self.root, self.root / "comparisons"):
                temporary.remove_left_over(folder, ".*.part")
            for path in (self.root / "claims").glob("*.lock"):
                if (descriptor := locks.claim(path)) is not None:
                    locks.release(path, descriptor)

    @contextmanager
    def _explaining_write_errors(self) -> Iterator[None]:
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
    """Move the temporary folder of a finished stage, with its manifest, into the cache.

    All is on disk before the folder moves, so a power cut leaves no incomplete stage. If another run
    has finished the same stage in the meantime, its folder stays.
    """
    paths = {str(path.relative_to(scratch)): path for path in _files_below(scratch)}
    manifest = Manifest(
        files={name: path.stat().st_size for name, path in paths.items()},
        checksums={name: _crc(path) for name, path in paths.items()},
        took_seconds=took_seconds,
        used=used,
        result=msgspec.Raw(msgspec.json.encode(result)),
    )
    (scratch / MANIFEST).write_bytes(_with_checksum(msgspec.json.encode(manifest)))
    durable.sync_tree(scratch)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        scratch.rename(folder)
    except OSError:
        if not (folder / MANIFEST).exists():
            raise
        shutil.rmtree(scratch)
    durable.sync(folder.parent)


def _files_below(folder: Path) -> Iterable[Path]:
    return (Path(root) / name for root, _, names in os.walk(folder) for name in names)


def _crc(path: Path) -> int:
    """Return the CRC-32 checksum of a file."""
    crc = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            crc = zlib.crc32(piece, crc)
    return crc


def _with_checksum(table: bytes) -> bytes:
    """Add a checksum of the text to a JSON table, as its first field."""
    rest = table[1:]
    return b'{"checksum":"%08x",' % zlib.crc32(rest) + rest


def _verified(text: bytes) -> bytes:
    """Return a JSON text whose checksum is right; texts of old versions have none.

    Raises:
        ValueError: the checksum differs.
    """
    if text.startswith(SEAL) and text != _with_checksum(b"{" + text[len(SEAL) + 10 :]):
        msg = "the checksum differs"
        raise ValueError(msg)
    return text


def used_in(folder: Path) -> Usage:
    """Return the files and versions that the stage in a cache folder used."""
    return _decoder.decode(_verified((folder / MANIFEST).read_bytes())).used or Usage()


_decoder = msgspec.json.Decoder(Manifest)
