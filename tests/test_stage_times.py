"""Times of stages: what they are known by, and how the time of a run follows from them."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from hepbench.planning.stages import Stage
from hepbench.running.stage_times import StageTimes


def stage(name="scratch net", *, seed=0, kind="method", exclusive=False, parents=(), **parts):
    """A stage with some parts of its key."""
    made = Stage(
        kind=kind,
        name=name,
        run="module:function",
        task=msgspec.defstruct("Task", [])(),
        parts={"seed": seed, "code": {"module": str(seed)}, **parts},
        group="methods",
        parents=parents,
        exclusive=exclusive,
    )
    return replace(made, key=f"{name}-{seed}-{sorted(parts.items())}")


def by_key(*stages):
    """Stages by their keys."""
    return {each.key: each for each in stages}


def test_a_stage_takes_as_long_as_one_with_other_seed_or_code(tmp_path):
    """But not as one with other parameters, or whose parent had others."""
    few, many = stage("read data", params={"n": 1}), stage("read data", params={"n": 9})
    first = stage(params={"epochs": 3}, parents=(few.key,))
    again = stage(seed=1, params={"epochs": 3}, parents=(few.key,))
    longer = stage(seed=2, params={"epochs": 30}, parents=(few.key,))
    larger = stage(seed=3, params={"epochs": 3}, parents=(many.key,))
    stages = by_key(few, many, first, again, longer, larger)
    times = StageTimes(tmp_path / "times.json")
    times.note(first, stages, 4.0)
    times.note(longer, stages, 40.0)
    assert times.left([again], stages, 1) == 4.0
    assert times.left([longer], stages, 1) == 40.0
    assert times.left([larger], stages, 1) == 22.0


def test_workers_share_stages_but_costs_run_alone(tmp_path):
    """Four stages of 6 s with two workers, and two costs of 1 s."""
    methods = [stage(seed=i) for i in range(5)]
    costs = [stage("cost", kind="cost", exclusive=True, seed=i) for i in range(3)]
    stages = by_key(*methods, *costs)
    times = StageTimes(tmp_path / "times.json")
    times.note(methods[0], stages, 6.0)
    times.note(costs[0], stages, 1.0)
    assert times.left([*methods[1:], *costs[1:]], stages, 2) == pytest.approx(12 + 2)


def test_nothing_is_said_where_most_stages_are_unknown(tmp_path):
    """A guess is no estimate; nothing left is no time either."""
    known, *unknown = [stage(f"method {i}") for i in range(4)]
    stages = by_key(known, *unknown)
    times = StageTimes(tmp_path / "times.json")
    assert times.left([known], stages, 1) is None
    times.note(known, stages, 2.0)
    assert times.left([known, *unknown], stages, 1) is None
    assert times.left([known, unknown[0]], stages, 1) == 4.0
    assert times.left([], stages, 1) is None


def test_times_are_kept_and_a_damaged_file_is_empty(tmp_path):
    """They are a help, so no file of them stops a run."""
    path, one = tmp_path / "times.json", stage()
    times = StageTimes(path)
    times.note(one, by_key(one), 3.0)
    times.save()
    assert StageTimes(path).left([one], by_key(one), 1) == 3.0
    for text in ("", "{", '{"a": 1}', "[]"):
        path.write_text(text)
        assert StageTimes(path).left([one], by_key(one), 1) is None
    StageTimes(tmp_path / "nowhere" / "times.json").save()


def test_a_plan_tells_the_time_after_a_run_of_equal_settings(toys):
    """With other seeds."""
    suite = (
        'name = "s"\ncost = false\nseeds = {}\n[[run]]\ndatasets = ["toy"]\n'
        'models = ["line"]\nmethods = ["fit"]\n'
    )
    toys.write("s.toml", suite.format(1))
    assert ", about" not in toys("plan", "s.toml").out
    assert toys("run", "s.toml").code == 0
    toys.write("s.toml", suite.format(3))
    assert ", about " in toys("plan", "s.toml").out
