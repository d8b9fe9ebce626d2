"""The core's own plugin, which registers its metrics. Imports nothing heavy."""

from __future__ import annotations

from hepbench.registry.hooks import hookimpl
from hepbench.specs.metric import Metric


@hookimpl
def hepbench_metrics() -> list[Metric]:
    """Return the metrics that every suite can show."""
    return [
        Metric(
            name="auc",
            summary="area under the ROC curve; macro one-vs-one for more than two classes",
            compute="hepbench.evaluation.metrics:auc",
            higher_is_better=True,
        ),
        Metric(
            name="accuracy",
            summary="fraction classified correctly, threshold chosen on validation",
            compute="hepbench.evaluation.metrics:accuracy",
            higher_is_better=True,
        ),
        Metric(
            name="accuracy_at_half",
            summary="fraction classified correctly, threshold one half",
            compute="hepbench.evaluation.metrics:accuracy_at_half",
            higher_is_better=True,
            classes=2,
        ),
        Metric(
            name="log_loss",
            summary="mean cross-entropy in nats",
            compute="hepbench.evaluation.metrics:log_loss",
            higher_is_better=False,
        ),
        Metric(
            name="brier",
            summary="mean squared difference between scores and labels",
            compute="hepbench.evaluation.metrics:brier",
            higher_is_better=False,
        ),
        Metric(
            name="ece",
            summary="expected calibration error, 15 bins of equal weight",
            compute="hepbench.evaluation.metrics:ece",
            higher_is_better=False,
        ),
        *(_rejection(percent) for percent in (30, 50, 70)),
        *_of_own_loss(),
    ]


def _of_own_loss() -> list[Metric]:
    """Return the metrics of networks whose encoder has a loss of its own."""
    same = frozenset({"data", "split", "labels", "preprocess"})
    return [
        Metric(
            name="reconstruction",
            summary="mean reconstruction error of preprocessed inputs",
            compute="hepbench.evaluation.metrics:reconstruction",
            higher_is_better=False,
            same=same,
        ),
        Metric(
            name="kl",
            summary="mean KL divergence of the posterior from the prior, in nats",
            compute="hepbench.evaluation.metrics:kl",
            higher_is_better=False,
            same=same,
        ),
        Metric(
            name="latent_sparsity",
            summary="mean fraction of latents of at most 1 % of the largest of an example",
            compute="hepbench.evaluation.metrics:latent_sparsity",
            higher_is_better=True,
        ),
        Metric(
            name="auc_reconstruction",
            summary="AUC with the reconstruction error as the signal score",
            compute="hepbench.evaluation.metrics:auc_reconstruction",
            higher_is_better=True,
            classes=2,
        ),
        Metric(
            name="auc_elbo",
            summary="AUC with the negative evidence lower bound (ELBO) as the signal score",
            compute="hepbench.evaluation.metrics:auc_elbo",
            higher_is_better=True,
            classes=2,
        ),
    ]


def _rejection(percent: int) -> Metric:
    return Metric(
        name=f"rejection_{percent}",
        summary=f"1 / (background efficiency) at {percent} % signal efficiency",
        compute=f"hepbench.evaluation.metrics:rejection_{percent}",
        higher_is_better=True,
        classes=2,
    )
