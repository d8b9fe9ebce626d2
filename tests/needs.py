"""What some tests need. The reason of a skip says it in one form, which `skipped.py` reads."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

import browser
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
REAL_DATA = Path(os.environ.get("HEPBENCH_REAL_DATA") or ROOT.parent / "shared" / "data")


def needs_extra(extra: str) -> pytest.MarkDecorator:
    """Skip a test unless all that an extra installs is installed.

    Args:
        extra: as pip takes it, such as ``hepbench-plugins[pandas]``.

    Raises:
        ValueError: no distribution has such an extra.
    """
    return skip_unless(extra_is_installed(extra), f"needs the extra {extra}")


def needs_real_data(path: str) -> pytest.MarkDecorator:
    """Skip a test unless a file is in the folder of real data."""
    reason = missing_real_data(path)
    return skip_unless(not reason, reason)


def needs_linux(feature: str, *, found: bool) -> pytest.MarkDecorator:
    """Skip a test unless a feature of Linux was found."""
    return skip_unless(found, f"needs Linux: {feature}")


def needs_browser() -> pytest.MarkDecorator:
    """Skip a test unless Chromium, or a browser of its kind, is installed."""
    return skip_unless(bool(browser.CHROMIUM), f"needs a browser: {', '.join(browser.PROGRAMS)}")


def skip_unless(found: bool, reason: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not found, reason=reason)


def real_data(path: str = "") -> Path:
    """Return a file or folder of real data, or skip the test that asks for it."""
    if reason := missing_real_data(path):
        pytest.skip(reason)
    return REAL_DATA / path


def missing_real_data(path: str) -> str:
    """Return why a file of real data cannot be read, or ''."""
    if not REAL_DATA.is_dir():
        return "needs real data: set HEPBENCH_REAL_DATA"
    if not (REAL_DATA / path).exists():
        return f"needs real data: {path} is missing in {REAL_DATA}"
    return ""


def extra_is_installed(extra: str) -> bool:
    """Whether every requirement of an extra is installed, in a version that it allows."""
    wanted = Requirement(extra)
    requirements = [Requirement(line) for line in metadata.requires(wanted.name) or ()]
    chosen = [r for r in requirements if r.marker and not r.marker.evaluate({"extra": ""})]
    chosen = [r for r in chosen if any(r.marker.evaluate({"extra": e}) for e in wanted.extras)]
    if not chosen:
        msg = f"{extra}: {wanted.name} has no such extra"
        raise ValueError(msg)
    return all(map(is_installed, chosen))


def is_installed(requirement: Requirement) -> bool:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)
