"""Point 8: estimators whose cost of scoring is not what they offer or state.

``exports-less`` offers the ONNX graph of a smaller model; ``exports-nothing`` fails to make one;
``claims-less`` states fewer operations than it makes.
"""

from __future__ import annotations

import numpy as np

from hepbench import Model, hookimpl

FAULTS = ("exports-less", "exports-nothing", "claims-less")


class Line:
    def __init__(self, shapes, *, fault):
        self.fault = fault
        self.parameters = 1

    def fit(self, data, *, seed):
        pass

    def scores(self, inputs):
        signal = 1 / (1 + np.exp(-inputs["table"][:, 0].astype(float)))
        return np.stack([1 - signal, signal], 1)

    def cost(self):
        return {"macs": 0 if self.fault == "claims-less" else 1}

    def onnx(self):
        from onnx import TensorProto, helper

        if self.fault == "exports-nothing":
            msg = "not written yet"
            raise NotImplementedError(msg)
        graph = helper.make_graph(
            [helper.make_node("Softmax", ["table"], ["scores"], axis=1)],
            "less",
            [helper.make_tensor_value_info("table", TensorProto.FLOAT, [None, None])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, None])],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@hookimpl
def hepbench_models():
    return [
        Model(
            name=fault,
            summary="has an odd cost",
            inputs=("table",),
            build="odd_costs:Line",
            offers=frozenset({"estimate"}),
            params={"fault": fault},
        )
        for fault in FAULTS
    ]
