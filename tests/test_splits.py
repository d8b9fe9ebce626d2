"""Splits: what must hold of any ids and labels, and of the hashes that find copies."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hepbench.data import duplicates, splits

# a loaded machine is no failure
steady = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SHARES = st.sampled_from([(0.6, 0.2, 0.2), (0.8, 0.1, 0.1), (0.34, 0.33, 0.33), (0.01, 0.01, 0.98)])


@st.composite
def examples(draw, *, smallest: int = 1):
    """Labels from -1 (unknown) to 3, and as many different ids of any size and sign."""
    n = draw(st.integers(smallest, 300))
    labels = draw(arrays(np.int64, n, elements=st.integers(-1, draw(st.integers(0, 3)))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([n, 10 * n, 2**62]))
    ids = np.unique(rng.integers(-spread, spread, 4 * n))[:n]
    return labels[: len(ids)], rng.permutation(ids)


official = st.one_of(st.none(), st.integers(0, 2**32))


def divided(labels, ids, *, fractions=(0.6, 0.2, 0.2), seed=0, official=None):
    """Return the rows of each part; ``official`` seeds which rows an official test set holds."""
    chosen = None if official is None else official_rows(ids, official)
    return splits.divide(labels, ids, fractions=fractions, seed=seed, official=chosen)


def official_rows(ids, seed):
    """Return 1, 0 and -1 for rows, from their ids alone."""
    return ((splits.order(ids, seed) % 4).clip(0, 2).astype(np.int8) - 1).astype(np.int8)


@steady
@given(examples(), SHARES, st.integers(0, 9), official)
def test_parts_are_disjoint_and_complete(drawn, fractions, seed, official):
    """Every labelled row is in exactly one part, every other in none, nor one that is left out."""
    labels, ids = drawn
    parts = divided(labels, ids, fractions=fractions, seed=seed, official=official)
    assert list(parts) == list(splits.PARTS)
    rows = np.sort(np.concatenate(list(parts.values())))
    left_out = False if official is None else official_rows(ids, official) == -1
    np.testing.assert_array_equal(rows, np.flatnonzero((labels >= 0) & ~np.asarray(left_out)))


@steady
@given(examples(), SHARES, st.integers(0, 9))
def test_parts_are_stratified_within_one_example_of_each_class(drawn, fractions, seed):
    """Each part holds its fraction of every class."""
    labels, ids = drawn
    parts = divided(labels, ids, fractions=fractions, seed=seed)
    for label in np.unique(labels[labels >= 0]):
        n = (labels == label).sum()
        for part, fraction in zip(splits.PARTS, fractions, strict=True):
            assert abs((labels[parts[part]] == label).sum() - fraction * n) <= 1


@steady
@given(examples(), SHARES, st.integers(0, 9), st.integers(0, 2**32))
def test_official_test_rows_are_the_test_part(drawn, fractions, seed, chosen):
    """All of them and no other; train and validation divide the rest in their proportion."""
    labels, ids = drawn
    parts = divided(labels, ids, fractions=fractions, seed=seed, official=chosen)
    expected = np.flatnonzero((official_rows(ids, chosen) == 1) & (labels >= 0))
    np.testing.assert_array_equal(np.sort(parts["test"]), expected)
    train = fractions[0] / (fractions[0] + fractions[1])
    for label in np.unique(labels[labels >= 0]):
        first, second = ((labels[parts[p]] == label).sum() for p in ("train", "validation"))
        assert abs(first - train * (first + second)) <= 1


@steady
@given(examples(), st.integers(0, 9), official, st.randoms(use_true_random=False))
def test_a_split_does_not_depend_on_the_order_of_rows(drawn, seed, official, random):
    """Each part holds the same ids in the same order, so that a limit chooses the same ones."""
    labels, ids = drawn
    rows = np.array(random.sample(range(len(ids)), len(ids)))
    one = divided(labels, ids, seed=seed, official=official)
    other = divided(labels[rows], ids[rows], seed=seed, official=official)
    for part in splits.PARTS:
        np.testing.assert_array_equal(ids[one[part]], ids[rows][other[part]])


@steady
@given(examples(), SHARES, st.integers(0, 9), st.data())
def test_limits_are_nested_and_stratified(drawn, fractions, seed, data):
    """The first n rows of a part hold each class in proportion, within one per class."""
    labels, ids = drawn
    for rows in divided(labels, ids, fractions=fractions, seed=seed).values():
        n = data.draw(st.integers(0, len(rows)))
        classes, counts = np.unique(labels[rows], return_counts=True)
        for label, count in zip(classes, counts, strict=True):
            expected = count * n / len(rows)
            assert abs((labels[rows[:n]] == label).sum() - expected) <= max(1, len(classes) / 2)


@steady
@given(examples(smallest=40), st.integers(0, 9))
def test_the_order_of_ids_is_the_same_among_any_others(drawn, seed):
    """Whether two examples are near each other in a part depends on nobody else."""
    _, ids = drawn
    np.testing.assert_array_equal(splits.order(ids, seed)[::3], splits.order(ids[::3], seed))


@steady
@given(examples(), st.integers(0, 9), st.data())
def test_subsets_are_nested_and_stratified(drawn, seed, data):
    """Within one seed a smaller subset is part of a larger one, with each class in proportion."""
    labels, ids = drawn
    known = labels >= 0
    labels, ids = labels[known], ids[known]
    assume(len(labels))
    sizes = sorted(data.draw(st.tuples(*2 * [st.integers(0, len(labels))])))
    small, large = (splits.subset(labels, ids, size=n, seed=seed) for n in sizes)
    assert (len(small), len(large)) == tuple(sizes)
    assert set(small) <= set(large)
    classes, counts = np.unique(labels, return_counts=True)
    for label, count in zip(classes, counts, strict=True):
        found = (labels[small] == label).sum()
        assert abs(found - count * len(small) / len(labels)) <= len(classes)
        assert found or len(small) < len(classes)


@steady
@given(examples(), st.integers(0, 9), st.data(), st.randoms(use_true_random=False))
def test_a_subset_does_not_depend_on_the_order_of_rows(drawn, seed, data, random):
    """The same ids are chosen, wherever their rows stand."""
    labels, ids = drawn
    labels = abs(labels)
    size = data.draw(st.integers(0, len(ids)))
    rows = np.array(random.sample(range(len(ids)), len(ids)))
    one = splits.subset(labels, ids, size=size, seed=seed)
    other = splits.subset(labels[rows], ids[rows], size=size, seed=seed)
    assert set(ids[one]) == set(ids[rows][other])


def test_other_seeds_give_other_labels_and_training_examples():
    """Two seeds share as many of a tenth of 10,000 examples as chance has it: 100 of 1,000."""
    labels, ids = np.arange(10_000) % 2, np.arange(10_000)
    for choose in (
        lambda seed: splits.stratified(labels, ids, fraction=0.1, seed=seed),
        lambda seed: splits.subset(labels, ids, size=1000, seed=seed),
    ):
        chosen = [set(choose(seed)) for seed in range(4)]
        shared = [len(chosen[i] & chosen[j]) for i in range(4) for j in range(i)]
        assert 50 < min(shared) <= max(shared) < 150


def test_other_seeds_give_other_splits():
    """Two seeds share as many test examples as chance has it."""
    labels, ids = np.arange(10_000) % 2, np.arange(10_000)
    tests = [set(divided(labels, ids, seed=seed)["test"]) for seed in range(4)]
    for i in range(4):
        for j in range(i):
            assert 300 < len(tests[i] & tests[j]) < 500


@pytest.mark.parametrize("ids", [np.arange(10_000), np.arange(10_000) * 2**20, -np.arange(10_000)])
def test_a_split_is_not_drawn_by_what_ids_have_in_common(ids):
    """Ids that count events put no trend into the parts: each tenth has its fraction of test rows."""
    labels = np.zeros(10_000, np.int64)
    test = divided(labels, ids)["test"]
    fractions = np.histogram(test, 10, (0, 10_000))[0] / 1000
    assert abs(fractions - 0.2).max() < 0.06


@steady
@given(examples(), st.integers(0, 9), st.floats(0.01, 1), st.floats(0.01, 1))
def test_fractions_of_labels_are_nested_and_stratified(drawn, seed, one, other):
    """Within one seed a smaller fraction is part of a larger one; each class gives its part."""
    labels, ids = drawn
    small, large = (
        splits.stratified(labels, ids, fraction=f, seed=seed) for f in sorted((one, other))
    )
    assert set(small) <= set(large)
    for label in np.unique(labels):
        expected = max(1, round(max(one, other) * (labels == label).sum()))
        assert (labels[large] == label).sum() == expected


@steady
@given(examples(), st.integers(0, 9))
def test_a_split_hash_says_which_ids_are_in_which_part(drawn, seed):
    """It does not depend on their order; one example in another part changes it."""
    labels, ids = drawn
    parts = {part: ids[rows] for part, rows in divided(labels, ids, seed=seed).items()}
    found = splits.split_hash(parts)
    assert found == splits.split_hash({part: some[::-1] for part, some in parts.items()})
    if len(parts["test"]):
        moved = parts | {"test": parts["test"][1:]}
        assert found != splits.split_hash(moved)
        moved["train"] = np.append(parts["train"], parts["test"][0])
        assert found != splits.split_hash(moved)


def splitmix64(state: int, count: int) -> list[int]:
    """Return the first numbers of Vigna's splitmix64.c, in Python's whole numbers."""
    mask, found = 2**64 - 1, []
    for _ in range(count):
        state = state + 0x9E3779B97F4A7C15 & mask
        x = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & mask
        x = (x ^ x >> 27) * 0x94D049BB133111EB & mask
        found.append(x ^ x >> 31)
    return found


def test_ids_are_drawn_by_splitmix64():
    """Ids 1, 2, 3, ... get the numbers of its sequence, from a state that is a hash of the seed."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert splitmix64(1234567, 3) == published
    state = int.from_bytes(hashlib.sha256(b"split 5").digest()[:8], "big")
    assert splits.order(np.arange(1, 21), 5).tolist() == splitmix64(state, 20)


