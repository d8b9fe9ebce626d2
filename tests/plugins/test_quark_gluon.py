"""Quark and gluon jets: values of both forms are read as stored, or an error of one line names the fault."""

from __future__ import annotations

import tracemalloc
import warnings
from functools import cache

import damage
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import DAMAGED, REMOVED, overwrite
from hepbench_datasets import QUARK_GLUON, hdf5, quark_gluon, quark_gluon_views
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hepbench import DataError, DataWarning, SparseImages

HDF5 = "quark-gluon_data-set_n139306.hdf5"
RUNS = [
    "QCDToGGQQ_IMGjet_RH1all_jet0_run0_n36272.test.snappy.parquet",
    "QCDToGGQQ_IMGjet_RH1all_jet0_run1_n47540.test.snappy.parquet",
    "QCDToGGQQ_IMGjet_RH1all_jet0_run2_n55494.test.snappy.parquet",
]
JETS = 4


@cache
def columns(n=JETS):
    """Return the columns of a small file, images channels last; gluons have more hits."""
    rng = np.random.default_rng(n)
    jets = np.zeros((n, 125, 125, 3), np.float32)
    label = np.arange(n, dtype=np.float32) % 2
    for row in range(n):
        hits = rng.integers(0, [125, 125, 3], (800 - 100 * (row % 2), 3))
        jets[row][tuple(hits.T)] = rng.exponential(size=len(hits)) + 0.01
    noise = rng.random(jets.shape) < 0.001
    jets[..., 1:][noise[..., 1:]] = -0.02
    return {
        "X_jets": jets,
        "m0": rng.uniform(10, 40, n).astype(np.float32),
        "pt": rng.uniform(70, 337, n).astype(np.float32),
        "y": label,
    }


def hdf5_file(folder, name=HDF5, *, storage=None, **changed):
    """Write an HDF5 file with some columns changed, or removed."""
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / name, "w") as file:
        for key, values in (columns() | changed).items():
            if values is not REMOVED:
                file.create_dataset(key, data=values, **(storage or {}) if key == "X_jets" else {})
    return folder


def nested(images, numbers=np.float64):
    """Return images channels last as Arrow's lists of lists of lists, channels first."""
    first = images.transpose(0, 3, 1, 2).astype(numbers)
    found = pa.array(np.ascontiguousarray(first).reshape(-1))
    for length in first.shape[:0:-1]:
        found = pa.ListArray.from_arrays(np.arange(0, len(found) + 1, length, dtype="i4"), found)
    return found


def parquet_file(folder, name=RUNS[0], *, rows=1, n=JETS, **changed):
    """Write a parquet file as its authors did: lists of double, snappy, row groups of one row."""
    folder.mkdir(exist_ok=True)
    given = columns(n) | changed
    table = {key: value for key, value in given.items() if value is not REMOVED}
    for key, value in table.items():
        if isinstance(value, np.ndarray):
            table[key] = nested(value) if value.ndim == 4 else pa.array(value.astype(float))
    pq.write_table(pa.table(table), folder / name, row_group_size=rows, compression="snappy")
    return folder


def read(folder):
    return [part for _, part in quark_gluon.read(folder)]


def gathered(parts):
    """Return images (dense), scalars, labels, ids and spectators of all chunks."""
    return {
        "image": np.concatenate([part.inputs["image"].dense() for part in parts]),
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("labels", "ids")
        },
        "scalars": np.concatenate([part.inputs["scalars"] for part in parts]),
        **{name: np.concatenate([p.spectators[name] for p in parts]) for name in ("m0", "pt")},
    }


def agrees(parts, expected):
    """Assert that the data are as written, in the types of the contract."""
    found = gathered(parts)
    assert np.array_equal(found["image"], expected["X_jets"].transpose(0, 3, 1, 2))
    assert np.array_equal(found["labels"], expected["y"])
    assert np.array_equal(found["scalars"], np.stack([expected["m0"], expected["pt"]], axis=1))
    assert all(np.array_equal(found[name], expected[name]) for name in ("m0", "pt"))
    kinds = {name: array.dtype for name, array in found.items()}
    assert {kinds[name] for name in ("image", "scalars", "m0", "pt")} == {np.dtype(np.float32)}
    assert {kinds[name] for name in ("labels", "ids")} == {np.dtype(np.int64)}
    assert all(isinstance(part.inputs["image"], SparseImages) for part in parts)


