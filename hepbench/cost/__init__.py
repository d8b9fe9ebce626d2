"""The cost of scoring: operations, latency and memory of the model that was scored."""
