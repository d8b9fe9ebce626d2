"""Execution: isolation, failures, exclusive stages, and what a kill leaves behind."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import msgspec
import psutil
import pytest
from needs import needs_linux

from hepbench.planning.stages import Stage
from hepbench.running.grouping import jobs
from hepbench.storage import records


def suite(models, *, methods=("fit",), name="many", seeds=1):
    return f"""
name = "{name}"
cost = false
seeds = {seeds}
[[run]]
datasets = ["toy"]
models = {list(models)}
methods = {list(methods)}
""".replace("'", '"')


class Nothing(msgspec.Struct):
    """A task without content."""


def stage(key, *parents, group="methods", exclusive=False):
    return Stage(
        kind="method",
        name=key,
        run="",
        parts={},
        task=Nothing(),
        group=group,
        parents=parents,
        exclusive=exclusive,
        key=key,
    )


def grouped(*stages):
    return [[s.key for s in job] for job in jobs({s.key: s for s in stages})]


def test_preparation_is_one_process_and_a_chain_that_nobody_shares_another():
    """A start is paid once for prepare and once for the methods of a chain."""
    prepare = [stage("read", group="prepare"), stage("split", "read", group="prepare")]
    prepare.append(stage("inputs", "read", "split", group="prepare"))
    chain = [stage("a", "inputs"), stage("b", "inputs", "a")]
    assert grouped(*prepare, *chain) == [["read", "split", "inputs"], ["a", "b"]]


def test_a_stage_that_two_chains_share_ends_its_process():
    """Both chains can go on at once as soon as what they share is there."""
    shared = stage("shared", "inputs")
    ends = [stage("x", "inputs", "shared"), stage("y", "inputs", "shared")]
    assert grouped(shared, *ends) == [["shared"], ["x"], ["y"]]


def test_what_runs_alone_shares_no_process():
    """An exclusive stage is a job of its own."""
    cost = stage("cost", "a", exclusive=True)
    assert grouped(stage("a"), cost, stage("b", "cost")) == [["a"], ["cost"], ["b"]]


def test_failures_of_every_kind_cost_one_cell_each(toys):
    """One raises, one exits, one aborts, one hangs, one takes all memory: the rest is recorded."""
    bad = ["raise", "exit", "abort", "hang", "hoard"]
    models = [f"line[does={b}]" for b in bad] + [f"line[slope={i}.5]" for i in range(1, 6)]
    toys.write("many.toml", suite(models))
    options = ("--timeout", "8", "--memory", "0.5", "--jobs", "2")
    done = toys("run", "many.toml", *options)
    assert done.code == 1
    found = toys.records()
    good = [r for r in found.values() if r.status == "ok"]
    assert len(good) == 5
    errors = {r.model: r.error for r in found.values() if r.error}
    assert errors["line[does=raise]"].message == "told to raise"
    assert "told to raise" in errors["line[does=raise]"].traceback
    exited = "the worker exited with code 3 in the middle of a stage"
    assert errors["line[does=exit]"].message == exited
    assert "SIGABRT" in errors["line[does=abort]"].message
    assert "Fatal Python error: Aborted" in errors["line[does=abort]"].stderr
    assert errors["line[does=hang]"].message == "the stage took longer than 8 s (--timeout)"
    assert errors["line[does=hoard]"].message == "out of memory; the limit is 0.5 GB (--memory)"
    for name, error in errors.items():
        assert name in done.out
        assert error.message.split(";")[0][:30] in done.out

    again = toys("run", "many.toml", *options, "--json")
    assert again.code == 1
    assert again.json["cached"] == 5
    assert len(again.json["failed"]) == 5


def test_a_failed_cell_is_tried_again_and_its_failure_goes(toys):
    """A success takes the place of the failure record."""
    toys.write("many.toml", suite(["line[does=sleep1]"]))
    assert toys("run", "many.toml", "--timeout", ".2").code == 1
    folder = toys.folder / "results" / "many"
    assert [p.name.endswith(".failed.json") for p in folder.glob("*.json")] == [True]
    assert toys("run", "many.toml").code == 0
    assert [p.name.endswith(".failed.json") for p in folder.glob("*.json")] == [False]


def test_a_failure_names_the_cell_whose_stage_it_was(toys):
    """Two chains share a first step; when it fails, both are failed and say where."""
    toys.write("many.toml", suite(["line[does=raise]"], methods=["fit", "fit+again"]))
    assert toys("run", "many.toml").code == 1
    found = toys.records()
    assert found["toy/line[does=raise]/fit#0"].error.cell == ""
    assert found["toy/line[does=raise]/fit+again#0"].error.cell == "toy/line[does=raise]/fit#0"


def test_what_a_plugin_prints_reaches_no_output(toys):
    """Standard output holds the table alone."""
    toys.write("many.toml", suite(["line[does=print]"]))
    done = toys("run", "many.toml")
    assert done.code == 0
    assert "printed by a plugin" not in done.out + done.err


def comparable(bench, results="results"):
    return {name: records.comparable(r) for name, r in bench.records(results).items()}


MODELS = [f"line[slope={i}.25]" for i in range(1, 9)]


def test_records_do_not_depend_on_jobs_or_on_the_run(toys):
    """Two fresh runs, with one job and with two, write the same records."""
    toys.write("many.toml", suite(MODELS, methods=["fit", "fit+again"]))
    assert toys("run", "many.toml", "--jobs", "1").code == 0
    first = comparable(toys)
    toys.forget()
    assert toys("run", "many.toml", "--jobs", "2").code == 0
    assert comparable(toys) == first


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_with_the_same_records(toys):
    """Killed with SIGKILL at random moments and resumed, a run writes what it would have written."""
    slow = [f"line[does=sleep0.{i}]" for i in range(1, 9)]
    toys.write("many.toml", suite(slow, seeds=2))
    assert toys("run", "many.toml", "--results", "whole").code == 0
    whole = comparable(toys, "whole")
    import shutil

    shutil.rmtree(toys.folder / "cache")
    rng = random.Random(1)
    for _ in range(8):
        process = toys.start("run", "many.toml")
        time.sleep(rng.uniform(0.2, 1.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert toys("run", "many.toml").code == 0
    assert comparable(toys) == whole
    assert not list((toys.folder / "cache" / "tmp").iterdir())


def workers(pattern):
    """Return the processes that hold a file open or work in a folder of that name."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if pattern in str((process / "cwd").readlink()):
                found.append(int(process.name))
        except OSError:
            continue
    return found


