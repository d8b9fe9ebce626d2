"""The hooks of hepbench-example: each returns what the plugin brings, as data.

What runs is named as "module:function" and imported when it runs, so that ``hepbench list`` stays
instant: import neither numpy nor anything else that is heavy in this file.
"""

from __future__ import annotations

from hepbench import (
    Dataset,
    File,
    Input,
    Method,
    Metric,
    Model,
    Original,
    Param,
    Range,
    Sample,
    Suite,
    View,
    hookimpl,
)

JETS = Dataset(
    name="example-jets",
    summary="Jets of W bosons against QCD jets: four made-up observables",
    # labels 0 and 1; the last of two is the signal
    classes=("QCD jet", "W jet"),
    # one example, as both readers yield it
    inputs={
        "table": Input(shape=(4,), names=("jet_pt", "jet_mass", "jet_tau21", "jet_n_constituents"))
    },
    # read if --data DIR holds example-jets/jets.csv; otherwise the sample is read
    original=Original("hepbench_example.jets:read", files=(File(name="jets.csv"),)),
    sample=Sample("hepbench_example.jets:sample"),
    # a view makes an input from what was read, and gets only the parameters that it names
    views={"table": View("hepbench_example.jets:observables", params=frozenset({"with_mass"}))},
    # carried along, not an input: for slices of the test set
    spectators={"pt": "GeV", "mass": "GeV"},
    params={"n": 4000, "with_mass": True},
    # both readers get ``n``; another value of any other parameter needs no second reading
    read_params=frozenset({"n"}),
)

FISHER = Model(
    name="fisher",
    summary="Fisher's linear discriminant, one Gaussian for each class",
    inputs=("table",),
    build="hepbench_example.fisher:Fisher",
    # a method runs only on models that offer what it needs; this plugin invented "temperature"
    offers=frozenset({"estimate", "temperature"}),
    # the default and the allowed values; any other value is refused before anything runs
    params={"shrinkage": Param(0.01, Range(least=0, most=1))},
    source="Fisher, Annals of Eugenics 7, 179 (1936)",
)

CALIBRATED = Method(
    name="scratch-calibrated",
    summary="An estimator fits itself, then its temperature is fitted on validation examples",
    run="hepbench_example.calibrated:scratch_calibrated",
    after=("fresh",),
    needs=frozenset({"estimate", "temperature"}),
    params={"steps": Param(81, Range(least=1))},
)

SIGNIFICANCE = Metric(
    name="significance_improvement_50",
    summary="signal efficiency / sqrt(background efficiency) at 50 % signal efficiency",
    compute="hepbench_example.significance:improvement_50",
    higher_is_better=True,
    classes=2,
)


@hookimpl
def hepbench_datasets() -> list[Dataset]:
    """Return the jets."""
    return [JETS]


@hookimpl
def hepbench_models() -> list[Model]:
    """Return Fisher's discriminant."""
    return [FISHER]


@hookimpl
def hepbench_methods() -> list[Method]:
    """Return the calibrated fit."""
    return [CALIBRATED]


@hookimpl
def hepbench_metrics() -> list[Metric]:
    """Return the significance improvement."""
    return [SIGNIFICANCE]


@hookimpl
def hepbench_suites() -> list[Suite]:
    """Return the suite; its file lies beside this one and is shipped in the wheel."""
    return [Suite(name="example-jets", path="hepbench_example:suite.toml")]
