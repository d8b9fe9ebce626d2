"""Make torch deterministic: number of threads, algorithms, seeds of global random generators."""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn


def make_deterministic(threads: int) -> None:
    """Set torch's number of threads, and allow deterministic algorithms only.

    An operation without one raises a RuntimeError that names it.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # use_deterministic_algorithms does the same, but imports a compiler: 1.5 s in every worker
    torch.set_deterministic_debug_mode("error")
    torch.backends.cudnn.benchmark = False
    # float32 on a GPU means float32: its tensor cores would round products to 10 bits
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    # otherwise each torch.empty is filled first, which costs time and changes no result
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def seed(value: int) -> None:
    """Seed the global random generators, which dropout, initialisation and augmentations use."""
    random.seed(value)
    np.random.seed(value)  # noqa: NPY002
    torch.manual_seed(value)


@contextmanager
def isolated_rng(value: int) -> Iterator[None]:
    """Seed the global random generators for the body; afterwards restore their states."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        seed(value)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Set a network to eval mode for the body; afterwards restore the mode of every module."""
    # also of those in eval mode: the export to ONNX changes the mode of all of them
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
