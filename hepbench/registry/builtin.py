"""The core's own plugin, which registers its metrics. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

from hepbench.registry.hooks import hookimpl
from hepbench.specs.metric import Metric


@hookimpl
def hepbench_metrics() -> list[Metric]:
    """Return the built-in metrics, which every suite can show."""
    return [
        _metric("auc", "area under the ROC curve; macro one-vs-one for more than two classes"),
        _metric("accuracy", "fraction classified correctly, threshold chosen on validation"),
        _metric("accuracy_at_half", "fraction classified correctly, threshold one half", classes=2),
        _metric("log_loss", "mean cross-entropy in nats", higher_is_better=False),
        _metric(
            "brier", "mean squared difference between scores and labels", higher_is_better=False
        ),
        _metric(
            "ece", "expected calibration error, 15 bins of equal weight", higher_is_better=False
        ),
        *(_rejection(percent) for percent in (30, 50, 70)),
        *_of_own_loss(),
    ]


def _of_own_loss() -> list[Metric]:
    """Return the built-in specs of metrics of networks whose encoder has a loss of its own."""
    lower: dict[str, Any] = {
        "higher_is_better": False,
        "same": frozenset({"data", "split", "labels", "preprocess"}),
    }
    return [
        _metric("reconstruction", "mean reconstruction error of preprocessed inputs", **lower),
        _metric("kl", "mean KL divergence of the posterior from the prior, in nats", **lower),
        _metric(
            "latent_sparsity",
            "mean fraction of latents that are at most 1 % of the example's largest latent",
        ),
        _metric(
            "auc_reconstruction", "AUC with the reconstruction error as the signal score", classes=2
        ),
        _metric(
            "auc_elbo",
            "AUC with the negative evidence lower bound (ELBO) as the signal score",
            classes=2,
        ),
    ]


def _rejection(percent: int) -> Metric:
    summary = f"1 / (background efficiency) at {percent} % signal efficiency"
    return _metric(f"rejection_{percent}", summary, classes=2)


def _metric(name: str, summary: str, *, higher_is_better: bool = True, **more: Any) -> Metric:
    """Return the built-in spec of the metric that the function of the same name computes."""
    compute = f"hepbench.evaluation.metrics:{name}"
    return Metric(
        name=name, summary=summary, compute=compute, higher_is_better=higher_is_better, **more
    )
