"""Precision: float32, bf16 and fp16 in training, while weights and scores stay in float32."""

from __future__ import annotations

import pytest
import tinynets
import torch

from hepbench import Objective, classification
from hepbench.specs.errors import UsageError
from hepbench.training.networks import scoring

ALL = Objective(classification, {"encoder": 0.02, "head": 0.02})


def trained(*, seen=None, **settings):
    """Return a network after two epochs; ``seen`` collects the types of its head's outputs."""
    network = tinynets.fresh().with_head()
    if seen is not None:
        network.head.register_forward_hook(
            lambda _, __, out: seen.add((out.dtype, out.requires_grad))
        )
    tinynets.context().fit(network, tinynets.data(), ALL, epochs=2, batch_size=50, **settings)
    return network


@pytest.mark.parametrize(
    ("precision", "kind"),
    [("float32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_only_the_forward_pass_of_training_has_another_precision(precision, kind):
    """Validation, weights and scores are in float32."""
    seen = set()
    network = trained(precision=precision, seen=seen)
    assert {dtype for dtype, training in seen if training} == {kind}
    assert {dtype for dtype, training in seen if not training} == {torch.float32}
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    scores = scoring.scores(network, tinynets.data().validation.inputs)
    assert scores.dtype == "float32"


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_nearly_as_float32_does(precision):
    """Weights move, by about as much, and not to the same bits."""
    start, full, half = tinynets.fresh().with_head(), trained(), trained(precision=precision)
    pairs = zip(start.parameters(), full.parameters(), half.parameters(), strict=True)
    moved = [(abs(f - s).sum().item(), abs(h - f).sum().item()) for s, f, h in pairs]
    distance, difference = (sum(each) for each in zip(*moved, strict=True))
    assert 0 < difference < 0.3 * distance


def test_gradients_in_fp16_are_scaled_before_they_vanish():
    """A loss of 1e-7 has gradients below the smallest number of fp16, and still trains."""

    def tiny(network, batch):
        (term,) = classification(network, batch).values()
        return {"cross_entropy": term * 1e-7}

    network = tinynets.fresh().with_head()
    before = [p.clone() for p in network.parameters()]
    objective = Objective(tiny, {"encoder": 0.02, "head": 0.02})
    settings = {"epochs": 1, "batch_size": 50, "gradient_clip": 1.0}
    tinynets.context().fit(network, tinynets.data(), objective, precision="fp16", **settings)
    assert all(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_masked_weights_stay_zero_in_fp16():
    """A step that the scaler skips, or takes, leaves pruned weights alone."""
    network = tinynets.fresh().with_head()
    name = next(n for n, p in network.named_parameters() if p.ndim == 2)
    mask = torch.ones_like(network.get_parameter(name), dtype=torch.bool)
    mask[0] = False
    network.masks = {name: mask}
    tinynets.context().fit(network, tinynets.data(), ALL, epochs=1, batch_size=50, precision="fp16")
    assert not network.get_parameter(name)[0].any()


def test_another_precision_is_refused():
    """With those that are allowed."""
    with pytest.raises(UsageError, match="precision is 'fp8'; one of float32, bf16, fp16"):
        trained(precision="fp8")
