"""What ``hepbench check hepbench-example`` tests, in the plugin's own pytest."""

from __future__ import annotations

import pytest

from hepbench.testing import checks


@pytest.mark.parametrize("check", checks("hepbench-example"), ids=str)
def test_conformance(check):
    """Each check is a test of its own."""
    check()
