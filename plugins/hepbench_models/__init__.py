"""The models that come with hepbench: one module, one architecture."""

from __future__ import annotations

from hepbench import Model, hookimpl

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
    imports=("sklearn.linear_model", "sklearn.preprocessing"),
    source="Cox, Journal of the Royal Statistical Society B 20, 215 (1958)",
)


@hookimpl
def hepbench_models() -> list[Model]:
    """Return the two estimators."""
    return [GBDT, LOGISTIC]
