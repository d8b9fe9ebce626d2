"""The core's own plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pluggy
import pytest

import hepbench
from hepbench import Measured, Predictions
from hepbench.registry import builtin, hooks
from hepbench.tables import columns

METRICS = builtin.hepbench_metrics()
OF_VALUES = [*columns.LOSS_METRICS]
OF_SCORES = [metric for metric in METRICS if metric.name not in OF_VALUES]


def test_the_metrics_are_those_of_the_design():
    """Names are a contract: they are in records."""
    assert [metric.name for metric in METRICS] == [
        "auc",
        "accuracy",
        "accuracy_at_half",
        "log_loss",
        "brier",
        "ece",
        "rejection_30",
        "rejection_50",
        "rejection_70",
        "ams",
        "reconstruction",
        "kl",
        "latent_sparsity",
        "auc_reconstruction",
        "auc_elbo",
    ]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_each_metric_computes_and_says_what_it_is(metric):
    """On two classes, and on three where it is made for any number; with values of each example."""
    module, function = metric.compute.split(":")
    compute = getattr(import_module(module), function)
    for classes in (2, 3) if metric.classes is None else (metric.classes,):
        labels = np.arange(60) % classes
        scores = np.random.default_rng(0).dirichlet(np.ones(classes), 60)
        values = {n: np.arange(60.0) for n in ("reconstruction", "kl", "elbo", "latent_zeros")}
        measured = compute(Predictions(labels=labels, scores=scores, values=values))
        assert isinstance(measured, Measured)
    assert metric.summary


@pytest.mark.parametrize("metric", OF_SCORES, ids=lambda metric: metric.name)
def test_a_better_classifier_moves_each_metric_in_its_declared_direction(metric):
    """Calibrated scores against the same with half of them drawn anew."""
    rng = np.random.default_rng(1)
    labels = np.arange(4000) % 2
    signal = 1 / (1 + np.exp(2 - 2 * (rng.normal(size=4000) + 2 * labels)))
    noisy = np.where(rng.uniform(size=4000) < 0.5, rng.permutation(signal), signal)
    module, function = metric.compute.split(":")
    compute = getattr(import_module(module), function)
    good, bad = (
        compute(Predictions(labels=labels, scores=np.stack([1 - s, s], axis=1))).value
        for s in (signal, noisy)
    )
    assert (good > bad) == metric.higher_is_better


def test_the_plugin_is_found_by_its_hook():
    """As any other plugin's."""
    manager = pluggy.PluginManager("hepbench")
    manager.add_hookspecs(hooks)
    manager.register(builtin)
    assert manager.hook.hepbench_metrics() == [METRICS]


def test_listing_the_metrics_imports_nothing_heavy():
    """What ``hepbench list`` costs."""
    code = (
        "import sys, hepbench.registry.builtin; hepbench.registry.builtin.hepbench_metrics();"
        "print([m for m in ('numpy', 'sklearn', 'scipy', 'torch') if m in sys.modules])"
    )
    root = str(Path(hepbench.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.stdout.strip() == "[]"


def test_computing_the_metrics_imports_neither_scipy_nor_scikit_learn():
    """They run in the parent, which starts in milliseconds."""
    code = (
        "import sys, hepbench.evaluation.metrics, hepbench.evaluation.uncertainty, hepbench.evaluation.metric_audit;"
        "print([m for m in ('sklearn', 'scipy', 'torch') if m in sys.modules])"
    )
    root = str(Path(hepbench.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.stdout.strip() == "[]"
