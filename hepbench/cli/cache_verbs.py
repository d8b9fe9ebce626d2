"""The verbs of ``hepbench cache``: where it is, how large it is, and removing what is in it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hepbench.cli.text_tables import lined_up
from hepbench.running.session import cache_folder
from hepbench.specs.errors import UsageError
from hepbench.specs.text import several
from hepbench.storage.stage_cache import MANIFEST, StageCache

if TYPE_CHECKING:
    from collections.abc import Iterator


DAY = 86400.0


def size() -> str:
    """Return the text of ``cache size``: bytes and number of finished stages, and of the rest."""
    root = cache_folder()
    stages = list(_stages(root))
    of_stages = sum(map(size_of, stages))
    rest = size_of(root) - of_stages
    rows = [
        ("stages", _megabytes(of_stages), several(len(stages), "finished stage")),
        ("others", _megabytes(rest), "comparisons of rows, digests of files, work in progress"),
    ]
    return "\n".join([str(root), *lined_up(rows)])


def clean(days: float | None) -> str:
    """Remove finished stages from the cache, and return a line about them.

    Args:
        days: only stages that were finished longer ago; None: all, and comparisons too.

    Raises:
        UsageError: a run is under way.
    """
    root = cache_folder()
    cache = StageCache(root)
    cache.sweep()
    if claims := list((root / "claims").glob("*.lock")):
        msg = (
            f"cache {root}: a run is under way and works on {several(len(claims), 'stage')}; "
            "clean the cache when it has ended"
        )
        raise UsageError(msg)
    old = [folder for folder in _stages(root) if days is None or _age(folder) > days * DAY]
    freed = sum(map(size_of, old))
    for folder in old:
        cache.remove(folder.name)
    if days is None:
        freed += _remove_comparisons(root)
    return (
        f"removed {several(len(old), 'stage')}, {_megabytes(freed)}, from {root}; "
        "runs that need them compute them again"
    )


def _remove_comparisons(root: Path) -> int:
    """Remove which rows of tables tie, which tables compute again; return the bytes."""
    freed = 0
    for path in (root / "comparisons").glob("*.json"):
        with suppress(OSError):
            freed += path.stat().st_size
            path.unlink()
    return freed


def _stages(root: Path) -> Iterator[Path]:
    """Yield the folders of finished stages."""
    return (path.parent for path in (root / "stages").glob(f"*/*/{MANIFEST}"))


def _age(folder: Path) -> float:
    """Return the seconds since a stage was finished."""
    return time.time() - (folder / MANIFEST).stat().st_mtime


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder; files that vanish meanwhile count nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(parent) / name).lstat().st_size
    return total


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
