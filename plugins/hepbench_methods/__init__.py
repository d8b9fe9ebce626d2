"""The methods that come with hepbench: one module, one method; and a metric that prunings need."""

from __future__ import annotations

from hepbench import TRAINING, Method, Metric, Range, hookimpl

# our choice, by validation on 10,977 real HIGGS rows: see suites/higgs-transformer.toml
QUICK = {
    **TRAINING,
    "epochs": 12,
    "batch_size": 256,
    # what a tenth or a hundredth of the labels would not reach
    "least_steps": 20,
    "optimizer": {"name": "AdamW", "weight_decay": 5e-4},
    "schedule": {"name": "CosineAnnealingLR"},
    "clip": 1.0,
}
# R6 of REFERENCE.md; its clipping has no figure there, so this one is our choice
PAPER = {
    **TRAINING,
    "epochs": 17,
    "batch_size": 1024,
    "optimizer": {"name": "AdamW", "weight_decay": 5e-4},
    "schedule": {"name": "ReduceLROnPlateau", "factor": 0.4},
    "clip": 1.0,
}

RATE = Range(above=0)
RATES = {"encoder_rate": RATE, "head_rate": RATE}

SCRATCH = Method(
    name="scratch",
    summary="A network is trained on the labels from a fresh start; an estimator fits itself",
    run="hepbench_methods.scratch:scratch",
    needs=frozenset(),
    params={**QUICK, "rate": 3e-3},
    presets={"paper": {**PAPER, "rate": 1e-3}},
    allowed={"rate": RATE},
)

PRETRAIN = Method(
    name="pretrain",
    summary="An encoder is trained by its own loss; no label is seen",
    run="hepbench_methods.pretrain:pretrain",
    needs=frozenset({"encode", "pretrain"}),
    labels=False,
    makes="encoder",
    params={**QUICK, "rate": 3e-3},
    presets={"paper": {**PAPER, "rate": 1e-3}},
    allowed={"rate": RATE},
)

PRETRAIN_BACKGROUND = Method(
    name="pretrain-background",
    summary="An encoder is trained by its own loss, on the background alone",
    run="hepbench_methods.pretrain_background:pretrain_background",
    needs=frozenset({"encode", "pretrain"}),
    makes="encoder",
    params={**QUICK, "rate": 3e-3},
    presets={"paper": {**PAPER, "rate": 1e-3}},
    allowed={"rate": RATE},
)

FINETUNE = Method(
    name="finetune",
    summary="A pretrained encoder and a new head are trained, each at its own rate",
    run="hepbench_methods.finetune:finetune",
    after=("pretrain", "encoder"),
    params={**QUICK, "encoder_rate": 1e-3, "head_rate": 3e-3},
    presets={"paper": {**PAPER, "encoder_rate": 5e-4, "head_rate": 1e-3}},
    allowed=RATES,
)

LINEAR_PROBE = Method(
    name="linear-probe",
    summary="A linear head is trained on the codes of a frozen encoder",
    run="hepbench_methods.linear_probe:linear_probe",
    after=("pretrain", "encoder", "fresh"),
    freezes=frozenset({"encoder"}),
    head="hepbench_methods.linear_probe:head",
    params={**QUICK, "rate": 1e-2},
    presets={"paper": {**PAPER, "rate": 1e-2}},
    allowed={"rate": RATE},
)

SVM = Method(
    name="svm",
    summary="A support-vector machine on the codes of a frozen encoder",
    run="hepbench_methods.svm:svm",
    after=("pretrain", "encoder", "fresh"),
    freezes=frozenset({"encoder"}),
    head="hepbench_methods.svm:SupportVectors",
    params={
        "C": [1.0, 10.0],
        "gamma": [0.1, 0.3, 1.0],
        "scale": "each",
        "exact_up_to": 3000,
        "landmarks": 300,
    },
    presets={"paper": {"C": [10.0], "gamma": [1.0], "exact_up_to": 20_000, "landmarks": 2000}},
    allowed={
        "C": Range(above=0),
        "gamma": Range(above=0),
        "scale": ("each", "raw"),
        "exact_up_to": Range(least=0),
        "landmarks": Range(least=1),
    },
    imports=("sklearn.svm", "sklearn.linear_model"),
)

JOINT = Method(
    name="joint",
    summary="An encoder is trained by its own loss and by the labels at the same time",
    run="hepbench_methods.joint:joint",
    needs=frozenset({"encode", "pretrain"}),
    params={**QUICK, "encoder_rate": 3e-3, "head_rate": 3e-3, "separate": False},
    presets={"paper": {**PAPER, "encoder_rate": 1e-3, "head_rate": 1e-3}},
    allowed=RATES,
)

# the write-up of R3 names five epochs after each step; the rest of how it trained is not said
TRAIN_ON = {**QUICK, "rate": 1e-3, "clip": None}
TRAIN_ON_PAPER = {**TRAINING, "rate": 1e-4, "optimizer": {"name": "Adam"}}
RATIO = Range(least=0, below=1)
SCOPES = ("global", "layer")

PRUNE_UNSTRUCTURED = Method(
    name="prune-unstructured",
    summary="The smallest weights of a classifier are held at zero",
    run="hepbench_methods.prune_unstructured:prune_unstructured",
    after=("scratch", "classifier"),
    params={"ratio": 0.5, "scope": "global"},
    allowed={"ratio": RATIO, "scope": SCOPES},
)

PRUNE_ITERATIVE = Method(
    name="prune-iterative",
    summary="The smallest weights are held at zero a few at a time, with training after each step",
    run="hepbench_methods.prune_iterative:prune_iterative",
    after=("scratch", "classifier"),
    params={**TRAIN_ON, "epochs": 1, "ratio": 0.5, "step": 0.1, "rounds": 9, "scope": "global"},
    presets={"paper": {**TRAIN_ON_PAPER, "epochs": 5}},
    allowed={
        "rate": RATE,
        "ratio": RATIO,
        "step": Range(above=0, most=1),
        "rounds": Range(least=0),
        "scope": SCOPES,
    },
)

PRUNE_STRUCTURED = Method(
    name="prune-structured",
    summary="The weakest channels of each layer are removed, with all that depends on them",
    run="hepbench_methods.prune_structured:prune_structured",
    after=("scratch", "classifier"),
    params={**TRAIN_ON, "epochs": 9, "ratio": 0.5, "remove": True, "after": "finetune"},
    presets={"paper": {**TRAIN_ON_PAPER, "epochs": 45}},
    allowed={
        "rate": RATE,
        "ratio": RATIO,
        "after": ("nothing", "recalibrate", "finetune", "restart"),
    },
    imports=("torch_pruning",),
)


@hookimpl
def hepbench_methods() -> list[Method]:
    """Return those that train, fresh starts first, and the three that prune."""
    trained = [SCRATCH, PRETRAIN, PRETRAIN_BACKGROUND, FINETUNE, LINEAR_PROBE, SVM, JOINT]
    return [*trained, PRUNE_UNSTRUCTURED, PRUNE_ITERATIVE, PRUNE_STRUCTURED]


@hookimpl
def hepbench_metrics() -> list[Metric]:
    """Return what tells a pruned network that has collapsed."""
    return [
        Metric(
            name="score_spread",
            summary="standard deviation of the signal's score; near 0 the AUC means nothing",
            compute="hepbench_methods.score_spread:score_spread",
            higher_is_better=None,
            classes=2,
        )
    ]
