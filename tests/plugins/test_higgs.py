"""HIGGS: rows are read exactly, or an error of one line names the invalid row and the allowed values."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from hepbench_datasets import HIGGS, higgs
from hypothesis import given, settings
from hypothesis import strategies as st
from needs import REAL_DATA, needs_real_data

from hepbench import DataError, Examples

ROOT = Path(__file__).parents[2]
REAL = REAL_DATA / "higgs"
needs_real_rows = needs_real_data("higgs/HIGGS.csv.gz")


def row(label, *first, feature="5e-01"):
    """Return a line without its end: a label and 28 features, the first of them as given."""
    return ",".join([label, *first, *[feature] * (28 - len(first))]).encode()


GOOD = [row("1.000000000000000000e+00"), row("0.000000000000000000e+00")]


def zstd(text):
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as file:
        file.write(text)
    return sink.getvalue().to_pybytes()


COMPRESS = {
    "HIGGS.csv": bytes,
    "HIGGS.csv.gz": gzip.compress,
    "HIGGS.csv.bz2": bz2.compress,
    "HIGGS.csv.xz": lzma.compress,
    "HIGGS.csv.zst": zstd,
}


def written(folder, lines, *, end=b"\n", name="HIGGS.csv"):
    (folder / name).write_bytes(COMPRESS[name](b"".join(line + end for line in lines)))
    return folder


def joined(chunks):
    roles, parts = zip(*chunks, strict=True)
    assert set(roles) == {"labelled"}
    return Examples(
        inputs={"table": np.concatenate([part.inputs["table"] for part in parts])},
        ids=np.concatenate([part.ids for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
    )


def error_of(folder):
    with pytest.raises(DataError) as caught:
        list(higgs.read(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def tiny_blocks(monkeypatch):
    """Read two or three short rows at a time, so that a small file has many blocks."""
    monkeypatch.setattr(higgs, "BLOCK_BYTES", 400)


@needs_real_rows
@pytest.mark.parametrize("polars", [True, False], ids=["polars", "line by line"])
def test_original_rows_are_read_bit_identically_to_numpy(monkeypatch, polars):
    """The reference parses the text to float64 with numpy and rounds it to float32."""
    if not polars:
        monkeypatch.setattr(higgs, "_parse_fast", lambda block: None)
    monkeypatch.setattr(higgs, "BLOCK_BYTES", 1 << 20)
    with gzip.open(REAL / "HIGGS.csv.gz", "rt") as file:
        expected = np.loadtxt(file, delimiter=",")
    read = joined(higgs.read(REAL))
    table = expected[:, 1:].astype(np.float32)
    assert read.inputs["table"].dtype == np.float32
    assert np.array_equal(read.inputs["table"].view(np.uint32), table.view(np.uint32))
    assert np.array_equal(read.labels, expected[:, 0])
    assert np.array_equal(read.ids, np.arange(10_977))


# the first call imports polars, which may take longer than hypothesis allows
@settings(deadline=None)
@given(
    text=st.one_of(
        st.floats(allow_nan=False, allow_infinity=False).map("{:.18e}".format),
        st.floats(width=32, allow_nan=False, allow_infinity=False).map("{:.18e}".format),
        st.text("0123456789+-.eE nafi_", max_size=12),
        st.from_regex(
            r"[ \t]?[+-]?[0-9]{0,25}\.?[0-9]{0,25}([eE][+-]?[0-9]{1,3})?", fullmatch=True
        ),
    )
)
def test_every_number_is_parsed_as_by_python(text):
    """Both parsers return the same values and refuse the same texts."""
    block = row("1", text) + b"\n"
    fast = higgs._parse_fast(block)
    try:
        slow = higgs._parse_line(block[:-1], "HIGGS.csv", 1)
    except DataError:
        assert fast is None
    else:
        assert float(text) == slow[1]
        assert fast is not None
        assert np.array_equal(fast, [slow])


def test_the_compressed_file_is_preferred(tmp_path):
    """The compressed file is the original; the other is a variant."""
    written(tmp_path, [row("0"), row("1"), row("1")])
    written(tmp_path, GOOD, name="HIGGS.csv.gz")
    assert len(joined(higgs.read(tmp_path))) == 2


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("last", [b"", b"\n"], ids=["without a last newline", "with it"])
def test_values_do_not_depend_on_line_endings_or_block_boundaries(
    tmp_path, tiny_blocks, name, end, last
):
    """Rows keep their order and values, wherever the text is split into blocks."""
    features = [str(i / 8) for i in range(20)]
    text = end.join(row(str(i % 2), feature) for i, feature in enumerate(features)) + last
    (tmp_path / name).write_bytes(COMPRESS[name](text))
    chunks = list(higgs.read(tmp_path))
    read = joined(chunks)
    assert len(chunks) > 5
    assert read.inputs["table"].shape == (20, 28)
    assert read.inputs["table"][:, 0].tolist() == [float(feature) for feature in features]
    assert read.labels.tolist() == [0, 1] * 10
    assert read.ids.tolist() == list(range(20))
    assert (read.labels.dtype, read.ids.dtype) == (np.int64, np.int64)


def test_all_members_of_a_gzip_file_are_read(tmp_path):
    """The format also allows padding by zeros."""
    members = [gzip.compress(line + b"\n") for line in GOOD]
    (tmp_path / "HIGGS.csv.gz").write_bytes(b"".join(members) + bytes(16))
    assert joined(higgs.read(tmp_path)).labels.tolist() == [1, 0]


BAD_LINES = {
    "28 columns": (b",".join(GOOD[0].split(b",")[:28]), "the number of fields is 28"),
    "30 columns": (GOOD[0] + b",1", "the number of fields is 30"),
    "a comma at the end": (GOOD[0] + b",", "the number of fields is 30"),
    "blank": (b"", "the line is blank"),
    "spaces alone": (b"   ", "the line is blank"),
    "a word": (row("1", "1", "abc"), "lepton_eta is 'abc'"),
    "quoted": (row("1", '"1"'), "lepton_pT is '\"1\"'"),
    "an empty field": (row("1", "1", "1", ""), "lepton_phi is ''"),
    "NaN": (row("1", "NaN"), "lepton_pT is 'NaN'"),
    "infinite": (row("1", "-inf"), "lepton_pT is '-inf'"),
    "beyond float32": (row("1", "-1e39"), "lepton_pT is '-1e39'"),
    "beyond float64": (row("1", "1e999"), "lepton_pT is '1e999'"),
    "hexadecimal": (row("1", "0x10"), "lepton_pT is '0x10'"),
    "not text": (row("1", "1").replace(b",1,", b",\xff\x00,"), "lepton_pT is '\\xff\\x00'"),
    "label 2": (row("2"), "label is '2'"),
    "label one half": (row("0.5"), "label is '0.5'"),
    "label -1": (row("-1"), "label is '-1'"),
    "no label": (row(""), "label is ''"),
}


@pytest.mark.parametrize(("line", "what"), BAD_LINES.values(), ids=BAD_LINES.keys())
@pytest.mark.parametrize("name", ["HIGGS.csv", "HIGGS.csv.gz"])
@pytest.mark.parametrize("place", [1, 2, 12])
def test_the_first_invalid_line_is_named(tmp_path, tiny_blocks, line, what, name, place):
    """It may be the first line, a line inside a block, or a line after several blocks."""
    lines = [*(GOOD * 10)[: place - 1], line, *GOOD * 2, b"worse"]
    allowed = "a line is 29 finite numbers, the label (0 or 1) first, and there is no header"
    expected = f"higgs: {name}: line {place}: {what}; {allowed}"
    assert error_of(written(tmp_path, lines, name=name)) == expected


def test_a_header_is_refused(tmp_path):
    """The original has no header."""
    header = ",".join(["label", *HIGGS.inputs["table"].names]).encode()
    assert "HIGGS.csv: line 1: label is 'label'; " in error_of(written(tmp_path, [header, *GOOD]))


@pytest.mark.parametrize("blank", [[b""], [b"", b""]])
def test_a_blank_line_at_the_end_is_refused(tmp_path, blank):
    """Only the last newline may be missing; nothing may be added."""
    assert "line 3: the line is blank" in error_of(written(tmp_path, [*GOOD, *blank]))


def test_a_very_long_line_does_not_fill_the_memory(tmp_path, tiny_blocks, monkeypatch):
    """A file of another type can be one line of gigabytes."""
    monkeypatch.setattr(higgs, "LINE_BYTES", 300)
    text = GOOD[0] + b"\n" + b"1," * 10_000
    (tmp_path / "HIGGS.csv").write_bytes(text)
    assert "HIGGS.csv: line 2: the line is longer than a megabyte; " in error_of(tmp_path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (lambda good: b"", "line 1: the file is empty"),
        (lambda good: gzip.compress(b""), "line 1: the file is empty"),
        (lambda good: good[:-12], "line 2000: the gzip data is damaged here or before (Compressed"),
        (lambda good: good[:-3], "line 2001: the gzip data is damaged here or before (Compressed"),
        (lambda good: good[:6], "line 1: the gzip data is damaged here or before (Compressed"),
        (lambda good: b"1,2,3\n" * 50, "line 1: the gzip data is damaged here or before (Not a"),
        (lambda good: good + b"more", "line 2001: the gzip data is damaged here or before (Not a"),
        (lambda good: good + b"m", "line 2001: the gzip data is damaged here or before (Not a"),
        (lambda good: good[:-8] + bytes(8), "line 2001: the gzip data is damaged here or before"),
        (lambda good: good[:40] + b"\xff" * 9 + good[49:], "the gzip data is damaged here"),
    ],
    ids=[
        *("empty", "empty gzip", "cut in the data", "cut in the checksum", "cut in the header"),
        *("not gzip", "something after it", "one byte after it", "wrong checksum", "overwritten"),
    ],
)
def test_a_damaged_gzip_file_is_refused(tmp_path, content, what):
    """Rows read before the damage are not accepted as the whole file."""
    rng = np.random.default_rng(0)
    lines = [row(str(i % 2), str(rng.normal())) + b"\n" for i in range(2000)]
    (tmp_path / "HIGGS.csv.gz").write_bytes(content(gzip.compress(b"".join(lines))))
    message = error_of(tmp_path)
    assert message.startswith("higgs: HIGGS.csv.gz: line ")
    assert what in message


@pytest.mark.parametrize(
    ("name", "kind"),
    [("HIGGS.csv.bz2", "bzip2"), ("HIGGS.csv.xz", "xz"), ("HIGGS.csv.zst", "zstd")],
)
@pytest.mark.parametrize(
    "content",
    [lambda good: good[: len(good) // 2], lambda good: good[:9], lambda good: b"1,2,3\n" * 50],
    ids=["cut in the data", "cut in the header", "not compressed"],
)
def test_a_damaged_compressed_file_is_refused(tmp_path, name, kind, content):
    """The message names the compression and a line of the file."""
    rng = np.random.default_rng(0)
    lines = [row(str(i % 2), str(rng.normal())) + b"\n" for i in range(2000)]
    (tmp_path / name).write_bytes(content(COMPRESS[name](b"".join(lines))))
    message = error_of(tmp_path)
    assert message.startswith(f"higgs: {name}: line ")
    assert f"the {kind} data is damaged here or before (" in message
    assert message.endswith(f"; a whole {kind} file is needed")


@pytest.mark.parametrize(
    "second",
    [lambda good: good, lambda good: b"\0\0\0\0" + good[4:], lambda good: good[:3]],
    ids=["whole", "overwritten", "cut"],
)
@pytest.mark.parametrize("name", ["HIGGS.csv.bz2", "HIGGS.csv.xz", "HIGGS.csv.zst"])
def test_every_stream_of_a_compressed_file_is_read_or_refused(tmp_path, name, second):
    """Programs that compress in parallel write several; none is left out because it is damaged."""
    lines = [row(str(i % 2)) + b"\n" for i in range(40)]
    first, rest = (COMPRESS[name](b"".join(some)) for some in (lines[:20], lines[20:]))
    (tmp_path / name).write_bytes(first + second(rest))
    if second(rest) == rest:
        assert sum(len(examples) for _, examples in higgs.read(tmp_path)) == 40
    else:
        assert "data is damaged here or before (" in error_of(tmp_path)


@needs_real_rows
def test_an_incomplete_download_is_refused_at_the_row_where_it_ends(tmp_path):
    """The message names the line that zlib leaves unfinished for the same bytes."""
    content = (REAL / "HIGGS.csv.gz").read_bytes()[:-100_000]
    (tmp_path / "HIGGS.csv.gz").write_bytes(content)
    assert "line 10587: the gzip data is damaged" in error_of(tmp_path)


@pytest.mark.parametrize("label", [0, 1])
def test_a_class_without_rows_is_refused(tmp_path, tiny_blocks, label):
    """A file with one class cannot be used for training."""
    message = error_of(written(tmp_path, [row(f"{label}.0")] * 9))
    expected = f"line 9: every label up to here is {label}; both 0 and 1 are needed"
    assert message == f"higgs: HIGGS.csv: {expected}"


def test_a_missing_file_is_named(tmp_path):
    """The message names the folder and all file names."""
    names = "HIGGS.csv.gz, HIGGS.csv, HIGGS.csv.xz, HIGGS.csv.bz2 or HIGGS.csv.zst"
    assert error_of(tmp_path) == f"higgs: {tmp_path} holds no {names}; one of them is needed"


def test_reading_can_stop_at_any_row(tmp_path, tiny_blocks):
    """No thread and no open file remains."""
    chunks = higgs.read(written(tmp_path, GOOD * 50, name="HIGGS.csv.gz"))
    next(chunks)
    chunks.close()
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Replace the sample by 8 rows."""
    (tmp_path / "samples").mkdir()
    table = np.arange(8 * 28, dtype=np.float32).reshape(8, 28)
    np.savez(tmp_path / "samples/higgs.npz", table=table, labels=np.arange(8) % 2)
    monkeypatch.setattr(higgs, "files", lambda package: tmp_path)
    return table


