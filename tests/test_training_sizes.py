"""Training sizes: every method of a chain sees so many training examples, and nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tinynets
from conftest import Workbench, bench_that_ran
from msgspec.structs import replace

from hepbench.evaluation import joining
from hepbench.specs.errors import DataError
from hepbench.storage import npy_files
from hepbench.storage.stage_cache import StageCache
from hepbench.training import method_stage
from hepbench.training.messages import MethodResult

SUITE = """
name = "sizes"
cost = false
seeds = 2
[[run]]
datasets = ["blobs[n=500]"]
models = ["vae"]
methods = ["scratch-net", "pre+probe"]
training_sizes = [20, 60, 300]
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Workbench:
    """Return a workbench where every cell of the suite ran."""
    return bench_that_ran(tmp_path_factory.mktemp("sizes"), "sizes", SUITE)


def record(bench, size, chain, seed=0):
    return bench.records()[f"blobs[n=500,training_size={size}]/vae/{chain}#{seed}"]


def trained(bench, found):
    """Return the ids of the training examples that a record's training metrics are computed on."""
    results = bench.folder / "results"
    labels = dict(np.load(results / found.labels.path))
    return set(joining.join(labels, results / found.predictions.path)["train"].ids)


@pytest.mark.parametrize("size", [20, 60, 300])
def test_methods_see_so_many_examples(ran, size):
    """Test and validation parts are the same for all sizes, and nothing else is unlabelled data."""
    for chain in ("scratch-net", "pre+probe"):
        found = record(ran, size, chain)
        assert (found.data.n_train, found.data.n_unlabelled) == (size, 0)
        assert (found.data.n_validation, found.data.n_test) == (100, 100)
        assert found.data.split_hash == record(ran, 300, chain).data.split_hash
        assert len(trained(ran, found)) == size


def test_sizes_are_nested_and_drawn_for_each_seed(ran):
    """The choice is the same for every method, and another for each seed."""
    first, second = (trained(ran, record(ran, 60, chain)) for chain in ("scratch-net", "pre+probe"))
    other = trained(ran, record(ran, 60, "scratch-net", seed=1))
    fewer = trained(ran, record(ran, 20, "scratch-net"))
    assert first == second != other
    assert fewer < first


@pytest.mark.parametrize("size", [20, 60, 300])
def test_pretraining_sees_that_size_too(ran, size):
    """Unlike with few labels, where it sees every training input."""
    found = record(ran, size, "pre+probe")
    cache = StageCache(ran.folder / "cache")
    assert cache.result(found.stage_keys["pre vae"], MethodResult).examples == size


def test_cells_of_several_sizes_share_how_data_were_prepared(ran):
    """Reading, splitting and inputs are one stage each for all sizes."""
    for stage in ("read", "split", "inputs"):
        assert len({found.stage_keys[stage] for found in ran.records().values()}) == 1


def test_the_table_says_what_a_size_is_and_that_two_draws_are_few(ran):
    """One table for each size, the smallest first."""
    out = " ".join(ran("table").out.split())
    assert "training_size: number of training examples that methods see, pretraining too" in out
    assert "2 draws of training examples: 3 seeds or more show how much depends on them" in out
    titles = [f"blobs[n=500,training_size={size}] bundled" for size in (20, 60, 300)]
    assert sorted(titles, key=out.index) == titles
    assert ran("verify").code == 0


@pytest.mark.parametrize("size", [301, 1])
def test_a_size_that_the_dataset_does_not_have_is_an_error_in_one_line(ran, size):
    """Nothing shrinks: fewer examples than asked for are an error of the user."""
    done = ran(
        *("run", "sizes.toml", "-x", "scratch-net", "--results", "other", "--seeds", "1"),
        *("--set", f"dataset.training_size={size}"),
    )
    assert done.code == 2
    said = f"dataset.training_size is {size}; there are 300 training examples of 2 classes"
    assert said in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("size", "message"),
    [("0", "a whole number of at least 1"), ("2.5", "a whole number"), ('"x"', "whole number")],
)
def test_a_size_is_a_whole_number(ran, size, message):
    """Anything else is refused before anything runs, on the command line and in a suite."""
    done = ran("plan", "sizes.toml", "--set", f"dataset.training_size={size}")
    assert (done.code, message in done.err) == (2, True)
    ran.write("wrong.toml", SUITE.replace("[20,", f"[{size},"))
    done = ran("plan", "wrong.toml")
    assert (done.code, message in done.err) == (2, True)


def test_each_preset_may_have_its_own_sizes(ran):
    """A preset without a list is refused with those that have one."""
    ran.write("presets.toml", SUITE.replace("[20, 60, 300]", "{ quick = [20, 60] }"))
    done = ran("plan", "presets.toml", "-x", "scratch-net")
    assert [f"training_size={n}]" in done.out for n in (20, 60, 300)] == [True, True, False]
    done = ran("plan", "presets.toml", "--preset", "paper")
    assert done.code == 2
    assert "training_sizes: no preset named 'paper'. Known: quick" in done.err


def test_an_unset_size_is_no_part_of_keys_and_records(ran):
    """So results made before there were sizes belong to the same cells."""
    ran.write("all.toml", SUITE.replace("training_sizes", "# "))
    done = ran("run", "all.toml", "-x", "scratch-net", "--seeds", "1", "--results", "all")
    assert done.code == 0, done.err
    (found,) = ran.records("all").values()
    assert "training_size" not in json.dumps([found.params, found.key_parts])


def test_the_unlabelled_examples_of_a_dataset_are_left_out(tmp_path):
    """A training size counts all that a method sees; label fractions are of that size."""
    for part in ("train", "validation", "unlabelled"):
        (tmp_path / part).mkdir()
        ids = np.arange(40) + 1000 * len(part)
        npy_files.save(tmp_path / part / "ids.npy", ids)
        npy_files.save(tmp_path / part / "input.table.npy", ids[:, None].astype(np.float32))
        if part != "unlabelled":
            npy_files.save(tmp_path / part / "labels.npy", np.arange(40) % 2)
    task = tinynets.task("m", "")
    whole, _ = method_stage.training_data(replace(task, labels=False), tmp_path)
    assert len(whole.train) == 80
    sized = replace(task, training_size=20)
    blind, seen = method_stage.training_data(replace(sized, labels=False), tmp_path)
    assert (len(blind.train), blind.unlabelled) == (20, None)
    few, labelled = method_stage.training_data(replace(sized, label_fraction=0.5), tmp_path)
    assert (len(few.train), len(few.unlabelled)) == (10, 10)
    assert set(labelled) < set(seen)
    assert {*few.train.ids, *few.unlabelled.ids} == set(blind.train.ids)
    with pytest.raises(DataError, match="is 41; there are 40 training examples"):
        method_stage.training_data(replace(task, training_size=41), tmp_path)
