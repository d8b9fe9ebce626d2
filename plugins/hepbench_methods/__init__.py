"""The methods that come with hepbench, each in its own module, and a metric for pruning."""

from __future__ import annotations

from hepbench import Method, Metric, Param, Range, hookimpl, training_params

# our choice, by validation on 10,977 rows of the original HIGGS: see suites/higgs-transformer.toml
QUICK = {
    "epochs": 12,
    "batch_size": 256,
    # a tenth or a hundredth of the labels makes fewer steps per epoch
    "min_steps": 20,
    "optimizer": {"name": "AdamW", "weight_decay": 5e-4},
    "schedule": {"name": "CosineAnnealingLR"},
    "gradient_clip": 1.0,
}
# R6 of docs/systems.md; it gives no number for the gradient clipping, so 1.0 is our choice
PAPER = {
    "epochs": 17,
    "batch_size": 1024,
    "min_steps": 1,
    "schedule": {"name": "ReduceLROnPlateau", "factor": 0.4},
}
TRAINED = training_params(QUICK, paper=PAPER)

POSITIVE = Range(above=0)


def learning_rate(quick: float, paper: float) -> Param:
    """Return the parameter ``learning_rate`` with its values in the presets."""
    return Param(quick, POSITIVE, {"paper": paper})


SCRATCH = Method(
    name="scratch",
    summary="A network is trained on the labels from a fresh start; an estimator fits itself",
    run="hepbench_methods.scratch:scratch",
    needs=frozenset(),
    params={**TRAINED, "learning_rate": learning_rate(3e-3, 1e-3)},
)

PRETRAIN = Method(
    name="pretrain",
    summary="An encoder is trained by its own loss, without labels",
    run="hepbench_methods.pretrain:pretrain",
    needs=frozenset({"encode", "pretrain"}),
    labels=False,
    makes="encoder",
    params={**TRAINED, "learning_rate": learning_rate(3e-3, 1e-3)},
)

PRETRAIN_BACKGROUND = Method(
    name="pretrain-background",
    summary="An encoder is trained by its own loss, on the background alone",
    run="hepbench_methods.pretrain_background:pretrain_background",
    needs=frozenset({"encode", "pretrain"}),
    makes="encoder",
    params={**TRAINED, "learning_rate": learning_rate(3e-3, 1e-3)},
)

FINETUNE = Method(
    name="finetune",
    summary="A pretrained encoder and a new head are trained, each with its own learning rate",
    run="hepbench_methods.finetune:finetune",
    after=("pretrain", "encoder"),
    params={
        **TRAINED,
        "encoder_learning_rate": learning_rate(1e-3, 5e-4),
        "head_learning_rate": learning_rate(3e-3, 1e-3),
    },
)

# contrastive losses compare the examples of a batch, so batches are large also where epochs are few
PRETRAINED = training_params(
    QUICK,
    paper={
        "epochs": 100,
        "batch_size": 512,
        "min_steps": 1,
        "schedule": {"name": "CosineAnnealingLR"},
    },
)

SIMCLR = Method(
    name="simclr",
    summary="An encoder learns to recognise two distorted copies of one example, without labels",
    run="hepbench_methods.simclr:simclr",
    labels=False,
    makes="encoder",
    head="hepbench_methods.simclr:projection_head",
    params={
        **PRETRAINED,
        "learning_rate": learning_rate(3e-3, 1e-3),
        "temperature": Param(0.1, POSITIVE),
        "projection": Param(64, Range(least=1), {"paper": 128}),
        "dropped_fraction": Param(0.2, Range(least=0, below=1)),
        "noise": Param(0.1, Range(least=0)),
    },
)

MASKED = Method(
    name="masked",
    summary="An encoder of clouds learns to predict hidden particles, without labels",
    run="hepbench_methods.masked:masked",
    inputs=("cloud", "mask"),
    labels=False,
    makes="encoder",
    head="hepbench_methods.masked:Predictor",
    params={
        **PRETRAINED,
        "learning_rate": learning_rate(3e-3, 1e-3),
        "masked_fraction": Param(0.5, Range(above=0, below=1)),
        "places": Param([0, 1], Range(least=0)),
        "hidden": Param(128, Range(least=1), {"paper": 256}),
    },
)

STEPPED = "is gone: L-BFGS needs none; mlp-probe[hidden=[]] trains a linear head in steps"
LINEAR_PROBE = Method(
    name="linear-probe",
    summary="The best linear head on the latents of a frozen encoder, found by L-BFGS",
    run="hepbench_methods.linear_probe:linear_probe",
    after=("pretrain", "encoder", "fresh"),
    freezes=frozenset({"encoder"}),
    head="hepbench_methods.linear_probe:head",
    params={
        "strengths": Param([1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0], POSITIVE),
        "max_iterations": Param(1000, Range(least=1), {"paper": 5000}),
    },
    former={
        **dict.fromkeys([*TRAINED, "learning_rate"], STEPPED),
        "epochs": "is now 'max_iterations', of L-BFGS",
        "optimizer": "is gone: L-BFGS is the optimiser, and its weight decay is now 'strengths'",
        "monitor": "is gone: the validation loss selects among 'strengths'",
    },
    imports=("sklearn.linear_model",),
)

