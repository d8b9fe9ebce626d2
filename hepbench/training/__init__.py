"""Train a model with a method: training loop, losses, validation, scores, stored models."""
