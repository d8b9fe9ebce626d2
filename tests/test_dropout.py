"""Dropout with cheaper masks: drops what torch's drops, as often, independently and reproducibly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hepbench.training.networks.dropout import LEAST, LEVELS, dropout, faster_dropout

N = 400_003
"""No multiple of 4: the last random word is used in part."""


def dropped(p, n=N, seed=0):
    """Return a (n,) bool tensor of what is dropped from ones."""
    torch.manual_seed(seed)
    return dropout(torch.ones(n), p) == 0


def within(found, expected, spread):
    """Whether a number is within five standard deviations."""
    return abs(found - expected) < 5 * spread


@pytest.mark.parametrize("p", [0.01, 0.1, 0.3, 0.5, 0.75, 0.99])
def test_the_dropped_fraction_is_the_probability(p):
    """Of all elements, and of each of the four that share a random word."""
    found = dropped(p)
    for some in (found, *(found[i::4] for i in range(4))):
        assert within(float(some.double().mean()), p, math.sqrt(p * (1 - p) / len(some)))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.75])
def test_elements_are_dropped_independently(p):
    """Neighbours up to the third word, rows of a batch, and the same element of two masks."""
    one, next_one = (x.double() for x in (dropped(p), dropped(p, seed=1)))
    pairs = [(one[:-lag], one[lag:]) for lag in (*range(1, 13), 64, 4096)] + [(one, next_one)]
    for a, b in pairs:
        correlation = float(((a - p) * (b - p)).mean()) / (p * (1 - p))
        assert within(correlation, 0, 1 / math.sqrt(len(a)))


def test_runs_of_dropped_elements_are_as_long_as_chance_makes_them():
    """The number of groups of eight elements with k dropped is binomial: chi-square of 9 counts."""
    p = 0.3
    counts = torch.bincount(dropped(p, 8 * 50_000).view(-1, 8).sum(1), minlength=9).double()
    expected = 50_000 * torch.tensor(
        [math.comb(8, k) * p**k * (1 - p) ** (8 - k) for k in range(9)], dtype=torch.float64
    )
    # 8 degrees of freedom: one chance in 100,000
    assert float(((counts - expected).square() / expected).sum()) < 36


@pytest.mark.parametrize("p", [0.01, 0.1, 1 / 3, 0.5, 0.99])
def test_what_is_kept_is_divided_by_its_probability(p):
    """So that the mean over masks is the input, and so is the gradient's."""
    torch.manual_seed(0)
    x = torch.randn(7, 5, 3, requires_grad=True)
    y = dropout(x, p)
    y.sum().backward()
    kept = x.grad != 0
    scale = LEVELS / (LEVELS - round(p * LEVELS))
    assert scale == pytest.approx(1 / (1 - p), rel=1e-3)
    torch.testing.assert_close(y, torch.where(kept, x * scale, 0.0))
    torch.testing.assert_close(x.grad, kept * scale)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (4,), (2, 3, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_any_shape_and_precision_is_kept(shape, dtype):
    """Also a number, and none."""
    y = dropout(torch.ones(shape, dtype=dtype), 0.5)
    assert y.shape == shape
    assert y.dtype == dtype


def test_masks_depend_on_the_seed_alone():
    """Not on the number of threads; each call draws another mask."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = dropped(0.5)
        torch.set_num_threads(2)
        assert torch.equal(one, dropped(0.5))
    finally:
        torch.set_num_threads(before)
    assert not torch.equal(one, dropped(0.5, seed=1))
    assert not torch.equal(dropout(torch.ones(99), 0.5), dropout(torch.ones(99), 0.5))


class Own(nn.Dropout):
    """A subclass that does as it likes."""

    def forward(self, x):
        return x + 1


def test_modules_are_as_before_afterwards():
    """Even if the training fails; subclasses are left alone."""
    network = nn.Sequential(nn.Dropout(0.5), Own(0.5), nn.Dropout1d(0.5))

    def fail():
        with faster_dropout(network):
            assert [("forward" in vars(m)) for m in network] == [True, False, False]
            raise FloatingPointError

    with pytest.raises(FloatingPointError):
        fail()
    assert not any("forward" in vars(m) for m in network)


@pytest.mark.parametrize(
    "module",
    [
        nn.Dropout(0.5).eval(),
        nn.Dropout(0.0),
        nn.Dropout(1.0),
        nn.Dropout(LEAST / 2),
        nn.Dropout(0.5, inplace=True),
    ],
    ids=["eval mode", "none", "all", "rare", "in place"],
)
def test_other_cases_are_those_of_torch(module):
    """Bit for bit: nothing is drawn, or the 16 bits of a mask would be too coarse."""
    x = torch.randn(1000)
    torch.manual_seed(3)
    expected = module(x.clone())
    torch.manual_seed(3)
    with faster_dropout(nn.Sequential(module)):
        assert torch.equal(module(x.clone()), expected)
