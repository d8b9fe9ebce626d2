"""What scoring costs: operations, latency and memory of the very model that was scored."""
