"""The preset ``paper`` of each suite runs at full size on small files in the original format.

What is shortened: one epoch, a few dozen examples. Networks, images and all other settings are those
of the preset; batches are as large as the files allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import originals
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

boosted_jets = partial(originals.write_boosted_jets, labelled=40, unlabelled=8)
quark_gluon = partial(originals.write_quark_gluon, jets=40)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A suite under its preset ``paper``: its file, a selection of its cells, and what they cost.

    Attributes:
        dataset: the folder of its original files.
        write: writes them.
        select: options that choose cells.
        settings: settings beside one epoch of each method in ``trains``.
        trains: the suite's methods that train for epochs.
        cells: chains by model, without parameters.
        megamacs: multiply-accumulates of scoring one example in millions, by model.
    """

    dataset: str
    write: Callable[[Path], None]
    select: Sequence[str] = ()
    settings: Sequence[str] = ()
    trains: Sequence[str] = ("scratch",)
    cells: Mapping[str, set[str]]
    megamacs: Mapping[str, float]