def error_of(folder):
    return damage.error_of(read, folder)


STORAGES = {
    "contiguous": {},
    "jet by jet, LZF": {"chunks": (1, 125, 125, 3), "compression": "lzf"},
    "three jets a chunk, gzip": {"chunks": (3, 125, 125, 3), "compression": "gzip"},
    "more than are read at once": {"chunks": (9, 125, 125, 3), "compression": "lzf"},
    "lines of many jets": {"chunks": (6, 4, 4, 1), "compression": "gzip"},
    "one row of pixels": {"chunks": (10, 1, 125, 3), "compression": "lzf"},
}


@pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES.keys())
@pytest.mark.parametrize("piece", [1, 600_000, 64_000_000])
def test_every_value_of_an_hdf5_file_is_read_as_stored(tmp_path, monkeypatch, storage, piece):
    """For any chunks and any size of the pieces in memory."""
    monkeypatch.setattr(quark_gluon, "CHUNK", 4)
    monkeypatch.setattr(hdf5, "PIECE", piece)
    given = columns(10)
    parts = read(hdf5_file(tmp_path, storage=storage, **given))
    agrees(parts, given)
    assert max(len(part) for part in parts) <= 4
    assert gathered(parts)["ids"].tolist() == list(range(10))


@pytest.mark.parametrize("key", ["X_jets", "X_jet"])
@pytest.mark.parametrize("numbers", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 2, 10])
def test_every_value_of_a_parquet_file_is_read_as_stored(tmp_path, monkeypatch, rows, numbers, key):
    """Float or double, both column names, row groups of one row or larger than a read."""
    monkeypatch.setattr(quark_gluon, "GROUPS", 4)
    given = columns(10)
    changed = given | {"X_jets": REMOVED, key: nested(given["X_jets"], numbers)}
    parts = read(parquet_file(tmp_path, rows=rows, **changed))
    agrees(parts, given)
    assert [len(part) for part in parts] == [4, 4, 2]
    assert pq.ParquetFile(tmp_path / RUNS[0]).num_row_groups == -(-10 // rows)


def test_ids_of_a_run_do_not_depend_on_other_runs(tmp_path):
    """A folder with run 2 alone gives the same jets the same ids."""
    some = parquet_file(tmp_path / "some", RUNS[2])
    for name, n in zip(RUNS, (6, 8, 4), strict=True):
        parquet_file(tmp_path / "all", name, n=n)
    ids = gathered(read(tmp_path / "all"))["ids"]
    assert ids.tolist() == [
        *range(6),
        *(10**9 + i for i in range(8)),
        *(2 * 10**9 + i for i in range(4)),
    ]
    agrees(read(some), columns())
    assert gathered(read(some))["ids"].tolist() == ids[-4:].tolist()


def test_different_runs_may_hold_different_classes(tmp_path):
    """Both classes are needed in all files together."""
    parquet_file(tmp_path, RUNS[0], y=np.zeros(JETS))
    found = error_of(tmp_path)
    assert found == f"quark-gluon: {RUNS[0]}: every 'y' is 0; both 0 and 1 are needed"
    parquet_file(tmp_path, RUNS[1], y=np.ones(JETS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        assert gathered(read(tmp_path))["labels"].tolist() == [0] * 4 + [1] * 4


def test_the_hdf5_file_is_read_if_both_forms_exist(tmp_path):
    """The form whose file is listed first is read."""
    parquet_file(hdf5_file(tmp_path), n=6)
    assert sum(map(len, read(tmp_path))) == JETS


def test_an_empty_folder_gives_the_names_of_the_files(tmp_path):
    """The message lists every accepted name."""
    message = error_of(tmp_path)
    assert message.startswith(f"quark-gluon: {tmp_path} holds no {HDF5} or ")
    assert all(name in message for name in RUNS)


def test_memory_holds_a_few_chunks_for_any_size_of_an_hdf5_file(tmp_path):
    """200 MB of empty jets, stored as a sparse file."""
    n = 1100
    with h5py.File(tmp_path / HDF5, "w") as file:
        file.create_dataset("X_jets", (n, 125, 125, 3), "<f4")
        for key in ("m0", "pt", "y"):
            file[key] = np.arange(n, dtype=np.float32) % 2
    tracemalloc.start()
    try:
        sizes = [len(part) for part in read(tmp_path)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sizes == [100] * 11
    assert peak < 80e6


@pytest.mark.parametrize("rows", [1, 160])
def test_memory_holds_a_few_chunks_for_any_row_groups_of_a_parquet_file(tmp_path, rows):
    """Of 160 jets, 60 MB as double, 12 MB at a time, and as much again for decoding."""
    label = np.arange(160.0) % 2
    images = nested(np.zeros((160, 125, 125, 3), np.float32))
    parquet_file(tmp_path, rows=rows, X_jets=images, m0=label, pt=label, y=label)
    del images
    before, most = pa.total_allocated_bytes(), 0
    for _ in quark_gluon.read(tmp_path):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 40e6


JET, LABEL = columns()["X_jets"], columns()["y"]
MASS, NAN = columns()["m0"], np.float32(np.nan)
EXPECTED = "(N, 125, 125, 3), channels last is expected"
LAYOUTS = {
    "jets under the older name": (
        {"X_jets": REMOVED, "X_jet": JET},
        "no dataset 'X_jets', the file holds 'X_jet', 'm0', 'pt', 'y'; 'X_jets' (N, 125, 125, 3) is needed",
    ),
    "no mass": (
        {"m0": REMOVED},
        "no dataset 'm0', the file holds 'X_jets', 'pt', 'y'; 'm0' (N) is needed",
    ),
    "channels first": (
        {"X_jets": JET.transpose(0, 3, 1, 2)},
        f"'X_jets' is (4, 3, 125, 125); {EXPECTED}",
    ),
    "two channels": ({"X_jets": JET[..., :2]}, f"'X_jets' is (4, 125, 125, 2); {EXPECTED}"),
    "padded": (
        {"X_jets": np.zeros((4, 128, 128, 3), np.float32)},
        f"'X_jets' is (4, 128, 128, 3); {EXPECTED}",
    ),
    "one jet alone": ({"X_jets": JET[0]}, f"'X_jets' is (125, 125, 3); {EXPECTED}"),
    "no jet": ({"X_jets": JET[:0]}, "'X_jets' has no jet; at least one is needed"),
    "double": ({"X_jets": JET.astype(float)}, "'X_jets' is float64; float32 is expected"),
    "labels in a column": ({"y": LABEL[:, None]}, "'y' is (4, 1); (N) is expected"),
    "a label short": (
        {"y": LABEL[1:]},
        "'y' has 3 rows, 'X_jets' has 4; equal numbers of rows are expected",
    ),
    "label 2": ({"y": LABEL * 2}, "'y' of jet 1 is 2; 0 or 1 is expected"),
    "label NaN": ({"y": LABEL * NAN}, "'y' of jet 0 is nan; 0 or 1 is expected"),
    "gluons alone": ({"y": LABEL * 0}, "every 'y' is 0; both 0 and 1 are needed"),
    "pt below 0": ({"pt": -LABEL}, "'pt' of jet 1 is -1; a number of at least 0 is expected"),
    "mass far below 0": (
        {"m0": -9 * LABEL},
        "'m0' of jet 1 is -9; a number of at least -1 is expected",
    ),
    "mass NaN": ({"m0": MASS * NAN}, "'m0' of jet 0 is nan; a number of at least -1 is expected"),
}


@pytest.mark.parametrize(("changed", "message"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_another_layout_of_hdf5_is_refused_before_a_jet_is_read(tmp_path, changed, message):
    """The message names the file, what it has, and what is expected."""
    assert refused(hdf5_file(tmp_path, **changed)) == f"quark-gluon: {HDF5}: {message}"


def refused(folder):
    """Return the message of the error that reading the first jet raises."""
    return damage.error_of(next, quark_gluon.read(folder))


LISTS = "lists of lists of lists of float or double are expected"
PARQUET_LAYOUTS = {
    "no images": (
        {"X_jets": REMOVED},
        "no column 'X_jets', the file holds 'm0', 'pt', 'y'; one 'X_jets' is needed",
    ),
    "no label": (
        {"y": REMOVED},
        "no column 'y', the file holds 'X_jets', 'm0', 'pt'; one 'y' is needed",
    ),
    "y in capitals": (
        {"y": REMOVED, "Y": LABEL},
        "no column 'y', the file holds 'X_jets', 'm0', 'pt', 'Y'; one 'y' is needed",
    ),
    "flat images": (
        {"X_jets": pa.array([[0.0] * 10] * 4)},
        f"'X_jets' is list<element: double>; {LISTS}",
    ),
    "whole numbers": (
        {"X_jets": nested(JET, np.int32)},
        f"'X_jets' is list<element: list<element: list<element: int32>>>; {LISTS}",
    ),
    "images as bytes": ({"X_jets": pa.array([b"jet"] * 4)}, f"'X_jets' is binary; {LISTS}"),
    "labels as text": ({"y": pa.array(["quark"] * 4)}, "'y' is string; numbers are expected"),
    "mass in lists": (
        {"m0": pa.array([[1.0]] * 4)},
        "'m0' is list<element: double>; numbers are expected",
    ),
    "label 2": ({"y": LABEL * 2}, "'y' of jet 1 is 2; 0 or 1 is expected"),
    "label missing": ({"y": pa.array([0, 1, None, 1])}, "'y' of jet 2 is nan; 0 or 1 is expected"),
    "pt below 0": ({"pt": -LABEL}, "'pt' of jet 1 is -1; a number of at least 0 is expected"),
    "pt infinite": (
        {"pt": np.where(LABEL == 1, np.inf, 100)},
        "'pt' of jet 1 is inf; a number of at least 0 is expected",
    ),
    "mass too large for float32": (
        {"m0": np.where(LABEL == 1, 1e300, 1)},
        "'m0' of jet 1 is inf; a number of at least -1 is expected",
    ),
    "mass missing": (
        {"m0": pa.array([1.0, None, 1.0, 1.0])},
        "'m0' of jet 1 is nan; a number of at least -1 is expected",
    ),
    "mass far below 0": (
        {"m0": -9 * LABEL},
        "'m0' of jet 1 is -9; a number of at least -1 is expected",
    ),
    "no jet": (
        {
            key: (nested(JET) if key == "X_jets" else pa.array(LABEL)).slice(0, 0)
            for key in columns()
        },
        "the file has no jet; at least one is needed",
    ),
}


@pytest.mark.parametrize(
    ("changed", "message"), PARQUET_LAYOUTS.values(), ids=PARQUET_LAYOUTS.keys()
)
def test_another_layout_of_parquet_is_refused_before_a_jet_is_read(tmp_path, changed, message):
    """In any of the runs, even if the other runs are correct."""
    parquet_file(tmp_path)
    parquet_file(tmp_path, RUNS[1], **changed)
    assert refused(tmp_path) == f"quark-gluon: {RUNS[1]}: {message}"


def lists_with(change):
    """Return images as Python lists; a function changes those of jet 2."""
    images = nested(JET).to_pylist()
    images[2] = change(images[2])
    return pa.array(images, nested(JET).type)


def put(image, value, *where):
    *most, last = where
    inner = image
    for i in most:
        inner = inner[i]
    inner[last] = value
    return image


SHAPE = "lists of 3 lists of 125 lists of 125 numbers are expected"
BROKEN_LISTS = {
    "no image": (lambda image: None, f"a list in 'X_jets' of jet 2 is null; {SHAPE}"),
    "two channels": (lambda image: image[:2], f"a list in 'X_jets' of jet 2 is 2 long; {SHAPE}"),
    "four channels": (
        lambda image: [*image, image[0]],
        f"a list in 'X_jets' of jet 2 is 4 long; {SHAPE}",
    ),
    "an empty image": (lambda image: [], f"a list in 'X_jets' of jet 2 is 0 long; {SHAPE}"),
    "no channel": (
        lambda i: put(i, None, 1),
        f"a second list in 'X_jets' of jet 2 is null; {SHAPE}",
    ),
    "a row short": (
        lambda i: put(i, i[1][1:], 1),
        f"a second list in 'X_jets' of jet 2 is 124 long; {SHAPE}",
    ),
    "no row": (lambda i: put(i, None, 2, 7), f"a third list in 'X_jets' of jet 2 is null; {SHAPE}"),
    "a pixel more": (
        lambda i: put(i, [*i[2][7], 0.0], 2, 7),
        f"a third list in 'X_jets' of jet 2 is 126 long; {SHAPE}",
    ),
    "a pixel null": (
        lambda i: put(i, None, 2, 7, 9),
        "a number in 'X_jets' of jet 2 is null; finite numbers are expected",
    ),
}


@pytest.mark.parametrize(("change", "message"), BROKEN_LISTS.values(), ids=BROKEN_LISTS.keys())
@pytest.mark.parametrize("rows", [1, 4])
def test_a_list_of_another_length_is_named_with_its_jet(tmp_path, change, message, rows):
    """Parquet does not guarantee the lengths of lists."""
    parquet_file(tmp_path, rows=rows, X_jets=lists_with(change))
    assert error_of(tmp_path) == f"quark-gluon: {RUNS[0]}: {message}"


def test_a_double_too_large_for_float32_is_refused_as_infinite(tmp_path):
    """It becomes infinite as float32; numpy's own warning is suppressed."""
    parquet_file(tmp_path, X_jets=lists_with(lambda image: put(image, 1e300, 1, 7, 9)))
    assert "jet 2, row 7, column 9, channel 1 (ecal) is inf" in error_of(tmp_path)


def test_lists_with_compensating_lengths_are_refused(tmp_path):
    """124 pixels in one row and 126 in the next have the right sum but give another image."""

    def moved(image):
        image[0][1].append(image[0][0].pop())
        return image

    parquet_file(tmp_path, X_jets=lists_with(moved))
    assert "a third list in 'X_jets' of jet 2 is 124 long" in error_of(tmp_path)


VALUES = {
    "NaN": (np.nan, 0, "nan; a finite number of at least 0 is expected"),
    "infinite": (np.inf, 2, "inf; a finite number of at least -10 is expected"),
    "a negative momentum": (-0.5, 0, "-0.5; a finite number of at least 0 is expected"),
    "no value as -99": (-99, 1, "-99; a finite number of at least -10 is expected"),
    "no value as -999": (-999, 2, "-999; a finite number of at least -10 is expected"),
}


@pytest.mark.parametrize(("value", "channel", "what"), VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("write", [hdf5_file, parquet_file])
@pytest.mark.parametrize("jet", [0, 3])
def test_an_impossible_value_is_named_with_its_position(
    tmp_path, monkeypatch, value, channel, what, write, jet
):
    """The message names the first one in any chunk; jets, rows and columns count from 0."""
    for size in ("CHUNK", "GROUPS"):
        monkeypatch.setattr(quark_gluon, size, 2)
    bad = JET.copy()
    bad[jet, 7, 124, channel] = value
    bad[jet, 8, 0, 2] = bad[jet:, 9, 0, 2] = np.nan
    write(tmp_path, X_jets=bad)
    name = ("track_pt", "ecal", "hcal")[channel]
    where = f"jet {jet}, row 7, column 124, channel {channel} ({name})"
    assert error_of(tmp_path).endswith(f": {where} is {what}")


FOOTERS = {
    "zeros at its end": lambda good: good[:-500] + bytes(500),
    "a footer that says too much": lambda good: good[:-8] + b"\xff\xff\xff\x7f" + good[-4:],
}


@pytest.mark.parametrize("done", [*DAMAGED.values(), *FOOTERS.values()], ids=[*DAMAGED, *FOOTERS])
def test_a_damaged_parquet_file_is_refused_before_a_jet_is_read(tmp_path, done):
    """The footer at its end locates all data."""
    path = parquet_file(tmp_path) / RUNS[0]
    path.write_bytes(done(path.read_bytes()))
    message = refused(tmp_path)
    assert message.startswith(f"quark-gluon: {RUNS[0]}: ")
    assert message.endswith("; a complete parquet file is needed")


@pytest.mark.parametrize("done", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_hdf5_file_is_refused_before_a_jet_is_read(tmp_path, done):
    """As in all datasets of this form."""
    path = hdf5_file(tmp_path) / HDF5
    path.write_bytes(done(path.read_bytes()))
    message = refused(tmp_path)
    assert message.startswith(f"quark-gluon: {HDF5}: cannot be opened (")
    assert message.endswith("; a complete HDF5 file is needed")


def test_overwritten_jets_are_named(tmp_path, monkeypatch):
    """In both forms a damaged compressed piece ends the reading."""
    monkeypatch.setattr(quark_gluon, "CHUNK", 2)
    monkeypatch.setattr(quark_gluon, "GROUPS", 2)
    path = parquet_file(tmp_path / "parquet") / RUNS[0]
    piece = pq.ParquetFile(path).metadata.row_group(2).column(0)
    overwrite(path, piece.data_page_offset, piece.total_compressed_size // 2)
    message = error_of(path.parent)
    assert message.startswith(
        f"quark-gluon: {RUNS[0]}: 'X_jets' cannot be read from jet 2 onwards ("
    )
    path = hdf5_file(tmp_path / "hdf5", storage=STORAGES["jet by jet, LZF"]) / HDF5
    with h5py.File(path) as file:
        where = file["X_jets"].id.get_chunk_info_by_coord((2, 0, 0, 0))
    overwrite(path, where.byte_offset, where.size)
    message = error_of(path.parent)
    assert message.startswith(f"quark-gluon: {HDF5}: 'X_jets' cannot be read from jet 2 onwards (")


def test_a_changed_page_is_noticed_if_it_has_a_checksum(tmp_path):
    """Without compression every byte is part of a valid number."""
    table = pq.read_table(parquet_file(tmp_path) / RUNS[0])
    path, options = tmp_path / RUNS[0], {"compression": "none", "use_dictionary": False}
    for sums in (False, True):
        pq.write_table(table, path, row_group_size=1, write_page_checksum=sums, **options)
        piece = pq.ParquetFile(path).metadata.row_group(2).column(0)
        end = piece.data_page_offset + piece.total_compressed_size
        # the lowest byte of the last pixel of HCAL, which remains a number near 0
        overwrite(path, end - 8, 1)
        if sums:
            assert "'X_jets' cannot be read from jet 0 onwards (" in error_of(tmp_path)
        else:
            read(tmp_path)


def test_two_columns_of_one_name_are_refused(tmp_path):
    """It is ambiguous which column is meant."""
    table = pq.read_table(parquet_file(tmp_path) / RUNS[0])
    pq.write_table(table.append_column("y", table["y"]), tmp_path / RUNS[0], row_group_size=1)
    expected = "no column 'y', the file holds 'X_jets', 'm0', 'pt', 'y', 'y'; one 'y' is needed"
    assert error_of(tmp_path) == f"quark-gluon: {RUNS[0]}: {expected}"


@pytest.mark.parametrize("write", [hdf5_file, parquet_file])
def test_exchanged_labels_give_a_warning(tmp_path, write):
    """Gluon jets have more hits; a small number of jets or noise gives no warning."""
    given = columns(40)
    write(tmp_path / "wrong", **given | {"y": 1 - given["y"]})
    with pytest.warns(DataWarning, match="labels may be exchanged") as caught:
        read(tmp_path / "wrong")
    assert "(quarks) have 79" in str(caught[0].message)
    noisy = given["X_jets"].copy()
    quark = noisy[given["y"] == 1]
    noisy[given["y"] == 1] = np.where(quark == 0, np.float32(-1e-4), quark) * [0, 1, 1] + quark * [
        1,
        0,
        0,
    ]
    write(tmp_path / "right", **given | {"X_jets": noisy})
    mixed = np.repeat([0, 1], 20).astype(np.float32)
    write(tmp_path / "mixed", **given | {"y": mixed})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(tmp_path / "right")
        read(tmp_path / "mixed")


# --- views


def prepared(dense, size=125, scale="authors"):
    images = SparseImages.from_dense(dense)
    return quark_gluon_views.prepare({"image": images}, size=size, scale=scale)["image"].dense()


@pytest.fixture(scope="module")
def dense():
    """Return four images, channels first, with noise below 0 and below the threshold."""
    images = JET.transpose(0, 3, 1, 2).copy()
    images[:, 2, 0, :50] = np.linspace(0, 2e-3, 50)
    return images


def test_the_scale_of_the_authors_follows_their_formula(dense):
    """Zero suppression, HCAL times 25, all values divided by 100."""
    expected = dense.copy()
    expected[expected < 1e-3] = 0
    expected[:, 2] *= 25
    expected /= 100
    assert np.allclose(prepared(dense), expected, rtol=1e-6, atol=0)
    assert np.array_equal(prepared(dense) > 0, expected > 0)
    assert np.array_equal(prepared(dense, scale="stored"), dense)


@pytest.mark.parametrize("scale", ["authors", "stored"])
def test_a_halved_image_adds_up(dense, scale):
    """The reference is dense: pad by 1 and 2, then sum blocks of 2 x 2."""
    whole = prepared(dense, scale=scale)
    blocks = np.pad(whole, ((0, 0), (0, 0), (1, 2), (1, 2))).reshape(4, 3, 64, 2, 64, 2)
    expected = blocks.sum(axis=(3, 5))
    assert np.allclose(prepared(dense, 64, scale), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("scale", ["authors", "stored"])
def test_a_padded_image_equals_the_image_within_zeros(dense, scale):
    """One row and column before, two after."""
    expected = np.pad(prepared(dense, scale=scale), ((0, 0), (0, 0), (1, 2), (1, 2)))
    assert np.array_equal(prepared(dense, 128, scale), expected)


def test_other_sizes_and_scales_are_refused(dense):
    """The message says what is allowed."""
    with pytest.raises(DataError, match="size is 32; the allowed values are 125, 128, 64"):
        prepared(dense, size=32)
    with pytest.raises(
        DataError, match="scale is 'raw'; the allowed values are authors and stored"
    ):
        prepared(dense, scale="raw")


@pytest.mark.parametrize("view", ["table", "image"])
def test_a_row_of_a_view_depends_only_on_its_own_image(dense, monkeypatch, view):
    """Other images in the batch and the size of the batch do not matter."""

    def make(images):
        if view == "table":
            return quark_gluon_views.summarise({"image": images})["table"]
        return quark_gluon_views.prepare({"image": images}, size=64, scale="authors")[
            "image"
        ].dense()

    images = SparseImages.from_dense(dense)
    together = make(images)
    monkeypatch.setattr(quark_gluon_views, "BATCH", 2)
    order = np.array([3, 0, 2, 2, 1])
    assert np.array_equal(make(images[order]), together[order])
    assert make(images[:0]).shape == (0, *together.shape[1:])


def table_of(dense):
    """Return the features of images by name."""
    made = quark_gluon_views.summarise({"image": SparseImages.from_dense(dense)})["table"]
    assert made.shape == (len(dense), len(quark_gluon_views.FEATURES))
    assert made.dtype == np.float32
    return dict(zip(quark_gluon_views.FEATURES, made.T, strict=True))


def one(*hits):
    """Return one image with some hits: channel, row, column, value."""
    image = np.zeros((1, 3, 125, 125), np.float32)
    for channel, row, column, value in hits:
        image[0, channel, row, column] = value
    return image


def test_shapes_of_two_pixels_agree_with_hand_calculation():
    """1 GeV at 0.349 above and below the centre, twenty pixels of one degree each."""
    found = table_of(
        one((1, 42, 62, 1), (1, 82, 62, 1), (1, 62, 92, 9), (0, 62, 62, 29), (1, 0, 0, 5e-4))
    )
    gap = 20 * np.pi / 180
    # the third pixel is 0.52 away and out of the cone; the last is suppressed
    assert found["ecal_hits"] == 3
    assert found["ecal_inside"] == 2
    assert found["ecal_fraction"] == pytest.approx(11 / 40)
    assert found["track_pt_fraction"] == pytest.approx(29 / 40)
    # massless: m^2 = 2 E E (cosh(2 gap) - 1) for E = 1, and so m / 2 = sinh(gap)
    assert found["ecal_mass"] == pytest.approx(np.sinh(gap), rel=1e-5)
    assert found["ecal_major"] == pytest.approx(gap, rel=1e-5)
    assert found["ecal_minor"] == pytest.approx(0, abs=1e-6)
    assert found["ecal_girth"] == pytest.approx(gap, rel=1e-5)
    assert found["ecal_ptd"] == pytest.approx(np.sqrt(0.5))
    assert found["ecal_core"] == 0
    assert found["track_pt_core"] == found["track_pt_ptd"] == 1


def test_an_empty_image_has_finite_features():
    """Some detector images are empty or hold only noise."""
    for image in (one(), one((1, 5, 5, -0.2))):
        assert not any(value.item() for value in table_of(image).values())


clusters = arrays(np.float32, (1, 3, 9, 9), elements=st.floats(0.0625, 64, width=32))


def placed(cluster, row, column):
    image = np.zeros((1, 3, 125, 125), np.float32)
    image[:, :, row : row + 9, column : column + 9] = cluster
    return image


@settings(max_examples=20, deadline=None)
@given(cluster=clusters, row=st.integers(45, 70), column=st.integers(45, 70))
def test_widths_do_not_depend_on_the_position_of_a_jet(cluster, row, column):
    """Nor do multiplicity, fractions and dispersion, as long as the whole jet is in the cone."""
    there, middle = table_of(placed(cluster, row, column)), table_of(placed(cluster, 58, 58))
    for name, value in there.items():
        if name.split("_")[-1] in {"hits", "inside", "share", "major", "minor", "ptd"}:
            assert value == pytest.approx(middle[name], rel=1e-4, abs=1e-4), name


@settings(max_examples=20, deadline=None)
@given(cluster=clusters, power=st.integers(-3, 8))
def test_no_feature_depends_on_the_unit_of_energy(cluster, power):
    """As long as no hit falls below the threshold; powers of 2 are exact."""
    image = placed(cluster, 58, 58)
    scaled, stored = table_of(image * np.float32(2.0**power)), table_of(image)
    for name, value in scaled.items():
        assert value == pytest.approx(stored[name], rel=1e-5, abs=1e-6), name


def test_features_are_in_their_physical_ranges(dense):
    """Fractions add up to 1; fractions and ptD are at most 1; no width exceeds the cone."""
    found = table_of(dense)
    assert sum(found[f"{name}_fraction"] for name in ("track_pt", "ecal", "hcal")) == pytest.approx(
        1
    )
    for name, value in found.items():
        what = name.split("_")[-1]
        assert np.isfinite(value).all()
        assert (value >= 0).all()
        if what in {"share", "ptd", "core"}:
            assert (value <= 1 + 1e-6).all(), name
        if what in {"major", "minor", "girth"}:
            assert (value <= quark_gluon_views.CONE).all(), name
    for layer in ("track_pt", "ecal", "hcal"):
        assert (found[f"{layer}_inside"] <= found[f"{layer}_hits"]).all()
        assert (found[f"{layer}_minor"] <= found[f"{layer}_major"]).all()


def test_the_spec_agrees_with_the_reader():
    """Inputs, classes in the order of the labels, and files of both forms."""
    assert QUARK_GLUON.classes == ("gluon", "quark")
    assert [file.name for file in QUARK_GLUON.files] == [HDF5, *RUNS]
    assert [file.form for file in QUARK_GLUON.files] == ["", *["parquet"] * 3]