@needs_linux("/proc", found=Path("/proc/self").exists())
def test_no_worker_outlives_the_main_process(toys):
    """When the main process alone is killed with SIGKILL, its workers end at once."""
    toys.write("many.toml", suite(["line[does=hang]"]))
    process = toys.start("run", "many.toml")
    scratch = str(toys.folder / "cache" / "tmp")
    deadline = time.monotonic() + 30
    # the worker of the three stages that prepare the data ends by itself
    while len(list(toys.folder.glob("cache/stages/*/*"))) < 3 or not workers(scratch):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while workers(scratch) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers(scratch) == []


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "terminated (SIGTERM)"),
        (signal.SIGHUP, "hung up (SIGHUP)"),
    ],
)
def test_a_signal_ends_a_run_and_keeps_what_is_finished(toys, number, word):
    """Ctrl-C, a batch system's SIGTERM and the SIGHUP of a closed terminal reach the server of workers
    too: one line says how to go on, the exit code names the signal, and a rerun resumes.
    """
    toys.write("many.toml", suite(["line", "line[does=hang]"]))
    process = toys.start("run", "many.toml", "--jobs", "1", start_new_session=True)
    deadline = time.monotonic() + 30
    while not list((toys.folder / "results").glob("many/*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    *cells, last = err.splitlines()
    assert last.startswith(f"hepbench: {word}; finished stages are kept"), err
    assert len(cells) <= 1, err
    again = toys("plan", "many.toml")
    assert "2 cells, 1 of them recorded" in again.out


def test_a_closed_terminal_does_not_end_the_tracker_before_the_run(toys):
    """multiprocessing would start another one while the run ends, with a warning on stderr."""
    toys.write("one.toml", suite(["line[does=hang]"]))
    process = toys.start("run", "one.toml", start_new_session=True)
    main, trackers = psutil.Process(process.pid), []
    deadline = time.monotonic() + 30
    while not trackers:
        assert time.monotonic() < deadline
        trackers = [c for c in main.children() if "resource_tracker" in " ".join(c.cmdline())]
    trackers[0].send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert trackers[0].status() != psutil.STATUS_ZOMBIE
    os.killpg(process.pid, signal.SIGHUP)
    _, err = process.communicate(timeout=30)
    assert len(err.splitlines()) == 1, err


def test_two_runs_at_once_share_the_work(toys):
    """Each stage is done by one of them, and both end with every record."""
    slow = [f"line[does=sleep0.{i}]" for i in range(3, 9)]
    toys.write("many.toml", suite(slow))
    both = [toys.start("run", "many.toml", "--results", f"r{i}", "--json") for i in (0, 1)]
    ends = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert comparable(toys, "r0") == comparable(toys, "r1")
    made = [r.provenance for r in toys.records("r0").values()]
    assert len(made) == len(slow)
    folders = list((toys.folder / "cache" / "stages").glob("*/*"))
    assert len(folders) == 3 + len(slow)


ALONE = """
import json, sys, time
from pathlib import Path
from hepbench.storage.stage_cache import StageCache
from hepbench.running.executor import Limits
from hepbench.running.local import LocalExecutor
from hepbench.running.validity import Validity
from hepbench.storage.digest_cache import DigestCache
from hepbench.planning.stages import Stage
from spans import Task

folder, name = Path(sys.argv[1]), sys.argv[2]

def one(key, exclusive):
    return Stage(kind="method", name=key, run="spans:work", parts={}, group="methods",
                 task=Task(str(folder / "spans"), exclusive), key=key,
                 exclusive=exclusive)

stages = [one(f"{name}{i}", exclusive=i % 3 == 1) for i in range(6)]
executor = LocalExecutor(StageCache(folder / "cache"), Limits(jobs=2),
                         Validity(DigestCache(folder / "digests.json")))
done = executor.execute({s.key: s for s in stages}, while_waiting=lambda: None)
assert sum(o.status == "ok" for o in done) == 6
"""
SPANS = """
import time
from contextlib import nullcontext
import msgspec
from hepbench.storage.workspace import stage

class Task(msgspec.Struct):
    log: str
    exclusive: bool

class Result(msgspec.Struct):
    pass

@stage(Task)
def work(task, workspace):
    with workspace.alone() if task.exclusive else nullcontext():
        began = time.monotonic()
        time.sleep(0.15)
        with open(task.log, "a") as log:
            log.write(f"{began} {time.monotonic()} {task.exclusive}\\n")
    return Result()
"""


def test_an_exclusive_stage_is_alone_on_the_machine_across_two_runs(bench):
    """While it works, no other stage of this or another run does; shared ones do overlap."""
    import subprocess
    import sys

    bench.site.mkdir()
    (bench.site / "spans.py").write_text(SPANS)
    bench.write("alone.py", ALONE)
    command = [sys.executable, "-P", str(bench.folder / "alone.py"), str(bench.folder)]
    both = [subprocess.Popen([*command, name], env=bench.variables()) for name in "ab"]
    assert [process.wait(60) for process in both] == [0, 0]
    lines = (bench.folder / "spans").read_text().split("\n")[:-1]
    spans = [(float(a), float(b), e == "True") for a, b, e in map(str.split, lines)]
    assert len(spans) == 12
    overlaps = [
        (x, y) for i, x in enumerate(spans) for y in spans[:i] if x[0] < y[1] and y[0] < x[1]
    ]
    assert overlaps
    assert not any(x[2] or y[2] for x, y in overlaps)


def test_what_is_alone_waits_until_nothing_else_is_left(bench):
    """Else all cores but one would be idle for as long as the others take to end."""
    import subprocess
    import sys

    bench.site.mkdir()
    (bench.site / "spans.py").write_text(SPANS)
    bench.write("alone.py", ALONE)
    command = [sys.executable, "-P", str(bench.folder / "alone.py"), str(bench.folder), "a"]
    assert subprocess.run(command, env=bench.variables(), check=False).returncode == 0
    spans = (line.split() for line in (bench.folder / "spans").read_text().splitlines())
    kinds = [exclusive for _, _, exclusive in sorted(spans)]
    assert kinds == ["False"] * 4 + ["True"] * 2
