"""Point 9: estimators that leave work running, which would disturb later measurements.

``leaves-child`` and ``leaves-daemon`` start a process in ``fit``, the second one in its own
session; ``keeps-thread`` starts a thread when it is built, so in the cost stage too.
"""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np

from hepbench import Model, hookimpl

FOREVER = [sys.executable, "-c", "while True: pass"]


class LeavesWork:
    def __init__(self, fault):
        self.fault = fault
        self.child = 0
        if fault == "keeps-thread":
            threading.Thread(target=work_forever, daemon=True).start()

    def fit(self, data, *, seed):
        if self.fault != "keeps-thread":
            new_session = self.fault == "leaves-daemon"
            # nobody stops this process after the fit
            self.child = subprocess.Popen(FOREVER, start_new_session=new_session).pid

    def scores(self, inputs):
        signal = 1 / (1 + np.exp(-inputs["table"][:, 0].astype(float)))
        return np.stack([1 - signal, signal], 1)


def work_forever():
    numbers = np.arange(3_000_000)
    while True:
        # numpy releases Python's lock, as most libraries do
        np.sin(numbers)


def build(shapes, *, fault):
    return LeavesWork(fault)


@hookimpl
def hepbench_models():
    return [
        Model(
            name=fault,
            summary="leaves work running",
            inputs=("table",),
            build="works_on:build",
            offers=frozenset({"estimate"}),
            params={"fault": fault},
        )
        for fault in ("leaves-child", "leaves-daemon", "keeps-thread")
    ]
