"""Boosted jets: values are read as stored, or an error of one line names the invalid value."""

from __future__ import annotations

import itertools
import tracemalloc
from functools import cache
from pathlib import Path

import damage
import h5py
import numpy as np
import pytest
import torch
from damage import DAMAGED, REMOVED
from hepbench_datasets import BOOSTED_JETS, boosted_jets, boosted_jets_compact, boosted_jets_views
from hepbench_datasets.hdf5 import HDF5
from hypothesis import given, settings
from hypothesis import strategies as st

from hepbench import DataError, DataWarning, SparseImages

LABELLED = "Dataset_Specific_labelled.h5"
FULL = "Dataset_Specific_labelled_full_only_for_2i.h5"
UNLABELLED = "Dataset_Specific_Unlabelled.h5"
ORDER = BOOSTED_JETS.params["order"].default
JETS = 4


@cache
def columns(n=JETS):
    """Return the columns of a small labelled file, in the layout of the original."""
    rng = np.random.default_rng(n)
    jet = np.zeros((n, 125, 125, 8), np.float32)
    hits = rng.integers(0, [n, 125, 125, 8], (200 * n, 4))
    jet[tuple(hits.T)] = rng.exponential(size=len(hits))
    jet[..., 1:3] *= rng.choice([-1, 1], jet[..., 1:3].shape)
    label = np.arange(n, dtype=np.float32)[:, None] % 2
    return {"jet": jet, "Y": label, "m": 140 + label, "pT": 500 + label}


def written(folder, name=LABELLED, **changed):
    """Write a valid file with some columns changed or removed."""
    with h5py.File(folder / name, "w") as file:
        for key, values in (columns() | changed).items():
            if values is not REMOVED:
                file[key] = values
    return folder


def read(folder, order=ORDER):
    return list(boosted_jets.read(folder, order=order))


def error_of(folder, order=ORDER):
    return damage.error_of(read, folder, order)


@pytest.fixture
def tiny_chunks(monkeypatch):
    """Read two jets at a time, so that a small file has several chunks."""
    monkeypatch.setattr(boosted_jets, "CHUNK", 2)


def test_every_value_is_read_as_stored_channels_first(tmp_path, tiny_chunks):
    """Images, labels, masses and momenta; the unlabelled jets follow with their own ids."""
    given, others = columns(), columns(3)["jet"]
    written(tmp_path, FULL)
    with h5py.File(tmp_path / UNLABELLED, "w") as file:
        file["jet"] = others
    chunks = read(tmp_path)
    assert [(role, len(part)) for role, part in chunks] == [
        *[("labelled", 2)] * 2,
        ("unlabelled", 2),
        ("unlabelled", 1),
    ]
    for role, jet in (("labelled", given["jet"]), ("unlabelled", others)):
        images = [part.inputs["image"] for found, part in chunks if found == role]
        assert all(isinstance(part, SparseImages) for part in images)
        dense = np.concatenate([part.dense() for part in images])
        assert np.array_equal(dense, jet.transpose(0, 3, 1, 2))
    known = [part for role, part in chunks if role == "labelled"]
    for name in ("m", "pT"):
        found = np.concatenate([part.spectators[name] for part in known])
        assert np.array_equal(found, given[name][:, 0])
    labels = np.concatenate([part.labels for part in known])
    assert np.array_equal(labels, given["Y"][:, 0])
    assert labels.dtype == np.int64
    ids = np.concatenate([part.ids for _, part in chunks])
    assert ids.tolist() == [*range(4), 10**9, 10**9 + 1, 10**9 + 2]
    assert all(part.labels is None for role, part in chunks if role == "unlabelled")


def test_the_short_labelled_file_has_no_spectators(tmp_path):
    """Only the longer file has mass and pT."""
    ((_, part),) = read(written(tmp_path, m=REMOVED, pT=REMOVED))
    assert part.spectators == {}


