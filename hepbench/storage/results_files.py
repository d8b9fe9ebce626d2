"""The files of results, in a folder or in a packed file, which is not trusted."""

from __future__ import annotations

import re
import stat
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
    """The files of results by name: the path relative to the results, with slashes."""

    def record_names(self) -> list[str]:
        """Return the sorted names of all JSON files of results that may be records."""

    def names(self) -> list[str]:
        """Return the sorted names of all files of results except hidden ones.

        Raises:
            ResultsError: a file lies outside of the results.
        """

    def read(self, name: str) -> bytes:
        """Return the contents of a file of results.

        Raises:
            FileNotFoundError, NotADirectoryError: it does not exist.
            ResultsError: it lies outside of the results, or is damaged.
        """

    def version(self, name: str) -> str | None:
        """Return what changes with a file of results, without reading it; None if it is missing."""

    def check(self) -> None:
        """Raise ResultsError if a file of results fails its checksum."""


def open_files(path: Path) -> ResultsFiles:
    """Open the files of a results folder, or of a packed file.

    Raises:
        ResultsError: the file is no zip file, or one that cannot be trusted.
    """
    return PackedFiles(path) if path.is_file() else FolderFiles(path)


class FolderFiles:
    """The files of a results folder, or of the folder of one suite."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def record_names(self) -> list[str]:
        """Return the sorted names of all JSON files of results that may be records."""
        if not self._root.is_dir():
            msg = f"no results in {self._root}: no such folder; 'hepbench run' creates it"
            raise ResultsError(msg)
        patterns = ("*/*.json", "*.json")
        # Path.glob would make a path of each, for a fifth of the time of a large table
        found = (glob(each, root_dir=self._root) for each in patterns)  # noqa: PTH207
        return sorted(name for names in found for name in names)

    def names(self) -> list[str]:
        """Return the sorted names of all files in a results folder except hidden ones."""
        # unlike Path.rglob, glob follows links: the folder of a suite may be one
        found = glob("**", root_dir=self._root, recursive=True)  # noqa: PTH207
        return sorted(name for name in found if (self._root / name).is_file())

    def read(self, name: str) -> bytes:
        """Return the contents of a file in a results folder; see ``ResultsFiles``."""
        path = self._root / name
        # records are many, and name no other file before they are read
        if not _is_json(name) and not self._is_inside(name):
            msg = (
                f"{path} is outside of the results; files of records must be in the suite's folder"
            )
            raise ResultsError(msg)
        try:
            return regular_files.read_text(path) if _is_json(name) else regular_files.read(path)
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            msg = f"cannot read {path}: {error.strerror}"
            raise ResultsError(msg) from error

    def version(self, name: str) -> str | None:
        """Return size and time of the last change of a file in a results folder."""
        try:
            found = (self._root / name).stat()
        except OSError:
            return None
        return f"{found.st_size} {found.st_mtime_ns}" if stat.S_ISREG(found.st_mode) else None

    def check(self) -> None:
        """Do nothing: files in a results folder have no checksums of their own."""

    def _is_inside(self, name: str) -> bool:
        # a suite's folder may be a link to another disk; what is in it may not lead outside
        inside = (self._root.resolve(), (self._root / name.partition("/")[0]).resolve())
        real = (self._root / name).resolve()
        return untrusted_zip.stays_inside(name) and any(map(real.is_relative_to, inside))


def _is_json(name: str) -> bool:
    return name.endswith(".json")


class PackedFiles:
    """The files in a zip file of results from an untrusted source."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._explaining_zip_errors():
            self._zip = ZipFile(path)
            self._members = untrusted_zip.checked_members(self._zip, path.stat().st_size)

    def record_names(self) -> list[str]:
        """Return the sorted names of all JSON files of results that may be records."""
        return sorted(filter(_RECORD_PLACE.fullmatch, self._members))

    def names(self) -> list[str]:
        """Return the sorted names of all files in packed results."""
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        """Return the contents of a file in packed results; see ``ResultsFiles``."""
        if name not in self._members:
            raise FileNotFoundError(name)
        with self._explaining_zip_errors():
            return untrusted_zip.read_member(self._zip, self._members[name])

    def version(self, name: str) -> str | None:
        """Return size and checksum of a file in packed results."""
        found = self._members.get(name)
        return f"{found.file_size} {found.CRC}" if found else None

    def check(self) -> None:
        """Read all files in packed results, which compares their checksums."""
        for name in self._members:
            self.read(name)

    @contextmanager
    def _explaining_zip_errors(self) -> Iterator[None]:
        try:
            yield
        except untrusted_zip.DAMAGED as error:
            reason = f"it is neither a folder nor a zip file of results; {error}"
            msg = f"no results in {self._path}: {reason}"
            raise ResultsError(msg) from error


_RECORD_PLACE = re.compile(r"([^/]+/)?[^/]+\.json")
