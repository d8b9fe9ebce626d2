"""Electrons and photons: values are read as stored, or an error of one line names the fault."""

from __future__ import annotations

import itertools
import tracemalloc
import zipfile
from functools import cache
from pathlib import Path

import damage
import h5py
import needs
import numpy as np
import pytest
from damage import DAMAGED, REMOVED
from hepbench_datasets import (
    ELECTRON_PHOTON,
    electron_photon,
    electron_photon_compact,
    electron_photon_views,
)
from hepbench_datasets.simulate import electron_photon as generator
from hypothesis import given, settings
from hypothesis import strategies as st

from hepbench import DataError, SparseImages

ELECTRONS = "SingleElectronPt50_IMGCROPS_n249k_RHv1.hdf5"
PHOTONS = "SinglePhotonPt50_IMGCROPS_n249k_RHv1.hdf5"
NPZ = "electron-photon.npz"
LABELS = {ELECTRONS: 1, PHOTONS: 0}
SIZES = {ELECTRONS: 23, PHOTONS: 18}
BILLION = 1_000_000_000


@cache
def columns(name):
    """Return the columns of a file of simulated images, in the layout of the original."""
    label, n = LABELS[name], SIZES[name]
    images = generator.draw(label, 2 * n, np.random.default_rng(label))[:n].astype(np.float32)
    # an empty photon image
    images[-1] *= label
    return {"X": images.transpose(0, 2, 3, 1), "y": np.full(n, label, np.float32)}


def written(folder, bad=ELECTRONS, *, stored=None, **changed):
    """Write two valid files, then change or remove columns of one of them."""
    for name in LABELS:
        kind = {"chunks": (5, 32, 32, 2), "compression": "lzf"} if stored is None else stored
        with h5py.File(folder / name, "w") as file:
            for key, values in (columns(name) | (changed if name == bad else {})).items():
                if values is not REMOVED:
                    usual = np.shape(values)[1:] == (32, 32, 2) and len(values)
                    file.create_dataset(key, data=values, **(kind if usual else {}))
    return folder


def arrays(n=6):
    """Return the arrays of a small npz file."""
    parts = {}
    for part, (start, name) in {"train": (0, ELECTRONS), "test": (n, PHOTONS)}.items():
        rows = slice(start, start + n)
        parts[f"x_{part}"] = columns(name)["X"][rows, ..., 0].copy()
        parts[f"y_{part}"] = np.arange(n, dtype=np.float32) % 2
    return parts


def archived(folder, **changed):
    held = {key: each for key, each in (arrays() | changed).items() if each is not REMOVED}
    np.savez(folder / NPZ, **held)
    return folder


def read(folder):
    return [part for _, part in electron_photon.read(folder)]


def error_of(folder):
    return damage.error_of(read, folder)


STORED = {
    "chunks of some images": None,
    "chunks as h5py guesses them": {"compression": "lzf"},
    "chunks of one channel": {"chunks": (9, 8, 32, 1), "compression": "lzf"},
    "one chunk": {"chunks": (18, 32, 32, 2), "compression": "lzf"},
    "no chunks": {},
}


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED.keys())
@pytest.mark.parametrize("at_once", [4, 2000])
def test_every_value_is_read_as_stored_channels_first(tmp_path, monkeypatch, stored, at_once):
    """For any chunks of the file and any number of images read at a time."""
    monkeypatch.setattr(electron_photon, "CHUNK", at_once)
    parts = read(written(tmp_path, stored=stored))
    assert all(isinstance(part.inputs["image"], SparseImages) for part in parts)
    assert max(map(len, parts)) <= at_once
    found = np.concatenate([part.inputs["image"].dense() for part in parts])
    expected = np.concatenate([columns(name)["X"] for name in LABELS])
    assert np.array_equal(found, expected.transpose(0, 3, 1, 2))
    assert found.min() < 0 < found[-1].size == np.count_nonzero(found[-1] == 0)
    labels = np.concatenate([part.labels for part in parts])
    assert labels.dtype == np.int64
    assert labels.tolist() == [1] * 23 + [0] * 18
    ids = np.concatenate([part.ids for part in parts])
    assert ids.tolist() == [*range(23), *range(BILLION, BILLION + 18)]


