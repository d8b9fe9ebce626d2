"""Results: one JSON file for each record, and its arrays, in a folder or in a packed file."""

from __future__ import annotations

import gc
import hashlib
import re
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import msgspec

from hepbench.specs.errors import ResultsError, UsageError
from hepbench.specs.text import unknown
from hepbench.storage import durable, records, temporary, untrusted_zip
from hepbench.storage.records import Record, Stored
from hepbench.storage.results_files import ResultsFiles, open_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hepbench.storage.stored_arrays import Arrays


FAILED = ".failed.json"


class DamagedRecordError(ResultsError):
    """The file of a record that is cut short, or holds the record of another key."""


class Results:
    """Records, ``<suite>/<key>.json``, with predictions and labels beside them, to read.

    The folder of one suite can be given instead, and a zip file of such a folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.skipped: list[str] = []
        """A line for each JSON file that was skipped: it is no record, or a damaged one."""

    def __str__(self) -> str:
        return str(self.root)

    @cached_property
    def files(self) -> ResultsFiles:
        """The files of the folder, or of the packed file."""
        return open_files(self.root)

    def read(self, suite: str, key: str) -> Record | None:
        """Return the record of a key; None if it is missing or damaged.

        Raises:
            ResultsError: a newer hepbench wrote it.
        """
        try:
            return self._record(f"{suite}/{key}.json")
        except (FileNotFoundError, NotADirectoryError, DamagedRecordError):
            return None

    def records(self, run: str | None = None) -> list[Record]:
        """Return all records, including failed ones, sorted by path.

        Args:
            run: only those of the run with this name.

        Raises:
            ResultsError: there is none, a record is damaged, or a newer hepbench wrote it.
            UsageError: no run has this name.
        """
        found = list(self.by_name().values())
        return found if run is None else _of_run(found, run)

    def by_name(self) -> dict[str, Record]:
        """Return all records by the names of their files, sorted; see ``records``."""
        names = self.files.record_names()
        # garbage collections would traverse all records again and again
        gc.disable()
        try:
            read = ((name, self._record_or_stray(name)) for name in names)
            found = {name: record for name, record in read if record is not None}
        finally:
            gc.freeze()
            gc.enable()
        if not found:
            msg = f"no results in {self.root}: no records in it; 'hepbench run' writes them"
            msg = "; ".join([msg, *self.skipped[:1]])
            raise ResultsError(msg)
        return found

    def suite_records(self, suite: str) -> list[Record]:
        """Return the records of one suite; damaged ones are added to ``skipped``."""
        found = []
        for name in self.files.record_names():
            if name.startswith(f"{suite}/"):
                try:
                    found.append(self._record(name))
                except FileNotFoundError:
                    # another run has just replaced it
                    continue
                except DamagedRecordError as error:
                    self.skipped.append(f"skipped: {error}")
        return found

    def content(self, stored: Stored) -> bytes:
        """Return the contents of a file that a record of these results names.

        Raises:
            FileNotFoundError, NotADirectoryError: it does not exist.
            ResultsError: it lies outside of the results, or cannot be read.
        """
        return self.files.read(stored.path)

    def arrays(self, stored: Stored) -> tuple[str, Arrays]:
        """Return checksum and arrays of a stored file, cached: several records share labels.

        Raises:
            FileNotFoundError, NotADirectoryError: it does not exist.
            ResultsError: it lies outside of the results, or cannot be read.
        """
        return _arrays(self, stored)

    def _record_or_stray(self, name: str) -> Record | None:
        """Return a record; None for another JSON file, which is added to ``skipped``."""
        try:
            return self._record(name)
        except FileNotFoundError:
            # a link to nowhere, or a run has just replaced it
            self.skipped.append(f"skipped, as it is missing: {self.root / name}")
            return None
        except ResultsError as error:
            if _RECORD_NAME.fullmatch(name.rpartition("/")[2]):
                raise
            self.skipped.append(f"skipped, as its name is not that of a record: {error}")
            return None

    def _record(self, name: str) -> Record:
        where = self.root / name
        try:
            record = records.decode(self.files.read(name), name=where)
        except msgspec.MsgspecError as error:
            msg = f"{where} is truncated or not a record ({error}); remove it and run again"
            raise DamagedRecordError(msg) from error
        folder, _, file = name.rpartition("/")
        if not record.key or not file.startswith(record.key):
            msg = f"{where} holds the record {record.key} of {record.cell}; remove it and run again"
            raise DamagedRecordError(msg)
        return _placed(record, folder, where)


def _placed(record: Record, folder: str, where: Path) -> Record:
    """Return a record whose paths are relative to the results, not to its own folder.

    Raises:
        DamagedRecordError: a path leads outside of its folder.
    """

    def place(path: str) -> str:
        if not untrusted_zip.stays_inside(path):
            msg = f"{where} names the file {path[:200]!r}, which is not inside of its folder"
            raise DamagedRecordError(msg)
        return f"{folder}/{path}" if folder else path

    return records.with_paths(record, place)


def _of_run(found: list[Record], run: str) -> list[Record]:
    chosen = [record for record in found if record.run == run]
    if not chosen:
        raise UsageError(unknown("run", run, {record.run for record in found}))
    return chosen


@lru_cache(maxsize=8)
def _arrays(results: Results, stored: Stored) -> tuple[str, Arrays]:
    from hepbench.storage import stored_arrays

    data = results.content(stored)
    try:
        return hashlib.sha256(data).hexdigest(), stored_arrays.load(data)
    except stored_arrays.DAMAGED as error:
        msg = f"{results.root / stored.path} cannot be read: {error}"
        raise ResultsError(msg) from error


_RECORD_NAME = re.compile(r"[0-9a-f]{24}[^.]*(\.failed)?\.json")


class ResultsFolder(Results):
    """A results folder to read and to write."""

    def check(self) -> None:
        """Raise ResultsError if results cannot be written; called before any work is done."""
        if self.root.is_file():
            msg = f"--results {self.root} is a file: a run writes into a folder; unpack it first"
            raise ResultsError(msg)
        with self._writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            probe = temporary.part(self.root / "probe")
            probe.write_bytes(b"hepbench")
            probe.unlink()
            # what runs that were killed have left
            temporary.remove_left_over(self.root, ".*.part", "*/.*.part", "*/*/.*.part")

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
            with self._writing(other):
                other.unlink(missing_ok=True)
        return _placed(records.decode(text, name=path), record.suite, path)

    def rewrite(self, record: Record) -> None:
        """Write a record that was read from these results, and changed, into its own file.

        Raises:
            ResultsError: the folder cannot be written; existing files are unchanged.
        """
        folder = record.predictions.path.rpartition("predictions/")[0] if record.predictions else ""
        inside = records.with_paths(record, lambda path: path.removeprefix(folder))
        path = self.root / folder / f"{record.key}.json"
        self._replace(path, lambda part: part.write_bytes(records.encode(inside)))

    def copy(self, source: Path, suite: str, name: str) -> Stored:
        """Copy a file into the folder of a suite; return its path in there and its checksum."""
        data = source.read_bytes()
        self._replace(self.root / suite / name, lambda part: part.write_bytes(data))
        return Stored(name, hashlib.sha256(data).hexdigest())

    def create(self, suite: str, name: str, write: Callable[[Path], object]) -> Stored:
        """Create a file in the folder of a suite with a function of its path; see ``copy``."""
        path = self.root / suite / name
        self._replace(path, write)
        return Stored(name, sha256(path))

    def _path(self, suite: str, key: str) -> Path:
        return self.root / suite / f"{key}.json"

    def _replace(self, path: Path, write: Callable[[Path], object]) -> None:
        part = temporary.part(path)
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
            reason = f"cannot write {error.filename or path}: {error.strerror or error}"
            msg = f"{reason}; choose another --results"
            raise ResultsError(msg) from error


def sha256(path: Path) -> str:
    """Return the sha256 of a stored file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
