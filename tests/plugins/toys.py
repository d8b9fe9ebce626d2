"""A plugin for tests: a dataset of two numbers, and models that misbehave when they are told to.

``toy``: two classes of Gaussian numbers; ``line``: scores by the first of them; ``fit``: fits.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

import numpy as np

from hepbench import Dataset, Examples, Input, Method, Model, Sample, View, hookimpl


def sample(n):
    rng = np.random.default_rng(1)
    table = rng.normal(size=(n, 2)).astype(np.float32)
    labels = (table[:, 0] + rng.normal(size=n) > 0).astype(np.int64)
    yield "labelled", Examples(inputs={"table": table}, ids=np.arange(n), labels=labels)


def first(inputs, *, columns):
    return {"table": inputs["table"][:, :columns]}


class Mute(Exception):
    """An error that cannot write its text."""

    def __str__(self):
        raise ValueError("no text")


def fail(error):
    raise error


def hoard():
    kept = []
    while True:
        kept.append(np.zeros(1_000_000))
        kept[-1][::512] = 1


def write_everywhere(text):
    for descriptor in range(3, 256):
        with suppress(OSError):
            os.write(descriptor, text)


def patch():
    import json

    json.dumps = json.loads = json.dump = json.load = None
    raise RuntimeError("patched")


ACTIONS = {
    "raise": lambda: fail(ValueError("told to raise")),
    "exit": lambda: os._exit(3),
    "leave": lambda: os._exit(0),
    "quit": lambda: sys.exit(0),
    "abort": os.abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "interrupt": lambda: fail(KeyboardInterrupt()),
    "print": lambda: print("printed by a plugin"),
    "hang": lambda: time.sleep(1000),
    "hoard": hoard,
    "surrogate": lambda: fail(RuntimeError("bad \udce9 text")),
    "long": lambda: fail(RuntimeError("x" * 100_000_000)),
    "mute": lambda: fail(Mute()),
    "escape": lambda: fail(RuntimeError("\x1b[31mred\x07")),
    "garbage": lambda: write_everywhere(b"garbage"),
    "zeros": lambda: write_everywhere(bytes(64)),
    "half": lambda: write_everywhere(b"\0\0\1\0"),
    "close": lambda: os.closerange(3, 256),
    "patch": patch,
}


class Line:
    """Scores by the first number; ``does`` says what goes wrong in its fit."""

    def __init__(self, slope, does):
        self.slope = slope
        self.does = does
        self.parameters = 1

    def fit(self, data, *, seed):
        if self.does == "clock":
            self.slope = 1 + time.time_ns() % 1_000_003 / 1e6
        elif self.does.startswith("sleep"):
            time.sleep(float(self.does[5:]))
        elif self.does:
            ACTIONS[self.does]()

    def scores(self, inputs):
        signal = 1 / (1 + np.exp(-self.slope * inputs["table"][:, 0].astype(float)))
        return np.stack([1 - signal, signal], 1)


def line(shapes, *, slope, does):
    return Line(slope, does)


def fit(start, data, context):
    start.fit(data, seed=context.seed)
    return start


@hookimpl
def hepbench_datasets():
    return [
        Dataset(
            name="toy",
            summary="two Gaussian numbers",
            classes=("background", "signal"),
            inputs={"table": Input(shape=(2,))},
            sample=Sample("toys:sample"),
            views={"table": View("toys:first", params=frozenset({"columns"}))},
            params={"n": 1000, "columns": 2},
            read_params=frozenset({"n"}),
        )
    ]


@hookimpl
def hepbench_models():
    params = {"slope": 1.0, "does": ""}
    return [
        Model(
            name="line",
            summary="scores by the first number",
            inputs=("table",),
            build="toys:line",
            offers=frozenset({"estimate"}),
            params=params,
        )
    ]


@hookimpl
def hepbench_methods():
    return [
        Method(name="fit", summary="fits", run="toys:fit", needs=frozenset({"estimate"})),
        Method(
            name="again",
            summary="fits a second time",
            run="toys:fit",
            needs=frozenset({"estimate"}),
            after=("fit", "classifier"),
        ),
    ]
