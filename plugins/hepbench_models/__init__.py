"""The models that come with hepbench: one module per architecture.

All specs are here. The key of a stage leaves out the module with the hooks, but holds what it
imports: a spec in a module of its own would change the keys of all models whenever it is edited.
"""

from __future__ import annotations

from hepbench import Model, Param, Range, hookimpl

COUNT = Range(least=1)
POSITIVE = Range(above=0)
DROPOUT = Range(least=0, below=1)

GBDT = Model(
    name="gbdt",
    summary="Gradient-boosted decision trees on histograms (scikit-learn)",
    inputs=("table",),
    build="hepbench_models.gbdt:GradientBoosting",
    offers=frozenset({"estimate"}),
    params={
        "learning_rate": Param(0.05, POSITIVE),
        "max_trees": Param(500, COUNT),
        "max_leaves": Param(16, Range(least=2)),
        "min_examples": Param(20, COUNT),
        "l2": Param(10.0, Range(least=0)),
        "feature_fraction": Param(0.5, Range(above=0, most=1)),
        "patience": Param(20, COUNT),
    },
    onnx="hepbench_models.onnx_graphs:boosted_trees",
    imports=("sklearn.ensemble",),
    source="Friedman, Annals of Statistics 29, 1189 (2001); Ke et al. (LightGBM), NeurIPS 2017",
)

LOGISTIC = Model(
    name="logistic",
    summary="Logistic regression on standardised features (scikit-learn)",
    inputs=("table",),
    build="hepbench_models.logistic:Logistic",
    offers=frozenset({"estimate"}),
    params={
        "strengths": Param([0.001, 0.01, 0.1, 1.0, 10.0], POSITIVE),
        "max_iterations": Param(1000, COUNT),
    },
    onnx="hepbench_models.onnx_graphs:logistic_regression",
    imports=("sklearn.linear_model", "sklearn.preprocessing"),
    source="Cox, Journal of the Royal Statistical Society B 20, 215 (1958)",
)

MLP = Model(
    name="mlp",
    summary="Multilayer perceptron, residual",
    inputs=("table",),
    build="hepbench_models.mlp:MLP",
    preprocess=("standardise",),
    params={
        "width": Param(96, COUNT, {"paper": 300}),
        "layers": Param(3, COUNT, {"paper": 5}),
        "activation": Param("gelu", ("tanh", "relu", "gelu"), {"paper": "tanh"}),
        "residual": Param(True, presets={"paper": False}),
        "dropout": Param(0.3, DROPOUT, {"paper": 0.0}),
        "init_std": Param([], POSITIVE, {"paper": [0.1, 0.05]}),
    },
    source="Baldi, Sadowski and Whiteson, Nature Communications 5, 4308 (2014), arXiv:1402.4735",
)

TRANSFORMER_AE = Model(
    name="transformer-ae",
    summary="Transformer autoencoder whose tokens are the features",
    inputs=("table",),
    build="hepbench_models.transformer_ae:TransformerAutoencoder",
    offers=frozenset({"encode", "pretrain", "reconstruct"}),
    preprocess=("standardise",),
    params={
        "width": Param(24, COUNT, {"paper": 21}),
        "heads": Param(3, COUNT),
        "layers": Param(3, COUNT),
        "feed_forward": Param(48, COUNT, {"paper": 2048}),
        "dropout": Param(0.1, DROPOUT),
        "latent_dim": Param(64, COUNT),
        "masked_fraction": Param(0.0, Range(least=0, below=1)),
    },
    source="write-up 002 (R6 of docs/systems.md); tokens as in Gorishniy et al., arXiv:2106.11959",
)

# "paper" is R2 of docs/systems.md
CONV_PREPROCESS = Param(["signed-log"], presets={"paper": ["channel-maximum"]})
CONV = {
    "widths": Param([16, 32, 64, 128], COUNT),
    "hidden": Param(256, COUNT),
    "latent_dim": Param(128, COUNT),
    "slope": Param(0.01, Range(least=0)),
    "dropout": Param(0.3, DROPOUT),
    "output": Param("linear", ("sigmoid", "tanh", "linear"), {"paper": "sigmoid"}),
}

CONV_VAE = Model(
    name="conv-vae",
    summary="Convolutional variational autoencoder of images",
    inputs=("image",),
    build="hepbench_models.conv_vae:ConvVAE",
    offers=frozenset({"encode", "pretrain", "reconstruct"}),
    preprocess=CONV_PREPROCESS,
    params={
        **CONV,
        "beta": Param(1.0, Range(least=0)),
        "kl_warmup": Param(0.2, Range(least=0, most=1)),
    },
    source="write-up 000 (R2 of docs/systems.md); Kingma and Welling, arXiv:1312.6114",
)

