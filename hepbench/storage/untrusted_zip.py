"""Reads zip files from untrusted sources: names, sizes and links are checked first."""

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
    """Check the members of an untrusted zip file and return them by name, without folders.

    Args:
        opened: the zip file.
        size: its size in bytes.

    Raises:
        ValueError: a member's path is unsafe, it is a link, occurs twice or is missing, or its
            size is impossible.
    """
    found: dict[str, ZipInfo] = {}
    for member in opened.infolist():
        name = member.filename
        if reason := _fault_of_member(member):
            msg = f"zip member {name[:100]!r} {reason}"
            raise ValueError(msg)
        if name in found:
            msg = f"zip member {name[:100]!r} occurs twice"
            raise ValueError(msg)
        found[name] = member
    stated, listed = _declared_member_count(opened), len(opened.infolist())
    if stated != listed:
        msg = f"the zip file declares {stated} members but lists {listed}"
        raise ValueError(msg)
    if sum(member.compress_size for member in found.values()) > size:
        msg = "the members of the zip file are together larger than the file"
        raise ValueError(msg)
    return {name: member for name, member in found.items() if not name.endswith("/")}


def _declared_member_count(opened: ZipFile) -> int:
    """Return the number of members that the end of a zip file declares."""
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
    """Whether a path is relative and stays inside its folder."""
    parts = name.removesuffix("/").split("/")
    plain = name.isprintable() and not {"\\", ":"} & {*name}
    return plain and not {"", ".", ".."} & {*parts}


def read_member(opened: ZipFile, member: ZipInfo) -> bytes:
    """Read a member of an untrusted zip file, up to its declared size.

    Raises:
        BadZipFile: the size or the checksum differs.
    """
    with opened.open(member) as file:
        data = file.read(member.file_size)
        # reading on at the end compares the checksum
        if len(data) != member.file_size or file.read(1):
            msg = f"zip member {member.filename!r} has another size than declared"
            raise BadZipFile(msg)
    return data


def _fault_of_member(member: ZipInfo) -> str:
    """Return why a member of an untrusted zip file is refused, '' if it is not."""
    packed, size = member.compress_size, member.file_size
    checks: Iterable[tuple[bool, str]] = (
        (not stays_inside(member.filename), "leads outside of the folder, or has an unusual name"),
        (not _is_file_or_folder(member.external_attr >> 16), "is a link or a device, not a file"),
        (bool(member.flag_bits & 1), "is encrypted"),
        (member.compress_type not in {ZIP_STORED, ZIP_DEFLATED}, "is not stored or deflated"),
        (member.compress_type == ZIP_STORED and packed != size, "has two different sizes"),
        (
            size > LARGEST_RATIO * packed,
            f"declares {size:,} bytes in {packed:,}; at most {LARGEST_RATIO} times is allowed",
        ),
    )
    return next((reason for wrong, reason in checks if wrong), "")


def _is_file_or_folder(mode: int) -> bool:
    return stat.S_IFMT(mode) in {0, stat.S_IFREG, stat.S_IFDIR}
