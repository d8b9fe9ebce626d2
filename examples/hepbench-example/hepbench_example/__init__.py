"""The hooks of hepbench-example: each returns what the plugin brings, as data.

What runs is named as "module:function" and imported when it runs, so that ``hepbench list`` stays
instant: import neither numpy nor torch nor anything else that is heavy in this file.
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

KINEMATICS = "hepbench_example.clouds:kinematics"

CLOUDS = Dataset(
    name="example-clouds",
    summary="Jets of W bosons against QCD jets: clouds of up to 30 made-up particles",
    classes=("QCD jet", "W jet"),
    inputs={
        "cloud": Input(
            shape=(30, 3), names=("part_pt", "part_deta", "part_dphi"), units=("GeV", "", "rad")
        ),
        # True for a particle, False for padding
        "mask": Input(shape=(30,)),
    },
    # read if --data DIR holds example-clouds/ with both files
    original=Original(
        "hepbench_example.clouds:read",
        files=(File(name="particles.npy"), File(name="labels.npy")),
    ),
    sample=Sample("hepbench_example.clouds:sample", examples=3000),
    # a view with the name of an input replaces it: networks get what the view makes
    views={
        "cloud": View(
            KINEMATICS,
            params=frozenset({"particles"}),
            names="hepbench_example.clouds:KINEMATICS",
            units="hepbench_example.clouds:KINEMATICS_UNITS",
        ),
        "mask": View(KINEMATICS, params=frozenset({"particles"})),
    },
    spectators={"pt": "GeV", "mass": "GeV"},
    params={"particles": Param(30, Range(least=1, most=30))},
    augmentations={
        "rotated": "hepbench_example.clouds:rotated",
        "thinned": "hepbench_example.clouds:thinned",
    },
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

PARTICLE_FLOW = Model(
    name="particle-flow",
    summary="Particle flow network: a function of the sum over particles of a function of each",
    inputs=("cloud", "mask"),
    build="hepbench_example.particle_flow:ParticleFlow",
    # fitted on real particles of training examples alone; padding stays 0
    preprocess=("standardise",),
    params={
        "width": Param(64, Range(least=1), {"paper": 100}),
        "latent_dim": Param(32, Range(least=1), {"paper": 256}),
    },
    source="Komiske, Metodiev and Thaler, JHEP 01 (2019) 121, arXiv:1810.05165",
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


LOW_PT = Metric(
    name="auc_low_pt",
    summary="AUC of jets with a pt below 400 GeV",
    compute="hepbench_example.slices:auc_low_pt",
    higher_is_better=True,
)

HIGH_PT = Metric(
    name="auc_high_pt",
    summary="AUC of jets with a pt of 400 GeV or more",
    compute="hepbench_example.slices:auc_high_pt",
    higher_is_better=True,
)


@hookimpl
def hepbench_datasets() -> list[Dataset]:
    """Return the jets, as tables and as clouds."""
    return [JETS, CLOUDS]


@hookimpl
def hepbench_models() -> list[Model]:
    """Return Fisher's discriminant, which is an estimator, and the particle flow network."""
    return [FISHER, PARTICLE_FLOW]


@hookimpl
def hepbench_methods() -> list[Method]:
    """Return the calibrated fit."""
    return [CALIBRATED]


@hookimpl
def hepbench_metrics() -> list[Metric]:
    """Return the significance improvement and the AUC in slices of pt."""
    return [SIGNIFICANCE, LOW_PT, HIGH_PT]


@hookimpl
def hepbench_suites() -> list[Suite]:
    """Return the suites; their files lie beside this one and are shipped in the wheel."""
    return [
        Suite(name="example-jets", path="hepbench_example:jets.toml"),
        Suite(name="example-clouds", path="hepbench_example:clouds.toml"),
    ]
