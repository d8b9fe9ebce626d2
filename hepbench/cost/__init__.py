"""Measure the cost of scoring: parameters, operations (MACs), latency, memory, ONNX export."""
