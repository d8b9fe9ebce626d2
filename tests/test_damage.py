"""Damage: a changed bit in the cache is noticed and mended by the same run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hepbench.evaluation import measure
from hepbench.running import messages
from hepbench.running.stage_runs import failure
from hepbench.specs.text import LONGEST_TEXT
from hepbench.storage import records, stage_cache
from hepbench.storage.results import Results, ResultsFolder
from hepbench.storage.stage_cache import MANIFEST, StageCache

BASELINE = Path(__file__).parents[1] / "results/baseline/quickstart.zip"


class Answer(msgspec.Struct):
    """What a stage returns."""

    value: float


@pytest.fixture
def finished(tmp_path):
    """Return a cache with one finished stage, ``key``, of two files."""
    cache = StageCache(tmp_path)
    scratch = cache.scratch() / "key"
    (scratch / "images.sparse").mkdir(parents=True)
    (scratch / "scores.npy").write_bytes(bytes(range(256)) * 5000)
    (scratch / "images.sparse" / "ends.npy").write_bytes(b"ends")
    stage_cache.finish(
        scratch, cache.folder("key"), Answer(0.5), took_seconds=1.5, used=records.Usage()
    )
    return cache


def flip(path, bit):
    """Change one bit of a file, counted from its start or, below 0, from its end."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_a_finished_stage_is_intact(finished):
    """Its files and its result are as they were written."""
    assert finished.intact("key")
    assert finished.result("key", Answer) == Answer(0.5)


@pytest.mark.parametrize("bit", [0, 1003, -1])
@pytest.mark.parametrize("name", ["scores.npy", "images.sparse/ends.npy"])
def test_a_changed_bit_in_a_file_removes_the_stage(finished, name, bit):
    """Sizes stay the same, the checksum does not."""
    path = finished.folder("key") / name
    flip(path, bit % (8 * path.stat().st_size))
    assert finished.find("key")
    assert not finished.intact("key")
    assert not finished.folder("key").exists()


def test_every_changed_bit_of_a_manifest_is_noticed_or_changes_nothing(finished):
    """A wrong number never comes from a manifest."""
    path = finished.folder("key") / MANIFEST
    good = path.read_bytes()
    for bit in range(8 * len(good)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(good)
        flip(path, bit)
        found = finished.find("key")
        assert found is None or msgspec.json.decode(found.result, type=Answer) == Answer(0.5)


def test_a_manifest_without_checksums_is_still_read(finished):
    """Entries of older versions stay useful."""
    old = {"files": {"scores.npy": 256 * 5000}, "took_seconds": 1.0, "result": {"value": 2.0}}
    (finished.folder("key") / MANIFEST).write_bytes(msgspec.json.encode(old))
    assert finished.intact("key")
    assert finished.result("key", Answer) == Answer(2.0)


@pytest.mark.parametrize(
    "error",
    [ValueError("\ud800"), ValueError("x" * 1_000_000)],
    ids=["surrogate", "long"],
)
def test_an_exception_of_any_text_can_be_reported(error):
    """No Unicode, or far too long: at most 64 kB of it are sent, and it can be encoded."""
    event = failure("key", error, 0)
    assert messages.decode(messages.encode(event)) == event
    assert max(len(event.message), len(event.traceback)) <= LONGEST_TEXT


def test_a_written_record_equals_the_one_read_again(tmp_path):
    """Tuples in memory are lists on disk, so a row of both would show as changed."""
    folder = ResultsFolder(tmp_path)
    record = Results(BASELINE).records()[0]
    tuples = msgspec.structs.replace(record, key_parts={"read": {"classes": ("a", "b")}})
    written = folder.write(tuples)
    assert written == folder.read(record.suite, record.key)
    assert written.key_parts == {"read": {"classes": ["a", "b"]}}


def test_the_reason_of_an_undefined_metric_can_always_be_stored(monkeypatch):
    """A plugin's metric may raise an error with any text; the record is written all the same."""

    def fail(_predictions):
        raise RuntimeError("bad \udce9")

    monkeypatch.setattr(measure, "resolve", lambda _target: fail)
    value = measure._value("plug:metric", None)
    assert records.Value(undefined=r"raised RuntimeError: bad \udce9") == value


def test_one_changed_bit_anywhere_in_a_record_is_noticed():
    """In its checksum and in fields that nobody shows, too."""
    record = Results(BASELINE).records()[0]
    good = records.encode(record)
    assert records.decode(good) == record
    for bit in [*range(400), *range(400, 8 * len(good), 61)]:
        changed = bytearray(good)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(msgspec.MsgspecError):
            records.decode(bytes(changed))
