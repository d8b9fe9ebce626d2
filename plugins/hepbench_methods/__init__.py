"""The methods that come with hepbench: one module, one method."""

from __future__ import annotations

from hepbench import Method, hookimpl

SCRATCH = Method(
    name="scratch",
    summary="An estimator fits itself to the labelled training examples",
    run="hepbench_methods.scratch:scratch",
    after=("fresh",),
    needs=frozenset({"estimate"}),
)


@hookimpl
def hepbench_methods() -> list[Method]:
    """Return scratch."""
    return [SCRATCH]
