"""The masked autoencoder: what it sees, what it predicts, and its size."""

from __future__ import annotations

import pytest
import torch
from hepbench_models import MAE_VIT

from hepbench.planning.input_shapes import why_unfit
from hepbench.registry.resolve import resolve
from hepbench.specs.parameters import defaults

torch.set_num_threads(1)

# 12 patches of 4 x 4
SHAPE = (2, 12, 16)
SMALL = {"patch": 4, "width": 16, "layers": 2, "decoder_width": 8, "decoder_layers": 1}


def network(shape=SHAPE, **chosen):
    torch.manual_seed(0)
    params = {**defaults(MAE_VIT.params), **SMALL, **chosen}
    return resolve(MAE_VIT.build)({"image": shape}, **params).eval()


def images(n=3):
    return torch.randn((n, *SHAPE), generator=torch.Generator().manual_seed(1))


def tokens_in_blocks(module, run):
    """Return the number of tokens that the first block of an encoder or decoder gets."""
    seen = []
    hook = module.blocks[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    with torch.no_grad():
        run()
    hook.remove()
    return [each.shape[1] for each in seen]


def hidden(made):
    """Return which patches are hidden in eval mode, (patches,) bool."""
    return made.order.argsort() >= made.kept


@pytest.mark.parametrize(("fraction", "visible"), [(0.75, 3), (0.5, 6), (0.01, 11), (0.99, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_only_visible_patches_pass_the_encoder(fraction, visible, training):
    """At least one patch is visible and one hidden; the decoder gets all 12."""
    made = network(masked_fraction=fraction).train(training)

    def pretrain():
        made.pretraining_terms({"image": images()})

    assert tokens_in_blocks(made.encoder, pretrain) == [visible]
    assert tokens_in_blocks(made.decoder, pretrain) == [12]
    assert tokens_in_blocks(made.encoder, lambda: made.encode({"image": images()})) == [12]


def test_patches_give_the_images_back():
    """In the order of rows and columns, all channels of a patch together."""
    made, image = network(), images()
    patches = made.patches(image)
    assert patches.shape == (3, 12, 2 * 4 * 4)
    assert torch.equal(patches[1, 5], image[1, :, 4:8, 4:8].flatten())
    assert torch.equal(made.image(patches), image)


def test_hidden_patches_are_not_seen():
    """Predictions stay the same whatever the hidden patches hold; a visible one changes them."""
    made, image = network(), images()
    unseen, patches = hidden(made), made.patches(image)
    with torch.no_grad():
        found, other, third = (
            made.reconstruct({"image": made.image(each)})["image"]
            for each in (
                patches,
                patches.where(~unseen[:, None], 100.0),
                patches.where(torch.arange(12)[:, None] != int(made.order[0]), 1.0),
            )
        )
    assert torch.equal(found, other)
    predicted = made.patches(found)
    assert torch.equal(predicted[:, ~unseen], patches[:, ~unseen])
    assert not torch.isclose(predicted[:, unseen], patches[:, unseen]).any(2).all()
    shown = made.patches(made.visible({"image": image})["image"])
    assert torch.equal(shown, patches.where(~unseen[:, None], 0.0))
    assert not torch.isclose(made.patches(third)[:, unseen], predicted[:, unseen]).all()


def test_the_loss_is_the_error_of_hidden_patches():
    """The mean square over their values, of each image; the same alone and among others."""
    made, image = network(), images()
    with torch.no_grad():
        found = made.pretraining_terms({"image": image})["reconstruction"]
        error = (made.reconstruct({"image": image})["image"] - image).square()
        alone = made.pretraining_terms({"image": image[1:2]})["reconstruction"]
    # nine of twelve patches are hidden, and the others have no error
    torch.testing.assert_close(found, error.mean((1, 2, 3)) * 12 / 9)
    torch.testing.assert_close(found[1:2], alone)


def test_each_image_has_other_hidden_patches_in_training():
    """Drawn from torch's generator, a new set in each step."""
    made = network().train()
    torch.manual_seed(0)
    first, second = made._order(images(50)), made._order(images(50))
    assert (first.sort(1).values == torch.arange(12)).all()
    assert len(first[:, :3].sort(1).values.unique(dim=0)) > 20
    assert not torch.equal(first, second)


@pytest.mark.slow
def test_the_preset_paper_takes_a_step_at_full_size():
    """Of pretraining, on two images of 8 x 125 x 125: every block of both parts gets a gradient."""
    made = network((8, 125, 125), **defaults(MAE_VIT.params, "paper")).train()
    optimizer = torch.optim.AdamW(made.parameters(), lr=1.5e-4)
    before = made.encoder.blocks[7].mlp.fc1.weight.clone()
    terms = made.pretraining_terms({"image": torch.rand(2, 8, 125, 125)})
    terms["reconstruction"].mean().backward()
    optimizer.step()
    assert all(p.grad.any() for name, p in made.named_parameters() if name.endswith("fc1.weight"))
    assert not torch.equal(before, made.encoder.blocks[7].mlp.fc1.weight)


def test_the_preset_paper_has_the_modules_of_the_write_up():
    """625 patches of 200 values; widths 768 and 512, 8 and 4 blocks, perceptrons of 4 times the width."""
    made = network((8, 125, 125), **defaults(MAE_VIT.params, "paper"))

    def block(n):
        # two normalisations, queries with keys and values, projection, perceptron
        return 2 * 2 * n + (3 * n * n + 3 * n) + (n * n + n) + (8 * n * n + 5 * n)

    encoder = 200 * 768 + 768 + 8 * block(768) + 2 * 768
    decoder = 768 * 512 + 512 + 512 + 4 * block(512) + 2 * 512 + 512 * 200 + 200
    assert sum(p.numel() for p in made.encoder.parameters()) == encoder
    assert sum(p.numel() for p in made.decoder.parameters()) == decoder
    assert made.grid == (25, 25)
    assert made.kept == 156
    assert made.encoder.blocks[0].norm1.eps == 1e-6
    assert made.encoder.blocks[0].attn.num_heads == 1


@pytest.mark.parametrize(
    ("shape", "chosen", "reason"),
    [
        (SHAPE, {}, ""),
        ((2, 12, 18), {}, "patches of 4 x 4 do not divide its images of 12 x 18"),
        ((2, 4, 4), {}, "its images of 4 x 4 are one patch; at least two are expected"),
        (SHAPE, {"width": 18}, "width 18 is no multiple of 4, which its positions need"),
        (SHAPE, {"heads": 16}, "width 8 is no multiple of heads 16"),
    ],
)
def test_what_does_not_fit_is_said_when_a_run_is_planned(shape, chosen, reason):
    """Each with its numbers, before anything is built."""
    params = {**defaults(MAE_VIT.params), **SMALL, **chosen}
    assert why_unfit(MAE_VIT, {"image": shape}, params) == reason
