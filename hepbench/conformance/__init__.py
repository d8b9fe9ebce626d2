"""Conformance tests: checks that every kind of plugin keeps its contract."""
