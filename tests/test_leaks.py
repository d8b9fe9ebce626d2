"""The leak audit: what flatters a classifier is named with counts, and clean data raise nothing."""

from __future__ import annotations

import gzip
from importlib import import_module

import msgspec
import needs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hepbench import Input, SparseImages
from hepbench.data import duplicates, splits
from hepbench.data.leaks import audit, near_copies
from hepbench.data.leaks.row_samples import RowSample
from hepbench.data.messages import SplitResult
from hepbench.storage.records import Leak

CLASSES = ("background", "signal")
SHAPES = {"table": (6,), "cloud": (10, 3), "image": (2, 9, 9)}


def made(kind="table", n=2000, *, seed=0, classes=2):
    """Return clean examples of one kind: inputs and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    values = rng.normal(size=(n, *SHAPES[kind])) + 0.3 * labels.reshape(
        -1, *[1] * len(SHAPES[kind])
    )
    if kind == "image":
        values = np.where(rng.random(values.shape) < 0.3, np.abs(values), 0)
    return values.astype(np.float32), labels


def found(values, labels, *, ids=None, classes=CLASSES, unlabelled=None, chunk=700, parts=None):
    """Return what the leak audit finds in examples that it gets chunk by chunk."""
    inputs = values if isinstance(values, dict) else {"x": values}
    labels = np.asarray(labels, np.int64)
    ids = np.arange(len(labels)) if ids is None else ids
    looked = audit.LeakAudit(classes)
    for i in range(0, len(labels), chunk):
        rows = slice(i, i + chunk)
        some = {name: array[rows] for name, array in inputs.items()}
        hashes = duplicates.row_hashes(list(some.values()))
        looked.add("labelled", some, hashes, ids=ids[rows], labels=labels[rows])
    if unlabelled is not None:
        looked.add("unlabelled", {"x": unlabelled}, duplicates.row_hashes([unlabelled]))
    if parts is None:
        parts = splits.divide(labels, ids, fractions=(0.6, 0.2, 0.2), seed=0)
    return looked.leaks(parts)


def kinds(leaks):
    """Return the kinds of leaks, each once."""
    return sorted({leak.kind for leak in leaks})


# --- clean data


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("n", [30, 300, 3000])
def test_clean_examples_raise_nothing(kind, n):
    """However many there are, and of whatever kind."""
    values, labels = made(kind, n)
    assert found(values, labels) == []
    if kind == "image":
        assert found(SparseImages.from_dense(values), labels) == []


SAMPLES = [
    *("electron_photon", "higgs", "top_tagging"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("boosted_jets", "quark_gluon")),
]


@pytest.mark.parametrize("name", SAMPLES)
def test_bundled_samples_raise_nothing(name):
    """Their energies are steps of a readout, their classes differ, and none of it is a leak."""
    module = import_module(f"hepbench_datasets.{name}")
    params = {"order": module.CHANNELS} if name == "boosted_jets" else {}
    looked, ids, labels = audit.LeakAudit(CLASSES), [], []
    for role, examples in module.sample(**params):
        inputs = {
            n: SparseImages.from_dense(a) if np.ndim(a) == 4 else a
            for n, a in examples.inputs.items()
        }
        known = {} if role == "unlabelled" else {"ids": examples.ids, "labels": examples.labels}
        looked.add(role, inputs, duplicates.row_hashes(list(inputs.values())), **known)
        if known:
            ids.append(examples.ids)
            labels.append(examples.labels)
    whole = np.concatenate(labels).astype(np.int64), np.concatenate(ids)
    assert looked.leaks(splits.divide(*whole, fractions=(0.6, 0.2, 0.2), seed=0)) == []


def real_higgs(folder):
    with gzip.open(folder / "higgs/HIGGS.csv.gz", "rt") as file:
        table = np.loadtxt(file, delimiter=",")
    return table[:, 1:].astype(np.float32), table[:, 0]


def real_electrons(folder):
    found = np.load(folder / "electron-photon/electron-photon.npz")
    images = np.concatenate([found["x_train"], found["x_test"]])[:, None]
    return SparseImages.from_dense(images), np.concatenate([found["y_train"], found["y_test"]])


def real_jets(folder):
    vectors, mask, labels = (
        np.load(folder / f"top-tagging/tl_{name}.npy")
        for name in ("pf_vectors", "pf_mask", "labels")
    )
    cloud = np.ascontiguousarray(vectors.transpose(0, 2, 1))
    return {"cloud": cloud, "mask": mask[:, 0] > 0}, labels.reshape(-1)


@needs.needs_real_data("higgs/HIGGS.csv.gz")
@pytest.mark.parametrize("read", [real_higgs, real_electrons, real_jets])
def test_original_datasets_raise_nothing(read):
    """No feature of them tells the classes apart, and natural neighbours are no copies."""
    assert found(*read(needs.real_data())) == []


# --- one feature


CODES = {
    "a cut": lambda labels, rng: labels + rng.normal(0, 0.1, len(labels)),
    "the number of a process": lambda labels, rng: np.where(labels, 2, rng.choice([1, 3], len(labels))),
    "one of forty numbers": lambda labels, rng: 2 * rng.integers(0, 20, len(labels)) + labels,
    "a window": lambda labels, rng: np.where(labels, 1, 3) * rng.uniform(0.9, 1.1, len(labels))
    * rng.choice([-1, 1], len(labels)),
}  # fmt: skip


@pytest.mark.parametrize("code", CODES)
def test_a_feature_that_tells_the_classes_apart_is_named(code):
    """A cut does it, or the number of a simulated process, which no cut finds."""
    table, labels = made()
    table[:, 4] = CODES[code](labels, np.random.default_rng(1))
    (leak,) = found(table, labels)
    assert (leak.kind, leak.where, leak.label) == ("feature", "x.4", "signal")
    assert (leak.count, leak.examined) == (1, 2000)
    assert 0.99 < leak.found <= 1


def test_a_good_feature_is_not_named():
    """An AUC of .97 is high, but no leak."""
    table, labels = made()
    table[:, 4] = np.random.default_rng(1).normal(size=2000) + 2.66 * labels
    assert found(table, labels) == []


def test_the_pixel_that_tells_the_classes_apart_is_found_among_thousands():
    """In dense and in sparse images; its place is told."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 1000)
    images = rng.exponential(size=(1000, 3, 40, 40)) * (rng.random((1000, 3, 40, 40)) < 0.1)
    images[:, 2, 7, 30] = np.where(labels, 2, rng.choice([1, 3], 1000))
    images = images.astype(np.float32)
    for each in (images, SparseImages.from_dense(images)):
        (leak,) = found(each, labels)
        assert (leak.where, leak.detail, leak.found) == ("x.2", "pixel (7, 30)", 1)


