"""Conformance tests: check that a plugin's datasets, models, methods and metrics are right."""
