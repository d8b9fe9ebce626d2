"""Compressed streams of a file, one after another: what follows a stream must be another one.

``bz2.open`` and ``lzma.open`` end without an error where the first bytes of a later stream are damaged.
"""

from __future__ import annotations

from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK = 1 << 18
"""Compressed bytes that are read at once."""


class Streams(RawIOBase):
    """The decompressed bytes of all streams of a file.

    Args:
        path: of the file.
        decompressor: makes one for a stream, such as ``bz2.BZ2Decompressor``.

    Raises:
        EOFError: the file ends within a stream.
        OSError, lzma.LZMAError: from the decompressor: the file is damaged.
    """

    def __init__(self, path: Path, decompressor: Callable[[], Any]) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._new = decompressor
        self._stream = decompressor()

    def readable(self) -> bool:
        """Return that bytes can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Write the next bytes into a buffer, and return their number; 0 at the end."""
        while True:
            data = b""
            if self._stream.eof:
                data = self._stream.unused_data or self._file.read(CHUNK)
                if not data:
                    return 0
                self._stream = self._new()
            elif self._stream.needs_input and not (data := self._file.read(CHUNK)):
                msg = "the file ends before the end-of-stream marker"
                raise EOFError(msg)
            if found := self._stream.decompress(data, len(buffer)):
                buffer[: len(found)] = found
                return len(found)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def open_streams(path: Path, decompressor: Callable[[], Any]) -> BufferedReader:
    """Open a compressed file to read its decompressed bytes."""
    return BufferedReader(Streams(path, decompressor), CHUNK)