SPARSE_AE = Model(
    name="sparse-ae",
    summary="Convolutional autoencoder of images with an L1 penalty on its latents",
    inputs=("image",),
    build="hepbench_models.sparse_ae:SparseAutoencoder",
    offers=frozenset({"encode", "pretrain", "reconstruct"}),
    preprocess=CONV_PREPROCESS,
    params={**CONV, "sparsity_weight": Param(0.001, Range(least=0))},
    source="write-up 000 (R4 of docs/systems.md)",
)

GAUSSIAN_VAE = Model(
    name="gaussian-vae",
    summary="Convolutional variational autoencoder of images with a Gaussian decoder",
    inputs=("image",),
    build="hepbench_models.gaussian_vae:GaussianVAE",
    offers=frozenset({"encode", "pretrain", "reconstruct"}),
    preprocess=CONV_PREPROCESS,
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
    source="write-up 001 (R5 of docs/systems.md); Kingma and Welling, arXiv:1312.6114",
)

RESNET15 = Model(
    name="resnet15",
    summary="Residual network of images",
    inputs=("image",),
    build="hepbench_models.resnet15:ResNet15",
    preprocess=("standardise",),
    params={"width": Param(16, COUNT, {"paper": 64})},
    source="write-up 000 (R1 of docs/systems.md); He, Zhang, Ren and Sun, arXiv:1512.03385",
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
    source="write-up 004 (R8 of docs/systems.md)",
)

DUAL_CNN = Model(
    name="dual-cnn",
    summary="Convolutional network of images with a branch for each of two channels",
    inputs=("image",),
    build="hepbench_models.dual_cnn:DualCNN",
    fits="hepbench_models.image_shapes:two_channels",
    preprocess=("standardise",),
    params=CONVOLUTIONS,
    source="write-up 004 (R8 of docs/systems.md)",
)

MULTI_INPUT_CNN = Model(
    name="multi-input-cnn",
    summary="Convolutional network of an image, with a branch for each of several scalars",
    inputs=("image", "scalars"),
    build="hepbench_models.multi_input_cnn:MultiInputCNN",
    preprocess=("standardise",),
    params={**CONVOLUTIONS, "scalar_hidden": Param(8, COUNT)},
    source="write-up 004 (R8 of docs/systems.md)",
)

VIT = Model(
    name="vit",
    summary="Vision transformer of images (timm)",
    inputs=("image",),
    build="hepbench_models.vit:ViT",
    fits="hepbench_models.image_shapes:whole_patches",
    preprocess=("standardise",),
    params={
        "patch": Param(4, COUNT),
        "width": Param(64, COUNT),
        "layers": Param(4, COUNT, {"paper": 8}),
        "heads": Param(4, COUNT),
        "feed_forward": Param(128, COUNT),
    },
    imports=("hepbench_models.timm_import",),
    source="write-up 004 (R8 of docs/systems.md); Dosovitskiy et al., arXiv:2010.11929",
)


# "paper" is R7 of docs/systems.md, which does not name masked_fraction and preprocessing
MAE_VIT = Model(
    name="mae-vit",
    summary="Masked autoencoder: a vision transformer that predicts hidden patches of images (timm)",
    inputs=("image",),
    build="hepbench_models.mae_vit:MaskedAutoencoder",
    offers=frozenset({"encode", "pretrain", "reconstruct"}),
    fits="hepbench_models.image_shapes:several_patches",
    preprocess=("signed-log", "standardise"),
    params={
        "patch": Param(8, COUNT, {"paper": 5}),
        "width": Param(96, COUNT, {"paper": 768}),
        "layers": Param(4, COUNT, {"paper": 8}),
        "decoder_width": Param(64, COUNT, {"paper": 512}),
        "decoder_layers": Param(2, COUNT, {"paper": 4}),
        "heads": Param(1, COUNT),
        "mlp_ratio": Param(4.0, POSITIVE),
        "masked_fraction": Param(0.75, Range(above=0, below=1)),
    },
    imports=("hepbench_models.timm_import",),
    source="write-up 003 (R7 of docs/systems.md); He et al., arXiv:2111.06377",
)


def _graph_network(
    name: str,
    summary: str,
    network: str,
    source: str,
    *,
    fits: str = "several_points",
    **params: Param,
) -> Model:
    """Return the spec of a graph network; its write-up, R5, names no parameter."""
    return Model(
        name=name,
        summary=f"Graph network of points: {summary} (torch-geometric)",
        inputs=("cloud", "mask", "neighbours"),
        build=f"hepbench_models.graphs:{network}",
        fits=f"hepbench_models.cloud_shapes:{fits}",
        preprocess=("signed-log", "standardise"),
        params={"width": Param(64, COUNT), "layers": Param(3, COUNT), **params},
        imports=("hepbench_models.torch_geometric_import",),
        source=f"write-up 001 (R5 of docs/systems.md); {source}",
    )


GCN = _graph_network(
    "gcn", "neighbours weighted by their number", "GCN", "Kipf and Welling, arXiv:1609.02907"
)

