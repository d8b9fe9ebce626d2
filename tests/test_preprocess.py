"""Preprocessing steps against values worked by hand, for any batch size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from needs import needs_extra
from torch import nn

from hepbench.cost import counting, export, onnx_runtime
from hepbench.specs.errors import PluginError
from hepbench.specs.model import STEPS
from hepbench.training.networks import preprocessing

NUMBERS = {"below": 0.3}
TOLD = [
    name + (f"[{','.join(f'{n}={NUMBERS[n]}' for n in needs)}]" if needs else "")
    for name, needs in STEPS.items()
]
"""Every step, told what it must be."""

SHAPES = {"image": (3, 5, 4), "table": (4,), "cloud": (6, 2), "mask": (6,)}


def inputs(n=90, seed=0):
    """Return sparse images of mixed sign, a table, and clouds padded with zeros."""
    draw = torch.Generator().manual_seed(seed)
    size = {name: (n, *shape) for name, shape in SHAPES.items()}
    image = torch.randn(size["image"], generator=draw).exp()
    image[:, 2] *= torch.randn(image[:, 2].shape, generator=draw).sign()
    image *= torch.rand(size["image"], generator=draw) < 0.2
    mask = torch.arange(6) < torch.randint(1, 7, (n, 1), generator=draw)
    return {
        "image": image,
        "table": torch.randn(size["table"], generator=draw),
        "cloud": torch.randn(size["cloud"], generator=draw) * mask[:, :, None],
        "mask": mask,
    }


def fitted(name, values, size=90):
    """Return a step fitted on training inputs in batches of a given size."""
    steps = preprocessing.build([name], {n: v.shape[1:] for n, v in values.items()})
    rows = len(next(iter(values.values())))
    spans = [slice(start, start + size) for start in range(0, rows, size)]
    steps.fit(lambda: ({n: v[span] for n, v in values.items()} for span in spans))
    return steps


def test_the_list_of_steps_is_complete():
    """Planning checks names with it, without importing torch."""
    assert set(STEPS) == set(preprocessing.STEPS)


@pytest.mark.parametrize("name", TOLD)
def test_constants_do_not_depend_on_the_batch_size(name):
    """They are bit-identical, except sums, which differ by rounding."""
    values = inputs()
    whole = fitted(name, values).state_dict()
    assert whole
    for size in (1, 7, 89):
        for key, constant in fitted(name, values, size).state_dict().items():
            tolerance = 1e-6 if name == "standardise" else 0
            torch.testing.assert_close(constant, whole[key], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", TOLD)
def test_preprocessing_does_not_depend_on_other_examples(name):
    """An example alone gives the same as in a batch; masks stay unchanged."""
    values = inputs()
    step = fitted(name, values)
    some = {n: v[5:6] for n, v in values.items()}
    for key, made in step(some).items():
        assert torch.equal(made, step(values)[key][5:6])
        assert made.shape == some[key].shape
    assert torch.equal(step(values)["mask"], values["mask"])


@pytest.mark.parametrize("name", TOLD)
def test_padding_has_no_effect_and_becomes_zero(name):
    """Neither constants nor results depend on the values in padding."""
    values = inputs()
    wild = {**values, "cloud": values["cloud"] + 1e6 * ~values["mask"][:, :, None]}
    clean, dirty = fitted(name, values), fitted(name, wild)
    for key, constant in dirty.state_dict().items():
        assert torch.equal(constant, clean.state_dict()[key])
    if name.partition("[")[0] != "zero-suppression":
        made = dirty(wild)["cloud"]
        assert torch.equal(made, clean(values)["cloud"])
        assert not made[~values["mask"]].any()


class Behind(nn.Module):
    """A linear layer after the steps."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps
        self.linear = nn.Linear(60 + 4 + 12, 8)

    def forward(self, given):
        made = self.steps(given)
        flat = [made[name].flatten(1) for name in ("image", "table", "cloud")]
        return self.linear(torch.cat(flat, 1) * made["mask"].any(1, keepdim=True))


def network_behind(name, values):
    torch.manual_seed(0)
    return Behind(fitted(name, values)).eval()


@pytest.mark.parametrize("name", TOLD)
def test_steps_are_counted_with_the_network(name):
    """The counters know every operator of a step."""
    values = inputs()
    network = network_behind(name, values)
    found = counting.count(network, {n: v[:2] for n, v in values.items()})
    assert found.warnings == []
    assert found.macs == 8 * (60 + 4 + 12)


