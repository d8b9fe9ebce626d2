"""A plugin for tests: each spec has one fault, named by the spec.

The module has two faults itself: it imports numpy, and one hook returns another spec each time.
"""

from __future__ import annotations

import time
from itertools import count
from types import SimpleNamespace

import numpy as np

from hepbench import (
    DataError,
    Dataset,
    Examples,
    File,
    Input,
    Method,
    Metric,
    Model,
    Original,
    Param,
    Sample,
    Split,
    Suite,
    UndefinedMetricError,
    View,
    hookimpl,
)

STATE_OUTSIDE = {}
CALLS = count()


# --- datasets


def sample(*, fault):
    """Yield examples of two classes, with two features each."""
    n = 400
    rng = np.random.default_rng(1)
    labels, ids, weights = np.arange(n) % 2, np.arange(n), np.ones(n)
    table = (rng.normal(size=(n, 2)) + labels[:, None]).astype(np.float32)
    match fault:
        case "ids-repeated":
            ids[7] = ids[8]
        case "ids-from-clock":
            ids += time.time_ns()
        case "ids-float":
            ids = ids.astype(float)
        case "label-out-of-range":
            labels[3] = 2
        case "label-missing":
            labels[:] = 1
        case "label-rare":
            labels = (ids == 0).astype(int)
        case "label-among-inputs":
            table[:, 1] = labels
        case "weight-negative":
            weights[labels == 1] = -1
        case "not-finite":
            table[9, 1] = np.nan
        case "too-wide":
            table = table[:, [0, 1, 1]]
        case "unlabelled-only":
            yield "unlabelled", Examples(inputs={"table": table}, ids=ids)
            return
        case "no-role":
            yield Examples(inputs={"table": table}, ids=ids, labels=labels)
            return
    yield "labelled", Examples(inputs={"table": table}, ids=ids, labels=labels, weights=weights)


def missing_with_reason(folder, **_params):
    if not (folder / "jets.csv").is_file():
        raise DataError("jets.csv is missing")
    yield from sample(fault="")


def missing_wrong_error(folder, **_params):
    (folder / "jets.csv").read_bytes()
    raise DataError("no jets")


def missing_two_lines(folder, **_params):
    raise DataError("jets.csv is missing\nor damaged")


def drops(inputs, **_params):
    return {"table": inputs["table"][inputs["table"][:, 0] > 0]}


def sorts(inputs, **_params):
    return {"table": np.sort(inputs["table"], axis=0)}


def centres(inputs, **_params):
    return {"table": inputs["table"] - inputs["table"].mean(0)}


def widens(inputs, **_params):
    return {"table": inputs["table"][:, [0, 1, 0]]}


def renames(inputs, **_params):
    return {"tables": inputs["table"]}


def writes(inputs, **_params):
    inputs["table"][:] = 0
    return inputs


def doubles(inputs):
    return {"table": inputs["table"].repeat(2, 1)}


def as_numpy(inputs):
    return {"table": inputs["table"].numpy()}


UNITS = ("GeV",)


def unchanged(inputs, **_params):
    return inputs


def first_hundred(ids):
    return np.arange(100)


def dataset(name, **changes):
    settings = {
        "summary": "two numbers",
        "classes": ("background", "signal"),
        "inputs": {"table": Input(shape=(2,), names=("x", "y"))},
        "sample": Sample("faulty:sample"),
        "params": {"fault": name},
        "read_params": frozenset({"fault"}),
    }
    return Dataset(name=name, **{**settings, **changes})


def read_by(function):
    return {"original": Original(f"faulty:{function}", files=(File(name="jets.csv"),))}


