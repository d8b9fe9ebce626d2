"""ONNX graphs of the estimators, for their latency in the runtime that networks are timed in.

They are not methods of the estimators, because their code is no part of the keys of trainings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onnx import GraphProto, ModelProto, NodeProto

    from hepbench import Array
    from hepbench_models.gbdt import GradientBoosting
    from hepbench_models.logistic import Logistic

IR_VERSION, OPSET, ML_OPSET = 8, 17, 3
"""Versions that any ONNX Runtime of the last years can read."""


def boosted_trees(estimator: GradientBoosting) -> ModelProto:
    """Return the graph of boosted trees: one ensemble that adds up leaves, then probabilities."""
    trees: Any = estimator.trees
    start = trees._baseline_prediction.ravel()
    ensemble = helper.make_node(
        "TreeEnsembleRegressor",
        ["table"],
        ["margins"],
        domain="ai.onnx.ml",
        n_targets=len(start),
        aggregate_function="SUM",
        post_transform="NONE",
        base_values=start.tolist(),
        **_ensemble(trees._predictors, len(start)),
    )
    return _model(
        [ensemble, *_probabilities("margins", len(start))], estimator.features, len(start)
    )


def logistic_regression(estimator: Logistic) -> ModelProto:
    """Return the graph of a logistic regression, in float64 as scikit-learn computes it."""
    scaler, classifier = estimator.scaler, estimator.classifier
    constants = {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "coefficients": classifier.coef_.T,
        "intercepts": classifier.intercept_,
    }
    margins = len(classifier.intercept_)
    nodes = [
        helper.make_node("Cast", ["table"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Sub", ["wide", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "coefficients"], ["products"]),
        helper.make_node("Add", ["products", "intercepts"], ["wide_margins"]),
        helper.make_node("Cast", ["wide_margins"], ["margins"], to=TensorProto.FLOAT),
        *_probabilities("margins", margins),
    ]
    return _model(nodes, estimator.features, margins, constants)


def _ensemble(steps: Iterable[Sequence[Any]], margins: int) -> dict[str, list[Any]]:
    """Return the nodes of all trees as attributes of an ensemble.

    Args:
        steps: the trees of each iteration, one for each margin.
        margins: their number.
    """
    trees = [(tree.nodes, margin) for step in steps for margin, tree in enumerate(step)]
    # without a leaf for each margin ONNX Runtime leaves the starting values out
    trees = trees or [(_single_leaf(), margin) for margin in range(margins)]
    pieces = [_tree(i, nodes, margin) for i, (nodes, margin) in enumerate(trees)]
    return {name: [x for piece in pieces for x in piece[name]] for name in pieces[0]}


def _tree(i: int, nodes: Array, margin: int) -> dict[str, list[Any]]:
    leaf = nodes["is_leaf"].astype(bool)
    leaves = np.flatnonzero(leaf)
    left, right = (np.where(leaf, 0, nodes[side]).tolist() for side in ("left", "right"))
    return {
        "nodes_treeids": [i] * len(nodes),
        "nodes_nodeids": list(range(len(nodes))),
        "nodes_featureids": np.where(leaf, 0, nodes["feature_idx"]).tolist(),
        "nodes_values": _thresholds(np.where(leaf, 0, nodes["num_threshold"])).tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_truenodeids": left,
        "nodes_falsenodeids": right,
        "nodes_missing_value_tracks_true": nodes["missing_go_to_left"].astype(int).tolist(),
        "target_treeids": [i] * len(leaves),
        "target_nodeids": leaves.tolist(),
        "target_ids": [margin] * len(leaves),
        "target_weights": nodes["value"][leaves].tolist(),
    }


def _single_leaf() -> Array:
    """Return the nodes of a tree of one leaf that adds nothing."""
    whole = ("is_leaf", "left", "right", "feature_idx", "missing_go_to_left")
    kinds = [*((name, int) for name in whole), ("num_threshold", float), ("value", float)]
    leaf = np.zeros(1, kinds)
    leaf["is_leaf"] = 1
    return leaf


def _thresholds(values: Array) -> Array:
    """Round float64 thresholds down to float32.

    A float32 feature is at most a threshold exactly if it is at most the threshold rounded down.
    """
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    above = rounded.astype(np.float64) > values
    return np.where(above, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _probabilities(margins: str, n: int) -> list[NodeProto]:
    """Return the nodes that turn (N, n) margins into ``scores``; one margin stands for two classes."""
    if n > 1:
        return [helper.make_node("Softmax", [margins], ["scores"], axis=1)]
    return [
        helper.make_node("Neg", [margins], ["negative"]),
        helper.make_node("Concat", ["negative", margins], ["both"], axis=1),
        helper.make_node("Sigmoid", ["both"], ["scores"]),
    ]


def _model(
    nodes: Sequence[NodeProto],
    features: int,
    margins: int,
    constants: dict[str, Array] | None = None,
) -> ModelProto:
    return helper.make_model(
        _graph(nodes, features, max(margins, 2), constants or {}),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=IR_VERSION,
    )


def _graph(
    nodes: Sequence[NodeProto], features: int, classes: int, constants: dict[str, Array]
) -> GraphProto:
    table = helper.make_tensor_value_info("table", TensorProto.FLOAT, [None, features])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, classes])
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    return helper.make_graph(list(nodes), "estimator", [table], [scores], tensors)
