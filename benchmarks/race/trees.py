"""Boosted trees on HIGGS features: from an HDF5 file to an AUC, a size and latencies."""

from __future__ import annotations

import argparse
import json
import time

import h5py
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

parser = argparse.ArgumentParser()
parser.add_argument("file")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--threads", type=int, default=1)
options = parser.parse_args()

with h5py.File(options.file) as file:
    parts = {part: (file[part]["table"][:], file[part]["labels"][:]) for part in file}
x_train, y_train = parts["train"]
x_validation, y_validation = parts["validation"]
x_test, y_test = parts["test"]

trees = HistGradientBoostingClassifier(
    learning_rate=0.05,
    max_iter=500,
    max_leaf_nodes=16,
    min_samples_leaf=20,
    l2_regularization=10.0,
    max_features=0.5,
    early_stopping=True,
    n_iter_no_change=20,
    scoring="loss",
    random_state=options.seed,
)
trees.fit(x_train, y_train, X_val=x_validation, y_val=y_validation)
scores = trees.predict_proba(x_test)[:, 1]
found = {"auc": roc_auc_score(y_test, scores), "trees": trees.n_iter_}

for batch in (1, 256):
    durations = []
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end or len(durations) < 5:
        rows = x_test[np.random.default_rng(len(durations)).integers(len(x_test), size=batch)]
        began = time.perf_counter()
        trees.predict_proba(rows)
        durations.append(time.perf_counter() - began)
    found[f"python_ms_{batch}"] = 1e3 * float(np.median(durations))
print(json.dumps(found))