@hookimpl
def hepbench_datasets():
    sampled = (
        *("ids-repeated", "ids-from-clock", "ids-float", "label-out-of-range", "label-missing"),
        *("label-rare", "label-among-inputs", "weight-negative", "not-finite", "too-wide"),
        *("unlabelled-only", "no-role", "sound-data"),
    )
    views = (drops, sorts, centres, widens, renames, writes)
    return [
        *(dataset(name) for name in sampled),
        *(
            dataset(f"view-{f.__name__}", views={"table": View(f"faulty:{f.__name__}")})
            for f in views
        ),
        dataset("no-source", sample=None),
        dataset("no-function", sample=Sample("faulty:simple")),
        dataset("no-summary", summary=""),
        dataset("miscounted", sample=Sample("faulty:sample", examples=7)),
        dataset(
            "units-too-few",
            views={"table": View("faulty:unchanged", units="faulty:UNITS")},
        ),
        dataset("params-tuple", params={"fault": "", "columns": (0, 1)}),
        dataset("names-too-few", inputs={"table": Input(shape=(2,), names=("x",))}),
        dataset("official-rows", split=Split(official="faulty:first_hundred")),
        dataset("augmented-twice", augmentations={"doubles": "faulty:doubles"}),
        dataset("augmented-as-numpy", augmentations={"as-numpy": "faulty:as_numpy"}),
        dataset("damaged-unnoticed", **read_by("missing_with_reason")),
        dataset("missing-wrong-error", **read_by("missing_wrong_error")),
        dataset("missing-two-lines", **read_by("missing_two_lines")),
        dataset("reads-no-file", original=Original("faulty:missing_with_reason")),
    ]


# --- models


class NearestMean:
    """An estimator that scores classes by the distance to their mean."""

    def __init__(self, shapes, *, fault):
        self.fault = fault
        self.means = np.zeros((0, *shapes["table"]))

    def fit(self, data, *, seed):
        table, labels = data.train.inputs["table"], data.train.labels
        match self.fault:
            case "writes-inputs":
                table -= table.mean(0)
            case "unseeded":
                table = table + np.random.default_rng().normal(size=table.shape)
            case "not-for-three":
                labels = np.eye(2)[labels].argmax(1)
            case "refuses-three":
                if data.classes > 2:
                    raise DataError("two classes are allowed")
            case "says-nothing":
                self.best_epoch = None
            case "not-storable":
                self.metric = lambda a, b: a - b
            case "trusts-anything":
                self.trusts = ["os.system"]
        self.means = np.stack([table[labels == label].mean(0) for label in range(data.classes)])
        if self.fault == "keeps-state-outside":
            STATE_OUTSIDE[data.classes], self.means = self.means, self.means * 0

    def scores(self, inputs):
        table, means = inputs["table"].astype(float), self.means
        match self.fault:
            case "centres-batch":
                table = table - table.mean(0)
            case "noisy":
                table = table + np.random.normal(size=table.shape)  # noqa: NPY002
            case "counts-rows":
                table = table + np.arange(len(table))[:, None] % 2
            case "first-columns":
                table = table[:, : means.shape[1]]
            case "keeps-state-outside":
                means = STATE_OUTSIDE[len(means)]
        scores = np.exp(-((table[:, None] - means) ** 2).sum(2))
        scores /= scores.sum(1, keepdims=True)
        if self.fault == "columns-swapped":
            return scores[:, ::-1]
        return scores * 2 if self.fault == "not-normalised" else scores


class NearestExample:
    """An estimator that memorises training and validation examples."""

    def __init__(self, shapes, **_params):
        self.points = self.labels = np.zeros(0)
        self.classes = 0

    def fit(self, data, *, seed):
        parts = (data.train, data.validation)
        self.points = np.concatenate([part.inputs["table"] for part in parts])
        self.labels = np.concatenate([part.labels for part in parts])
        self.classes = data.classes

    def scores(self, inputs):
        nearest = [((self.points - x) ** 2).sum(1).argmin() for x in inputs["table"]]
        return np.eye(self.classes)[self.labels[nearest]]


def nothing(shapes, **_params):
    return None


def model(name, build="faulty:NearestMean", **changes):
    settings = {
        "summary": "the nearest mean",
        "inputs": ("table",),
        "offers": frozenset({"estimate"}),
        "params": {"fault": name},
    }
    return Model(name=name, build=build, **{**settings, **changes})


@hookimpl
def hepbench_models():
    faults = (
        *("writes-inputs", "unseeded", "not-for-three", "refuses-three", "says-nothing"),
        *("not-storable", "trusts-anything", "keeps-state-outside", "centres-batch", "noisy"),
        *("counts-rows", "first-columns", "columns-swapped", "not-normalised", "sound-model"),
    )
    return [
        *(model(name) for name in faults),
        model("trains-on-validation", "faulty:NearestExample"),
        model("builds-nothing", "faulty:nothing"),
        model("offers-too-much", offers=frozenset({"estimate", "temperature"})),
        model("imports-missing-module", imports=("no_such_module",)),
        model("files-missing", files=("faulty:no_such_table.h5",)),
        model("presets-not-json", params={"fault": Param("", presets={"paper": ()})}),
    ]


