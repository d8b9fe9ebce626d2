"""The specs of the image networks, and which shapes of inputs they can take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench import Model, Param, Range

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNT = Range(least=1)
POSITIVE = Range(above=0)
DROPOUT = Range(least=0, below=1)


def two_channels(shapes: Mapping[str, tuple[int, ...]], **_params: Any) -> str:
    """Return why an image does not have one channel for each of two branches, or ''."""
    channels = shapes["image"][0]
    if channels == 2:
        return ""
    return f"its images have {channels} channel{'s' * (channels > 1)}; two are expected"


def whole_patches(
    shapes: Mapping[str, tuple[int, ...]], *, patch: int, width: int, heads: int, **_params: Any
) -> str:
    """Return why an image cannot be cut into patches or a token be divided among heads, or ''."""
    _, height, across = shapes["image"]
    if height % patch or across % patch:
        return f"patches of {patch} x {patch} do not divide its images of {height} x {across}"
    return f"width {width} is no multiple of heads {heads}" if width % heads else ""


RESNET15 = Model(
    name="resnet15",
    summary="Residual network of images",
    inputs=("image",),
    build="hepbench_models.resnet15:ResNet15",
    preprocess=("standardise",),
    params={"width": Param(16, COUNT, {"paper": 64})},
    source="seeds/000 (REFERENCE.md, R1); He, Zhang, Ren and Sun, arXiv:1512.03385",
)

CONVOLUTIONS = {
    "widths": Param([16, 32, 64], COUNT, {"paper": [32, 64, 128]}),
    "hidden": Param(64, COUNT, {"paper": 128}),
    "dropout": Param(0.3, DROPOUT),
}

CNN = Model(
    name="cnn",
    summary="Convolutional network of images",
    inputs=("image",),
    build="hepbench_models.cnn:CNN",
    preprocess=("standardise",),
    params=CONVOLUTIONS,
    source="seeds/004 (REFERENCE.md, R8)",
)

DUAL_CNN = Model(
    name="dual-cnn",
    summary="Convolutional network of images with a branch for each of two channels",
    inputs=("image",),
    build="hepbench_models.dual_cnn:DualCNN",
    fits="hepbench_models.image_specs:two_channels",
    preprocess=("standardise",),
    params=CONVOLUTIONS,
    source="seeds/004 (REFERENCE.md, R8)",
)

MULTI_INPUT_CNN = Model(
    name="multi-input-cnn",
    summary="Convolutional network of an image, with a branch for each of several scalars",
    inputs=("image", "scalars"),
    build="hepbench_models.multi_input_cnn:MultiInputCNN",
    preprocess=("standardise",),
    params={**CONVOLUTIONS, "scalar_hidden": Param(8, COUNT)},
    source="seeds/004 (REFERENCE.md, R8)",
)

VIT = Model(
    name="vit",
    summary="Vision transformer of images (timm)",
    inputs=("image",),
    build="hepbench_models.vit:ViT",
    fits="hepbench_models.image_specs:whole_patches",
    preprocess=("standardise",),
    params={
        "patch": Param(4, COUNT),
        "width": Param(64, COUNT),
        "layers": Param(4, COUNT, {"paper": 8}),
        "heads": Param(4, COUNT),
        "feed_forward": Param(128, COUNT),
    },
    imports=("hepbench_models.vit",),
    source="seeds/004 (REFERENCE.md, R8); Dosovitskiy et al., arXiv:2010.11929",
)

GAUSSIAN_VAE = Model(
    name="gaussian-vae",
    summary="Convolutional variational autoencoder of images with a Gaussian decoder",
    inputs=("image",),
    build="hepbench_models.gaussian_vae:GaussianVAE",
    offers=frozenset({"encode", "pretrain", "reconstruct"}),
    preprocess=Param(["signed-log"], presets={"paper": ["channel-maximum"]}),
    params={
        "widths": Param([16, 32, 64, 128], COUNT, {"paper": [32, 64, 128, 256]}),
        "latent_dim": Param(128, COUNT),
        "slope": Param(0.2, Range(least=0)),
        "output": Param("linear", ("sigmoid", "tanh", "linear"), {"paper": "tanh"}),
        "beta": Param(1.0, Range(least=0)),
        "kl_warmup": Param(0.2, Range(least=0, most=1)),
        "deviation": Param(1.0, POSITIVE),
        "learned": Param(True),
    },
    source="seeds/001 (REFERENCE.md, R5); Kingma and Welling, arXiv:1312.6114",
)
