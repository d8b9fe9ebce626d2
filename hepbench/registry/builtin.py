"""The core's own plugin, which registers the built-in metrics. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

from hepbench.registry.hooks import hookimpl
from hepbench.specs.metric import Metric


@hookimpl
def hepbench_metrics() -> list[Metric]:
    """Hook: return the specs of the built-in metrics, which every suite can use."""
    return [
        _builtin_metric(
            "auc", "area under the ROC curve; macro one-vs-one for more than two classes"
        ),
        _builtin_metric(
            "accuracy", "fraction classified correctly, threshold chosen on validation"
        ),
        _builtin_metric(
            "accuracy_at_half", "fraction classified correctly, threshold one half", classes=2
        ),
        _builtin_metric("log_loss", "mean cross-entropy in nats", higher_is_better=False),
        _builtin_metric(
            "brier", "mean squared difference between scores and labels", higher_is_better=False
        ),
        _builtin_metric(
            "ece", "expected calibration error, 15 bins of equal weight", higher_is_better=False
        ),
        *(_rejection_metric(percent) for percent in (30, 50, 70)),
        _builtin_metric(
            "ams",
            "approximate median significance of the best cut on validation; sums of event weights",
            compute="hepbench.evaluation.significance:ams",
            classes=2,
            physical_weights=True,
        ),
        *_own_loss_metrics(),
    ]


def _own_loss_metrics() -> list[Metric]:
    """Return specs of the built-in metrics for networks with a loss of their own."""
    lower: dict[str, Any] = {
        "higher_is_better": False,
        "same": frozenset({"data", "split", "labels", "preprocess"}),
    }
    return [
        _builtin_metric(
            "reconstruction", "mean reconstruction error of preprocessed inputs", **lower
        ),
        _builtin_metric(
            "kl", "mean KL divergence of the posterior from the prior, in nats", **lower
        ),
        _builtin_metric(
            "latent_sparsity",
            "mean fraction of latents that are at most 1 % of the example's largest latent",
        ),
        _builtin_metric(
            "auc_reconstruction", "AUC with the reconstruction error as the signal score", classes=2
        ),
        _builtin_metric(
            "auc_elbo",
            "AUC with the negative evidence lower bound (ELBO) as the signal score",
            classes=2,
        ),
    ]


def _rejection_metric(percent: int) -> Metric:
    summary = f"1 / (background efficiency) at {percent} % signal efficiency"
    return _builtin_metric(f"rejection_{percent}", summary, classes=2)


def _builtin_metric(
    name: str, summary: str, *, compute: str = "", higher_is_better: bool = True, **more: Any
) -> Metric:
    """Return the spec of a built-in metric; its function has the same name."""
    compute = compute or f"hepbench.evaluation.metrics:{name}"
    return Metric(
        name=name, summary=summary, compute=compute, higher_is_better=higher_is_better, **more
    )
