"""Files of results: those in a folder, or those in a packed file, which is not trusted."""

from __future__ import annotations

import re
from contextlib import contextmanager
from glob import glob
from typing import TYPE_CHECKING, Protocol
from zipfile import ZipFile

from hepbench.specs.errors import ResultsError
from hepbench.storage import regular_files, untrusted_zip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class ResultsFiles(Protocol):
    """Files by name: their paths relative to the results, with slashes."""

    def record_names(self) -> list[str]:
        """Return the names of all JSON files where records may be, sorted."""

    def names(self) -> list[str]:
        """Return the names of all files but hidden ones, sorted.

        Raises:
            ResultsError: a file lies outside of the results.
        """

    def read(self, name: str) -> bytes:
        """Return the contents of a file.

        Raises:
            FileNotFoundError, NotADirectoryError: it does not exist.
            ResultsError: it lies outside of the results, or is damaged.
        """

    def check(self) -> None:
        """Raise ResultsError if a file is damaged, as far as the files themselves tell it."""


def open_files(path: Path) -> ResultsFiles:
    """Return the files of a results folder, or of a packed file.

    Raises:
        ResultsError: the file is no zip file, or one that cannot be trusted.
    """
    return PackedFiles(path) if path.is_file() else FolderFiles(path)


class FolderFiles:
    """The files of a results folder, or of the folder of one suite."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def record_names(self) -> list[str]:
        """Return the names of all JSON files where records may be, sorted."""
        if not self._root.is_dir():
            msg = f"no results in {self._root}: no such folder; 'hepbench run' creates it"
            raise ResultsError(msg)
        patterns = ("*/*.json", "*.json")
        # Path.glob would make a path of each, for a fifth of the time of a large table
        found = (glob(each, root_dir=self._root) for each in patterns)  # noqa: PTH207
        return sorted(name for names in found for name in names)

    def names(self) -> list[str]:
        """Return the names of all files but hidden ones, sorted."""
        # unlike Path.rglob, glob follows links: the folder of a suite may be one
        found = glob("**", root_dir=self._root, recursive=True)  # noqa: PTH207
        return sorted(name for name in found if (self._root / name).is_file())

    def read(self, name: str) -> bytes:
        """Return the contents of a file; see ``ResultsFiles``."""
        path = self._root / name
        # records are many, and name no other file before they are read
        if not _is_text(name) and not self._is_inside(name):
            msg = f"{path} leads outside of the results; files of records must be in their folder"
            raise ResultsError(msg)
        try:
            return regular_files.read_text(path) if _is_text(name) else regular_files.read(path)
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            msg = f"cannot read {path}: {error.strerror}"
            raise ResultsError(msg) from error

    def check(self) -> None:
        """Do nothing: only records tell what the files of a folder should hold."""

    def _is_inside(self, name: str) -> bool:
        # a suite's folder may be a link to another disk; what is in it may not lead outside
        inside = (self._root.resolve(), (self._root / name.partition("/")[0]).resolve())
        real = (self._root / name).resolve()
        return untrusted_zip.stays_inside(name) and any(map(real.is_relative_to, inside))


def _is_text(name: str) -> bool:
    return name.endswith(".json")


class PackedFiles:
    """The files of a zip file of a results folder, made by anyone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._reading():
            self._zip = ZipFile(path)
            self._members = untrusted_zip.checked_members(self._zip, path.stat().st_size)

    def record_names(self) -> list[str]:
        """Return the names of all JSON files where records may be, sorted."""
        return sorted(filter(_RECORD_PLACE.fullmatch, self._members))

    def names(self) -> list[str]:
        """Return the names of all members, sorted."""
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        """Return the contents of a member; see ``ResultsFiles``."""
        if name not in self._members:
            raise FileNotFoundError(name)
        with self._reading():
            return untrusted_zip.read_member(self._zip, self._members[name])

    def check(self) -> None:
        """Read all members: each has a checksum, and its name twice."""
        for name in self._members:
            self.read(name)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except untrusted_zip.DAMAGED as error:
            msg = f"no results in {self._path}: not a folder, nor a zip file of one; {error}"
            raise ResultsError(msg) from error


_RECORD_PLACE = re.compile(r"([^/]+/)?[^/]+\.json")
