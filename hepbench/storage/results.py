"""Results folder: one JSON file for each record, written completely or not at all, and its arrays."""

from __future__ import annotations

import gc
import hashlib
import os
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.specs.errors import ResultsError
from hepbench.storage import durable, records
from hepbench.storage.records import Record, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray


FAILED = ".failed.json"


class ResultsFolder:
    """A folder of records, ``<suite>/<key>.json``, with predictions and labels beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def check(self) -> None:
        """Raise ResultsError if results cannot be written; called before any work is done."""
        with self._writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{os.getpid()}"
            probe.write_bytes(b"hepbench")
            probe.unlink()

    def read(self, suite: str, key: str) -> Record | None:
        """Return the record of a key; None if it is missing or damaged.

        Raises:
            ResultsError: a newer hepbench wrote it.
        """
        try:
            path = self._path(suite, key)
            return records.decode(path.read_bytes(), name=path)
        except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
            return None

    def write(self, record: Record) -> Record:
        """Write a record, and remove the failed record that it replaces.

        Returns:
            The record as it is read from now on, with lists in place of tuples.

        Raises:
            ResultsError: the folder cannot be written; existing files are unchanged.
        """
        good = self._path(record.suite, record.key)
        failed = good.with_name(f"{record.key}{FAILED}")
        path, other = (good, failed) if record.status == "ok" else (failed, None)
        text = records.encode(record)
        self._replace(path, lambda part: part.write_bytes(text))
        if other is not None:
            with suppress(FileNotFoundError):
                other.unlink()
        return records.decode(text, name=path)

    def copy(self, source: Path, relative: str) -> Stored:
        """Copy a file into the results; return its path and checksum."""
        data = source.read_bytes()
        self._replace(self.root / relative, lambda part: part.write_bytes(data))
        return Stored(relative, hashlib.sha256(data).hexdigest())

    def create(self, relative: str, write: Callable[[Path], object]) -> Stored:
        """Create a file in the results with a function of its path; return path and checksum."""
        path = self.root / relative
        self._replace(path, write)
        return Stored(relative, sha256(path))

    def records(self) -> list[Record]:
        """Return all records, including failed ones, sorted by path.

        Raises:
            ResultsError: the folder is missing or holds no record, a file is not a record, or a
                newer hepbench wrote it.
        """
        if not self.root.is_dir():
            msg = f"no results in {self.root}: no such folder; 'hepbench run' creates it"
            raise ResultsError(msg)
        # as text: comparing paths part by part takes a fifth of the time of a large table
        paths = sorted([*self.root.glob("*/*.json"), *self.root.glob("*.json")], key=str)
        if not paths:
            msg = f"no results in {self.root}: no records in it; 'hepbench run' writes them"
            raise ResultsError(msg)
        # garbage collections would traverse all records again and again
        gc.disable()
        try:
            return [self._decode(path) for path in paths]
        finally:
            gc.freeze()
            gc.enable()

    def suite_records(self, suite: str) -> list[Record]:
        """Return the records of one suite, without damaged ones."""
        found = (self.read(suite, path.stem) for path in sorted((self.root / suite).glob("*.json")))
        return [record for record in found if record is not None]

    def _decode(self, path: Path) -> Record:
        try:
            return records.decode(path.read_bytes(), name=path)
        except msgspec.MsgspecError as error:
            msg = f"{path} is truncated or not a record ({error}); remove it and run again"
            raise ResultsError(msg) from error

    def _path(self, suite: str, key: str) -> Path:
        return self.root / suite / f"{key}.json"

    def _replace(self, path: Path, write: Callable[[Path], object]) -> None:
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        with self._writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                write(part)
                durable.sync(part)
                part.replace(path)
                durable.sync(path.parent)
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
    """Return the sha256 of a stored file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)
def checksum(path: Path) -> str:
    """Return the sha256 of a stored file, cached: several records share labels."""
    return sha256(path)


@lru_cache(maxsize=8)
def arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a stored npz file by name, cached."""
    import numpy as np

    with np.load(path, allow_pickle=False) as found:
        return dict(found)