# --- copies

KINDS = st.sampled_from(["f4", "f8", "f2", "i8", "i4", "i2", "u1", "?", "c8"])


@st.composite
def columns(draw):
    """One to three arrays of as many rows, of few different values, so that rows repeat."""
    n = draw(st.integers(1, 40))
    few = st.sampled_from([0, 1, -0.0, 2, 1e-30])
    shapes = st.sampled_from([(n,), (n, 1), (n, 3), (n, 2, 2)])
    floats = draw(st.lists(shapes, min_size=1, max_size=3))
    with np.errstate(all="ignore"):
        return [draw(arrays("f8", shape, elements=few)).astype(draw(KINDS)) for shape in floats]


@steady
@given(columns())
@example([np.array([0.0, -0.0], "f2")])
@example([np.array([0.0, -0.0], "f4")])
@example([np.array([0.0, -0.0], "c8")])
@example([np.array([[1.0, 0.0], [1.0, -0.0]], "f8")])
def test_hashes_are_equal_where_rows_are_and_nowhere_else(drawn):
    """Rows are equal where all values are; 0 equals -0."""
    hashes = duplicates.row_hashes(drawn)
    flat = [column.reshape(len(column), -1).tolist() for column in drawn]
    rows = [tuple(map(tuple, row)) for row in zip(*flat, strict=True)]
    for i, row in enumerate(rows):
        for j in range(i):
            assert (hashes[i] == hashes[j]) == (row == rows[j])


