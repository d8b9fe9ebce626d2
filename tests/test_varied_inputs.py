"""Inputs of timed calls: each batch is new, and close to the examples that it comes from."""

from __future__ import annotations

import numpy as np

from hepbench.cost.varied_inputs import VARIATION, VariedInputs
from hepbench.specs.sparse_images import SparseImages

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(50, 4)).astype(np.float32)


def test_no_two_batches_are_equal():
    """Also of one example, and where there is only one to draw from."""
    for table in (TABLE, TABLE[:1]):
        varied = VariedInputs({"table": table}, 1)
        assert len({varied()["table"].tobytes() for _ in range(2000)}) == 2000


def test_values_change_by_a_thousandth_at_most():
    """Each row of a batch is one example; types and shapes stay."""
    batch = VariedInputs({"table": TABLE}, 300)()["table"]
    assert (batch.dtype, batch.shape) == (TABLE.dtype, (300, 4))
    nearest = abs(batch[:, None] / TABLE - 1).max(2).min(1)
    assert 0 < nearest.max() <= VARIATION + 1e-6


def test_whole_numbers_and_missing_values_stay():
    """Codes, indices, masks, zeros, infinities: a network may look them up."""
    inputs = {
        "table": np.array([[3, 0.5, np.nan, 0, np.inf]], np.float32),
        "mask": np.array([[True, False]]),
        "neighbours": np.array([[1, 0]]),
    }
    batch = VariedInputs(inputs, 9)()
    assert (batch["mask"] == inputs["mask"]).all()
    assert (batch["neighbours"] == inputs["neighbours"]).all()
    kept = [0, 2, 3, 4]
    np.testing.assert_array_equal(batch["table"][:, kept], inputs["table"][[0] * 9][:, kept])
    assert len(set(batch["table"][:, 1].tolist())) == 9


def test_inputs_of_an_example_are_drawn_together():
    """A mask belongs to its cloud."""
    numbers = np.arange(50)
    batch = VariedInputs({"table": numbers[:, None], "scalars": numbers[:, None]}, 80)()
    assert (batch["table"] == batch["scalars"]).all()
    assert len(set(batch["table"][:, 0].tolist())) > 20


def test_sparse_images_stay_sparse():
    """Their hits change, their empty pixels do not."""
    images = np.zeros((3, 1, 4, 4), np.float32)
    images[:, 0, 1, 2] = 0.3
    batch = VariedInputs({"image": SparseImages.from_dense(images)}, 5)()["image"]
    assert isinstance(batch, SparseImages)
    dense = batch.dense()
    assert (np.flatnonzero(dense[0]) == [6]).all()
    assert len(set(dense[:, 0, 1, 2].tolist())) == 5
