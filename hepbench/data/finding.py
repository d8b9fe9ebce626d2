"""Finds the files of a dataset, original or sample, and their fingerprints."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hepbench.specs.dataset import MARK_BYTES, SIMULATED
from hepbench.specs.errors import DataError, PluginError
from hepbench.specs.text import enumerated
from hepbench.storage import keys
from hepbench.storage.digest_cache import stamp
from hepbench.storage.results import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from hepbench.specs.dataset import Dataset, File
    from hepbench.storage.records import Origin


Wanted = Literal["auto", "file", "sample"]


LARGE = 500_000_000
"""Bytes of a file from which computing its checksum is announced."""


def find(
    spec: Dataset, folder: Path | None, wanted: Wanted, remembered: Callable[..., str]
) -> DataFiles:
    """Find a dataset's original files, or its bundled sample if there are none.

    Raises:
        DataError: a form is incomplete; no original file exists and ``wanted`` is ``file``; there
            is no sample; a path with the name of an original file is not a readable file.
    """
    paths = {}
    if wanted != "sample" and folder is not None:
        _check_readable(spec, folder / spec.name)
        paths = original_files(spec, folder / spec.name)
    form = whole_form(spec.files, paths)
    if spec.original and paths and form is not None:
        return _found_original(spec, folder, paths, remembered)
    if paths:
        missing = _missing_files(spec.files, paths)
        msg = (
            f"{spec.name}: {', '.join(missing)} is missing; only {', '.join(paths)} is in {folder}"
        )
        raise DataError(msg)
    if wanted == "file":
        msg = (
            f"{spec.name}: no original file under {folder or 'any --data folder'}: "
            f"{_expected_files(spec)}"
        )
        raise DataError(msg)
    found = _found_sample(spec, remembered)
    if folder is None or wanted == "sample" or not (unknown := _unknown_files(folder / spec.name)):
        return found
    warning = (
        f"{folder / spec.name} holds no original file, only {enumerated(unknown)}; the bundled sample "
        f"is used instead: {_expected_files(spec)}"
    )
    return replace(found, warnings=(f"file: {warning}",))


def _unknown_files(folder: Path) -> list[str]:
    """Return the names in a dataset's folder, where none of its original files is."""
    with suppress(OSError):
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return []


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a data folder that are not hidden."""
    with suppress(OSError):
        return [p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    return []


def why_nothing_matches(specs: Sequence[Dataset], folder: Path) -> str:
    """Return a text on what is in a data folder, and what is expected of some datasets.

    Files with names of original files come first, also those in the wrong place.
    """
    known = {name for spec in specs for file in spec.files for name in (file.name, *file.variants)}
    paths = [path for path in _files_below(folder) if not path.name.startswith(".")]
    paths.sort(key=lambda path: (path.name not in known, str(path)))
    more = f" and {len(paths) - LISTED:,} more" if len(paths) > LISTED else ""
    found = enumerated(map(str, paths[:LISTED])) + more
    expected = "; ".join(_expected_files(spec, f"{folder}/") for spec in specs)
    return f"found {found}; {expected}"


def _files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and in its subfolders, but not further down."""
    found: list[Path] = []
    with suppress(OSError):
        for path in folder.iterdir():
            found += [p for p in path.iterdir() if p.is_file()] if path.is_dir() else [path]
    return found


LISTED = 5
"""Files of a data folder that a message lists."""


def original_files(spec: Dataset, folder: Path) -> dict[str, Path]:
    """Return the paths of a dataset's original files in a folder, by name.

    Only files of the first complete form; of every form if none is complete.
    """
    found = present(spec, folder)
    form = whole_form(spec.files, found)
    return {
        file.name: found[file.name]
        for file in spec.files
        if file.name in found and form in {None, file.form}
    }


def present(spec: Dataset, folder: Path) -> dict[str, Path]:
    """Return the paths of all original files of a dataset in a folder, of any form, by name."""
    found = {}
    for file in spec.files:
        for name in (file.name, *file.variants):
            # a file in a folder without read permission counts as missing
            with suppress(PermissionError):
                if (folder / name).is_file():
                    found[file.name] = folder / name
                    break
    return found


def _check_readable(spec: Dataset, folder: Path) -> None:
    """Raise DataError if a path named like an original file is not a readable file.

    A user who put it there does not expect the sample to be used instead.
    """
    for path in (folder / name for file in spec.files for name in (file.name, *file.variants)):
        problem = "is not a file"
        try:
            path.lstat()
            if path.is_file():
                continue
        except FileNotFoundError:
            continue
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
        msg = f"{spec.name}: {path} {problem}; a file, or a link to one, is expected"
        raise DataError(msg)


def whole_form(files: Sequence[File], found: Collection[str]) -> str | None:
    """Return the first form of a dataset whose required files are all found, or None."""
    for form in dict.fromkeys(file.form for file in files):
        ours = [file for file in files if file.form == form and file.role == "labelled"]
        there = [file for file in ours if file.name in found]
        if there and all(file.optional or file.name in found for file in ours):
            return form
    return None


