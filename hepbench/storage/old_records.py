"""Records of schema 1, converted to schema 3. Pure: builtins in, builtins out.

Parameters, metrics and terms of histories get their present names, and the paths of stored files
become relative to the suite's folder. Numbers and keys stay.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from hepbench.specs.renamed import PARAMETERS
from hepbench.storage import keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hepbench.specs.types import Json


PARAMETER_VALUES = {("after", "restart"): "reinitialise"}
"""Values of parameters: (name, old value) -> new value."""


METRICS = {"code_sparsity": "latent_sparsity"}


LOSS_VALUES = {"code_zeros": "latent_zeros"}
"""Values of each example, stored with its scores."""


HISTORY = {"rate": "learning_rate"}
"""First words of names in a history: ``rate.encoder`` -> ``learning_rate.encoder``."""


def convert(old: Mapping[str, Json]) -> dict[str, Json]:
    """Return a record of schema 1 as one of schema 3."""
    parts = old.get("key_parts", {})
    stage_keys = _stage_keys(parts, old["key"])
    provenance = _provenance(old.get("provenance", {}))
    methods = keys.methods(parts)
    measured_on = stage_keys.get(methods[-1], "") if methods else ""
    return {
        **old,
        "schema_version": 3,
        "model": _label(old["model"]),
        "chain": _label(old["chain"]),
        "params": _params(old["params"]),
        "stage_keys": stage_keys,
        "key_parts": {name: _key_parts(name, each) for name, each in parts.items()},
        "cost": _cost(old.get("cost", {}), provenance["device"], measured_on),
        "provenance": provenance,
        "history": _history(old.get("history", [])),
        "published": _published(old.get("published")),
        "error": _error(old.get("error")),
        **{name: _metrics(old.get(name, {})) for name in _PARTS},
        **{name: _stored(old.get(name), old["suite"]) for name in ("predictions", "labels")},
    }


def in_suite(path: str, suite: str) -> str:
    """Return a path relative to the suite's folder; up to schema 2 it began with that folder."""
    return path.removeprefix(f"{suite}/")


def _stored(stored: Mapping[str, Json] | None, suite: str) -> dict[str, Json] | None:
    return None if stored is None else {**stored, "path": in_suite(stored["path"], suite)}


_PARTS = ("metrics", "metrics_train", "metrics_validation")


def _stage_keys(parts: Mapping[str, Json], cell: str) -> dict[str, str]:
    """Return the keys of a cell's stages by name, from what they were hashed from; none where
    another version of hepbench hashed them in another way.
    """
    found, whole = keys.of_parts(parts)
    return found if whole == cell else {}


def _key_parts(name: str, parts: Mapping[str, Json]) -> dict[str, Json]:
    if "method" in parts:
        renamed = {n: _renamed(parts[n]) for n in ("params", "model_params") if n in parts}
        return {**parts, **renamed}
    if name == "evaluate":
        dataset, *labels, seed = parts["cell"]
        changed = {
            "cell": [dataset, *(_label(each) for each in labels), seed],
            "metrics": [METRICS.get(metric, metric) for metric in parts["metrics"]],
            "published": _published(parts.get("published")),
        }
        return {**parts, **changed}
    return dict(parts)


def _params(params: Mapping[str, Json]) -> dict[str, Json]:
    found = dict(params)
    if "model" in params:
        found["model"] = _renamed(params["model"])
    if "methods" in params:
        found["methods"] = {name: _renamed(each) for name, each in params["methods"].items()}
    return found


def _renamed(params: Mapping[str, Json]) -> dict[str, Json]:
    return {PARAMETERS.get(name, name): _value(name, value) for name, value in params.items()}


def _value(name: str, value: Json) -> Json:
    return PARAMETER_VALUES.get((name, value), value) if isinstance(value, str) else value


def _label(label: str) -> str:
    """Return ``scratch[rate=0.002]`` as ``scratch[learning_rate=0.002]``."""
    return _PARAMETER.sub(_setting, label) if "[" in label else label


_PARAMETER = re.compile(r"(?<=[\[,])(\w+)=(\w*)")


def _setting(found: re.Match[str]) -> str:
    name, value = found.groups()
    return f"{PARAMETERS.get(name, name)}={_value(name, value)}"


def _cell(name: str) -> str:
    """Return a cell's name with the labels of its model and chain as they are now."""
    dataset, slash, others = name.partition("/")
    return f"{dataset}{slash}{_label(others)}"


def _metrics(metrics: Mapping[str, Json]) -> dict[str, Json]:
    return {METRICS.get(name, name): value for name, value in metrics.items()}


def _history(rows: Iterable[Mapping[str, float]]) -> list[dict[str, float]]:
    return [{_term(name): value for name, value in row.items()} for row in rows]


@cache
def _term(name: str) -> str:
    first, dot, rest = name.partition(".")
    return f"{HISTORY.get(first, first)}{dot}{rest}"


def _published(published: Mapping[str, Json] | None) -> dict[str, Json] | None:
    if published is None:
        return None
    changed = {"cell": _cell(published["cell"]), "metrics": _metrics(published["metrics"])}
    return {**published, **changed}


def _error(error: Mapping[str, Json] | None) -> dict[str, Json] | None:
    return None if error is None else {**error, "cell": _cell(error.get("cell", ""))}


def _provenance(old: Mapping[str, Json]) -> dict[str, Json]:
    machine = old.get("machine") or {}
    device = {"kind": old.get("device", ""), "precision": old.get("precision", "")}
    if device["kind"] == "cpu":
        device["name"] = machine.get("processor", "")
    kept = {name: value for name, value in old.items() if name != "precision"}
    return {**kept, "machine": machine, "device": device}


def _cost(old: Mapping[str, Json], device: Json, measured_on: str) -> dict[str, Json]:
    """Return a cost whose latencies are a list; their load was recorded once for all of them."""
    shared = {"load": old.get("load"), "measured_on": measured_on, "device": device}
    latencies = [
        {
            "runtime": runtime,
            "batch": int(batch),
            "median_ms": timed["median"],
            "p95_ms": timed["p95"],
            **shared,
        }
        for runtime, batches in old.get("latency_ms", {}).items()
        for batch, timed in batches.items()
    ]
    kept = {name: value for name, value in old.items() if name not in {"latency_ms", "load"}}
    return {**kept, "latencies": latencies}
