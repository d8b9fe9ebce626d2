"""The hooks of the plugin: what it brings, as data."""

from __future__ import annotations

from hepbench import Model, Param, Range, hookimpl

NAIVE_BAYES = Model(
    name="naive-bayes",
    summary="Naive Bayes: every feature is an independent Gaussian in each class",
    inputs=("table",),
    build="hepbench_first.naive_bayes:NaiveBayes",
    offers=frozenset({"estimate"}),
    params={"smoothing": Param(0.01, Range(above=0))},
)


@hookimpl
def hepbench_models() -> list[Model]:
    """Return the plugin's models."""
    return [NAIVE_BAYES]