def test_the_sample_has_the_form_of_the_file(stand_in):
    """Role, input and types are equal; ids are positions."""
    read = joined(higgs.sample())
    assert np.array_equal(read.inputs["table"], stand_in)
    assert read.inputs["table"].dtype == np.float32
    assert read.labels.tolist() == [0, 1] * 4
    assert (read.labels.dtype, read.ids.dtype) == (np.int64, np.int64)
    assert read.ids.tolist() == list(range(8))


def test_the_bundled_sample_agrees_with_its_spec():
    """It has 20,000 finite rows with both classes."""
    read = joined(higgs.sample())
    assert read.inputs["table"].shape == (20_000, 28)
    assert read.inputs["table"].dtype == np.float32
    assert np.isfinite(read.inputs["table"]).all()
    assert set(read.labels.tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("features", "first", "last"),
    [(28, "lepton_pT", "m_wwbb"), (21, "lepton_pT", "jet_4_b-tag"), (7, "m_jj", "m_wwbb")],
)
def test_a_view_selects_low_level_features_or_masses(features, first, last):
    """21 features are measured, 7 are computed from them, in the order of the file."""
    names = np.array([HIGGS.inputs["table"].names])
    chosen = higgs.select({"table": names}, features=features)["table"]
    assert chosen.shape == (1, features)
    assert (chosen[0, 0], chosen[0, -1]) == (first, last)


