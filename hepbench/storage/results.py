"""Results: one JSON file for each record, written whole or not at all, and what it was made from."""

from __future__ import annotations

import gc
import hashlib
import os
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.specs.errors import ResultsError
from hepbench.storage import records
from hepbench.storage.records import Record, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray


FAILED = ".failed.json"


class ResultsFolder:
    """A results folder: ``<suite>/<key>.json``, predictions and labels in folders beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def check(self) -> None:
        """Raise ResultsError, before any work is done, where results cannot be written."""
        with self._writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{os.getpid()}"
            probe.write_bytes(b"hepbench")
            probe.unlink()

    def read(self, suite: str, key: str) -> Record | None:
        """Return the record of a key, or None where there is none, or none that is whole."""
        try:
            path = self._path(suite, key)
            return records.decode(path.read_bytes(), name=path)
        except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
            return None

    def write(self, record: Record) -> None:
        """Write a record, and remove what it takes the place of.

        Raises:
            ResultsError: the folder cannot be written; nothing that was there is lost.
        """
        good = self._path(record.suite, record.key)
        failed = good.with_name(f"{record.key}{FAILED}")
        path, other = (good, failed) if record.status == "ok" else (failed, None)
        self._replace(path, lambda part: part.write_bytes(records.encode(record)))
        if other is not None:
            with suppress(FileNotFoundError):
                other.unlink()

    def keep(self, source: Path, relative: str) -> Stored:
        """Copy a file into the results, and return where it is and its checksum."""
        data = source.read_bytes()
        self._replace(self.root / relative, lambda part: part.write_bytes(data))
        return Stored(relative, hashlib.sha256(data).hexdigest())

    def build(self, relative: str, write: Callable[[Path], object]) -> Stored:
        """Write a file with a function of its path; return where it is and its checksum."""
        path = self.root / relative
        self._replace(path, write)
        return Stored(relative, sha256(path))

    def records(self) -> list[Record]:
        """Return every record, failed ones too, in the order of their paths.

        Raises:
            ResultsError: the folder is missing or holds no record, or a file is not a record.
        """
        if not self.root.is_dir():
            msg = f"no results in {self.root}: no such folder; 'hepbench run' makes one"
            raise ResultsError(msg)
        # as text: paths are compared part by part, in a fifth of a large table's time
        paths = sorted([*self.root.glob("*/*.json"), *self.root.glob("*.json")], key=str)
        if not paths:
            msg = f"no results in {self.root}: it holds no record; 'hepbench run' writes them"
            raise ResultsError(msg)
        # what is read stays: collections would walk through all of it again and again
        gc.disable()
        try:
            return [self._decode(path) for path in paths]
        finally:
            gc.freeze()
            gc.enable()

    def suite_records(self, suite: str) -> list[Record]:
        """Return the records of one suite that are whole."""
        found = (self.read(suite, path.stem) for path in sorted((self.root / suite).glob("*.json")))
        return [record for record in found if record is not None]

    def _decode(self, path: Path) -> Record:
        try:
            return records.decode(path.read_bytes(), name=path)
        except msgspec.MsgspecError as error:
            msg = f"{path} is cut short or no record ({error}); remove it and run again"
            raise ResultsError(msg) from error

    def _path(self, suite: str, key: str) -> Path:
        return self.root / suite / f"{key}.json"

    def _replace(self, path: Path, write: Callable[[Path], object]) -> None:
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        with self._writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                write(part)
                part.replace(path)
            finally:
                with suppress(OSError):
                    part.unlink()

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = (
                f"cannot write {error.filename or path}: {error.strerror}; choose another --results"
            )
            raise ResultsError(msg) from error


def sha256(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)
def checksum(path: Path) -> str:
    """Return the sha256 of a stored file, read once: several records share labels."""
    return sha256(path)


@lru_cache(maxsize=8)
def arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a stored npz by name, read once."""
    import numpy as np

    with np.load(path, allow_pickle=False) as found:
        return dict(found)
