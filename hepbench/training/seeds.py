"""Seeds: every random number of a run follows from the cell's seed and what is being done."""

from __future__ import annotations

import hashlib


def derive(seed: int, *names: str) -> int:
    """Return a seed below 2**31 for one purpose.

    It depends on names alone (of the steps of a chain), never on parameters or versions, so two
    settings of one method are compared on the same random numbers.
    """
    text = "\0".join([str(seed), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
