"""Derive random seeds of methods from the seed of a cell and the names of its steps."""

from __future__ import annotations

import hashlib


def derive(seed: int, *names: str) -> int:
    """Return a random seed below 2**31 for one purpose, from a cell's seed and names.

    It depends on names only (such as the steps of a chain), never on parameters or versions, so
    that two settings of a method are compared with the same random numbers.
    """
    text = "\0".join([str(seed), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