def test_hashes_of_many_rows_differ():
    """All pairs of whole numbers below 300, and as many rows that differ in a few bits."""
    grid = np.stack(np.meshgrid(np.arange(300), np.arange(300)), -1).reshape(-1, 2)
    for kind in ("i4", "i8", "f4", "f8"):
        assert len(np.unique(duplicates.row_hashes([grid.astype(kind)]))) == len(grid)
    noise = np.random.default_rng(0).normal(size=(1, 4)).astype("f4").repeat(len(grid), axis=0)
    noise.view("u4")[:, 2] ^= np.arange(len(grid), dtype="u4")
    assert len(np.unique(duplicates.row_hashes([noise]))) == len(grid)


def test_a_hash_depends_on_the_place_of_each_value():
    """Values that change places, and zeros that only fill, are seen."""
    rows = np.array([[1, 2, 0], [2, 1, 0], [0, 1, 2], [1, 0, 2], [1, 2, 1]], "f4")
    assert len(set(duplicates.row_hashes([rows]).tolist())) == 5
    assert len(set(duplicates.row_hashes([rows[:, :2], rows[:, 2:]]).tolist())) == 5


@steady
@given(st.lists(st.integers(0, 8), max_size=12), st.lists(st.integers(0, 8), max_size=12),
       st.lists(st.integers(0, 8), max_size=12))  # fmt: skip
def test_duplicates_are_rows_with_a_copy_in_an_earlier_part(train, validation, test):
    """Counted once each, however many copies there are; pairs without any are left out."""
    parts = {"train": train, "validation": validation, "test": test}
    found = duplicates.duplicates({name: np.array(rows, np.uint64) for name, rows in parts.items()})
    pairs = [("train", "validation"), ("train", "test"), ("validation", "test")]
    expected = {f"{a}_{b}": sum(row in parts[a] for row in parts[b]) for a, b in pairs}
    assert found == {pair: count for pair, count in expected.items() if count}
