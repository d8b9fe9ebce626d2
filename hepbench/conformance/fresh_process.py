"""Runs checks of plugins in a fresh process, which shares no state with this one."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from hepbench.conformance.claims import need
from hepbench.registry.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def run_in_fresh_process(target: str, *arguments: Any, libraries: Iterable[str] = ()) -> Any:
    """Call a function of a check in a fresh process and return its result.

    The process has another hash seed, so results that depend on the order of a set differ.

    Args:
        target: the function, as ``"module:function"``.
        arguments: its positional arguments, JSON values.
        libraries: modules to import once for all calls; not those of plugins.

    Returns:
        The result, a JSON value.

    Raises:
        PluginError: the call fails; the message quotes its error.
    """
    request = {
        "target": target,
        "arguments": arguments,
        "libraries": list(libraries),
        "path": sys.path,
    }
    server = _server_process()
    assert server.stdin is not None
    assert server.stdout is not None
    with suppress(BrokenPipeError):
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
    answer = server.stdout.readline()
    if not answer:
        _server_process.cache_clear()
    found = json.loads(answer or '{"error": "the process cannot be started"}')
    need("error" not in found, f"in a fresh process: {found.get('error')}")
    return found["returned"]


def run_python(code: str, *arguments: str) -> str:
    """Run a check's code in a new Python process and return the last line that it prints."""
    command = [sys.executable, "-P", "-c", code, *arguments]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    need(done.returncode == 0, f"in a fresh process: {lines[-1]}")
    return done.stdout.splitlines()[-1]


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")},
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") == "2" else "2",
    }


@cache
def _server_process() -> subprocess.Popen[str]:
    code = "from hepbench.conformance.fresh_process import serve; serve()"
    server = subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(_end_server, server)
    return server


def _end_server(server: subprocess.Popen[str]) -> None:
    # closing its stdin ends the process
    server.communicate()


def serve() -> None:
    """Run the checks that are requested on stdin, one per line, each in a fork."""
    answers = os.dup(1)
    # text that a plugin prints must not mix with the answers
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        for library in request["libraries"]:
            with suppress(ImportError):
                import_module(library)
        if (child := os.fork()) == 0:
            _run_and_answer(request, answers)
        _, status = os.waitpid(child, 0)
        if code := os.waitstatus_to_exitcode(status):
            _write_answer(answers, {"error": f"exit code {code}"})


def _run_and_answer(request: Mapping[str, Any], answers: int) -> NoReturn:
    sys.path[:] = request["path"]
    try:
        found = {"returned": resolve(request["target"])(*request["arguments"])}
        _write_answer(answers, found)
    except BaseException as error:  # noqa: BLE001 - any error is sent back
        _write_answer(answers, {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"})
    os._exit(0)


def _write_answer(answers: int, found: Mapping[str, Any]) -> None:
    rest = json.dumps(found).encode() + b"\n"
    while rest:
        rest = rest[os.write(answers, rest) :]
