"""Finds the devices of this machine (CPU and GPUs) without importing torch."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from hepbench.specs.errors import UsageError

NVIDIA = Path("/proc/driver/nvidia/gpus")
"""A folder with one entry for each GPU, made by the NVIDIA driver (Linux)."""

FORMS = "cpu, auto, cuda, cuda:N and mps"
"""The values that ``--device`` takes."""


@dataclass(frozen=True)
class Device:
    """A processor or GPU.

    Attributes:
        kind: ``cpu``, ``cuda`` or ``mps``.
        name: model of the GPU, such as ``NVIDIA H200``; empty for the processor. Kind and name
            are parts of keys.
        index: which GPU of a machine with several; not part of keys.
    """

    kind: str = "cpu"
    name: str = ""
    index: int | None = None

    def __str__(self) -> str:
        """Return the device as torch writes it, such as ``cuda:0``."""
        return self.kind if self.index is None else f"{self.kind}:{self.index}"


def find(text: str) -> Device:
    """Return the device of this machine that ``--device`` names.

    ``auto`` is a GPU if there is one.

    Raises:
        UsageError: the text is not one of FORMS, or the machine has no such device.
    """
    match = re.fullmatch(r"(cpu|auto|mps|cuda)(?::(\d+))?", text)
    if match is None or (match[2] and match[1] != "cuda"):
        msg = f"--device {text} is not a device; {FORMS} are allowed"
        raise UsageError(msg)
    kind, index = match[1], int(match[2] or 0)
    gpus = nvidia_gpus() if kind in {"auto", "cuda"} else []
    if kind == "cuda":
        return _visible_cuda_device(text, index, gpus)
    if kind == "auto" and gpus:
        return Device("cuda", gpus[0], 0)
    if kind == "mps" and not _has_mps():
        msg = f"--device {text}: this machine has no Apple GPU; use cpu, auto or cuda"
        raise UsageError(msg)
    if kind == "mps" or (kind == "auto" and _has_mps()):
        return Device("mps", platform.machine())
    return Device()


def _visible_cuda_device(text: str, index: int, gpus: list[str]) -> Device:
    if not gpus:
        msg = f"--device {text}: no NVIDIA GPU is visible on this machine; use cpu or auto"
        raise UsageError(msg)
    if index >= len(gpus):
        last = len(gpus) - 1
        msg = f"--device {text}: the GPUs of this machine are cuda:0 to cuda:{last}"
        raise UsageError(msg)
    return Device("cuda", gpus[index], index)


def nvidia_gpus() -> list[str]:
    """Return the model names of this machine's visible NVIDIA GPUs, by PCI address.

    ``CUDA_VISIBLE_DEVICES`` selects and orders them, by number or by (the start of) a UUID.
    """
    folders = sorted(NVIDIA.glob("*")) if NVIDIA.is_dir() else []
    gpus = [_model_and_uuid(folder) for folder in folders]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return [model for model, _ in gpus]
    visible = []
    for entry in filter(None, map(str.strip, chosen.split(","))):
        named = gpus[int(entry) :][:1] if entry.isdigit() else _gpus_with_uuid(entry, gpus)
        if not named:
            # CUDA stops at the first entry that does not exist, such as -1
            break
        visible.append(named[0][0])
    return visible


def _gpus_with_uuid(start: str, gpus: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [gpu for gpu in gpus if start.startswith("GPU-") and gpu[1].startswith(start)]


def _model_and_uuid(folder: Path) -> tuple[str, str]:
    """Return model and UUID of a GPU; the UUID is empty if the driver does not give one."""
    try:
        lines = (folder / "information").read_text().splitlines()
    except OSError:
        lines = []
    found = {name.strip(): value.strip() for name, _, value in (s.partition(":") for s in lines)}
    return found.get("Model") or "NVIDIA GPU", found.get("GPU UUID", "")


def _has_mps() -> bool:
    return platform.system() == "Darwin" and platform.machine() == "arm64"