def _missing_files(files: Sequence[File], found: Collection[str]) -> list[str]:
    """Return the missing original files of the first form with a file that was found."""
    form = next(file.form for file in files if file.name in found)
    ours = [file for file in files if file.form == form and file.role == "labelled"]
    return [file.name for file in ours if not file.optional and file.name not in found]


def _expected_files(spec: Dataset, folder: str = "") -> str:
    """Return a text that lists the original files of each form of a dataset, in a folder."""
    forms: dict[str, list[str]] = {}
    for file in spec.files:
        if file.role == "labelled":
            forms.setdefault(file.form, []).append(f"{folder}{spec.name}/{file.name}")
    if not forms:
        return f"{spec.name} declares no original files"
    return " or ".join(", ".join(names) for names in forms.values()) + " expected"


def _found_original(
    spec: Dataset, folder: Path | None, paths: Mapping[str, Path], remembered: Callable[..., str]
) -> DataFiles:
    assert folder is not None
    stamps = {str(path.absolute()): stamp(path) for path in paths.values()}
    sums = {name: remembered(path, checksum) for name, path in paths.items()}
    files = {file.name: file for file in spec.files}
    marked = [name for name, path in paths.items() if simulated(path)]
    others = [name for name in paths if name not in marked]
    warnings = [
        w
        for name in others
        if (w := _difference_from_published(files[name], paths[name], sums[name]))
    ]
    if marked and others:
        warnings.append(f"{', '.join(marked)} is simulated, but {', '.join(others)} is not")
    lacks = [f"{path.name} {lack}" for name, path in paths.items() if (lack := files[name].lacks)]
    return DataFiles(
        source="simulated" if marked else "file",
        fingerprint=keys.key(sums),
        folder=str((folder / spec.name).absolute()),
        files=tuple(stamps),
        stamps=stamps,
        warnings=tuple(f"file: {w}" for w in warnings),
        notes=tuple(f"file: {lack}" for lack in lacks),
    )


def simulated(path: Path) -> bool:
    """Whether a data file contains the mark of a generator: see ``Dataset.generate``."""
    try:
        with path.open("rb") as file:
            return SIMULATED in file.read(MARK_BYTES)
    except OSError:
        # the reader reports a file that cannot be read
        return False


def _difference_from_published(file: File, path: Path, found: str) -> str:
    """Return how an original file differs from the published one; variants may differ."""
    size, other = path.stat().st_size, ""
    if path.name != file.name:
        return ""
    if file.sha256 is not None:
        other = "another checksum" if file.sha256 != found else ""
    elif file.bytes not in {None, size}:
        other = f"{size:,} bytes, not {file.bytes:,}"
    return (
        f"{file.name} is not the published file ({other}): cut short, or damaged" if other else ""
    )


def _found_sample(spec: Dataset, remembered: Callable[..., str]) -> DataFiles:
    if spec.sample is None:
        msg = f"{spec.name} has no bundled sample; give original files with --data or HEPBENCH_DATA"
        raise DataError(msg)
    paths = {name: _path_in_package(spec.name, name) for name in spec.sample.files}
    sums = {name: remembered(path, checksum) for name, path in paths.items()}
    files = tuple(str(path) for path in paths.values())
    return DataFiles(source="sample", fingerprint=keys.key(sums), files=files)


def sample_bytes(spec: Dataset) -> int:
    """Return the size of a dataset's bundled sample files in bytes."""
    names = spec.sample.files if spec.sample else ()
    return sum(_path_in_package(spec.name, name).stat().st_size for name in names)


def _path_in_package(dataset: str, name: str) -> Path:
    """Return the path of a sample file written as ``"package:path"``."""
    package, _, relative = name.partition(":")
    found = find_spec(package)
    origin = found.origin if found else None
    path = Path(origin).parent / relative if origin else None
    if path is None or not path.is_file():
        msg = f"{dataset}: the sample file '{name}' is missing; install its distribution again"
        raise PluginError(msg)
    return path


def checksum(path: Path) -> str:
    """Return the sha256 of a data file, with a message on stderr if the file is large.

    Raises:
        DataError: the file cannot be read.
    """
    size = path.stat().st_size
    if size > LARGE:
        sys.stderr.write(
            f"computing the fingerprint of {path.name} ({size / 1e9:.1f} GB), once ...\n"
        )
    try:
        return sha256(path)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise DataError(msg) from error


@dataclass(frozen=True)
class DataFiles:
    """The data files of a dataset that were found, and their fingerprint.

    Attributes:
        source: original files (``file``), files that a generator wrote in the original format
            (``simulated``), or the bundled ``sample``.
        stamps: by path of an original file, its state before its fingerprint was computed.
        warnings: differences from the published files.
        notes: what every file of this form lacks.
    """

    source: Origin
    fingerprint: str
    folder: str = ""
    files: tuple[str, ...] = ()
    stamps: Mapping[str, Sequence[int]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
