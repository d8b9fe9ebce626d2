"""Whatever a plugin does in its worker, one cell fails, and the others are recorded."""

from __future__ import annotations

import pytest

PLUGIN = r'''
"""Models that do what no model should."""
import os, signal, sys
import numpy as np
from hepbench import Dataset, Examples, Input, Method, Model, Sample, hookimpl

def sample():
    x = np.random.default_rng(3).normal(size=(300, 1)).astype(np.float32)
    yield "labelled", Examples(inputs={"table": x}, ids=np.arange(300), labels=(x[:, 0] > 0.2).astype(int))

class Mute(Exception):
    def __str__(self):
        raise ValueError("no text")

def fail(error):
    raise error

def write_everywhere(text):
    for descriptor in range(3, 256):
        try:
            os.write(descriptor, text)
        except OSError:
            pass

def patch():
    import json
    json.dumps = json.loads = json.dump = json.load = None
    fail(RuntimeError("patched"))

ACTIONS = {
    "none": lambda: None,
    "surrogate": lambda: fail(RuntimeError("bad \udce9 text")),
    "long": lambda: fail(RuntimeError("x" * 100_000_000)),
    "mute": lambda: fail(Mute()),
    "escape": lambda: fail(RuntimeError("\x1b[31mred\x07")),
    "garbage": lambda: write_everywhere(b"garbage"),
    "zeros": lambda: write_everywhere(bytes(64)),
    "half": lambda: write_everywhere(b"\0\0\1\0"),
    "close": lambda: os.closerange(3, 256),
    "patch": patch,
    "exit": lambda: sys.exit(0),
    "hard-exit": lambda: os._exit(0),
    "interrupt": lambda: fail(KeyboardInterrupt()),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}

class Line:
    def __init__(self, shapes, *, action):
        self.action = action

    def fit(self, data, *, seed):
        ACTIONS[self.action]()

    def scores(self, inputs):
        signal = 1 / (1 + np.exp(-inputs["table"][:, 0].astype(float)))
        return np.stack([1 - signal, signal], 1)

def fit(start, data, work):
    start.fit(data, seed=work.seed)
    return start

@hookimpl
def hepbench_datasets():
    return [Dataset(name="points", summary="", classes=("background", "signal"),
                    inputs={"table": Input(shape=(1,))}, sample=Sample("plug:sample"))]

@hookimpl
def hepbench_models():
    return [Model(name="line", summary="", build="plug:Line", params={"action": "none"},
                  inputs=("table",), offers=frozenset({"estimate"}))]

@hookimpl
def hepbench_methods():
    return [Method(name="fit", summary="", run="plug:fit", needs=frozenset({"estimate"}))]
'''
ERRORS = {
    "surrogate": r"RuntimeError: bad \udce9 text",
    "long": "RuntimeError: " + "x" * (1 << 16),
    "mute": "Mute: its text cannot be written: ValueError",
    "escape": "RuntimeError: \x1b[31mred\x07",
    "garbage": "Garbled: its events cannot be read: something else wrote into their channel",
    "zeros": "Garbled: its events cannot be read: something else wrote into their channel",
    "half": "Garbled: its events cannot be read: something else wrote into their channel",
    "close": "Exited: exited with code 1 in the middle of a stage",
    "patch": "RuntimeError: patched",
    "exit": "SystemExit: 0",
    "hard-exit": "Exited: exited with code 0 in the middle of a stage",
    "interrupt": "KeyboardInterrupt: KeyboardInterrupt",
    "kill": "Killed: killed by signal 9 (SIGKILL); out of memory is one reason",
}


@pytest.fixture
def ran(bench):
    """Return a function that runs a model with an action beside one that does nothing."""
    bench.plugin(PLUGIN, "plug")

    def run(*actions):
        models = ", ".join(f'"line[action={action}]"' for action in actions)
        lines = ['name = "s"', "cost = false", "[[run]]", 'datasets = ["points"]']
        lines += ['methods = ["fit"]', f'models = [{models}, "line"]']
        bench.write("s.toml", "\n".join(lines))
        return bench("run", "s.toml", "--jobs", "1", timeout=300)

    return run


def test_what_a_plugin_does_in_its_worker_fails_its_cell_alone(bench, ran):
    """The record says what happened; output has no control characters; the last model is scored."""
    done = ran(*ERRORS)
    assert "Traceback" not in done.err, done.err
    records = bench.records()
    found = {r.params["model"]["action"]: r for r in records.values()}
    assert done.code == 1
    assert found.pop("none").status == "ok"
    texts = {name: f"{r.error.type}: {r.error.message}" for name, r in found.items()}
    assert texts == ERRORS
    assert len(found["long"].error.traceback) <= 1 << 16
    assert "\x1b" not in done.out + done.err
    assert "\x07" not in done.out + done.err
