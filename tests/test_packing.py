"""Packed results: one zip file with all that a results folder holds, for every verb."""

from __future__ import annotations

import shutil
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import pytest
from conftest import TESTS, run_pair

from hepbench.storage import stored_arrays
from hepbench.storage.results import Results
from hepbench.storage.stage_cache import StageCache

BASELINE = TESTS.parent / "results/baseline"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A workbench whose suite ``pair`` ran once."""
    return run_pair(tmp_path_factory.mktemp("packing"), "line")


@pytest.fixture
def results(ran, tmp_path):
    """A copy of its results."""
    return Path(shutil.copytree(ran.folder / "results", tmp_path / "results"))


def packed(ran, results, output, *options):
    """The packed file of a results folder."""
    done = ran("pack", results, "-o", output, *options)
    assert (done.code, done.err) == (0, "")
    return output


def members(path):
    """The contents of a zip file by name."""
    with ZipFile(path) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def arrays(path, folder):
    """The arrays of each file in a folder of packed results."""
    found = members(path).items()
    return [stored_arrays.load(data) for name, data in found if f"/{folder}/" in name]


def test_all_files_of_a_folder_are_packed_unchanged_beside_its_tables(ran, results, tmp_path):
    """Unknown ones too, but not hidden ones, nor the packed file itself."""
    (results / "pair" / "notes.txt").write_text("by hand")
    (results / "pair" / ".hidden").write_text("no result")
    before = {
        str(p.relative_to(results)): p.read_bytes() for p in results.rglob("*") if p.is_file()
    }
    (results / "earlier").mkdir()
    (results / "earlier" / "packed.zip").write_text("in no folder of a suite")
    found = members(packed(ran, results, results / "all.zip"))
    tables = {"pair/table.md", "pair/table.csv"}
    assert found.keys() == (before.keys() | tables) - {"pair/.hidden"}
    assert all(found[name] == before[name] for name in found.keys() - tables)
    assert b"| line" in found["pair/table.md"]


def test_equal_results_give_equal_bytes(ran, results, tmp_path):
    """Also of a copy, of the folder of one suite, and of a packed file."""
    first = packed(ran, results, tmp_path / "a.zip").read_bytes()
    copy = shutil.copytree(results, tmp_path / "copy")
    for source in (copy, copy / "pair", tmp_path / "a.zip"):
        assert packed(ran, source, tmp_path / "b.zip").read_bytes() == first


@pytest.mark.parametrize("options", [(), ("--parts", "test")])
def test_a_packed_file_serves_as_a_results_folder(ran, results, tmp_path, options):
    """The same table, no difference, and a figure."""
    file = packed(ran, results, tmp_path / "all.zip", *options)
    assert ran("table", file).out == ran("table", results).out
    assert ran("why", "toy/line/fit", "--results", file, "--suite", "pair.toml").code == 0
    done = ran("verify", file)
    assert done.code == 0, done.out
    assert "2 records, " in done.out
    assert "no difference" in done.out
    assert ran("plot", "roc", file, "-o", tmp_path / "roc.png").code == 0


def test_scores_of_kept_parts_are_the_same_bits(ran, results, tmp_path):
    """Those of other parts are not there, nor their labels; names and ids are."""
    whole = packed(ran, results, tmp_path / "all.zip")
    reduced = packed(ran, whole, tmp_path / "test.zip", "--parts", "test")
    for folder, named in (("predictions", {"test"}), ("labels", {"test.ids", "test.labels"})):
        pairs = zip(arrays(whole, folder), arrays(reduced, folder), strict=True)
        for old, new in pairs:
            assert new.keys() == named
            assert all(new[name].tobytes() == old[name].tobytes() for name in new)
            assert all(new[name].dtype == old[name].dtype for name in new)
    stored = [record.predictions for record in Results(reduced).records()]
    assert [tuple(each.parts) for each in stored] == [("test",), ("test",)]
    done = ran("pack", reduced, "-o", tmp_path / "no.zip", "--parts", "train")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "has no arrays of train, only of test" in done.err


def scores(kind):
    """Scores of two classes, float32."""
    rng = np.random.default_rng(3)
    p = rng.beta(0.3, 0.3, size=(999, 1)).astype(np.float32)
    logits = rng.normal(size=(999, 2)).astype(np.float32)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return {
        "pairs": np.hstack([1 - p, p]),
        "softmax": softmax.astype(np.float32),
        "logits": logits,
        "edges": np.float32([[0, 1], [1, 0], [0.5, 0.5], [-0.0, 1], [1e-45, 1], [1, 1e-30]]),
        "nan": np.float32([[np.nan, 1], [0, 1]]),
        "empty": np.zeros((0, 2), np.float32),
        "three": rng.random((5, 3), np.float32),
        "double": rng.random((5, 2)),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["pairs", "softmax", "logits", "edges", "nan", "empty", "three", "double"]
)
def test_scores_in_compact_form_come_back_bit_for_bit(kind):
    """Whatever a model scores; probabilities of two classes take less space."""
    array = scores(kind)
    data = stored_arrays.save({"test": array, "test.value.kl": array[:, 0]})
    again = stored_arrays.load(data)
    assert {n: a.tobytes() for n, a in again.items()} == {
        "test": array.tobytes(),
        "test.value.kl": array[:, 0].tobytes(),
    }
    assert again["test"].shape == array.shape
    if kind in {"pairs", "softmax"}:
        assert len(stored_arrays.save({"test": array})) < 0.75 * array.nbytes


def test_what_cannot_be_packed_is_named_and_nothing_is_written(ran, results, tmp_path):
    """A part that there is none of, changed predictions, a folder as output, no results."""
    next((results / "pair" / "predictions").iterdir()).write_bytes(b"PK")
    output = tmp_path / "all.zip"
    (tmp_path / "folder").mkdir()
    for options, text in (
        ((results, "--parts", "tset"), "no part named 'tset'"),
        ((results, "--parts", "test"), "was changed after"),
        ((tmp_path / "folder",), "no results in"),
    ):
        done = ran("pack", *options, "-o", output)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert text in done.err
    done = ran("pack", results, "-o", tmp_path / "folder")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "cannot write" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "results"]


def test_networks_come_from_the_cache_or_are_missed(ran, results, tmp_path):
    """What a method stored beside its scores; an empty cache is named."""
    file = packed(ran, results, tmp_path / "all.zip", "--networks")
    cache = StageCache(ran.folder / "cache")
    for record in Results(results).records():
        key = record.stage_keys["fit line"]
        stored = {f"pair/networks/{key}/{n}": cache.folder(key) / n for n in cache.find(key).files}
        kept = {name: path for name, path in stored.items() if path.name != "scores.npz"}
        assert kept
        assert all(members(file)[name] == path.read_bytes() for name, path in kept.items())
    (ran.folder / "cache").rename(ran.folder / "moved")
    empty = ran("pack", results, "-o", tmp_path / "no.zip", "--networks")
    (ran.folder / "moved").rename(ran.folder / "cache")
    assert (empty.code, empty.err.count("\n")) == (2, 1)
    assert "the trained network is no longer in the cache" in empty.err


def test_what_compresses_too_well_is_stored(ran, results, tmp_path):
    """A member of zeros would be refused when the file is read."""
    (results / "pair" / "zeros.bin").write_bytes(bytes(10**6))
    file = packed(ran, results, tmp_path / "all.zip")
    with ZipFile(file) as opened:
        assert opened.getinfo("pair/zeros.bin").compress_type == ZIP_STORED
    assert ran("verify", file).code == 0


@pytest.mark.parametrize("file", sorted(BASELINE.rglob("*.zip")), ids=lambda path: path.stem)
def test_the_packed_baselines_have_no_difference(ran, file):
    """Every metric of every record on its test examples."""
    done = ran("verify", file)
    assert done.code == 0, done.out
    assert "no difference" in done.out


def test_a_member_that_just_exceeds_the_ratio_is_stored(ran, results, tmp_path):
    """A zip file has no header of zlib: 1,201 bytes in 12 are more than is read."""
    (results / "pair" / "one.bin").write_bytes(b"\x9d" + bytes(1200))
    file = packed(ran, results, tmp_path / "all.zip")
    assert ran("table", file).code == 0


def test_a_folder_with_records_and_folders_of_records_is_refused(ran, results, tmp_path):
    """It would be packed in part."""
    shutil.copytree(results / "pair", results / "pair" / "deeper")
    done = ran("pack", results / "pair", "-o", tmp_path / "all.zip")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "pack the folder of one suite" in done.err


def test_changed_predictions_are_not_packed(ran, results, tmp_path):
    """Whether all parts are kept or some."""
    path = next((results / "pair" / "predictions").iterdir())
    data = bytearray(path.read_bytes())
    data[-300] ^= 1
    path.write_bytes(data)
    for options in ((), ("--parts", "test")):
        done = ran("pack", results, "-o", tmp_path / "all.zip", *options)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert f"{path.name} was changed" in done.err
    assert not (tmp_path / "all.zip").exists()
