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
        locks.machine(alone=False),
    ):
        pass
