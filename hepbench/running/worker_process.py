"""Start worker processes from the main process, receive their events, and kill them.

They are forked from a clean server that has imported what the stages declare.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import process, resource_tracker, util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.registry.libraries import is_library
from hepbench.running import messages, worker
from hepbench.running.trace import PRELOAD
from hepbench.specs.errors import ResultsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext, ForkServerProcess

    from hepbench.planning.stages import Stage
    from hepbench.running.messages import Event, JobOrder

STDERR_KEPT = 4000

LARGEST_EVENT = 1 << 20
"""Largest size of a worker's event in bytes; longer texts are cut before."""

HEADER = 4
"""Size in bytes of the length field before each event, see ``Connection.send_bytes``."""

OWN_IMPORTS = (
    "numpy.random",
    # numpy imports these two when it first reads an npy and writes an npz
    "ast",
    "zipfile",
    "hepbench.running.worker",
    "hepbench.training.method_stage",
    *(f"hepbench.data.{kind}_stage" for kind in ("read", "split", "inputs")),
)


def server(stages: Iterable[Stage], threads: int, plugin_tops: frozenset[str]) -> ForkServerContext:
    """Return a multiprocessing context that forks workers from a server with libraries imported.

    The server never imports a plugin: code that is edited later would live on in its workers.
    """
    wanted = dict.fromkeys(module for stage in stages for module in stage.imports)
    imports = [module for module in wanted if is_library(module, plugin_tops)]
    own = [*OWN_IMPORTS]
    if any(module.startswith("sklearn") for module in imports):
        own.append("skops.io")
    os.environ[PRELOAD] = ",".join([*own, *imports])
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    # the order in which ``devices`` finds the GPUs
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    context = multiprocessing.get_context("forkserver")
    _shorten_socket_paths()
    _start_resource_tracker()
    context.set_forkserver_preload(["hepbench.running.preload"])
    return context


def _start_resource_tracker() -> None:
    """Start the tracker of multiprocessing, which lets signals through while it starts.

    It ignores Ctrl-C and SIGTERM by itself. SIGHUP of a closed terminal is blocked in it as it is
    blocked here, so that it does not end before the run.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


LONGEST_SOCKET_FOLDER = 60
"""Longest path of a folder for sockets in bytes; with file name, Linux allows 107, macOS 103."""


def _shorten_socket_paths() -> None:
    """Use a folder in /tmp for the sockets of workers if the path of TMPDIR is too long."""
    settings: dict[str, Any] = process.current_process()._config  # type: ignore[attr-defined]
    try:
        usual = tempfile.gettempdir()
    except OSError as error:
        msg = f"{error.strerror}; set TMPDIR to a folder that can be written"
        raise ResultsError(msg) from error
    if "tempdir" not in settings and len(os.fsencode(usual)) > LONGEST_SOCKET_FOLDER:
        folder = tempfile.mkdtemp(prefix="hepbench-", dir="/tmp")
        # after everything that multiprocessing ends
        util.Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-100)
        settings["tempdir"] = folder


@dataclass
class WorkerProcess:
    """A worker process that was started, with its connection and scratch folder.

    Attributes:
        connection: to its events; None when it has closed its end, or wrote no event into it.
        garbled: whether something wrote no event into it.
    """

    process: ForkServerProcess
    connection: Connection | None
    scratch: Path
    garbled: bool = False
    _received: bytearray = field(default_factory=bytearray)

    @classmethod
    def start(cls, context: ForkServerContext, order: JobOrder) -> WorkerProcess:
        """Fork a worker for the stages of an order; the caller must delay signals meanwhile."""
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=worker.main, args=(msgspec.json.encode(order), theirs), daemon=True
        )
        with _hidden_main():
            process.start()
            started = cls(process, ours, Path(order.scratch))
        theirs.close()
        return started

    @property
    def signs(self) -> list[Any]:
        """Objects for ``connection.wait``, ready when the worker reports an event or ends."""
        signs: list[Any] = [self.process.sentinel]
        return signs if self.connection is None else [self.connection, *signs]

    def events(self) -> Iterator[Event]:
        """Yield the events of the worker that have arrived, without waiting for more."""
        while self.connection is not None and self.connection.poll():
            data = os.read(self.connection.fileno(), LARGEST_EVENT)
            self._received += data
            if not data:
                self.connection, self.garbled = None, bool(self._received)
            try:
                yield from self._complete_events()
            except (ValueError, msgspec.MsgspecError):
                self.garbled, self.connection = True, None

    def _complete_events(self) -> Iterator[Event]:
        received = self._received
        while len(received) >= HEADER:
            end = HEADER + int.from_bytes(received[:HEADER], "big")
            if end > HEADER + LARGEST_EVENT:
                msg = "no length of an event"
                raise ValueError(msg)
            if len(received) < end:
                return
            data = bytes(received[HEADER:end])
            del received[:end]
            yield messages.decode(data)

    def has_ended(self) -> bool:
        """Return whether the worker has ended or can send no more events."""
        return self.connection is None or not self.process.is_alive()

    def death(self) -> tuple[str, str]:
        """Return error type and message for a worker that ended without reporting a failure."""
        if not self.garbled:
            self.process.join(5)
        code = self.process.exitcode
        if self.garbled and not code:
            message = "the worker's reports cannot be read: other code wrote into the same pipe"
            return "Garbled", message
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            message = f"the worker was killed by signal {-code} ({name}), perhaps out of memory"
            return "Killed", message
        if code == 255:
            message = "the process that starts workers was killed, perhaps out of memory"
            return "Killed", message
        return "Exited", f"the worker exited with code {code} in the middle of a stage"

    def log_tail(self) -> str:
        """Return the end of what the worker wrote to stdout and stderr."""
        try:
            return (self.scratch / "log").read_text(errors="replace")[-STDERR_KEPT:]
        except OSError:
            return ""

    def kill(self) -> None:
        """Kill the worker and its children, also those that a crashed worker left behind."""
        pid = self.process.pid
        if pid is not None:
            # a worker that has crashed may have left children
            kills = (os.killpg, os.kill) if self.process.is_alive() else (os.killpg,)
            for kill in kills:
                with suppress(ProcessLookupError, PermissionError):
                    kill(pid, signal.SIGKILL)
        self.process.join(5)

    def close(self) -> None:
        """Remove the worker's scratch folder and close its connection."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        if self.connection is not None:
            self.connection.close()


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Hide the main script while a worker starts, which would otherwise import it again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
