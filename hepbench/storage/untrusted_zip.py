"""Zip files that anyone may have made: names, sizes and links are checked before anything is read."""

from __future__ import annotations

import os
import stat
import zlib
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from zipfile import ZipInfo


LARGEST_RATIO = 100
"""How much larger than in the zip file a member may be."""


LONGEST_END = (1 << 16) + 100
"""Bytes after the last entry of a zip file's directory, at most: a comment, and what states its size."""


DAMAGED = (BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError, ValueError, zlib.error)
"""What reading a damaged or hostile zip file may raise; RuntimeError stands for encryption."""


def checked_members(opened: ZipFile, size: int) -> dict[str, ZipInfo]:
    """Return the members of a zip file by name, without folders.

    Args:
        opened: the zip file.
        size: its size in bytes.

    Raises:
        ValueError: a member leads outside, is a link, is there twice or not at all, or its size
            cannot be true.
    """
    found: dict[str, ZipInfo] = {}
    for member in opened.infolist():
        name = member.filename
        if reason := _refusal(member):
            msg = f"member {name[:100]!r} {reason}"
            raise ValueError(msg)
        if name in found:
            msg = f"member {name[:100]!r} is there twice"
            raise ValueError(msg)
        found[name] = member
    stated, listed = _stated_count(opened), len(opened.infolist())
    if stated != listed:
        msg = f"it states {stated} members and lists {listed}"
        raise ValueError(msg)
    if sum(member.compress_size for member in found.values()) > size:
        msg = "its members are together larger than the file"
        raise ValueError(msg)
    return {name: member for name, member in found.items() if not name.endswith("/")}


def _stated_count(opened: ZipFile) -> int:
    """Return how many members the end of a zip file states: one damaged entry may hide another."""
    file = opened.fp
    assert file is not None
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - LONGEST_END))
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    count = int.from_bytes(tail[end + 10 : end + 12], "little")
    large = tail.rfind(b"PK\6\6", 0, end)
    if count == 0xFFFF and large >= 0:
        count = int.from_bytes(tail[large + 32 : large + 40], "little")
    return count


def stays_inside(name: str) -> bool:
    """Whether a path with slashes is relative, and leads to nowhere outside its folder."""
    parts = name.removesuffix("/").split("/")
    plain = name.isprintable() and not {"\\", ":"} & {*name}
    return plain and not {"", ".", ".."} & {*parts}


def read_member(opened: ZipFile, member: ZipInfo) -> bytes:
    """Return the bytes of a member; what it holds beyond its stated size is not read.

    Raises:
        BadZipFile: they are fewer, or their checksum differs.
    """
    with opened.open(member) as file:
        data = file.read(member.file_size)
        # reading on at the end compares the checksum
        if len(data) != member.file_size or file.read(1):
            msg = f"member {member.filename!r} has not the size that it states"
            raise BadZipFile(msg)
    return data


def _refusal(member: ZipInfo) -> str:
    """Return what is wrong with a member; empty if nothing is."""
    packed, size = member.compress_size, member.file_size
    checks: Iterable[tuple[bool, str]] = (
        (not stays_inside(member.filename), "leads outside of the folder, or is no plain name"),
        (not _is_file_or_folder(member.external_attr >> 16), "is a link or a device, not a file"),
        (bool(member.flag_bits & 1), "is encrypted"),
        (member.compress_type not in {ZIP_STORED, ZIP_DEFLATED}, "is not stored or deflated"),
        (member.compress_type == ZIP_STORED and packed != size, "has two different sizes"),
        (
            size > LARGEST_RATIO * packed,
            f"states {size:,} bytes in {packed:,}; at most {LARGEST_RATIO} times is allowed",
        ),
    )
    return next((reason for wrong, reason in checks if wrong), "")


def _is_file_or_folder(mode: int) -> bool:
    return stat.S_IFMT(mode) in {0, stat.S_IFREG, stat.S_IFDIR}