@needs_extra("hepbench[onnx]")
@pytest.mark.parametrize("name", TOLD)
def test_steps_are_exported_with_the_network(name, tmp_path):
    """The ONNX graph scores as torch does."""
    values = inputs()
    network = network_behind(name, values)
    assert export.export(network, values, tmp_path / "steps.onnx") < onnx_runtime.TOLERANCE


def test_zero_suppression_keeps_values_from_the_threshold_on():
    """Smaller values become 0, whatever their sign; other inputs stay unchanged."""
    values = inputs() | {"image": torch.tensor([-5.0, -0.1, 0, 0.29, 0.3, 7]).view(1, 1, 2, 3)}
    made = fitted("zero-suppression[below=0.3]", values)(values)
    assert made["image"].flatten().tolist() == pytest.approx([0, 0, 0, 0, 0.3, 7])
    assert all(made[name] is values[name] for name in ("table", "cloud", "mask"))


def test_steps_are_fitted_one_after_another():
    """The median of hits is taken after zero suppression."""
    image = torch.tensor([0.1, 0.2, 3, 5, 7]).view(1, 1, 1, 5)
    steps = preprocessing.build(["zero-suppression[below=1]", "signed-log"], {"image": (1, 1, 5)})
    steps.fit(lambda: iter([{"image": image}]))
    assert steps.steps[1].median_image.item() == pytest.approx(5, rel=2**-11)


def test_a_step_with_a_parameter_is_rebuilt_from_its_name():
    """Records and recipes hold the name with the parameter; fitted constants are stored."""
    values = inputs()
    step = fitted("zero-suppression[below=0.3]", values)
    again = preprocessing.build(["zero-suppression[below=0.3]"], {"image": (3, 5, 4)})
    again.load_state_dict(step.state_dict())
    image = {"image": values["image"]}
    assert torch.equal(again(image)["image"], step(image)["image"])
    assert step.state_dict()["steps.0.below"].item() == pytest.approx(0.3)


def test_zero_suppression_without_an_image_is_refused():
    """It would have no effect."""
    with pytest.raises(
        PluginError, match="zero-suppression: the inputs are table; an image is expected"
    ):
        preprocessing.build(["zero-suppression[below=1]"], {"table": (4,)})


def test_the_channel_maximum_is_the_largest_training_value():
    """Values of other examples may be larger."""
    values = inputs()
    made = fitted("channel-maximum", values)(values)["image"]
    largest = values["image"].amax((0, 2, 3))
    torch.testing.assert_close(made, values["image"] / largest[:, None, None])
    assert made.amax((0, 2, 3)).tolist() == [1, 1, 1]


def test_a_channel_without_positive_values_stays_unchanged():
    """It may be all zeros or negative."""
    image = torch.stack([torch.zeros(4, 5, 5), -torch.rand(4, 5, 5)], 1)
    assert torch.equal(
        fitted("channel-maximum", {"image": image})({"image": image})["image"], image
    )


def test_the_signed_log_divides_by_the_median_hit():
    """0 stays 0, the median hit becomes log 2 with its sign, and the order stays."""
    image = torch.zeros(2, 1, 3, 3)
    image[0, 0, 0], image[1, 0, 1] = torch.tensor([1.0, -3, 100]), torch.tensor([2.0, 0, -8])
    step = fitted("signed-log", {"image": image})
    made = step({"image": image})["image"]
    expected = image.sign() * torch.log1p(image.abs() / 3)
    torch.testing.assert_close(made, expected, rtol=2**-11, atol=0)
    assert made[0, 0, 0, 1] == pytest.approx(-np.log(2), rel=2**-11)
    assert not made[image == 0].any()


def test_the_median_hit_agrees_with_numpy():
    """It is never above, and below by less than the relative error of the ignored bits."""
    values = inputs(400)
    step = fitted("signed-log", values, 64)
    for channel in range(3):
        hits = values["image"][:, channel]
        sizes = np.sort(hits[hits != 0].abs().numpy())
        median = sizes[(len(sizes) - 1) // 2]
        found = step.steps[0].median_image[channel].item()
        assert median * (1 - 2**-11) <= found <= median


def test_signed_logs_of_subnormal_hits_are_finite():
    """Dividing by a subnormal median would overflow."""
    image = torch.full((2, 1, 3, 3), 1e-42)
    made = fitted("signed-log", {"image": image})({"image": image})["image"]
    assert torch.isfinite(made).all()


def test_a_channel_without_hits_stays_zero():
    """Its median is set to 1."""
    image = torch.zeros(3, 1, 4, 4)
    step = fitted("signed-log", {"image": image})
    assert step.steps[0].median_image.tolist() == [1]
    assert not step({"image": image})["image"].any()