def test_a_file_in_another_order_of_channels_gives_the_same_images(tmp_path):
    """The parameter names the channels of the file; images are in the order of the spec."""
    order = list(reversed(ORDER))
    written(tmp_path, jet=columns()["jet"][..., ::-1])
    ((_, part),) = read(tmp_path, order)
    assert np.array_equal(part.inputs["image"].dense(), columns()["jet"].transpose(0, 3, 1, 2))
    what = f"order is {order[1:]}; each of {', '.join(ORDER)} is needed once"
    assert error_of(tmp_path, order[1:]) == f"boosted-jets: {what}"


@pytest.mark.parametrize("order", [ORDER, [*ORDER[3:], *ORDER[:3]]])
@pytest.mark.parametrize("chunks", [(3, 125, 125, 8), (4, 1, 125, 8), (4, 25, 25, 1)])
def test_a_compressed_copy_gives_the_same_images_and_is_decompressed_once(
    tmp_path, tiny_chunks, monkeypatch, chunks, order
):
    """The copy may have any chunks and any order of channels."""
    stored = columns()["jet"][..., [ORDER.index(name) for name in order]]
    with h5py.File(written(tmp_path, jet=REMOVED) / LABELLED, "a") as file:
        file.create_dataset("jet", data=stored, chunks=chunks, compression="gzip")
    starts, values = [], HDF5.values

    def noted(file, stored, rows=slice(None)):
        starts.append(rows.start or 0)
        return values(file, stored, rows)

    monkeypatch.setattr(HDF5, "values", noted)
    found = np.concatenate([part.inputs["image"].dense() for _, part in read(tmp_path, order)])
    assert np.array_equal(found, columns()["jet"].transpose(0, 3, 1, 2))
    assert all(start % chunks[0] == 0 for start in starts)


