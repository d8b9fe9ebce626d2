"""Keep freed memory in the process, so that a training step does not ask for it again."""

from __future__ import annotations

import ctypes

FROM_THE_HEAP_BYTES = (2**28, 2**25)
"""Allocations up to this size in bytes come from the heap: the first that the C library takes, and
glibc before 2.35 takes no more than 2**25. Larger allocations, such as a data part that is kept in
memory, are given back when they are freed."""


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for later allocations.

    By default it gives back what was larger than 32 MB, and the free end of the heap: the tensors of a
    step are then mapped and filled with zeros page by page in each step. A C library that does
    not take these settings keeps its own.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return
    # numbers of malloc.h in glibc
    mmap_threshold, trim_threshold, never = -3, -1, -1
    # each option ends the adaptation of both, so the end of the heap alone would make it slower
    if any(set_option(mmap_threshold, most) for most in FROM_THE_HEAP_BYTES):
        set_option(trim_threshold, never)
