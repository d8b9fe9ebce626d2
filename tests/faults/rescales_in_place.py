"""Point 2: a method that rescales its inputs in place.

If this had an effect, validation scores would come from other inputs than test scores, and a
threshold chosen on validation would be wrong for the test part.
"""

from __future__ import annotations

from hepbench import Method, hookimpl


def run(start, data, context):
    for part in (data.train, data.validation):
        part.inputs["table"] = 5 + part.inputs["table"] / 10
    return start


@hookimpl
def hepbench_methods():
    return [
        Method(
            name="rescale-in-place",
            summary="changes its inputs",
            run="rescales_in_place:run",
            needs=frozenset({"estimate"}),
        )
    ]
