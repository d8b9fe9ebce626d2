"""Devices: what networks are trained and scored on, found without importing torch."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from hepbench.specs.errors import UsageError

NVIDIA = Path("/proc/driver/nvidia/gpus")
"""A folder for each GPU, made by NVIDIA's driver (Linux)."""

FORMS = "cpu, auto, cuda, cuda:N and mps"


@dataclass(frozen=True)
class Device:
    """A device.

    Attributes:
        kind: ``cpu``, ``cuda`` or ``mps``.
        name: the GPU's model, such as ``NVIDIA H200``; empty for the processor. Kind and name are
            parts of keys.
        index: which of several GPUs of a machine; no part of keys.
    """

    kind: str = "cpu"
    name: str = ""
    index: int | None = None

    def __str__(self) -> str:
        """Return the name that torch has for it."""
        return self.kind if self.index is None else f"{self.kind}:{self.index}"


def find(text: str) -> Device:
    """Return the device that ``--device`` names; ``auto`` is a GPU where there is one.

    Raises:
        UsageError: the name is none of FORMS, or the device is not there.
    """
    match = re.fullmatch(r"(cpu|auto|mps|cuda)(?::(\d+))?", text)
    if match is None or (match[2] and match[1] != "cuda"):
        msg = f"--device {text}: {FORMS} are allowed"
        raise UsageError(msg)
    kind, index = match[1], int(match[2] or 0)
    gpus = nvidia_gpus() if kind in {"auto", "cuda"} else []
    if kind == "cuda":
        return _cuda(text, index, gpus)
    if kind == "auto" and gpus:
        return Device("cuda", gpus[0], 0)
    if kind == "mps" and not _has_mps():
        msg = f"--device {text}: this machine has no Apple GPU; cpu, auto and cuda are others"
        raise UsageError(msg)
    if kind == "mps" or (kind == "auto" and _has_mps()):
        return Device("mps", platform.machine())
    return Device()


def _cuda(text: str, index: int, gpus: list[str]) -> Device:
    if not gpus:
        msg = f"--device {text}: no NVIDIA GPU is visible on this machine; use --device cpu or auto"
        raise UsageError(msg)
    if index >= len(gpus):
        last = len(gpus) - 1
        msg = f"--device {text}: the GPUs of this machine are cuda:0 to cuda:{last}"
        raise UsageError(msg)
    return Device("cuda", gpus[index], index)


def nvidia_gpus() -> list[str]:
    """Return the models of the visible NVIDIA GPUs, in torch's order.

    ``CUDA_VISIBLE_DEVICES`` hides and orders them; entries other than numbers count as present.
    """
    folders = sorted(NVIDIA.glob("*")) if NVIDIA.is_dir() else []
    models = [_model(folder / "information") for folder in folders]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return models
    visible = []
    for entry in filter(None, map(str.strip, chosen.split(","))):
        if entry.isdigit() and int(entry) >= len(models):
            # CUDA stops at the first entry that does not exist
            break
        visible.append(models[int(entry)] if entry.isdigit() else _any(models))
    return visible if models else []


def _any(models: list[str]) -> str:
    return models[0] if models else ""


def _model(information: Path) -> str:
    try:
        lines = information.read_text().splitlines()
    except OSError:
        return "NVIDIA GPU"
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return found[0] if found else "NVIDIA GPU"


def _has_mps() -> bool:
    return platform.system() == "Darwin" and platform.machine() == "arm64"
