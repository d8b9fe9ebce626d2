"""Results: records as JSON files, with their arrays, in a folder or in a packed file."""

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
from hepbench.storage.record_reading import RecordReader
from hepbench.storage.records import Record, Stored
from hepbench.storage.results_files import ResultsFiles, open_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hepbench.storage.stored_arrays import Arrays


FAILED = ".failed.json"


class DamagedRecordError(ResultsError):
    """A record file that is cut short, or contains a record with another key."""


class Results:
    """Reads results: records ``<suite>/<key>.json``, and their predictions and labels.

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
        """The files of a results folder, or of a packed file."""
        return open_files(self.root)

    def read(self, suite: str, key: str) -> Record | None:
        """Return the record with this key from results; None if it is missing or damaged.

        Raises:
            ResultsError: a newer hepbench wrote it.
        """
        try:
            return self._read_record(f"{suite}/{key}.json")
        except (FileNotFoundError, NotADirectoryError, DamagedRecordError):
            return None

    def records(
        self, run: str | None = None, *, without: frozenset[str] = frozenset()
    ) -> list[Record]:
        """Return all records of results, including failed ones, sorted by path.

        Args:
            run: only those of the run with this name.
            without: fields that are not needed; see ``RecordReader``.

        Raises:
            ResultsError: there is none, a record is damaged, or a newer hepbench wrote it.
            UsageError: no run has this name.
        """
        found = list(self.by_name(without=without).values())
        return found if run is None else records_of_run(found, run)

    def by_name(self, *, without: frozenset[str] = frozenset()) -> dict[str, Record]:
        """Return all records of results by file name, sorted; see ``records``."""
        names = self.files.record_names()
        reader = RecordReader(without)
        with _no_collections():
            read = ((name, self._record_or_stray(name, reader)) for name in names)
            found = {name: record for name, record in read if record is not None}
        if not found:
            msg = f"no results in {self.root}: it contains no records; 'hepbench run' writes them"
            msg = "; ".join([msg, *self.skipped[:1]])
            raise ResultsError(msg)
        return found

    def suite_records(self, suite: str) -> list[Record]:
        """Return the records of one suite from results; damaged ones are added to ``skipped``."""
        names = [n for n in self.files.record_names() if n.startswith(f"{suite}/")]
        reader = RecordReader()
        with _no_collections():
            read = (self._record_or_damaged(name, reader) for name in names)
            return [record for record in read if record is not None]

    def content(self, stored: Stored) -> bytes:
        """Return the contents of a stored file of these results.

        Raises:
            FileNotFoundError, NotADirectoryError: it does not exist.
            ResultsError: it lies outside of the results, or cannot be read.
        """
        return self.files.read(stored.path)

    def arrays(self, stored: Stored) -> tuple[str, Arrays]:
        """Return checksum and arrays of a stored file of these results, with a cache.

        Raises:
            FileNotFoundError, NotADirectoryError: it does not exist.
            ResultsError: it lies outside of the results, or cannot be read.
        """
        return _read_arrays(self, stored)

    def _record_or_damaged(self, name: str, reader: RecordReader) -> Record | None:
        """Return a record; None for a damaged one, which is added to ``skipped``."""
        try:
            return self._read_record(name, reader)
        except FileNotFoundError:
            # another run has just replaced it
            return None
        except DamagedRecordError as error:
            self.skipped.append(f"skipped: {error}")
            return None

    def _record_or_stray(self, name: str, reader: RecordReader) -> Record | None:
        """Return the record in a JSON file; None for other JSON, which is added to ``skipped``."""
        try:
            return self._read_record(name, reader)
        except FileNotFoundError:
            # a link to nowhere, or a run has just replaced it
            self.skipped.append(f"skipped: {self.root / name} is missing")
            return None
        except ResultsError as error:
            if _RECORD_NAME.fullmatch(name.rpartition("/")[2]):
                raise
            self.skipped.append(f"skipped, because the file is not named like a record: {error}")
            return None

    def _read_record(self, name: str, reader: RecordReader | None = None) -> Record:
        # thousands of paths would take as long as decoding
        where = f"{self.root}/{name}"
        try:
            parse = reader.parse if reader else None
            record = records.decode(self.files.read(name), name=where, parse=parse)
        except msgspec.MsgspecError as error:
            msg = f"{where} is truncated or not a record ({error}); remove it and run again"
            raise DamagedRecordError(msg) from error
        folder, _, file = name.rpartition("/")
        if not record.key or not file.startswith(record.key):
            found = f"{record.key} of {record.cell}"
            msg = f"{where} holds another record, {found}; remove it and run again"
            raise DamagedRecordError(msg)
        return _with_paths_in_results(record, folder, where)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Stop garbage collections while records are read, which would traverse them again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _with_paths_in_results(record: Record, folder: str, where: object) -> Record:
    """Return a record whose paths are relative to the results instead of its own folder.

    Raises:
        DamagedRecordError: a path leads outside of its folder.
    """

    def place(path: str) -> str:
        if not untrusted_zip.stays_inside(path):
            msg = f"{where} refers to a file outside of its folder: {path[:200]!r}"
            raise DamagedRecordError(msg)
        return f"{folder}/{path}" if folder else path

    return records.with_paths(record, place)


def records_of_run(found: list[Record], run: str) -> list[Record]:
    chosen = [record for record in found if record.run == run]
    if not chosen:
        raise UsageError(unknown("run", run, {record.run for record in found}))
    return chosen


@lru_cache(maxsize=8)
def _read_arrays(results: Results, stored: Stored) -> tuple[str, Arrays]:
    from hepbench.storage import stored_arrays

    data = results.content(stored)
    try:
        return hashlib.sha256(data).hexdigest(), stored_arrays.load(data)
    except stored_arrays.DAMAGED as error:
        msg = f"{results.root / stored.path} cannot be read: {error}"
        raise ResultsError(msg) from error


_RECORD_NAME = re.compile(r"[0-9a-f]{24}[^.]*(\.failed)?\.json")


class ResultsFolder(Results):
    """Reads and writes a results folder."""

    def check(self) -> None:
        """Raise ResultsError if the results folder cannot be written to."""
        if self.root.is_file():
            msg = f"--results {self.root} is a file; a folder is expected: unpack the file first"
            raise ResultsError(msg)
        with self._explaining_write_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            probe = temporary.part(self.root / "probe")
            probe.write_bytes(b"hepbench")
            probe.unlink()
            # what runs that were killed have left
            temporary.remove_left_over(self.root, ".*.part", "*/.*.part", "*/*/.*.part")

    def write(self, record: Record) -> Record:
        """Write a record into the results folder, and remove the failed record it replaces.

        Returns:
            The record as it is read from now on, with lists in place of tuples.

        Raises:
            ResultsError: the folder cannot be written; existing files are unchanged.
        """
        good = self._record_path(record.suite, record.key)
        failed = good.with_name(f"{record.key}{FAILED}")
        path, other = (good, failed) if record.status == "ok" else (failed, None)
        text = records.encode(record)
        self._replace_atomically(path, lambda part: part.write_bytes(text))
        if other is not None:
            with self._explaining_write_errors(other):
                other.unlink(missing_ok=True)
        return _with_paths_in_results(records.decode(text, name=path), record.suite, path)

    def rewrite(self, record: Record) -> None:
        """Write a changed record back into its own file in the results folder.

        Raises:
            ResultsError: the folder cannot be written; existing files are unchanged.
        """
        folder = record.predictions.path.rpartition("predictions/")[0] if record.predictions else ""
        inside = records.with_paths(record, lambda path: path.removeprefix(folder))
        path = self.root / folder / f"{record.key}.json"
        self._replace_atomically(path, lambda part: part.write_bytes(records.encode(inside)))

    def copy(self, source: Path, suite: str, name: str) -> Stored:
        """Copy a file into a suite's folder of results; return its path there and its checksum."""
        data = source.read_bytes()
        self._replace_atomically(self.root / suite / name, lambda part: part.write_bytes(data))
        return Stored(name, hashlib.sha256(data).hexdigest())

    def create(self, suite: str, name: str, write: Callable[[Path], object]) -> Stored:
        """Create a file in a suite's folder of results by calling ``write``; see ``copy``."""
        path = self.root / suite / name
        self._replace_atomically(path, write)
        return Stored(name, sha256(path))

    def _record_path(self, suite: str, key: str) -> Path:
        return self.root / suite / f"{key}.json"

    def _replace_atomically(self, path: Path, write: Callable[[Path], object]) -> None:
        part = temporary.part(path)
        with self._explaining_write_errors(path):
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
    def _explaining_write_errors(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"cannot write {error.filename or path}: {error.strerror or error}"
            msg = f"{reason}; choose another --results"
            raise ResultsError(msg) from error


def sha256(path: Path) -> str:
    """Return the sha256 checksum of a stored file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