def test_the_padding_of_a_cloud_can_give_the_class_away():
    """Values of particles that do not exist."""
    cloud, labels = made("cloud")
    cloud[:, 6:] = 0
    cloud[labels == 1, 9, 2] = -1
    (leak,) = found(cloud, labels)
    assert (leak.where, leak.detail) == ("x.2", "particle 9")


def test_a_scale_of_the_whole_image_can_give_the_class_away():
    """No pixel tells, but the sum does."""
    images, labels = made("image")
    images *= np.where(labels, 100, 1)[:, None, None, None].astype(np.float32)
    leak = next(leak for leak in found(images, labels) if leak.kind == "feature")
    assert leak.detail in {"sum", "largest value"}


def test_one_of_three_classes_is_told_from_the_rest():
    """The class is named."""
    table, labels = made(classes=3)
    table[:, 1] = labels == 2
    (leak,) = found(table, labels, classes=("a", "b", "c"))
    assert (leak.where, leak.label) == ("x.1", "c")


# --- precision


PRECISIONS = {
    "exact in float16": lambda x: x.astype(np.float16),
    "exact in bfloat16": lambda x: (x.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(
        np.float32
    ),
    "at most 4 digits": np.vectorize(lambda v: float(f"{v:.4g}")),
    "at most 3 digits": np.vectorize(lambda v: float(f"{v:.3g}")),
}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_class_of_another_precision_is_named(kind, precision):
    """No eye sees it, and a network learns it."""
    values, labels = made(kind, 600)
    other = labels == 0
    values[other] = PRECISIONS[precision](values[other])
    leaks = [leak for leak in found(values, labels) if leak.kind == "precision"]
    assert (leaks[0].label, leaks[0].found) == ("background", 1)
    assert precision in leaks[0].detail
    assert leaks[0].count == leaks[0].examined == SHAPES[kind][0 if kind == "image" else -1]


def test_a_precision_of_both_classes_is_no_leak():
    """All values went through float16, or were printed with four digits."""
    table, labels = made()
    for same in PRECISIONS.values():
        assert found(same(table).astype(np.float32), labels) == []


def test_steps_of_a_readout_are_no_leak():
    """Larger energies of one class are more steps, and need more digits; zeros and limits are many."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 4000)
    energy = np.rint(rng.exponential(np.where(labels, 400, 100)[:, None], (4000, 3))) / 64
    energy = np.minimum(np.where(rng.random((4000, 3)) < 0.4 * labels[:, None], 0, energy), 30)
    assert found(energy.astype(np.float32), labels) == []


def test_float64_values_of_one_class_that_are_exact_in_float32_are_named():
    """A tree that gets float64 sees the difference."""
    table, labels = made()
    wide = table + np.random.default_rng(2).normal(size=table.shape) * 1e-9
    assert found(wide, labels) == []
    (leak,) = found(np.where(labels[:, None] == 1, table.astype(float), wide), labels)
    assert (leak.kind, leak.detail) == ("precision", "exact in float32")


# --- near-copies


def digits(x):
    return np.vectorize(lambda value: float(f"{value:.3g}"))(x)


CHANGES = {
    "rounded": digits,
    "mirrored": lambda x: x[..., ::-1] if x.ndim == 4 else x * np.resize([1, -1], x.shape[-1]),
    "smeared": lambda x: x * (1 + 0.003 * np.random.default_rng(3).normal(size=x.shape)),
}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("change", CHANGES)
def test_near_copies_across_parts_are_counted(kind, change):
    """Half of the examples are there twice: 60 % of the copies of a test example are in training."""
    values, labels = made(kind, 1000)
    values = np.concatenate([values, CHANGES[change](values).astype(np.float32)])
    leaks = found(values, np.tile(labels, 2))
    counts = {leak.where: leak.count / leak.examined for leak in leaks}
    assert kinds(leaks) == ["near_copies"]
    assert counts["train_test"] == pytest.approx(0.6, abs=0.07)
    assert counts["train_validation"] == pytest.approx(0.6, abs=0.07)
    assert counts["validation_test"] == pytest.approx(0.2, abs=0.07)


def test_particles_in_another_order_are_near_copies():
    """A cloud is a set."""
    cloud, labels = made("cloud", 1000)
    leaks = found(np.concatenate([cloud, cloud[:, ::-1]]), np.tile(labels, 2))
    assert kinds(leaks) == ["near_copies"]


def test_test_examples_among_the_unlabelled_are_near_copies():
    """Nearly all of them are counted."""
    table, labels = made()
    parts = {"train": np.arange(1200), "validation": np.arange(1200, 1600)}
    parts["test"] = np.arange(1600, 2000)
    leaks = found(table, labels, unlabelled=table[1600:] * np.float32(1.0001), parts=parts)
    assert [(leak.where, leak.examined) for leak in leaks] == [("unlabelled_test", 400)]
    assert leaks[0].count > 380


@pytest.mark.parametrize("features", [1, 2, 3, 8, 28, 100])
@pytest.mark.parametrize("n", [400, 20_000])
def test_natural_neighbours_are_no_copies(features, n):
    """In few dimensions they are close, but not closer than neighbours are."""
    rng = np.random.default_rng(0)
    looked = rng.normal(size=(n, features)).astype(np.float32)
    hashes, parts = duplicates.row_hashes([looked]), np.arange(n) % 2
    assert list(near_copies.across_parts(looked, hashes, parts, ("train", "test"))) == []


@pytest.mark.parametrize("orders", [1, 5, 20])
@pytest.mark.parametrize("features", [1, 2, 8, 28])
def test_energies_over_many_orders_of_magnitude_are_no_copies(orders, features):
    """Most are next to 0 in units of their spread."""
    logs = np.random.default_rng(0).normal(size=(4000, features)) * orders / 2
    looked = 10.0**logs
    hashes, parts = duplicates.row_hashes([looked]), np.arange(4000) % 2
    assert list(near_copies.across_parts(looked, hashes, parts, ("train", "test"))) == []


@pytest.mark.parametrize("step", [0.01, 0.1, 1])
def test_neighbours_on_a_grid_are_no_copies(step):
    """Values of a readout in steps; equal examples are exact copies, which are counted elsewhere."""
    table = np.random.default_rng(0).normal(size=(4000, 3))
    looked = (np.rint(table / step) * step).astype(np.float32)
    hashes, parts = duplicates.row_hashes([looked]), np.arange(4000) % 2
    assert list(near_copies.across_parts(looked, hashes, parts, ("train", "test"))) == []


def test_nearest_points_are_those_of_a_search_tree(monkeypatch):
    """Few points are compared one by one, many by a tree of scipy."""
    points = np.random.default_rng(0).normal(size=(300, 3))
    some, limit = points[:50] + 0.05, 0.3
    one = near_copies._nearest(points, points, limit), near_copies._nearest(points, some, limit)
    monkeypatch.setattr(near_copies, "FEW_PAIRS", 0)
    other = near_copies._nearest(points, points, limit), near_copies._nearest(points, some, limit)
    for ours, theirs in zip(one, other, strict=True):
        assert np.isfinite(theirs).any()
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_exact_copies_are_no_near_copies():
    """They are counted among all examples, by their hashes."""
    table, labels = made(n=1000)
    assert found(np.tile(table, (2, 1)), np.tile(labels, 2)) == []


def test_few_of_many_examples_are_enough_to_count_near_copies():
    """Copies are looked at together: one example of ten has one, and so it is found."""
    rng = np.random.default_rng(5)
    n = 200_000
    table = rng.normal(size=(n, 8)).astype(np.float32)
    table[-n // 10 :] = table[: n // 10] * (1 + 0.0005 * rng.normal(size=(n // 10, 8)))
    parts = {"train": np.arange(n - n // 10), "test": np.arange(n - n // 10, n)}
    (leak,) = found(table, rng.integers(0, 2, n), chunk=50_000, parts=parts)
    assert leak.where == "train_test"
    assert leak.examined < audit.ROWS
    assert leak.count > 0.8 * leak.examined


# --- ids


def test_classes_in_the_order_of_ids_are_told():
    """First one class, then the other; ids that number classes apart are chosen on purpose."""
    table, labels = made(n=2000, classes=3)
    labels = np.sort(labels)
    ids = np.random.default_rng(0).permutation(2000)
    names = ("a", "b", "c")
    in_order = found(table[ids], labels[ids], ids=ids, classes=names)
    assert in_order == [Leak(kind="order", count=2, examined=2000)]
    apart = ids + 100_000 * labels[ids]
    assert found(table[ids], labels[ids], ids=apart, classes=names) == []


# --- rows that are looked at


@given(st.integers(1, 60), st.integers(1, 9))
def test_a_sample_does_not_depend_on_the_order_or_the_chunks(n, chunk):
    """The rows with the smallest ranks are kept."""
    ranks = splits.order(np.arange(n), 3)
    kept = []
    for order in (np.arange(n), np.arange(n)[::-1]):
        sample = RowSample(10, 10**6)
        for i in range(0, n, chunk):
            rows = order[i : i + chunk]
            sample.add(ranks[rows], lambda chosen, rows=rows: {"row": rows[chosen]})
        kept.append(sample.columns()["row"].tolist())
    assert kept[0] == kept[1] == np.argsort(ranks)[:10].tolist()


@settings(deadline=None, max_examples=30)
@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.float16, np.bool_, np.uint8, np.int64]),
        arrays.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=12),
    ).filter(lambda array: np.isfinite(array).all() and (np.abs(array.astype(float)) < 3e38).all()),
    st.integers(-1, 1),
)  # fmt: skip
def test_whatever_was_read_can_be_looked_at(values, lowest):
    """No shape, type or label makes the audit fail."""
    labels = np.resize([1, 0, lowest], len(values))
    given = {"x": values}
    looked = audit.LeakAudit(CLASSES)
    looked.add("labelled", given, duplicates.row_hashes([values]), ids=np.arange(len(values)),
               labels=labels)  # fmt: skip
    assert isinstance(audit.describe(looked.leaks({"train": np.arange(len(values))})), list)


def test_examples_far_from_the_first_ones_are_looked_at():
    """The cells of later chunks have the size that suits the first chunk."""
    table, labels = made(n=1000)
    table[900:] *= np.float32(1e30)
    assert kinds(found(table, labels, chunk=500)) == []


# --- what is told


def test_features_have_their_declared_names():
    """Where there are none, the number stays."""
    leaks = [Leak(kind="feature", where=f"{n}.1", count=1, examined=9) for n in ("table", "x")]
    leaks.append(Leak(kind="order", count=1, examined=9))
    named = audit.named(
        leaks, {"table": Input(shape=(2,), names=("pt", "eta")), "x": Input(shape=(2,))}
    )
    assert [leak.where for leak in named] == ["table.eta", "x.1", ""]


def test_results_without_an_audit_are_still_read():
    """Those of older versions; they are not taken for clean ones."""
    old = dict.fromkeys(("n_train", "n_validation", "n_test", "n_unlabelled"), 1)
    old |= dict.fromkeys(("split_hash", "contents", "test_contents"), "") | {"duplicates": {}}
    assert msgspec.convert(old, SplitResult).leaks is None
    assert msgspec.convert(old | {"leaks": []}, SplitResult).leaks == []
