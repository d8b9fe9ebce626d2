"""Bad files: what becomes of good ones, and the one line that a reader says of them."""

from __future__ import annotations

import warnings

import pytest

from hepbench import DataError, DataWarning

REMOVED = object()
"""Stands for what a file is written without."""

DAMAGED = {
    "empty": lambda good: b"",
    "text": lambda good: b"<html>404 Not Found</html>\n" * 100,
    "cut in the header": lambda good: good[:60],
    "cut in half": lambda good: good[: len(good) // 2],
    "one byte short": lambda good: good[:-1],
    "without its first bytes": lambda good: good[8:],
}
"""By what has happened, the bytes of a good file to those of a bad one."""


def error_of(read, *given, **params):
    """Return the one line by which reading is refused; what is odd may be said before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        with pytest.raises(DataError) as caught:
            read(*given, **params)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def overwrite(path, start, size):
    """Put bytes of ones over some of a file."""
    content = bytearray(path.read_bytes())
    content[start : start + size] = b"\xff" * size
    path.write_bytes(content)


def headed(header):
    """Return the bytes of a file of numpy with such a header, and a few numbers."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)


HEADERS = {
    "without an end": headed(b'{"""'),
    "indented": headed(b"  1\n 2\n"),
    "of nothing": headed(b"{}"),
    "of a negative shape": headed(b"{'descr':'<f4','fortran_order':False,'shape':(-6,4,8)}\n"),
    "of more than there is": headed(b"{'descr':'<f4','fortran_order':False,'shape':(9**16,4)}\n"),
}
"""Files of numpy whose headers, which are Python, are damaged."""
