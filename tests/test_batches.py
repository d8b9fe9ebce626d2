"""Batches of sparse images equal those of dense ones, however earlier batches were used."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepbench import Examples, SparseImages
from hepbench.training.networks import batches
from hepbench.training.networks.preprocessing import Standardise, Steps

CPU = torch.device("cpu")
SHAPE = (2, 4, 3)
N = 40
DENSE = np.where(
    np.random.default_rng(0).random((N, *SHAPE)) < 0.3,
    np.random.default_rng(1).normal(size=(N, *SHAPE)),
    0,
).astype(np.float32)
IMAGES = SparseImages.from_dense(DENSE)

ROWS = st.one_of(
    st.lists(st.integers(0, N - 1), min_size=1, max_size=12).map(torch.tensor),
    st.tuples(st.integers(0, N - 1), st.integers(1, 12)).map(lambda t: slice(t[0], sum(t))),
)


def examples(image=IMAGES):
    return Examples(inputs={"image": image}, ids=np.arange(N))


def standardise():
    step = Standardise({"image": SHAPE})
    step.fit([{"image": torch.tensor(DENSE)}])
    return Steps([step])


def image(source, rows):
    return source.batch(rows).inputs["image"]


@given(st.lists(st.tuples(ROWS, st.sampled_from(["drop", "keep", "keep a part", "write"]))))
def test_batches_equal_those_of_dense_images(asked):
    """For any rows and sizes, also while earlier batches are kept, in part or whole, or changed."""
    source = batches.source(examples(), Steps([]), device=CPU)
    kept = []
    for rows, does in asked:
        found = image(source, rows)
        expected = torch.tensor(DENSE)[rows]
        assert torch.equal(found, expected)
        if does == "write":
            found.add_(7)
        if does == "keep a part":
            kept.append((found[: len(found) // 2], expected[: len(found) // 2]))
        if does == "keep":
            kept.append((found, expected))
        for held, still in kept:
            assert torch.equal(held, still)
            held.mul_(3)
            still.mul_(3)
        if len(kept) > 2:
            kept.pop(0)
        del found


@given(st.lists(ROWS, max_size=5))
def test_preprocessed_batches_equal_those_of_dense_images(asked):
    """In memory or streamed, bit for bit."""
    for steps in (Steps([]), standardise()):
        plain = batches.source(examples(DENSE), steps, device=CPU)
        for limit in (0, 10**9):
            source = batches.source(examples(), steps, device=CPU, limit=limit)
            for rows in asked:
                assert torch.equal(image(source, rows), image(plain, rows))


def test_a_buffer_is_reused_when_its_batch_is_no_longer_in_use():
    """No new memory is needed; batches still in use stay unchanged."""
    source = batches.source(examples(), Steps([]), device=CPU)
    rows = [torch.arange(i, i + 8) for i in range(20)]
    assert len({image(source, each).data_ptr() for each in rows}) == 1
    two, last = set(), None
    for each in rows:
        last = image(source, each)
        two.add(last.data_ptr())
    assert len(two) == 2
    several = [image(source, each) for each in rows]
    assert len({each.data_ptr() for each in several}) == len(rows)


def test_inputs_needed_by_backward_are_not_overwritten():
    """A layer keeps its input for the gradient."""
    layer = torch.nn.Conv2d(SHAPE[0], 1, 2)
    source = batches.source(examples(), Steps([]), device=CPU)
    first = layer(image(source, slice(0, 8))).sum()
    for start in range(8, 32, 8):
        image(source, slice(start, start + 8))
    first.backward()
    found = layer.weight.grad.clone()
    layer.zero_grad()
    layer(torch.tensor(DENSE[:8])).sum().backward()
    assert torch.equal(found, layer.weight.grad)


@pytest.mark.parametrize(
    ("steps", "limit", "kind"),
    [
        (Steps([]), 10**9, batches.StreamedBatches),
        (standardise(), 10**9, batches.InMemoryBatches),
        (standardise(), N * 2 * 4 * 3 * 4, batches.InMemoryBatches),
        (standardise(), N * 2 * 4 * 3 * 4 - 1, batches.StreamedBatches),
    ],
)
def test_sparse_images_are_kept_dense_only_if_that_is_faster(monkeypatch, steps, limit, kind):
    """That is the case with preprocessing, up to a limit for sparse images."""
    monkeypatch.setattr(batches, "IN_MEMORY_SPARSE_BYTES", limit)
    assert type(batches.source(examples(), steps, device=CPU)) is kind


@given(st.integers(1, 10**5), st.integers(1, 10**6))
def test_chunks_fit_into_memory(n, features):
    """They hold each row once; none is larger than CHUNK_BYTES, unless one example is."""
    table = np.broadcast_to(np.float32(0), (n, features))
    chunks = list(batches.chunks({"table": table}))
    assert [chunk.start for chunk in chunks] == [0, *(chunk.stop for chunk in chunks[:-1])]
    assert chunks[-1].stop == n
    largest = max(chunk.stop - chunk.start for chunk in chunks)
    assert largest <= batches.CHUNK_ROWS
    assert largest == 1 or 4 * largest * features <= batches.CHUNK_BYTES
