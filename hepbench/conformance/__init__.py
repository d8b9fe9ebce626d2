"""Conformance tests: what each kind of plugin promises."""
