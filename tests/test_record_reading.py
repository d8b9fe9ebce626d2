"""Reading many records: they equal those read one by one, and share what is equal in them."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from made_records import METRICS, Comparing

from hepbench.storage import records
from hepbench.storage.record_reading import RecordReader
from hepbench.storage.records import Record
from hepbench.storage.results import Results
from hepbench.tables import document
from hepbench.tables.request import FORMATS, Request

BASELINES = sorted((Path(__file__).parent.parent / "results" / "baseline").glob("*.zip"))
QUICKSTART = BASELINES[0].with_name("quickstart.zip")
SUITE = """
name = "many"
cost = false
[[run]]
datasets = ["toy"]
models = {models}
methods = ["fit"]
"""
OLD = Path(__file__).parent / "data" / "record_schema_1.json"


def texts(path):
    """Return the JSON of each record of packed results."""
    files = Results(path).files
    return [files.read(name) for name in files.record_names()]


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.stem)
def test_a_record_read_among_others_equals_the_one_read_alone(path):
    """Whatever is shared, nothing is lost, and nothing is of another type."""
    reader = RecordReader()
    for text in texts(path):
        alone, among = records.decode(text), records.decode(text, parse=reader.parse)
        assert among == alone
        assert records.encode(among) == records.encode(alone)


def test_a_record_of_an_older_schema_is_converted():
    """The reader knows today's schema only; the others are read one by one."""
    text = OLD.read_bytes()
    assert records.decode(text, parse=RecordReader().parse) == records.decode(text)


def test_fields_that_are_left_out_have_their_defaults():
    """All other fields are those of the record."""
    without = frozenset({"history", "used", "metrics_train"})
    reader = RecordReader(without)
    for text in texts(QUICKSTART):
        whole, found = records.decode(text), records.decode(text, parse=reader.parse)
        kept = {name: getattr(whole, name) for name in without}
        assert not any(getattr(found, name) for name in without)
        assert msgspec.structs.replace(found, **kept) == whole


def test_equal_parts_of_records_are_one_object():
    """So a hundred thousand records fit into memory."""
    found = Results(QUICKSTART).records()
    for kind in (
        lambda record: record.data,
        lambda record: record.params,
        lambda record: record.key_parts["read"],
        lambda record: record.provenance.libraries,
    ):
        parts = list(map(kind, found))
        equal = {json.dumps(msgspec.to_builtins(part), sort_keys=True) for part in parts}
        assert len({id(part) for part in parts}) == len(equal) < len(found)


@pytest.mark.parametrize(
    "wrong",
    [
        {"params": []},
        {"data": {"source": "elsewhere", "fingerprint": ""}},
        {"key_parts": {"read": []}},
        {"key_parts": {"fit net": 1}},
        {"provenance": {"libraries": {"numpy": 2}}},
        {"provenance": 3},
        {"seed": "0"},
    ],
    ids=str,
)
def test_a_field_of_a_wrong_type_is_no_record(wrong):
    """Neither in one that is shared nor in another one."""
    text = json.dumps(json.loads(texts(QUICKSTART)[0]) | wrong).encode()
    for parse in (None, RecordReader().parse):
        with pytest.raises(msgspec.ValidationError):
            records.decode(text, parse=parse)


REQUESTS = [
    *(Request(format=format_) for format_ in FORMATS),
    Request(columns=["all"]),
    Request(columns=["auc", "validation_auc"]),
    Request(where=["train_auc>0.6"], columns=["auc"]),
    Request(where=["validation_accuracy>0.6"]),
    Request(sort="-validation_auc"),
    Request(format="csv", per_seed=True),
    Request(format="latex", style="paper"),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_a_table_shows_nothing_of_the_fields_that_it_does_not_read(request_):
    """The text is the same as of whole records."""
    results = Results(BASELINES[0].with_name("standard.zip"))
    assert request_.unneeded <= {*Record.__struct_fields__}
    shown = [
        document.table(found, metrics=METRICS, compare=Comparing(), request=request_)
        for found in (results.records(), results.records(without=request_.unneeded))
    ]
    assert shown[0] == shown[1]


COUNTING = """
import os, sys
log = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def note(event, arguments):
    if event == "open" and "/many/" in (name := str(arguments[0])) and name.endswith(".json"):
        os.write(log, name.encode() + b"\\n")

sys.addaudithook(note)
"""


def test_a_run_reads_each_record_once_if_nothing_is_left_to_do(toys):
    """The table shows those that were read to see what is left."""
    lines = [f"line[slope={i}]" for i in range(3)]
    toys.write("many.toml", SUITE.format(models=json.dumps(lines)))
    toys("run", "many.toml")
    log = toys.folder / "opened"
    (toys.site / "sitecustomize.py").write_text(COUNTING.format(log=str(log)))
    assert toys("run", "many.toml", "--json").json["cached"] == 3
    read = sorted(Path(name).name for name in log.read_text().splitlines())
    assert read == sorted(path.name for path in toys.folder.glob("results/many/*.json"))
