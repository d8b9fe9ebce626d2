"""Conformance: what each kind of plugin promises, claim by claim. The public face is ``testing``."""
