"""Locks of the machine, which all runs on it share."""

from __future__ import annotations

import pytest

from hepbench.specs.errors import ResultsError
from hepbench.storage import locks


@pytest.mark.parametrize("name", [locks.GATE, locks.MACHINE])
def test_a_folder_in_place_of_a_lock_is_named(name, tmp_path, monkeypatch):
    """Before any work is done, and wherever the lock is taken."""
    monkeypatch.setenv("HEPBENCH_LOCKS", str(tmp_path))
    (tmp_path / name).mkdir()
    with pytest.raises(ResultsError, match=f"{name} cannot be opened: Is a directory"):
        locks.check()
    with (
        pytest.raises(ResultsError, match=f"{name} cannot be opened: Is a directory"),
        locks.machine(),
    ):
        pass


def test_the_folder_of_locks_is_an_absolute_path(monkeypatch):
    """Workers have other working folders: with a relative path they would not take turns."""
    monkeypatch.setenv("HEPBENCH_LOCKS", "locks")
    with pytest.raises(
        ResultsError, match="HEPBENCH_LOCKS is 'locks'; an absolute path is expected"
    ):
        locks.check()


def test_an_empty_variable_names_no_folder(monkeypatch, tmp_path):
    """As if it were not set; the current folder stays empty."""
    monkeypatch.setenv("HEPBENCH_LOCKS", "")
    monkeypatch.setattr(locks, "MACHINE_LOCKS", str(tmp_path / "usual"))
    (tmp_path / "usual").mkdir()
    locks.check()
    assert {path.name for path in (tmp_path / "usual").iterdir()} == {locks.GATE, locks.MACHINE}
