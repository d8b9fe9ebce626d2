"""Whatever a plugin does in its worker, one cell fails, and the others are recorded."""

from __future__ import annotations

ERRORS = {
    "surrogate": r"RuntimeError: bad \udce9 text",
    "long": "RuntimeError: " + "x" * (1 << 16),
    "mute": "Mute: the text of this error cannot be read: ValueError",
    "escape": "RuntimeError: \x1b[31mred\x07",
    "garbage": "Garbled: the worker's reports cannot be read: other code wrote into the same pipe",
    "zeros": "Garbled: the worker's reports cannot be read: other code wrote into the same pipe",
    "half": "Garbled: the worker's reports cannot be read: other code wrote into the same pipe",
    "close": "Exited: the worker exited with code 1 in the middle of a stage",
    "patch": "RuntimeError: patched",
    "quit": "SystemExit: 0",
    "leave": "Exited: the worker exited with code 0 in the middle of a stage",
    "interrupt": "KeyboardInterrupt: KeyboardInterrupt",
    "kill": "Killed: the worker was killed by signal 9 (SIGKILL), perhaps out of memory",
}


def test_what_a_plugin_does_in_its_worker_fails_its_cell_alone(toys):
    """The record says what happened; output has no control characters; the last model is scored."""
    models = ", ".join(f'"line[does={does}]"' for does in ERRORS)
    lines = ['name = "s"', "cost = false", "[[run]]", 'datasets = ["toy"]']
    toys.write("s.toml", "\n".join([*lines, 'methods = ["fit"]', f'models = [{models}, "line"]']))
    done = toys("run", "s.toml", "--jobs", "1", timeout=300)
    assert done.code == 1
    assert "Traceback" not in done.err
    found = {r.params["model"]["does"]: r for r in toys.records().values()}
    assert found.pop("").status == "ok"
    texts = {name: f"{r.error.type}: {r.error.message}" for name, r in found.items()}
    assert texts == ERRORS
    assert len(found["long"].error.traceback) <= 1 << 16
    assert "\x1b" not in done.out + done.err
    assert "\x07" not in done.out + done.err