# --- methods


class Wrapped:
    def __init__(self, start):
        self.start = start

    def fit(self, data, *, seed):
        self.start.fit(data, seed=seed)

    def scores(self, inputs):
        return self.start.scores(inputs)


def fit(start, data, context, **_params):
    start.fit(data, seed=context.seed)
    return start


def fits_validation(start, data, context):
    both = (data.train, data.validation)
    inputs = {n: np.concatenate([e.inputs[n] for e in both]) for n in data.train.inputs}
    labels = np.concatenate([e.labels for e in both])
    train = Examples(inputs=inputs, ids=np.arange(len(labels)) + 10**6, labels=labels)
    start.fit(SimpleNamespace(train=train, classes=data.classes), seed=context.seed)
    return start


def writes_data(start, data, context):
    data.train.labels[:5] = 0
    return fit(start, data, context)


def unseeded_method(start, data, context):
    rows = np.random.default_rng().permutation(len(data.train))[:100]
    start.fit(SimpleNamespace(train=data.train[rows], classes=data.classes), seed=context.seed)
    return start


def wraps(start, data, context):
    return Wrapped(fit(start, data, context))


def returns_none(start, data, context):
    fit(start, data, context)


def paper_fails(start, data, context, *, learning_rate):
    if learning_rate > 1:
        raise ValueError("learning rate is above 1")
    return fit(start, data, context)


def method(function, name="", **changes):
    settings = {"summary": "fits", "needs": frozenset({"estimate"})}
    name = name or function.__name__.replace("_", "-")
    return Method(name=name, run=f"faulty:{function.__name__}", **{**settings, **changes})


@hookimpl
def hepbench_methods():
    paper = {"params": {"learning_rate": Param(0.5, presets={"paper": 2.0})}}
    return [
        *(
            method(function)
            for function in (fits_validation, writes_data, unseeded_method, wraps, returns_none)
        ),
        method(paper_fails, **paper),
        method(fit, "sound-method"),
        method(fit, "sound-second", after=("sound-method",)),
        method(fit, "uses-hidden-labels", labels=False),
        method(fit, "needs-unknown-feature", needs=frozenset({"estimate", "unknown-feature"})),
    ]


# --- metrics


def blind_to_ties(predictions):
    order = np.argsort(-predictions.scores[:, 1], kind="stable")
    return predictions.labels[order][: len(order) // 4].mean()


def best_accuracy(predictions):
    scores, labels = predictions.scores[:, 1], predictions.labels
    return max(((scores > cut) == labels).mean() for cut in np.unique(scores))


def returns_array(predictions):
    return predictions.labels == 1


def fails_for_one_class(predictions):
    return (
        float(predictions.scores[predictions.labels == 1, 1].sum())
        / (1 - predictions.labels).sum().item()
    )


def says_nothing(predictions):
    raise UndefinedMetricError


def ignores_weights(predictions):
    return float((predictions.scores.argmax(1) == predictions.labels).mean())


def wrong_direction(predictions):
    weights = np.ones(len(predictions.labels)) if predictions.weights is None else (
        predictions.weights)  # fmt: skip
    true = predictions.scores[np.arange(len(weights)), predictions.labels]
    return float(np.average((1 - true) ** 2, weights=weights))


def barrel_accuracy(predictions):
    if "eta" not in predictions.spectators:
        raise UndefinedMetricError("needs the spectator 'eta'")
    return 0.5


@hookimpl
def hepbench_metrics():
    functions = (blind_to_ties, best_accuracy, returns_array, fails_for_one_class, says_nothing)
    functions = (*functions, ignores_weights, wrong_direction, barrel_accuracy)
    return [
        Metric(
            name=function.__name__.replace("_", "-"),
            summary="a number",
            compute=f"faulty:{function.__name__}",
            higher_is_better=True,
            classes=2,
        )
        for function in functions
    ]


@hookimpl
def hepbench_suites():
    return [
        Suite(name="no-file", path="faulty:no_file.toml"),
        Suite(name=f"suite-{next(CALLS)}", path="faulty:no_file.toml"),
    ]