def test_ids_of_photons_do_not_depend_on_the_electrons(tmp_path):
    """A longer file of one class does not change the ids of the other class."""
    short = {key: values[:7] for key, values in columns(ELECTRONS).items()}
    ids = np.concatenate([part.ids for part in read(written(tmp_path, ELECTRONS, **short))])
    assert ids.tolist() == [*range(7), *range(BILLION, BILLION + 18)]


def test_memory_holds_a_few_thousand_images_for_any_file_size(tmp_path):
    """Of 330 MB of empty images, stored as a sparse file, 16 MB are in memory at a time."""
    written(tmp_path)
    with h5py.File(tmp_path / ELECTRONS, "w") as file:
        file.create_dataset("X", (40_000, 32, 32, 2), "<f4", chunks=(100, 32, 32, 2))
        file["y"] = np.ones(40_000, np.float32)
    tracemalloc.start()
    try:
        sizes = [len(part) for _, part in electron_photon.read(tmp_path)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sizes == [2000] * 20 + [18]
    assert peak < 100e6


X, Y = columns(ELECTRONS).values()
EXPECTED = "(N, 32, 32, 2), channels last is expected"
LAYOUTS = {
    "x in lower case": (
        {"X": REMOVED, "x": X},
        "no dataset 'X', the file holds 'x', 'y'; 'X' (N, 32, 32, 2) is needed",
    ),
    "no labels": ({"y": REMOVED}, "no dataset 'y', the file holds 'X'; 'y' (N) is needed"),
    "labels in capitals": (
        {"y": REMOVED, "Y": Y},
        "no dataset 'y', the file holds 'X', 'Y'; 'y' (N) is needed",
    ),
    "channels first": ({"X": X.transpose(0, 3, 1, 2)}, f"'X' is (23, 2, 32, 32); {EXPECTED}"),
    "energies alone": ({"X": X[..., 0]}, f"'X' is (23, 32, 32); {EXPECTED}"),
    "one channel": ({"X": X[..., :1]}, f"'X' is (23, 32, 32, 1); {EXPECTED}"),
    "three channels": ({"X": X[..., [0, 1, 1]]}, f"'X' is (23, 32, 32, 3); {EXPECTED}"),
    "smaller images": ({"X": X[:, 4:-4, 4:-4]}, f"'X' is (23, 24, 24, 2); {EXPECTED}"),
    "flat images": ({"X": X.reshape(23, 2048)}, f"'X' is (23, 2048); {EXPECTED}"),
    "a number": ({"X": np.float32(1)}, f"'X' is (); {EXPECTED}"),
    "no image": ({"X": X[:0]}, "'X' has no image; at least one is needed"),
    "float64": ({"X": X.astype(float)}, "'X' is float64; float32 is expected"),
    "float16": ({"X": X.astype(np.float16)}, "'X' is float16; float32 is expected"),
    "whole numbers": ({"X": X.astype(np.uint8)}, "'X' is uint8; float32 is expected"),
    "labels in a column": ({"y": Y[:, None]}, "'y' is (23, 1); (N) is expected"),
    "whole labels": ({"y": Y.astype(int)}, "'y' is int64; float32 is expected"),
    "labels of truth": ({"y": Y > 0}, "'y' is bool; float32 is expected"),
    "a label short": (
        {"y": Y[1:]},
        "'y' has 22 rows, 'X' has 23; equal numbers of rows are expected",
    ),
    "label 2": ({"y": Y * 2}, "'y' of image 0 is 2; 0 or 1 is expected"),
    "label NaN": ({"y": Y * np.float32(np.nan)}, "'y' of image 0 is nan; 0 or 1 is expected"),
    "photons in the file of electrons": (
        {"y": Y * 0},
        "'y' of image 0 is 0; 1 (electron) is expected throughout",
    ),
    "a photon among electrons": (
        {"y": np.where(np.arange(23) == 9, 0, Y).astype(np.float32)},
        "'y' of image 9 is 0; 1 (electron) is expected throughout",
    ),
}


@pytest.mark.parametrize(("changed", "message"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_another_layout_is_refused_before_an_image_is_read(tmp_path, changed, message):
    """The message names the file, what it has, and what is expected."""
    found = damage.error_of(next, electron_photon.read(written(tmp_path, **changed)))
    assert found == f"electron-photon: {ELECTRONS}: {message}"


def test_an_invalid_second_file_is_refused_before_the_first_is_read(tmp_path):
    """Both files are checked before the electrons are read."""
    written(tmp_path, PHOTONS, y=columns(PHOTONS)["y"] + 1)
    expected = "'y' of image 0 is 1; 0 (photon) is expected throughout"
    found = damage.error_of(next, electron_photon.read(tmp_path))
    assert found == f"electron-photon: {PHOTONS}: {expected}"


@pytest.mark.parametrize("kind", ["a group", "a broken link"])
def test_an_entry_that_is_no_dataset_is_refused(tmp_path, kind):
    """The name alone is not enough."""
    with h5py.File(written(tmp_path, X=REMOVED) / ELECTRONS, "a") as file:
        if kind == "a group":
            file.create_group("X")
        else:
            file["X"] = h5py.SoftLink("/nowhere")
    assert "'X' (N, 32, 32, 2) is needed" in error_of(tmp_path)


VALUES = {
    "energy NaN": (np.nan, 0, "energy is nan; finite numbers are expected"),
    "energy infinite": (np.inf, 0, "energy is inf; finite numbers are expected"),
    "energy negative": (-1e-30, 0, "energy is -1e-30; an energy of at least 0 is expected"),
    "time NaN": (np.nan, 1, "time is nan; finite numbers are expected"),
    "time infinite": (-np.inf, 1, "time is -inf; finite numbers are expected"),
}


@pytest.mark.parametrize(("value", "channel", "what"), VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("name", LABELS)
def test_an_impossible_value_is_named_with_its_position(
    tmp_path, monkeypatch, value, channel, what, name
):
    """Images, rows and columns count from 0, in any chunk."""
    monkeypatch.setattr(electron_photon, "CHUNK", 5)
    bad = columns(name)["X"].copy()
    bad[13, 7, 31, channel] = value
    message = error_of(written(tmp_path, name, X=bad))
    assert message == f"electron-photon: {name}: image 13, row 7, column 31, {what}"


@pytest.mark.parametrize("done", DAMAGED.values(), ids=DAMAGED.keys())
@pytest.mark.parametrize("name", [*LABELS, NPZ])
def test_a_damaged_file_is_refused_before_an_image_is_read(tmp_path, name, done):
    """Downloads may be incomplete."""
    path = (archived if name == NPZ else written)(tmp_path) / name
    path.write_bytes(done(path.read_bytes()))
    message = damage.error_of(next, electron_photon.read(tmp_path))
    assert message.startswith(f"electron-photon: {name}: cannot be ")
    assert "is needed" in message


def test_an_overwritten_chunk_is_named(tmp_path, monkeypatch):
    """LZF notices the damage, and the message names the first image that could not be read."""
    monkeypatch.setattr(electron_photon, "CHUNK", 5)
    with h5py.File(written(tmp_path) / ELECTRONS) as file:
        where = file["X"].id.get_chunk_info_by_coord((10, 0, 0, 0))
    damage.overwrite(tmp_path / ELECTRONS, where.byte_offset, where.size)
    expected = f"electron-photon: {ELECTRONS}: 'X' cannot be read from image 10 onwards ("
    assert error_of(tmp_path).startswith(expected)


def test_missing_files_are_named(tmp_path):
    """One class alone is not enough for training."""
    needed = f"both files or {NPZ} are needed"
    holds = f"electron-photon: {tmp_path} holds no"
    assert error_of(tmp_path) == f"{holds} {ELECTRONS} and no {PHOTONS}; {needed}"
    (written(tmp_path) / PHOTONS).unlink()
    assert error_of(tmp_path) == f"{holds} {PHOTONS}; {needed}"


def test_an_npz_file_is_read_and_has_no_times(tmp_path):
    """Energies and labels are as stored, times are empty, and ids do not depend on the other part."""
    parts = read(archived(tmp_path))
    given_ = arrays()
    images = np.concatenate([part.inputs["image"].dense() for part in parts])
    expected = np.concatenate([given_["x_train"], given_["x_test"]])
    assert np.array_equal(images[:, 0], expected)
    assert images.shape == (12, 2, 32, 32)
    assert not images[:, 1].any()
    assert np.concatenate([part.labels for part in parts]).tolist() == [0, 1] * 6
    ids = np.concatenate([part.ids for part in parts])
    assert ids.tolist() == [*range(6), *range(BILLION, BILLION + 6)]


def test_the_hdf5_files_are_read_if_both_forms_exist(tmp_path):
    """They hold times and many more images; there is no warning."""
    assert sum(map(len, read(archived(written(tmp_path))))) == 41


IMAGES, CLASSES = arrays()["x_train"], arrays()["y_train"]
PAIRS = "x_train, y_train, x_test and y_test are needed"
NPZ_LAYOUTS = {
    "no test images": (
        {"x_test": REMOVED},
        f"no array 'x_test', the file holds 'x_train', 'y_train', 'y_test'; {PAIRS}",
    ),
    "no labels": (
        {"y_train": REMOVED},
        f"no array 'y_train', the file holds 'x_train', 'x_test', 'y_test'; {PAIRS}",
    ),
    "two channels": (
        {"x_train": IMAGES[:, None].repeat(2, 1)},
        "'x_train' is (6, 2, 32, 32); (N, 32, 32) is expected",
    ),
    "float64": ({"x_train": IMAGES.astype(float)}, "'x_train' is float64; float32 is expected"),
    "whole labels": ({"y_train": CLASSES.astype(int)}, "'y_train' is int64; float32 is expected"),
    "a label short": ({"y_train": CLASSES[1:]}, "'y_train' is (5,); (6,) is expected"),
    "label 2": ({"y_train": CLASSES * 2}, "'y_train' of image 1 is 2; 0 or 1 is expected"),
    "electrons alone": (
        {"y_train": CLASSES * 0 + 1, "y_test": CLASSES * 0 + 1},
        "every label is 1; both 0 and 1 are needed",
    ),
    "no image": (
        {**dict.fromkeys(("x_train", "x_test"), IMAGES[:0])}
        | dict.fromkeys(("y_train", "y_test"), CLASSES[:0]),
        "the file has no image; both 0 and 1 are needed",
    ),
    "energy NaN": (
        {"x_test": IMAGES * np.float32(np.nan)},
        "x_test: image 0, row 0, column 0, energy is nan; finite numbers are expected",
    ),
    "energy negative": (
        {"x_test": IMAGES - np.float32(0.5)},
        "x_test: image 0, row 0, column 0, energy is -0.5; an energy of at least 0 is expected",
    ),
}


@pytest.mark.parametrize(("changed", "message"), NPZ_LAYOUTS.values(), ids=NPZ_LAYOUTS.keys())
def test_another_npz_layout_is_refused(tmp_path, changed, message):
    """The message names the array, what it is, and what is expected."""
    assert error_of(archived(tmp_path, **changed)) == f"electron-photon: {NPZ}: {message}"


def test_pickled_objects_are_not_opened(tmp_path):
    """A downloaded file may hold any pickle, which could run code."""
    np.savez(tmp_path / NPZ, **arrays() | {"x_test": np.array([{}], object)})
    assert "cannot be read (Object arrays cannot be loaded" in error_of(tmp_path)
    with (tmp_path / NPZ).open("wb") as file:
        np.save(file, IMAGES)
    assert "a whole npz file without objects is needed" in error_of(tmp_path)


METHOD, FLAGS = 8, 6
"""Where a member of an archive says how it is compressed, and whether it is encrypted."""
MEMBERS = {"text": b"hello", "nothing": b"", **damage.HEADERS}


@pytest.mark.parametrize("content", MEMBERS.values(), ids=MEMBERS.keys())
def test_members_other_than_arrays_are_refused(tmp_path, content):
    """numpy raises any of Python's errors for such headers, and reads other members as bytes."""
    with zipfile.ZipFile(archived(tmp_path) / NPZ) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / NPZ, "w") as archive:
        for name, good in members.items():
            archive.writestr(name, content if name == "x_train.npy" else good)
    message = error_of(tmp_path).removeprefix(f"electron-photon: {NPZ}: ")
    assert message.startswith(("cannot be read (", "'x_train' is (); (N, 32, 32) is expected"))


@pytest.mark.parametrize("field", [METHOD, FLAGS])
def test_an_archive_that_cannot_be_unpacked_is_refused(tmp_path, field):
    """Its compression is unknown to Python, or it is encrypted."""
    path = archived(tmp_path) / NPZ
    content = bytearray(path.read_bytes())
    for start in (content.index(b"PK\x03\x04") + field, content.index(b"PK\x01\x02") + field + 2):
        content[start] = 97
    path.write_bytes(content)
    assert "cannot be read (" in error_of(tmp_path)


# --- original images


@pytest.fixture(scope="module")
def real():
    """Return the 200 original images and their labels, or skip if they are absent."""
    parts = read(needs.real_data(f"electron-photon/{NPZ}").parent)
    images = SparseImages.concatenate([part.inputs["image"] for part in parts])
    return images, np.concatenate([part.labels for part in parts])


def statistic(name, images, labels):
    """Return a statistic of ``Original.known`` by its name."""
    head, *rest = name.split(".")
    if head == "fraction":
        return np.mean(labels == ELECTRON_PHOTON.classes.index(rest[0]))
    if rest[0] == "empty":
        of_class = np.isin(labels, [ELECTRON_PHOTON.classes.index(label) for label in rest[1:]])
        return np.mean((images.ends == images.starts)[of_class | (len(rest) == 1)])
    channel, which, *of_class = rest
    dense = images.dense()[:, ELECTRON_PHOTON.inputs["image"].names.index(channel)]
    if of_class:
        dense = dense[labels == ELECTRON_PHOTON.classes.index(of_class[0])]
    return np.mean(dense != 0) if which == "nonzero" else getattr(dense, which)()


def test_original_images_agree_with_the_published_values(real):
    """200 images with published mean; each known statistic is within its limits."""
    assert len(real[0]) == 200
    assert statistic("image.energy.mean", *real) == pytest.approx(0.0012159, abs=1e-7)
    for name, (low, high) in ELECTRON_PHOTON.known.items():
        assert low <= statistic(name, *real) <= high, name


def test_original_showers_are_centred_compact_and_wider_along_phi_for_electrons(real):
    """As expected for 50 GeV showers in lead tungstate and for the magnetic field."""
    images, labels = real
    found = table(images)
    assert np.median(found["r9"]) == pytest.approx(0.93, abs=0.02)
    assert np.median(found["sigma_ieta_ieta"]) == pytest.approx(0.5, abs=0.05)
    assert np.median(found["sigma_iphi_iphi"]) > np.median(found["sigma_ieta_ieta"])
    wide = [np.median(found["phi_width"][labels == label]) for label in (0, 1)]
    assert wide[1] > 1.1 * wide[0]
    hottest = images.dense()[:, 0].reshape(200, -1).argmax(axis=1)
    assert (hottest == 16 * 32 + 16).sum() == 195


# --- the sample


@pytest.fixture(scope="module")
def sample():
    """Return the images and labels of the bundled sample."""
    ((role, part),) = electron_photon.sample()
    assert role == "labelled"
    return part.inputs["image"], part.labels


def test_the_sample_has_the_form_of_the_files(sample):
    """10,000 images of each class in turn; ids of photons start at a billion."""
    images, labels = sample
    assert images.shape == (20_000, 2, 32, 32)
    assert labels.tolist() == [1, 0] * 10_000
    ((_, part),) = electron_photon.sample()
    assert part.ids[::2].tolist() == list(range(10_000))
    assert part.ids[1::2].tolist() == list(range(BILLION, BILLION + 10_000))


def test_the_sample_is_small_and_agrees_with_the_original(sample):
    """At most 3 MB; all known statistics within their limits; times of both signs where energy is."""
    path = Path(electron_photon.__file__).parent / "samples/electron-photon.npz"
    assert path.stat().st_size <= 3_000_000
    for name, (low, high) in ELECTRON_PHOTON.known.items():
        assert low <= statistic(name, *sample) <= high, name
    energy, time = sample[0][::9].dense().transpose(1, 0, 2, 3)
    assert np.array_equal(energy != 0, time != 0)
    assert time.min() < -2
    assert time.max() > 2
    # a few photon images are empty, electron images never
    empty = sample[0].ends == sample[0].starts
    assert not empty[sample[1] == 1].any()
    assert 3 <= empty.sum() <= 25


def test_compact_images_are_accurate_to_half_a_step(sample):
    """Positions are exact; values are as accurate as the docstring of CURVES says."""
    images = sample[0][::50]
    rng = np.random.default_rng(0)
    positions, values = images.hits()[1:]
    ends = np.cumsum(images.ends - images.starts)
    starts = np.concatenate([[0], ends[:-1]])
    given_ = SparseImages(
        starts, ends, positions, values * rng.uniform(0.95, 1, len(values)), image=images.image
    )
    again = electron_photon_compact.decode(electron_photon_compact.encode(given_))
    assert np.array_equal(again.positions, given_.positions)
    assert np.array_equal(again.starts, given_.starts)
    energy = given_.positions < 32 * 32
    old, new = (50 * each.values[energy].astype(float) for each in (given_, again))
    assert (np.abs(new - old) <= 0.0101 * np.sqrt(old) + 1.5e-4).all()
    assert (new > 0).all()
    old, new = (50 * each.values[~energy].astype(float) for each in (given_, again))
    assert (np.abs(new - old) <= 0.024 + 0.08 * np.abs(old)).all()
    assert np.array_equal(np.sign(new), np.sign(old))


def test_compacting_twice_gives_the_same_result(sample):
    """Step numbers are stored, and they do not change again."""
    once = electron_photon_compact.encode(sample[0][:500])
    twice = electron_photon_compact.encode(electron_photon_compact.decode(once))
    assert all(np.array_equal(once[name], twice[name]) for name in once)


def test_images_that_cannot_be_compacted_are_refused(sample):
    """A time without energy would shift the times of all others."""
    dense = sample[0][:2].dense()
    dense[1, 1, 0, 0] = 1
    with pytest.raises(DataError, match="energies and times are in different crystals"):
        electron_photon_compact.encode(SparseImages.from_dense(dense))


# --- views


def table(images):
    """Return the columns of the table of images by name."""
    made = electron_photon_views.summarise({"image": images})["table"]
    assert made.shape == (len(images), len(electron_photon_views.FEATURES))
    assert made.dtype == np.float32
    return dict(zip(electron_photon_views.FEATURES, made.T, strict=True))


def quantities(*hits):
    """Return the features, by name, of one image with hits (row, column, energy, time)."""
    dense = np.zeros((1, 2, 32, 32), np.float32)
    for row, column, energy, time in hits:
        dense[0, :, row, column] = energy, time
    return {name: column[0] for name, column in table(SparseImages.from_dense(dense)).items()}


@pytest.mark.parametrize("channels", [["energy"], ["time"], ["time", "energy"]])
def test_channels_are_selected_in_any_order(sample, channels):
    """As if the dense images were indexed."""
    images = sample[0][::997]
    made = electron_photon_views.select({"image": images}, channels=channels)["image"]
    places = [("energy", "time").index(name) for name in channels]
    assert np.array_equal(made.dense(), images.dense()[:, places])


def test_both_channels_are_the_images_as_stored(sample):
    """Nothing is copied for the default."""
    images = sample[0][:3]
    both = list(ELECTRON_PHOTON.params["channels"].default)
    assert electron_photon_views.select({"image": images}, channels=both)["image"] is images


@pytest.mark.parametrize("channels", [[], ["energy", "energy"], ["depth"], ["energy", "depth"]])
def test_other_channels_are_refused(sample, channels):
    """The message lists the channels."""
    with pytest.raises(DataError, match="one or more of energy, time, each once, are allowed"):
        electron_photon_views.select({"image": sample[0][:3]}, channels=channels)


def test_shapes_of_a_cross_agree_with_hand_calculation():
    """8 in the middle, 1 on each side: r9 and other ratios are those of a total of 12."""
    cross = [(16, 16, 8, 0.5), (15, 16, 1, 0), (17, 16, 1, 0), (16, 15, 1, 0), (16, 17, 1, 0)]
    found = quantities(*cross, (16, 26, 4, -1))
    assert found["energy"] == 16
    assert found["hottest"] == 8
    assert found["crystals"] == found["crystals_1_gev"] == 6
    assert found["r9"] == found["e25_fraction"] == pytest.approx(12 / 16)
    assert found["e1_e9"] == pytest.approx(8 / 12)
    assert found["e2_e9"] == pytest.approx(9 / 12)
    assert found["e4_e1"] == pytest.approx(4 / 8)
    assert found["e9_e25"] == found["strip_fraction"] == 1
    middle, side = 4.7 + np.log(8 / 12), 4.7 + np.log(1 / 12)
    sigma = np.sqrt(2 * side / (middle + 4 * side))
    assert found["sigma_ieta_ieta"] == found["sigma_iphi_iphi"] == pytest.approx(sigma, rel=1e-5)
    assert found["cov_ieta_iphi"] == pytest.approx(0, abs=1e-6)
    assert found["eta_shift"] == 0
    assert found["phi_shift"] == pytest.approx(4 * 10 / 16)
    assert found["eta_width"] == found["minor"] == pytest.approx(np.sqrt(2 / 16))
    width = np.sqrt((2 + 4 * 100) / 16 - 2.5**2)
    assert found["phi_width"] == found["major"] == pytest.approx(width)
    assert found["eta_asymmetry"] == 0
    assert found["phi_asymmetry"] == pytest.approx(4 / 16)
    assert found["time_hottest"] == 0.5
    assert found["time_mean"] == pytest.approx((8 * 0.5 - 4) / 16)
    assert found["time_spread"] == pytest.approx(np.sqrt((8 * 0.25 + 4) / 16))


def test_a_diagonal_has_a_covariance_and_no_minor_axis():
    """Three crystals of 1 in a row: variances and covariance are all 2/3."""
    found = quantities((15, 15, 1, 0), (16, 16, 1, 0), (17, 17, 1, 0))
    # argmax takes the first of equal crystals, so the window is not centred on the middle one
    assert found["cov_ieta_iphi"] == pytest.approx(2 / 3, rel=1e-5)
    assert found["sigma_ieta_ieta"] == pytest.approx(np.sqrt(2 / 3), rel=1e-5)
    assert found["minor"] == pytest.approx(0, abs=1e-4)
    assert found["major"] == pytest.approx(np.sqrt(4 / 3))


@pytest.mark.parametrize("corner", [*itertools.product((0, 31), repeat=2)])
def test_windows_end_at_the_edge_of_the_image(corner):
    """Around a corner the window is 0 outside the image and does not wrap around."""
    far = (31 - corner[0], 31 - corner[1])
    found = quantities((*corner, 3, 0), (*far, 1, 0))
    assert found["r9"] == found["e25_fraction"] == pytest.approx(0.75)
    assert found["e1_e9"] == 1


def test_an_empty_image_has_finite_features():
    """Some photon images are empty; a time without energy changes nothing."""
    assert set(quantities().values()) == {0}
    assert set(quantities((16, 16, 0, 2)).values()) == {0}


LIMITS = {
    "energy": (0, np.inf),
    "hottest": (0, np.inf),
    "crystals": (0, 1024),
    "crystals_1_gev": (0, 1024),
    **dict.fromkeys(("r9", "e25_fraction", "strip_fraction", "e9_e25"), (0, 1)),
    "e1_e9": (1 / 9, 1),
    "e2_e9": (2 / 9, 1),
    "e4_e1": (0, 4),
    **dict.fromkeys(("sigma_ieta_ieta", "sigma_iphi_iphi"), (0, 2)),
    "cov_ieta_iphi": (-4, 4),
    **dict.fromkeys(("eta_width", "phi_width"), (0, 15.5)),
    **dict.fromkeys(("major", "minor"), (0, 15.5 * np.sqrt(2))),
    **dict.fromkeys(("eta_shift", "phi_shift"), (-31, 31)),
    **dict.fromkeys(("eta_asymmetry", "phi_asymmetry"), (-1, 1)),
    **dict.fromkeys(("time_hottest", "time_mean"), (-2.6, 2.6)),
    "time_spread": (0, 2.6),
}


def physical(images):
    """Assert the properties that every non-empty shower image has."""
    found = table(images)
    assert found.keys() == LIMITS.keys()
    for name, (low, high) in LIMITS.items():
        assert found[name].min() >= low - 1e-5, name
        assert found[name].max() <= high + 1e-5, name
    assert (found["r9"] <= found["e25_fraction"] + 1e-6).all()
    assert (found["e25_fraction"] <= found["strip_fraction"] + 1e-6).all()
    assert (found["e1_e9"] <= found["e2_e9"]).all()
    assert (found["minor"] <= found["major"] + 1e-6).all()
    covariance = np.abs(found["cov_ieta_iphi"])
    assert (covariance <= found["sigma_ieta_ieta"] * found["sigma_iphi_iphi"] + 1e-4).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.001, 1), spread=st.floats(0, 4))
def test_shapes_are_physically_possible(seed, share, spread):
    """For any image, from one hit to all pixels hit, with any spread of energies."""
    rng = np.random.default_rng(seed)
    dense = np.zeros((8, 2, 32, 32), np.float32)
    hit = rng.random((8, 32, 32)) < share
    hit[:, 3, 30] = True
    dense[:, 0] = hit * np.exp(spread * rng.standard_normal(hit.shape))
    dense[:, 1] = hit * rng.uniform(-2.5, 2.5, hit.shape)
    physical(SparseImages.from_dense(dense))


def test_shapes_of_original_and_simulated_showers_are_physically_possible(real, sample):
    """All of them except empty photon images."""
    physical(real[0])
    images = sample[0]
    physical(images[images.ends > images.starts])


@settings(max_examples=10, deadline=None)
@given(scale=st.sampled_from([0.25, 8.0]), steps=st.tuples(*[st.integers(-9, 8)] * 2))
def test_shapes_do_not_depend_on_scale_and_position(sample, scale, steps):
    """Ratios and central moments stay the same as long as nothing leaves the image."""
    dense = sample[0][40:60].dense()
    dense[:, :, :11], dense[:, :, 22:], dense[..., :11], dense[..., 22:] = 0, 0, 0, 0
    moved = np.roll(dense, steps, axis=(2, 3))
    moved[:, 0] *= scale
    before, after = (table(SparseImages.from_dense(each)) for each in (dense, moved))
    for name in LIMITS.keys() - {"energy", "hottest", "crystals_1_gev"}:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_row_of_the_table_depends_only_on_its_own_image(sample, monkeypatch):
    """Other images in the batch and the size of the batch do not matter."""
    images = sample[0][:12]
    together = electron_photon_views.summarise({"image": images})["table"]
    monkeypatch.setattr(electron_photon_views, "BATCH", 5)
    order = np.array([7, 0, 11, 3, 3, 2])
    again = electron_photon_views.summarise({"image": images[order]})["table"]
    assert np.array_equal(again, together[order])
    nothing = electron_photon_views.summarise({"image": images[:0]})["table"]
    assert nothing.shape == (0, together.shape[1])
