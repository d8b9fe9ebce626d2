"""Point 9: estimators that leave work behind, which would go on while others are measured.

``leaves-child`` and ``leaves-daemon`` start a process in their fit, the second one in a session of
its own; ``keeps-thread`` starts a thread whenever it is built, so in the cost stage too.
"""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np

from hepbench import Model, hookimpl

FOREVER = [sys.executable, "-c", "while True: pass"]


class Leaves:
    def __init__(self, fault):
        self.fault = fault
        self.child = 0
        if fault == "keeps-thread":
            threading.Thread(target=context, daemon=True).start()

    def fit(self, data, *, seed):
        if self.fault != "keeps-thread":
            alone = self.fault == "leaves-daemon"
            # seen by nobody once the fit is over
            self.child = subprocess.Popen(FOREVER, start_new_session=alone).pid

    def scores(self, inputs):
        signal = 1 / (1 + np.exp(-inputs["table"][:, 0].astype(float)))
        return np.stack([1 - signal, signal], 1)


def context():
    numbers = np.arange(3_000_000)
    while True:
        # outside of Python's lock, as most libraries work
        np.sin(numbers)


def build(shapes, *, fault):
    return Leaves(fault)


@hookimpl
def hepbench_models():
    return [
        Model(
            name=fault,
            summary="works on",
            inputs=("table",),
            build="works_on:build",
            offers=frozenset({"estimate"}),
            params={"fault": fault},
        )
        for fault in ("leaves-child", "leaves-daemon", "keeps-thread")
    ]
