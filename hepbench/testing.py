"""Conformance tests for a plugin author's own pytest, the same as ``hepbench check NAME``.

In a test file of the plugin::

    from hepbench.testing import checks

    @pytest.mark.parametrize("check", checks("my-plugin"), ids=str)
    def test_conformance(check):
        check()
"""

from __future__ import annotations

from hepbench.conformance.checks import Check, Result, attempt, check, checks

__all__ = ["Check", "Result", "attempt", "check", "checks"]