GAT = _graph_network(
    *("gat", "neighbours weighted by attention", "GAT", "Veličković et al., arXiv:1710.10903"),
    fits="whole_heads",
    heads=Param(4, COUNT),
)

GIN = _graph_network("gin", "sums over neighbours", "GIN", "Xu et al., arXiv:1810.00826")

GRAPHSAGE = _graph_network(
    "graphsage", "means over neighbours", "GraphSAGE", "Hamilton et al., arXiv:1706.02216"
)

DEEPSETS = Model(
    name="deepsets",
    summary="Deep sets of particles: a perceptron for each, and one of their mean",
    inputs=("cloud", "mask"),
    build="hepbench_models.deepsets:DeepSets",
    params={
        "widths": Param([100, 100, 256], COUNT),
        "pooling": Param("mean", ("mean", "sum"), {"paper": "sum"}),
        "jet_widths": Param([100, 100], COUNT, {"paper": [100, 100, 100]}),
        "norm": Param(True, presets={"paper": False}),
        "dropout": Param(0.1, DROPOUT, {"paper": 0.0}),
    },
    source="Komiske, Metodiev and Thaler, arXiv:1810.05165; Zaheer et al., arXiv:1703.06114",
)

# the default is ParticleNet-Lite with the dataset's number of neighbours; "paper" is ParticleNet
PARTICLENET = Model(
    name="particlenet",
    summary="ParticleNet: edge convolutions of particles, with neighbours found anew in each block",
    inputs=("cloud", "mask", "neighbours"),
    build="hepbench_models.particlenet:ParticleNet",
    fits="hepbench_models.cloud_shapes:several_points",
    params={
        "widths": Param([32, 64], COUNT, {"paper": [64, 128, 256]}),
        "layers": Param(3, COUNT),
        "hidden": Param(128, COUNT, {"paper": 256}),
        "dropout": Param(0.1, DROPOUT),
    },
    source="Qu and Gouskos, Phys. Rev. D 101, 056019 (2020), arXiv:1902.08570",
)

PARTICLE_TRANSFORMER = Model(
    name="particle-transformer",
    summary="Particle Transformer: attention of particles, biased by features of each pair",
    inputs=("cloud", "momenta", "mask"),
    build="hepbench_models.particle_transformer:ParticleTransformer",
    fits="hepbench_models.cloud_shapes:divisible_tokens",
    params={
        "width": Param(64, COUNT, {"paper": 128}),
        "embedding": Param([64], COUNT, {"paper": [128, 512]}),
        "pair_widths": Param([32, 32], COUNT, {"paper": [64, 64, 64]}),
        "heads": Param(4, COUNT, {"paper": 8}),
        "layers": Param(2, COUNT, {"paper": 8}),
        "class_layers": Param(1, COUNT, {"paper": 2}),
        "mlp_ratio": Param(2.0, POSITIVE, {"paper": 4.0}),
        "dropout": Param(0.1, DROPOUT),
    },
    source="Qu, Li and Qian, ICML 2022, arXiv:2202.03772",
)

TIMM = Model(
    name="timm",
    summary="Any backbone of timm for images, by its name: timm[name=resnet18]",
    inputs=("image",),
    build="hepbench_models.timm_backbone:TimmBackbone",
    fits="hepbench_models.backbone_names:of_timm",
    preprocess=("standardise",),
    params={
        "name": Param("resnet18"),
        "multiple": Param(32, COUNT),
        "arguments": Param({}),
    },
    imports=("hepbench_models.timm_import",),
    source="Wightman, https://github.com/huggingface/pytorch-image-models",
)

PYG = Model(
    name="pyg",
    summary="Any BasicGNN of torch-geometric for graphs of points, by its name: pyg[name=GAT]",
    inputs=("cloud", "mask", "neighbours"),
    build="hepbench_models.gnn_backbone:GNNBackbone",
    fits="hepbench_models.backbone_names:of_torch_geometric",
    preprocess=("signed-log", "standardise"),
    params={
        "name": Param("GraphSAGE"),
        "width": Param(64, COUNT),
        "layers": Param(3, COUNT),
        "arguments": Param({}),
    },
    imports=("hepbench_models.torch_geometric_import",),
    source="Fey and Lenssen, arXiv:1903.02428",
)


@hookimpl
def hepbench_models() -> list[Model]:
    """Return the two estimators, then the networks."""
    autoencoders = [TRANSFORMER_AE, CONV_VAE, SPARSE_AE, GAUSSIAN_VAE, MAE_VIT]
    images = [RESNET15, CNN, DUAL_CNN, MULTI_INPUT_CNN, VIT]
    graphs = [GCN, GAT, GIN, GRAPHSAGE]
    particles = [DEEPSETS, PARTICLENET, PARTICLE_TRANSFORMER]
    libraries = [TIMM, PYG]
    return [GBDT, LOGISTIC, MLP, *autoencoders, *images, *graphs, *particles, *libraries]
