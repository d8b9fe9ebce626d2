"""Elsewhere: functions called in another process, which shares nothing with this one."""

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


def afresh(target: str, *arguments: Any, libraries: Iterable[str] = ()) -> Any:
    """Return what ``"module:function"`` returns in a new process; values are of JSON's types.

    Its hash seed is another one, so that whatever hangs on the order of a set shows.

    Args:
        target: what is called.
        arguments: by position.
        libraries: worth importing once for all calls; nothing of a plugin's.

    Raises:
        PluginError: it fails there; its error is quoted.
    """
    request = {
        "target": target,
        "arguments": arguments,
        "libraries": list(libraries),
        "path": sys.path,
    }
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with suppress(BrokenPipeError):
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
    answer = server.stdout.readline()
    if not answer:
        _server.cache_clear()
    found = json.loads(answer or '{"error": "it cannot be started"}')
    need("error" not in found, f"in a new process: {found.get('error')}")
    return found["returned"]


def python(code: str, *arguments: str) -> str:
    """Return the last line that a new interpreter prints, which has imported nothing yet."""
    command = [sys.executable, "-P", "-c", code, *arguments]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    need(done.returncode == 0, f"in a new process: {said[-1]}")
    return done.stdout.splitlines()[-1]


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")},
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") == "2" else "2",
    }


@cache
def _server() -> subprocess.Popen[str]:
    code = "from hepbench.conformance.elsewhere import serve; serve()"
    server = subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen[str]) -> None:
    # it ends where its stdin does
    server.communicate()


def serve() -> None:
    """Answer requests on stdin, one a line, each by a fork of this process."""
    answers = os.dup(1)
    # what a plugin prints is no answer
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        for library in request["libraries"]:
            with suppress(ImportError):
                import_module(library)
        if (child := os.fork()) == 0:
            _answer(request, answers)
        _, status = os.waitpid(child, 0)
        if code := os.waitstatus_to_exitcode(status):
            _write(answers, {"error": f"exit code {code}"})


def _answer(request: Mapping[str, Any], answers: int) -> NoReturn:
    sys.path[:] = request["path"]
    try:
        found = {"returned": resolve(request["target"])(*request["arguments"])}
        _write(answers, found)
    except BaseException as error:  # noqa: BLE001 - whatever a plugin raises is told
        _write(answers, {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"})
    os._exit(0)


def _write(answers: int, found: Mapping[str, Any]) -> None:
    rest = json.dumps(found).encode() + b"\n"
    while rest:
        rest = rest[os.write(answers, rest) :]