KNN = Method(
    name="knn",
    summary="The nearest training examples vote, by the latents of a frozen encoder",
    run="hepbench_methods.knn:knn",
    after=("pretrain", "encoder", "fresh"),
    freezes=frozenset({"encoder"}),
    head="hepbench_methods.knn:Neighbours",
    params={
        "k": Param(20, Range(least=1)),
        "metric": Param("cosine", ("cosine", "euclidean")),
        "temperature": Param(0.1, POSITIVE),
        "scale": Param("each", ("each", "raw")),
        "examples": Param(20_000, Range(least=2), {"paper": 100_000}),
    },
    imports=("sklearn.preprocessing",),
)

MLP_PROBE = Method(
    name="mlp-probe",
    summary="A perceptron is trained on the latents of a frozen encoder",
    run="hepbench_methods.mlp_probe:mlp_probe",
    after=("pretrain", "encoder", "fresh"),
    freezes=frozenset({"encoder"}),
    head="hepbench_methods.mlp_probe:head",
    params={
        **TRAINED,
        "learning_rate": learning_rate(3e-3, 1e-3),
        "hidden": Param([128], Range(least=1)),
        "dropout": Param(0.2, Range(least=0, below=1)),
    },
)

SVM = Method(
    name="svm",
    summary="A support-vector machine on the latents of a frozen encoder",
    run="hepbench_methods.svm:svm",
    after=("pretrain", "encoder", "fresh"),
    freezes=frozenset({"encoder"}),
    head="hepbench_methods.svm:SupportVectors",
    params={
        "C": Param([1.0, 10.0], POSITIVE, {"paper": [10.0]}),
        "gamma": Param([0.1, 0.3, 1.0], POSITIVE, {"paper": [1.0]}),
        "scale": Param("each", ("each", "raw")),
        "exact_up_to": Param(3000, Range(least=0), {"paper": 20_000}),
        "landmarks": Param(300, Range(least=1), {"paper": 2000}),
    },
    imports=("sklearn.svm", "sklearn.linear_model"),
)

JOINT = Method(
    name="joint",
    summary="An encoder is trained by its own loss and by the labels at the same time",
    run="hepbench_methods.joint:joint",
    needs=frozenset({"encode", "pretrain"}),
    params={
        **TRAINED,
        "encoder_learning_rate": learning_rate(3e-3, 1e-3),
        "head_learning_rate": learning_rate(3e-3, 1e-3),
        "separate": False,
    },
)

# R3 trains for five epochs after each step and says nothing else about the training
AFTER_PRUNING = {**QUICK, "gradient_clip": None}
AFTER_PRUNING_PAPER = {
    "batch_size": 128,
    "min_steps": 1,
    "optimizer": {"name": "Adam"},
    "schedule": None,
}
RATIO = Param(0.5, Range(least=0, below=1))
SCOPE = Param("global", ("global", "layer"))

PRUNE_UNSTRUCTURED = Method(
    name="prune-unstructured",
    summary="The smallest weights of a classifier are held at zero",
    run="hepbench_methods.prune_unstructured:prune_unstructured",
    after=("scratch", "classifier"),
    params={"ratio": RATIO, "scope": SCOPE},
)

PRUNE_ITERATIVE = Method(
    name="prune-iterative",
    summary="The smallest weights are held at zero a few at a time, with training after each step",
    run="hepbench_methods.prune_iterative:prune_iterative",
    after=("scratch", "classifier"),
    params={
        **training_params(
            {**AFTER_PRUNING, "epochs": 1}, paper={**AFTER_PRUNING_PAPER, "epochs": 5}
        ),
        "learning_rate": learning_rate(1e-3, 1e-4),
        "ratio": RATIO,
        "step": Param(0.1, Range(above=0, most=1)),
        "rounds": Param(9, Range(least=0)),
        "scope": SCOPE,
    },
)

PRUNE_STRUCTURED = Method(
    name="prune-structured",
    summary="The weakest channels of each layer are removed, with all that depends on them",
    run="hepbench_methods.prune_structured:prune_structured",
    after=("scratch", "classifier"),
    params={
        **training_params(
            {**AFTER_PRUNING, "epochs": 9}, paper={**AFTER_PRUNING_PAPER, "epochs": 45}
        ),
        "learning_rate": learning_rate(1e-3, 1e-4),
        "ratio": RATIO,
        "remove": True,
        "after": Param("finetune", ("nothing", "recalibrate", "finetune", "reinitialise")),
    },
    imports=("torch_pruning",),
)


@hookimpl
def hepbench_methods() -> list[Method]:
    """Return the specs of the methods that train and of those that prune."""
    pretrained = [PRETRAIN, PRETRAIN_BACKGROUND, SIMCLR, MASKED]
    frozen = [KNN, LINEAR_PROBE, MLP_PROBE, SVM]
    pruned = [PRUNE_UNSTRUCTURED, PRUNE_ITERATIVE, PRUNE_STRUCTURED]
    return [SCRATCH, *pretrained, FINETUNE, *frozen, JOINT, *pruned]


@hookimpl
def hepbench_metrics() -> list[Metric]:
    """Return the metric that shows whether a pruned network gives all examples the same score."""
    return [
        Metric(
            name="score_spread",
            summary="standard deviation of the signal score; if it is near 0, the AUC means nothing",
            compute="hepbench_methods.score_spread:score_spread",
            higher_is_better=None,
            classes=2,
        )
    ]
