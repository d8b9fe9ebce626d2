"""A run that fails or is killed at any change on disk is completed by the next one.

Here a sample; ``python tests/interruptions.py`` goes through all changes.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import interruptions
import numpy as np
import pytest
from interceptor import Interceptor, supported
from interruptions import Driver, groups, series
from needs import needs_linux

from hepbench.specs.errors import ResultsError
from hepbench.storage import npy_files, temporary
from hepbench.storage.results_files import open_files

intercepting = needs_linux("a seccomp filter that asks", found=supported())


@pytest.fixture(scope="module")
def driver():
    """Yield a driver of 12 cells, in a short folder: sockets below it have short names."""
    with TemporaryDirectory(dir="/tmp", prefix="i-") as folder:
        yield Driver.of(Path(folder), "dozen")


@intercepting
def test_all_kinds_of_changes_are_seen(driver):
    """Of the main process and of workers, in cache and results."""
    assert len(driver.expected.records) == 12
    seen = {(point.process, point.call) for point in driver.points}
    calls = ("write", "fsync", "rename", "create", "mkdir")
    assert seen >= {(process, call) for process in ("main", "worker") for call in calls}


@intercepting
def test_each_point_fails_once_and_is_killed_once(driver):
    """In the whole series; a sample begins with one point of each kind."""
    runs = series(driver.points)
    for actions in ({"ENOSPC", "EIO"}, {"kill"}):
        reached = [point for action, group in runs if action in actions for point in group]
        assert sorted(reached) == sorted(driver.points)
    assert runs[:9] == series(driver.points, 9)
    largest = max(groups(driver.points), key=len)
    assert len(largest) == 12


@intercepting
@pytest.mark.slow
def test_an_interrupted_run_is_completed_by_the_next(driver):
    """Nothing is lost, duplicated, different or left over; one line says what happened."""
    trials = [driver.trial(*each) for each in series(driver.points, 8)]
    print(interruptions.summary(trials))
    assert [fault for trial in trials for fault in trial.faults] == []


@intercepting
@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "path", "action", "words"),
    [
        ("rename", "results/dozen/predictions", "EIO", "cannot write results/dozen/predictions"),
        ("create", "cache/claims", "ENOSPC", "set HEPBENCH_CACHE"),
        ("mkdir", "temporary/pymp", "ENOSPC", "No space left on device"),
        ("write", "cache/tmp/*/", "full", "No space left on device"),
    ],
)
def test_a_failed_write_is_one_line(driver, call, path, action, words):
    """It names the file or folder; the next run completes the results."""
    point = next(p for p in driver.points if p.call == call and p.path.startswith(path))
    trial = driver.trial(action, [point])
    assert (list(trial.faults), trial.code) == ([], 2)
    assert words in trial.told


SAVE = """
import sys
import numpy as np
from pathlib import Path
from hepbench.storage import npy_files
npy_files.save(Path("array.npy"), np.arange(10))
"""


@intercepting
def test_no_failed_write_of_an_array_is_silent(tmp_path):
    """numpy's own buffer would lose the end of a small array, and nobody would hear of it."""
    command = [sys.executable, "-c", SAVE]
    seen = Interceptor(tmp_path)
    assert seen.run(command, os.environ).returncode == 0
    assert np.array_equal(np.load(tmp_path / "array.npy"), np.arange(10))
    writes = [point for point in seen.points if point.call == "write"]
    assert writes
    for point in writes:
        failing = Interceptor(tmp_path, lambda at, p=point: errno.ENOSPC if at == p else 0)
        assert "No space left on device" in failing.run(command, os.environ).stderr


def test_an_array_is_saved_as_numpy_does(tmp_path):
    """Byte for byte."""
    for array in (np.arange(10), np.zeros((0, 3), np.float32), np.eye(3)[:, ::2]):
        npy_files.save(tmp_path / "ours.npy", array)
        np.save(tmp_path / "theirs.npy", np.ascontiguousarray(array))
        assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()


def test_only_files_of_ended_processes_of_this_machine_are_left_over(tmp_path):
    """Another machine may write into the same folder, and its process ids say nothing here."""
    ours = temporary.part(tmp_path / "a.npz")
    name, ended = ours.name, "4194305"
    assert not temporary.is_left_over(ours)
    gone = name.replace(f"-{os.getpid()}.", f"-{ended}.")
    assert temporary.is_left_over(tmp_path / gone)
    assert not temporary.is_left_over(tmp_path / gone.replace("~", "~other"))
    assert not temporary.is_left_over(tmp_path / "a.npz")
    assert temporary.is_left_over(tmp_path / f"{temporary.owner().rpartition('-')[0]}-{ended}~x1")


def flip(path, bit):
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


SUITE = """
name = "two"
cost = false
[[run]]
datasets = ["toy"]
models = ["line", "line[does=raise]"]
methods = ["fit"]
"""


def test_one_flipped_bit_in_any_file_of_the_results_is_told(toys):
    """verify names the file; a run writes damaged records again."""
    toys.write("two.toml", SUITE)
    assert toys("run", "two.toml").code == 1
    results = toys.folder / "results"
    files = sorted(path for path in results.rglob("*") if path.is_file())
    assert len(files) == 4
    for path in files:
        good = path.read_bytes()
        flip(path, 8 * (len(good) * 2 // 3))
        done = toys("verify")
        assert done.code in {1, 2}, path
        assert path.name in done.out + done.err
        path.write_bytes(good)
    assert toys("verify").code == 0
    record = next(path for path in files if path.suffix == ".json" and "failed" not in path.name)
    before = json.loads(record.read_bytes())
    flip(record, 5000)
    assert toys("run", "two.toml").code == 1
    assert json.loads(record.read_bytes())["metrics"] == before["metrics"]


def test_a_damaged_record_of_other_cells_is_told_by_a_run(toys):
    """The run counts how often the test set was looked at, and cannot count this one."""
    toys.write("two.toml", SUITE)
    toys("run", "two.toml")
    failed = next((toys.folder / "results").rglob("*.failed.json"))
    flip(failed, 5000)
    toys.write("two.toml", SUITE.replace(', "line[does=raise]"', ""))
    done = toys("run", "two.toml")
    assert done.code == 0
    assert failed.name in done.err


def test_no_flipped_bit_in_a_packed_file_goes_unnoticed(tmp_path):
    """It is told, or every file is as it was: dates, for one, are no part of results."""
    path = tmp_path / "packed.zip"
    with ZipFile(path, "w") as packed:
        for name in ("a/0123456789abcdef01234567.json", "a/predictions/x.npz"):
            packed.writestr(name, name * 3)
    files = open_files(path)
    before = {name: files.read(name) for name in files.names()}
    for bit in range(8 * path.stat().st_size):
        flip(path, bit)
        with suppress(ResultsError):
            files = open_files(path)
            files.check()
            assert {name: files.read(name) for name in files.names()} == before
        flip(path, bit)
