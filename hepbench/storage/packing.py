"""Packs results into one zip file; equal results give equal bytes."""

from __future__ import annotations

import hashlib
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from glob import escape
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import msgspec

from hepbench.specs.errors import ResultsError
from hepbench.storage import durable, keys, records, stored_arrays, temporary, untrusted_zip
from hepbench.storage.records import Stored
from hepbench.storage.results_files import open_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hepbench.storage.records import Record
    from hepbench.storage.results import Results
    from hepbench.storage.stage_cache import StageCache


NETWORKS = "networks"
"""Folder of trained networks and estimators in a suite's folder, each under the key of its stage."""


LEVEL = 9


BESIDE = {"trained": "train", "rows": "train"}
"""Arrays of predictions that belong to a part without having its name."""


@dataclass(frozen=True)
class Contents:
    """Options of packing: what goes into a packed file of results.

    Attributes:
        parts: parts whose predictions and labels are kept, such as ``test``; empty: all.
        networks: the cache that trained networks are taken from; None: they are not packed.
        more: further files by name, such as tables; they replace those of the same name.
    """

    parts: Sequence[str] = ()
    networks: StageCache | None = None
    more: Mapping[str, bytes] = field(default_factory=dict)


def pack(results: Results, output: Path, contents: Contents) -> int:
    """Pack results into a zip file, which gets its name when it is complete.

    Other files in the folders of suites are kept too, except hidden files. The files of the
    folder of one suite get the name of that suite as their folder.

    Args:
        results: a results folder or packed file.
        output: the zip file; an existing one is replaced.
        contents: what goes into it.

    Returns:
        The number of files in it.

    Raises:
        ResultsError: results cannot be read or were changed since they were recorded, a network is
            no longer in the cache, or the zip file cannot be written.
    """
    if output.exists() and not output.is_file():
        # a device such as /dev/null would be replaced
        msg = f"cannot write {output}: it is not a regular file; choose another --output"
        raise ResultsError(msg)
    part = temporary.part(output)
    try:
        temporary.remove_left_over(output.parent, f".{escape(output.name)}~*.part")
        with ZipFile(part, "w") as opened:
            for name, data in _packed_files(results, output, contents):
                opened.writestr(_zip_header(name, data), data, compresslevel=LEVEL)
            count = len(opened.namelist())
        # what it holds is read by the rules for files of others
        open_files(part)
        durable.sync(part)
        part.replace(output)
        durable.sync(output.absolute().parent)
    except OSError as error:
        msg = f"cannot write {output}: {error.strerror or error}; choose another --output"
        raise ResultsError(msg) from error
    finally:
        with suppress(OSError):
            part.unlink()
    return count


def _zip_header(name: str, data: bytes) -> ZipInfo:
    """Return the zip header of a packed file: no date, and a compression ratio that is allowed."""
    member = ZipInfo(name)
    member.external_attr = 0o100644 << 16
    smallest = len(data) / untrusted_zip.LARGEST_RATIO
    # without the header and checksum of zlib, as in a zip file
    packed = len(zlib.compress(data, LEVEL, wbits=-zlib.MAX_WBITS))
    member.compress_type = ZIP_DEFLATED if smallest < packed < len(data) else ZIP_STORED
    return member


def _packed_files(
    results: Results, output: Path, contents: Contents
) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of all files to pack: those of records, then others."""
    found = results.by_name()
    inside = ["/" in name for name in found]
    if any(inside) and not all(inside):
        msg = f"{results} holds records and folders of records: pack the folder of one suite, or of all"
        raise ResultsError(msg)
    # the folder of one suite was given
    prefix = "" if any(inside) else f"{next(iter(found.values())).suite}/"
    done = set(contents.more)
    for name, data in _files_of_results(results, found, output, contents):
        if (full := f"{prefix}{name}") not in done:
            done.add(full)
            yield full, data
    yield from sorted(contents.more.items())


def _files_of_results(
    results: Results, found: Mapping[str, Record], output: Path, contents: Contents
) -> Iterator[tuple[str, bytes]]:
    for name, record in found.items():
        folder = name.rpartition("/")[0]
        _check_stored(results, record)
        if contents.parts:
            yield from _record_with_parts(results, name, record, contents.parts)
        if contents.networks is not None:
            for file, data in _network_files(record, contents.networks):
                yield f"{folder}/{NETWORKS}/{file}".lstrip("/"), data
    suites = {name.partition("/")[0] for name in found if "/" in name}
    for name in results.files.names():
        # a results folder may hold other folders, such as one with earlier packed files
        other = suites and not results.root.is_file() and name.partition("/")[0] not in suites
        if not other and (results.root / name).absolute() != output.absolute():
            yield name, results.files.read(name)


def _record_with_parts(
    results: Results, name: str, record: Record, parts: Sequence[str]
) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a record to pack, with only some parts of its stored arrays."""
    folder = name.rpartition("/")[0]
    kept: dict[str, Stored] = {}
    for each, stored in records.stored_files(record).items():
        with suppress(FileNotFoundError, NotADirectoryError):
            kept[each], data = _arrays_of_parts(results, stored, parts)
            yield stored.path, data
    record = msgspec.structs.replace(record, **kept)
    inside = records.with_paths(record, lambda path: path.removeprefix(f"{folder}/"))
    yield name, records.encode(inside)


def _check_stored(results: Results, record: Record) -> None:
    """Raise ResultsError if a file of a record to pack was changed; one that is missing is no error."""
    for stored in records.stored_files(record).values():
        with suppress(FileNotFoundError, NotADirectoryError):
            if hashlib.sha256(results.content(stored)).hexdigest() != stored.sha256:
                path = results.root / stored.path
                msg = f"{path} was changed after its record was written; see hepbench verify {results}"
                raise ResultsError(msg)


def _arrays_of_parts(
    results: Results, stored: Stored, parts: Sequence[str]
) -> tuple[Stored, bytes]:
    _, arrays = results.arrays(stored)
    part_of = {name: BESIDE.get(name, name.partition(".")[0]) for name in arrays}
    held = set(part_of.values())
    if not held & {*parts}:
        msg = f"{results.root / stored.path} has no arrays of {', '.join(parts)}, only of "
        raise ResultsError(msg + ", ".join(sorted(held)))
    data = stored_arrays.save({n: a for n, a in arrays.items() if part_of[n] in parts})
    kept = tuple(part for part in parts if part in held)
    return Stored(stored.path, hashlib.sha256(data).hexdigest(), kept), data


def _network_files(record: Record, cache: StageCache) -> Iterator[tuple[str, bytes]]:
    """Yield the cached files of a record's network or estimator, without its scores."""
    if record.status != "ok":
        return
    key = record.stage_keys.get((keys.methods(record.key_parts) or [""])[-1], "")
    manifest = cache.find(key) if key and cache.intact(key) else None
    if manifest is None:
        msg = f"{record.cell}: the trained network is no longer in the cache {cache.root}"
        raise ResultsError(msg)
    for name in sorted(manifest.files):
        if name != "scores.npz":
            yield f"{key}/{name}", (cache.folder(key) / name).read_bytes()
