"""The models that come with hepbench: one module, one architecture."""

from __future__ import annotations

from hepbench import Model, Range, hookimpl

COUNT = Range(least=1)
DROPOUT = Range(least=0, below=1)

GBDT = Model(
    name="gbdt",
    summary="Gradient-boosted decision trees on histograms (scikit-learn)",
    inputs=("table",),
    build="hepbench_models.gbdt:GradientBoosting",
    offers=frozenset({"estimate"}),
    params={
        "learning_rate": 0.05,
        "max_trees": 500,
        "max_leaves": 16,
        "min_examples": 20,
        "l2": 10.0,
        "feature_share": 0.5,
        "patience": 20,
    },
    allowed={
        "learning_rate": Range(above=0),
        "max_trees": COUNT,
        "max_leaves": Range(least=2),
        "min_examples": COUNT,
        "l2": Range(least=0),
        "feature_share": Range(above=0, most=1),
        "patience": COUNT,
    },
    imports=("sklearn.ensemble",),
    source="Friedman, Annals of Statistics 29, 1189 (2001); Ke et al. (LightGBM), NeurIPS 2017",
)

LOGISTIC = Model(
    name="logistic",
    summary="Logistic regression on standardised features (scikit-learn)",
    inputs=("table",),
    build="hepbench_models.logistic:Logistic",
    offers=frozenset({"estimate"}),
    params={"strengths": [0.001, 0.01, 0.1, 1.0, 10.0], "max_iterations": 1000},
    allowed={"strengths": Range(above=0), "max_iterations": COUNT},
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
        "width": 96,
        "layers": 3,
        "activation": "gelu",
        "residual": True,
        "dropout": 0.3,
        "spreads": [],
    },
    presets={
        "paper": {
            "width": 300,
            "layers": 5,
            "activation": "tanh",
            "residual": False,
            "dropout": 0.0,
            "spreads": [0.1, 0.05],
        }
    },
    allowed={
        "width": COUNT,
        "layers": COUNT,
        "activation": ("tanh", "relu", "gelu"),
        "dropout": DROPOUT,
        "spreads": Range(above=0),
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
        "width": 24,
        "heads": 3,
        "layers": 3,
        "feed_forward": 48,
        "dropout": 0.1,
        "code": 64,
        "masked_share": 0.0,
    },
    presets={"paper": {"width": 21, "feed_forward": 2048}},
    allowed={
        **dict.fromkeys(("width", "heads", "layers", "feed_forward", "code"), COUNT),
        "dropout": DROPOUT,
        "masked_share": Range(least=0, below=1),
    },
    source="seeds/002 (REFERENCE.md, R6); tokens as in Gorishniy et al., arXiv:2106.11959",
)

CONV = {
    "widths": [16, 32, 64, 128],
    "hidden": 256,
    "code": 128,
    "slope": 0.01,
    "dropout": 0.3,
    "output": "linear",
}
CONV_ALLOWED = {
    **dict.fromkeys(("widths", "hidden", "code"), COUNT),
    "slope": Range(least=0),
    "dropout": DROPOUT,
    "output": ("sigmoid", "tanh", "linear"),
}
# R2 of REFERENCE.md
PAPER_CONV = {
    "preprocess": ["channel-maximum"],
    "widths": [16, 32, 64, 128],
    "hidden": 256,
    "code": 128,
    "output": "sigmoid",
}

CONV_VAE = Model(
    name="conv-vae",
    summary="Convolutional variational autoencoder of images",
    inputs=("image",),
    build="hepbench_models.conv_vae:ConvVAE",
    offers=frozenset({"encode", "pretrain", "reconstruct"}),
    preprocess=("signed-log",),
    params={**CONV, "beta": 1.0, "annealed": 0.2},
    presets={"paper": PAPER_CONV},
    allowed={**CONV_ALLOWED, "beta": Range(least=0), "annealed": Range(least=0, most=1)},
    source="seeds/000 (REFERENCE.md, R2); Kingma and Welling, arXiv:1312.6114",
)

SPARSE_AE = Model(
    name="sparse-ae",
    summary="Convolutional autoencoder of images with an L1 penalty on its code",
    inputs=("image",),
    build="hepbench_models.sparse_ae:SparseAutoencoder",
    offers=frozenset({"encode", "pretrain", "reconstruct"}),
    preprocess=("signed-log",),
    params={**CONV, "sparsity_weight": 0.001},
    presets={"paper": PAPER_CONV},
    allowed={**CONV_ALLOWED, "sparsity_weight": Range(least=0)},
    source="seeds/000 (REFERENCE.md, R4)",
)


@hookimpl
def hepbench_models() -> list[Model]:
    """Return two estimators, then the networks."""
    return [GBDT, LOGISTIC, MLP, TRANSFORMER_AE, CONV_VAE, SPARSE_AE]
