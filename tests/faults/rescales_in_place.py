"""Point 2: a method that rescales the inputs that it was given, in place.

The validation part would then be scored on other inputs than the test part, and a threshold chosen
on it would be one for other scores.
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
            summary="changes what it was given",
            run="rescales_in_place:run",
            needs=frozenset({"estimate"}),
        )
    ]