def test_memory_holds_a_few_chunks_for_any_file_size(tmp_path):
    """Of half a gigabyte of empty jets, stored as a sparse file, 50 MB are in memory at a time."""
    with h5py.File(tmp_path / LABELLED, "w") as file:
        file.create_dataset("jet", (1000, 125, 125, 8), "<f4")
        file["Y"] = columns(1000 // 125)["Y"].repeat(125, axis=0)
    tracemalloc.start()
    try:
        sizes = [len(part) for _, part in boosted_jets.read(tmp_path, order=ORDER)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sizes == [100] * 10
    assert peak < 200e6


JET, LABEL, NAN = columns()["jet"], columns()["Y"], np.float32(np.nan)
EXPECTED = "(N, 125, 125, 8), channels last is expected"
LAYOUTS = {
    "jet in capitals": (
        {"jet": REMOVED, "Jet": JET},
        "no dataset 'jet', the file holds 'Jet', 'Y', 'm', 'pT'; 'jet' (N, 125, 125, 8) is needed",
    ),
    "y in lower case": (
        {"Y": REMOVED, "y": LABEL},
        "no dataset 'Y', the file holds 'jet', 'm', 'pT', 'y'; 'Y' (N, 1) is needed",
    ),
    "channels first": (
        {"jet": JET.transpose(0, 3, 1, 2)},
        f"'jet' is (4, 8, 125, 125); {EXPECTED}",
    ),
    "three channels": ({"jet": JET[..., :3]}, f"'jet' is (4, 125, 125, 3); {EXPECTED}"),
    "one jet alone": ({"jet": JET[0]}, f"'jet' is (125, 125, 8); {EXPECTED}"),
    "a number": ({"jet": np.float32(1)}, f"'jet' is (); {EXPECTED}"),
    "no jet": ({"jet": JET[:0]}, "'jet' has no jet; at least one is needed"),
    "float64": ({"jet": JET.astype(float)}, "'jet' is float64; float32 is expected"),
    "bytes": ({"jet": JET.astype(np.uint8)}, "'jet' is uint8; float32 is expected"),
    "flat labels": ({"Y": LABEL[:, 0]}, "'Y' is (4,); (N, 1) is expected"),
    "labels of two columns": (
        {"Y": np.hstack([LABEL, LABEL])},
        "'Y' is (4, 2); (N, 1) is expected",
    ),
    "whole labels": ({"Y": LABEL.astype(int)}, "'Y' is int64; float32 is expected"),
    "a label short": (
        {"Y": LABEL[1:]},
        "'Y' has 3 rows, 'jet' has 4; equal numbers of rows are expected",
    ),
    "a mass short": (
        {"m": LABEL[1:]},
        "'m' has 3 rows, 'jet' has 4; equal numbers of rows are expected",
    ),
    "label 2": ({"Y": LABEL * 2}, "'Y' of jet 1 is 2; 0 or 1 is expected"),
    "label one half": ({"Y": LABEL / 2}, "'Y' of jet 1 is 0.5; 0 or 1 is expected"),
    "label NaN": ({"Y": LABEL * NAN}, "'Y' of jet 0 is nan; 0 or 1 is expected"),
    "tops alone": ({"Y": LABEL * 0 + 1}, "every 'Y' is 1; both 0 and 1 are needed"),
    "no top": ({"Y": LABEL * 0}, "every 'Y' is 0; both 0 and 1 are needed"),
    "mass NaN": ({"m": LABEL * NAN}, "'m' of jet 0 is nan; a number of at least 0 is expected"),
    "pT below 0": ({"pT": -LABEL}, "'pT' of jet 1 is -1; a number of at least 0 is expected"),
    "pT infinite": (
        {"pT": np.where(LABEL == 1, np.float32(np.inf), LABEL)},
        "'pT' of jet 1 is inf; a number of at least 0 is expected",
    ),
}


@pytest.mark.parametrize(("changed", "message"), LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("name", [LABELLED, FULL])
def test_another_layout_is_refused_before_a_jet_is_read(tmp_path, name, changed, message):
    """The message names the file, what it has, and what is expected."""
    chunks = boosted_jets.read(written(tmp_path, name, **changed), order=ORDER)
    assert damage.error_of(next, chunks) == f"boosted-jets: {name}: {message}"


@pytest.mark.parametrize("kind", ["a group", "a broken link"])
def test_an_entry_that_is_no_dataset_is_refused(tmp_path, kind):
    """The name alone is not enough."""
    with h5py.File(written(tmp_path, jet=REMOVED) / LABELLED, "a") as file:
        if kind == "a group":
            file.create_group("jet")
        else:
            file["jet"] = h5py.SoftLink("/nowhere")
    assert "'jet' (N, 125, 125, 8) is needed" in error_of(tmp_path)


VALUES = {
    "NaN": (np.nan, 3, "nan; finite numbers are expected"),
    "infinite": (-np.inf, 1, "-inf; finite numbers are expected"),
    "negative energy": (-0.5, 3, "-0.5; only track_d0 and track_dz may be negative"),
    "negative momentum": (-1e-30, 0, "-1e-30; only track_d0 and track_dz may be negative"),
    "negative hits": (-1, 7, "-1; only track_d0 and track_dz may be negative"),
}


@pytest.mark.parametrize(("value", "channel", "what"), VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("name", [LABELLED, UNLABELLED])
@pytest.mark.parametrize("jet", [0, 3])
def test_an_impossible_value_is_named_with_its_position(
    tmp_path, tiny_chunks, value, channel, what, name, jet
):
    """The message names the first one in any chunk; jets, rows and columns count from 0."""
    bad = JET.copy()
    bad[jet, 7, 124, channel] = value
    bad[jet:, 8, 0, 7] = np.nan
    written(written(tmp_path), name, jet=bad)
    where = f"jet {jet}, row 7, column 124, channel {channel} ({ORDER[channel]})"
    assert error_of(tmp_path).startswith(f"boosted-jets: {name}: {where} is {what}")


def test_a_few_negative_values_are_read_with_a_warning(tmp_path):
    """Noise below a pedestal does not mean another order of channels; each channel gives one
    warning."""
    noisy = JET.copy()
    noisy[..., 3] = 1
    noisy[:3, 7, 124, 3] = -0.5
    written(tmp_path, jet=noisy)
    with pytest.warns(DataWarning) as caught:
        ((_, part),) = read(tmp_path)
    assert np.array_equal(part.inputs["image"].dense(), noisy.transpose(0, 3, 1, 2))
    message = "3 values of ecal are negative; 0 or more are expected"
    assert [str(w.message) for w in caught] == [f"boosted-jets: {LABELLED}: {message}"]


@pytest.mark.parametrize("done", DAMAGED.values(), ids=DAMAGED.keys())
@pytest.mark.parametrize("name", [LABELLED, UNLABELLED])
def test_a_damaged_file_is_refused_before_a_jet_is_read(tmp_path, name, done):
    """Large downloads may be incomplete."""
    path = written(written(tmp_path), name) / name
    path.write_bytes(done(path.read_bytes()))
    message = damage.error_of(next, boosted_jets.read(tmp_path, order=ORDER))
    assert message.startswith(f"boosted-jets: {name}: cannot be opened (")
    assert message.endswith("; a complete HDF5 file is needed")


def test_overwritten_jets_of_a_compressed_copy_are_refused(tmp_path, tiny_chunks):
    """A user's compressed copy is read, and its damage is located."""
    with h5py.File(written(tmp_path, jet=REMOVED) / LABELLED, "a") as file:
        stored = file.create_dataset("jet", data=JET, chunks=(1, 125, 125, 8), compression="gzip")
        where = stored.id.get_chunk_info_by_coord((2, 0, 0, 0))
    assert sum(len(part) for _, part in read(tmp_path)) == JETS
    damage.overwrite(tmp_path / LABELLED, where.byte_offset, where.size)
    expected = f"boosted-jets: {LABELLED}: 'jet' cannot be read from jet 2 onwards ("
    assert error_of(tmp_path).startswith(expected)


def test_a_missing_labelled_file_is_named(tmp_path):
    """Unlabelled jets alone are not enough for training."""
    written(tmp_path, UNLABELLED)
    expected = f"boosted-jets: {tmp_path} holds no {LABELLED} or {FULL}; one of them is needed"
    assert error_of(tmp_path) == expected


@pytest.fixture(scope="module")
def sample():
    """Return the bundled sample by role."""
    return dict(boosted_jets.sample(order=ORDER))


def test_the_sample_has_the_form_of_the_files(sample):
    """4,000 labelled jets, half of them top quarks, 4,000 unlabelled jets, and spectators."""
    labelled, unlabelled = sample["labelled"], sample["unlabelled"]
    assert labelled.inputs["image"].shape == unlabelled.inputs["image"].shape == (4000, 8, 125, 125)
    assert labelled.labels.mean() == 0.5
    assert unlabelled.labels is None
    assert not np.isin(unlabelled.ids, labelled.ids).any()
    mass, pt = labelled.spectators["m"], labelled.spectators["pT"]
    assert 100 <= mass.min() < mass.max() <= 220
    assert 400 <= pt.min() < pt.max() <= 600


def test_the_sample_is_small_and_physically_possible(sample):
    """Values are finite, negative only in d0 and dz; hits are whole numbers and towers uniform."""
    path = Path(boosted_jets.__file__).parent / "samples/boosted-jets.npz"
    assert path.stat().st_size <= 6_000_000
    dense = sample["unlabelled"].inputs["image"][:50].dense()
    assert np.isfinite(dense).all()
    assert (dense.min(axis=(0, 2, 3)) < 0).tolist() == [
        name in ("track_d0", "track_dz") for name in ORDER
    ]
    assert np.array_equal(dense[:, 5:], np.round(dense[:, 5:]))
    towers = dense[:, 4].reshape(50, 25, 5, 25, 5)
    assert np.array_equal(towers, np.broadcast_to(towers[:, :, :1, :, :1], towers.shape))
    assert np.array_equal(dense[:, 0] != 0, dense[:, 1] != 0)


def test_both_classes_are_flat_in_pt(sample):
    """A quarter of each class is in each range of 50 GeV, so that pt does not separate them."""
    labels, pt = sample["labelled"].labels, sample["labelled"].spectators["pT"]
    for label in (0, 1):
        counts = np.histogram(pt[labels == label], bins=[400, 450, 500, 550, 600])[0]
        assert counts.tolist() == [500] * 4


def test_compact_images_are_accurate_to_half_a_step(sample):
    """Positions are exact; values are as accurate as the docstring of CURVES says."""
    images = sample["labelled"].inputs["image"][:200]
    rng = np.random.default_rng(0)
    layer = images.hits()[1] // 125**2
    moved = images.values[: len(layer)] * np.where(
        layer < 4, rng.uniform(0.99, 1.01, len(layer)), 1
    )
    changed = SparseImages(
        images.starts, images.ends, images.positions[: len(layer)], moved, image=images.image
    )
    again = boosted_jets_compact.decode(boosted_jets_compact.encode(changed))
    assert np.array_equal(again.positions, changed.positions[: len(layer)])
    error = np.abs(again.values - moved)
    assert (error[layer == 0] <= 0.0026 * moved[layer == 0]).all()
    assert (error[layer == 3] <= 0.0101 * np.sqrt(1 + moved[layer == 3])).all()
    assert (error[layer == 4] <= 0.051 * np.sqrt(moved[layer == 4] / 25)).all()
    assert (error[layer >= 5] == 0).all()
    signed = (layer == 1) | (layer == 2)
    assert (error[signed] <= 0.00026 + 0.053 * np.abs(moved[signed])).all()
    assert np.array_equal(again.values[signed] > 0, moved[signed] > 0)


def test_compacting_twice_gives_the_same_result(sample):
    """Step numbers are stored, and they do not change again."""
    images = sample["labelled"].inputs["image"][:20]
    once = boosted_jets_compact.encode(images)
    twice = boosted_jets_compact.encode(boosted_jets_compact.decode(once))
    assert all(np.array_equal(once[name], twice[name]) for name in once)


def halved(images):
    return boosted_jets_views.resize({"image": images}, size=64)["image"]


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_halved_image_adds_up_and_keeps_d0_and_dz_of_the_hardest_track(seed):
    """The reference is dense: pad by 1 and 2, then sum, or take the pixel with the largest pt."""
    rng = np.random.default_rng(seed)
    dense = np.zeros((3, 8, 125, 125), np.float32)
    for c in (0, 3, 4, 5, 6, 7):
        hits = rng.integers(0, [3, 125, 125], (4000, 3))
        dense[hits[:, 0], c, hits[:, 1], hits[:, 2]] = rng.integers(1, 2**20, 4000)
    dense[:, 1:3] = rng.normal(size=(3, 2, 125, 125)) * (dense[:, :1] > 0)
    blocks = np.pad(dense, ((0, 0), (0, 0), (1, 2), (1, 2))).reshape(3, 8, 64, 2, 64, 2)
    blocks = blocks.transpose(0, 1, 2, 4, 3, 5).reshape(3, 8, 64, 64, 4)
    expected = blocks.sum(axis=-1)
    hardest = blocks[:, :1].argmax(axis=-1)[..., None]
    expected[:, 1:3] = np.take_along_axis(blocks[:, 1:3], hardest.repeat(2, 1), -1)[..., 0]
    assert np.array_equal(halved(SparseImages.from_dense(dense)).dense(), expected)


def test_an_impact_parameter_without_a_track_is_not_lost():
    """Of two in one block, both without a track, one is kept; they are not added."""
    dense = np.zeros((1, 8, 125, 125), np.float32)
    dense[0, 1, 1, 1:3] = 0.25, -0.5
    assert halved(SparseImages.from_dense(dense)).dense()[0, 1, 1, 1] in {0.25, -0.5}


def test_views_have_the_three_sizes_and_refuse_others(sample):
    """125 is as stored, 128 has one row and column of zeros before and two after."""
    images = sample["labelled"].inputs["image"][:3]
    assert boosted_jets_views.resize({"image": images}, size=125)["image"] is images
    padded = boosted_jets_views.resize({"image": images}, size=128)["image"].dense()
    expected = np.pad(images.dense(), ((0, 0), (0, 0), (1, 2), (1, 2)))
    assert np.array_equal(padded, expected)
    with pytest.raises(DataError, match="size is 32; the allowed values are 125, 128, 64"):
        boosted_jets_views.resize({"image": images}, size=32)


@pytest.mark.parametrize("view", ["table", "image"])
def test_a_row_of_a_view_depends_only_on_its_own_image(sample, monkeypatch, view):
    """Other images in the batch and the size of the batch do not matter."""
    make = {
        "table": lambda images: boosted_jets_views.summarise({"image": images})["table"],
        "image": lambda images: halved(images).dense(),
    }[view]
    images = sample["labelled"].inputs["image"][:12]
    together = make(images)
    monkeypatch.setattr(boosted_jets_views, "BATCH", 5)
    order = np.array([7, 0, 11, 3, 3, 2])
    assert np.array_equal(make(images[order]), together[order])
    assert make(images[:0]).shape == (0, *together.shape[1:])


def quantities(*hits):
    """Return the features, by name, of one image with hits (channel, row, column, value)."""
    dense = np.zeros((1, 8, 125, 125), np.float32)
    for channel, row, column, value in hits:
        dense[0, ORDER.index(channel), row, column] = value
    table = boosted_jets_views.summarise({"image": SparseImages.from_dense(dense)})["table"]
    assert table.shape == (1, len(boosted_jets_views.FEATURES))
    return dict(zip(boosted_jets_views.FEATURES, table[0], strict=True))


def test_shapes_of_two_pixels_agree_with_hand_calculation():
    """1 GeV at 0.349 above and below the centre, twenty pixels of one degree each."""
    found = quantities(("ecal", 42, 62, 1), ("ecal", 82, 62, 1), ("ecal", 62, 62 + 50, 9))
    gap = 20 * np.pi / 180
    assert found["ecal_hits"] == 3
    # the third one is 0.87 away, outside the cone
    # massless: m^2 = 2 E E (cosh(2 gap) - 1) for E = 1, and so m / 2 = sinh(gap)
    assert found["ecal_mass"] == pytest.approx(np.sinh(gap), rel=1e-5)
    assert found["ecal_major"] == pytest.approx(gap, rel=1e-5)
    assert found["ecal_minor"] == pytest.approx(0, abs=1e-6)
    assert found["ecal_ptd"] == pytest.approx(np.sqrt(0.5))
    assert found["ecal_core"] == 0


def test_impact_parameters_are_ranked_by_absolute_value():
    """The features are the largest, second, third and fifth, without signs."""
    sizes = (0.03, -0.5, 0.01, -0.001, 0.1)
    found = quantities(*(("track_d0", 62, 10 * i, size) for i, size in enumerate(sizes)))
    expected = np.log1p(100 * np.array([0.5, 0.1, 0.03, 0.001]))
    assert [found[f"d0_{rank}"] for rank in (1, 2, 3, 5)] == pytest.approx(expected)
    assert found["displaced"] == 3
    assert found["dz_1"] == 0


def test_an_empty_image_has_finite_features():
    """Some detector images are empty."""
    assert set(quantities().values()) == {0}


def test_negative_noise_has_finite_features():
    """Negative values count as 0: negative sums would have no square root."""
    noise = [("ecal", 60 + i, 60 + i % 3, -0.5) for i in range(5)]
    found = quantities(*noise, ("hcal", 62, 62, 4), ("hcal", 70, 62, -9))
    shapes = {what: found[f"hcal_{what}"] for what in ("mass", "major", "minor", "ptd", "core")}
    assert shapes == {"mass": 0, "major": 0, "minor": 0, "ptd": 1, "core": 1}
    assert not any(found[f"ecal_{what}"] for what in shapes)


def batch(images):
    return {"image": torch.tensor(images), "other": torch.arange(len(images))}


def seen(function, images):
    """Return the different images that 64 calls of an augmentation make from one image."""
    torch.manual_seed(0)
    made = function(batch(np.repeat(images, 64, axis=0)))
    assert torch.equal(made["other"], torch.arange(64))
    return {image.numpy().tobytes() for image in made["image"]}


@pytest.fixture
def image():
    """Return one image of whole numbers without any symmetry."""
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 100, (1, 8, 12, 12)) * (rng.random((1, 8, 12, 12)) < 0.2)
    dense[:, 1:3] *= rng.choice([-1, 1], (1, 2, 12, 12))
    return dense.astype(np.float32)


def mirrored(image, *, eta, phi, d0=1, dz=1):
    made = image[:, :, :: -1 if eta else 1, :: -1 if phi else 1].copy()
    made[:, 1] *= d0
    made[:, 2] *= dz
    # negative zero has other bytes
    return (made + 0).tobytes()


def test_flips_change_the_signs_of_the_impact_parameters(image):
    """In all four ways: mirroring eta changes the sign of dz, mirroring phi that of d0."""
    expected = {
        mirrored(image, eta=eta, phi=phi, d0=-1 if phi else 1, dz=-1 if eta else 1)
        for eta, phi in itertools.product((False, True), repeat=2)
    }
    found = seen(boosted_jets_views.flips, image)
    assert {(np.frombuffer(one, np.float32) + 0).tobytes() for one in found} == expected


def test_flips_keep_absolute_values_of_impact_parameters(image):
    """A file of absolute values must not get negative values, preprocessed or not."""
    image = np.abs(image)
    for shift in (0, -3):
        expected = {
            mirrored(image + shift, eta=eta, phi=phi)
            for eta, phi in itertools.product((False, True), repeat=2)
        }
        assert seen(boosted_jets_views.flips, image + shift) == expected


def test_a_batch_is_not_changed_in_place_and_images_are_flipped_independently(image):
    """Augmentation makes new tensors, so other views of the batch stay the same."""
    for function in (boosted_jets_views.flips, boosted_jets_views.transpose):
        given = batch(np.repeat(image, 8, axis=0))
        before = given["image"].clone()
        torch.manual_seed(1)
        made = function(given)["image"]
        assert torch.equal(given["image"], before)
        assert 1 < len({one.numpy().tobytes() for one in made}) <= 4


def test_transposition_exchanges_eta_and_phi_and_d0_and_dz(image):
    """Each image is transposed as a whole or not at all; transposing twice gives the image back."""
    order = [0, 2, 1, 3, 4, 5, 6, 7]
    turned = np.ascontiguousarray(image[:, order].transpose(0, 1, 3, 2))
    assert seen(boosted_jets_views.transpose, image) == {image.tobytes(), turned.tobytes()}
    assert seen(boosted_jets_views.transpose, turned) == {image.tobytes(), turned.tobytes()}


def test_signs_of_decays_in_flight_agree_with_the_augmentations(sample):
    """Near the axis of top jets d0 falls with phi and dz with eta, equally and not in the other
    direction."""
    tops = sample["labelled"].inputs["image"][sample["labelled"].labels == 1]
    _, positions, values = tops.hits()
    channel, place = np.divmod(positions, 125**2)
    eta, phi = (axis - 62 for axis in np.divmod(place, 125))
    far = (np.hypot(eta, phi) < 12) & (np.abs(values) > 0.01) & (np.abs(values) < 0.3)

    def follows(name, axis):
        some = far & (channel == ORDER.index(name)) & (axis != 0)
        return np.mean(np.sign(values[some] * axis[some]))

    assert follows("track_d0", phi) == pytest.approx(-0.37, abs=0.1)
    assert follows("track_dz", eta) == pytest.approx(-0.33, abs=0.1)
    assert abs(follows("track_d0", eta)) < 0.1
    assert abs(follows("track_dz", phi)) < 0.1


def test_images_that_cannot_be_compacted_are_refused(sample):
    """Tracks without an impact parameter would shift the values of all others."""
    images = sample["labelled"].inputs["image"][:2].dense()
    images[1, 1, images[1, 1] != 0] = 0
    with pytest.raises(DataError, match="d0 or dz are in other pixels than track pt"):
        boosted_jets_compact.encode(SparseImages.from_dense(images))
    images[:, 1] = 0.01 * (images[:, 0] > 0)
    images[0, 0, images[0, 0] > 0] = 1e-30
    with pytest.raises(DataError, match="do not fit into two bytes"):
        boosted_jets_compact.encode(SparseImages.from_dense(images))