@pytest.mark.parametrize("features", [0, 22, "28", None])
def test_another_number_of_features_is_refused(features):
    """The message lists the allowed numbers."""
    with pytest.raises(
        DataError, match=r"allowed are 7 \(masses\), 21 \(low-level\) and 28 \(all\)"
    ):
        higgs.select({"table": np.zeros((1, 28))}, features=features)


def test_the_last_half_million_rows_of_the_complete_file_are_the_test_set():
    """The order of the ids does not matter."""
    ids = np.arange(11_000_000)[::-1]
    test = higgs.official(ids, split="official")
    assert (test == 1).sum() == 500_000
    assert ids[test == 1].min() == 10_500_000
    assert set(np.unique(test)) == {0, 1}


def test_the_split_of_the_write_up_leaves_rows_out():
    """Tested on the last 100,000 rows, trained with the first 1,100,000; the others are in no part."""
    ids = np.random.default_rng(1).permutation(11_000_000)
    parts = higgs.official(ids, split="write-up")
    assert [(parts == part).sum() for part in (1, 0, -1)] == [100_000, 1_100_000, 9_800_000]
    assert ids[parts == 1].min() == 10_900_000
    assert ids[parts == 0].max() == 1_099_999


@pytest.mark.parametrize("ids", [np.arange(10_977), np.arange(1, 11_000_001), np.arange(0)])
def test_an_incomplete_file_has_no_official_test_set(ids):
    """Its last rows are not the official test rows."""
    assert higgs.official(ids, split="official") is None


def test_listing_the_datasets_imports_nothing_heavy():
    """Importing the module of the hooks imports neither numpy nor polars."""
    heavy = "{'numpy', 'polars', 'isal', 'hepbench_datasets.higgs'}"
    code = f"import sys, hepbench_datasets as p; p.hepbench_datasets(); print({heavy} & set(sys.modules))"
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
