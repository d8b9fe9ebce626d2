"""Converts stored records of schema 1 to schema 3. Pure: builtins in, builtins out.

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
    """Convert a stored record from schema 1 to schema 3."""
    parts = old.get("key_parts", {})
    stage_keys = _recomputed_stage_keys(parts, old["key"])
    provenance = _convert_provenance(old.get("provenance", {}))
    methods = keys.methods(parts)
    measured_on = stage_keys.get(methods[-1], "") if methods else ""
    return {
        **old,
        "schema_version": 3,
        "model": _convert_label(old["model"]),
        "chain": _convert_label(old["chain"]),
        "params": _convert_params(old["params"]),
        "stage_keys": stage_keys,
        "key_parts": {name: _convert_key_parts(name, each) for name, each in parts.items()},
        "cost": _convert_cost(old.get("cost", {}), provenance["device"], measured_on),
        "provenance": provenance,
        "history": _convert_history(old.get("history", [])),
        "published": _convert_published(old.get("published")),
        "error": _convert_error(old.get("error")),
        **{name: _rename_metrics(old.get(name, {})) for name in _PARTS},
        **{
            name: _convert_stored_file(old.get(name), old["suite"])
            for name in ("predictions", "labels")
        },
    }


def in_suite(path: str, suite: str) -> str:
    """Return a stored file's path without the suite's folder, with which old paths began."""
    return path.removeprefix(f"{suite}/")


def _convert_stored_file(stored: Mapping[str, Json] | None, suite: str) -> dict[str, Json] | None:
    return None if stored is None else {**stored, "path": in_suite(stored["path"], suite)}


_PARTS = ("metrics", "metrics_train", "metrics_validation")


def _recomputed_stage_keys(parts: Mapping[str, Json], cell: str) -> dict[str, str]:
    """Return the keys of a cell's stages by name, computed from the key parts in an old record.

    It is empty if an older version of hepbench computed keys in another way.
    """
    found, whole = keys.of_parts(parts)
    return found if whole == cell else {}


def _convert_key_parts(name: str, parts: Mapping[str, Json]) -> dict[str, Json]:
    if "method" in parts:
        renamed = {n: _rename_params(parts[n]) for n in ("params", "model_params") if n in parts}
        return {**parts, **renamed}
    if name == "evaluate":
        dataset, *labels, seed = parts["cell"]
        changed = {
            "cell": [dataset, *(_convert_label(each) for each in labels), seed],
            "metrics": [METRICS.get(metric, metric) for metric in parts["metrics"]],
            "published": _convert_published(parts.get("published")),
        }
        return {**parts, **changed}
    return dict(parts)


def _convert_params(params: Mapping[str, Json]) -> dict[str, Json]:
    found = dict(params)
    if "model" in params:
        found["model"] = _rename_params(params["model"])
    if "methods" in params:
        found["methods"] = {name: _rename_params(each) for name, each in params["methods"].items()}
    return found


def _rename_params(params: Mapping[str, Json]) -> dict[str, Json]:
    return {
        PARAMETERS.get(name, name): _convert_value(name, value) for name, value in params.items()
    }


def _convert_value(name: str, value: Json) -> Json:
    return PARAMETER_VALUES.get((name, value), value) if isinstance(value, str) else value


def _convert_label(label: str) -> str:
    """Convert the label ``scratch[rate=0.002]`` to ``scratch[learning_rate=0.002]``."""
    return _PARAMETER.sub(_convert_setting_in_label, label) if "[" in label else label


_PARAMETER = re.compile(r"(?<=[\[,])(\w+)=(\w*)")


def _convert_setting_in_label(found: re.Match[str]) -> str:
    name, value = found.groups()
    return f"{PARAMETERS.get(name, name)}={_convert_value(name, value)}"


def _convert_cell_name(name: str) -> str:
    """Convert an old cell name, whose labels contain old parameter names."""
    dataset, slash, others = name.partition("/")
    return f"{dataset}{slash}{_convert_label(others)}"


def _rename_metrics(metrics: Mapping[str, Json]) -> dict[str, Json]:
    return {METRICS.get(name, name): value for name, value in metrics.items()}


def _convert_history(rows: Iterable[Mapping[str, float]]) -> list[dict[str, float]]:
    return [{_rename_history_column(name): value for name, value in row.items()} for row in rows]


@cache
def _rename_history_column(name: str) -> str:
    first, dot, rest = name.partition(".")
    return f"{HISTORY.get(first, first)}{dot}{rest}"


def _convert_published(published: Mapping[str, Json] | None) -> dict[str, Json] | None:
    if published is None:
        return None
    changed = {
        "cell": _convert_cell_name(published["cell"]),
        "metrics": _rename_metrics(published["metrics"]),
    }
    return {**published, **changed}


def _convert_error(error: Mapping[str, Json] | None) -> dict[str, Json] | None:
    return None if error is None else {**error, "cell": _convert_cell_name(error.get("cell", ""))}


def _convert_provenance(old: Mapping[str, Json]) -> dict[str, Json]:
    machine = old.get("machine") or {}
    device = {"kind": old.get("device", ""), "precision": old.get("precision", "")}
    if device["kind"] == "cpu":
        device["name"] = machine.get("processor", "")
    kept = {name: value for name, value in old.items() if name != "precision"}
    return {**kept, "machine": machine, "device": device}


def _convert_cost(old: Mapping[str, Json], device: Json, measured_on: str) -> dict[str, Json]:
    """Convert an old record's cost: its latencies become a list, each with the shared load."""
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
