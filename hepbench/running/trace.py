"""Trace a worker: files that it opens, variables that it reads, processes that it starts."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from importlib.util import source_from_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from hepbench.registry import libraries, portable_paths
from hepbench.storage.digest_cache import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

STARTS = {"subprocess.Popen": 0, "os.posix_spawn": 0, "os.exec": 0, "os.system": 0, "os.spawn": 1}
"""Python audit events of starting a process -> position of the program in their arguments."""

PRELOAD = "HEPBENCH_PRELOAD"
"""Environment variable that names what the fork server imports: see ``preload``."""

OWN_VARIABLES = frozenset(
    {PRELOAD, "CUDA_DEVICE_ORDER"}
    | {f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL")}
)
"""Environment variables that hepbench sets for its workers."""

METADATA = re.compile(r"/([^/-]+)(?:-[^/]*)?\.(?:dist|egg)-info/(?:METADATA|PKG-INFO)$")
"""Matches the path of the file that holds the version of an installed distribution."""

PATHLIB = Path.home.__code__.co_filename

CORE = f"{Path(__file__).parent.parent}/"


class Trace:
    """Records what this worker and the children that it forks open, read and start.

    Attributes:
        search: folders in which Python looked for modules before.
        opened: stamp of each file when it was first opened for reading; None if it was missing.
        declared: label of each file that a spec declares, by path; they count as opened.
        listed: digest of the names in each folder that code outside libraries listed; None if it was
            missing.
        databases: files of SQLite among those that were opened: whether to write is not seen.
        written: files that were opened for writing, or that another was renamed to; folders that
            were made.
        started: programs of the processes that were started.
        distributions: those whose version code outside libraries asked for.
        variables: environment variables that code outside libraries asked for.
        modules_before: names of the modules that had been imported before.
    """

    def __init__(self, log: Path, plugin_tops: frozenset[str]) -> None:
        self.opened: dict[str, list[int] | None] = {}
        self.declared: dict[str, str] = {}
        self.listed: dict[str, str | None] = {}
        self.databases: set[str] = set()
        self.written: set[str] = set()
        self.started: set[str] = set()
        self.distributions: set[str] = set()
        self.variables: set[str] = set()
        self.search = portable_paths.ModuleSearch()
        self.modules_before = frozenset(sys.modules)
        self.plugin_tops = plugin_tops
        self._pid = os.getpid()
        self._listing = False
        self._handlers: dict[str, Callable[..., None]] = {
            "open": self._open,
            "os.listdir": self._record_listing,
            "os.scandir": self._record_listing,
            "import": self._import,
            "ctypes.dlopen": self._open_library,
            "sqlite3.connect": self._open_database,
            "os.mkdir": self._make_folder,
            "os.rename": self._rename,
            **{event: self._start(event) for event in STARTS},
        }
        # children that are forked inherit it
        self._log = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def install(self) -> None:
        """Begin to trace this worker, until it ends."""
        sys.addaudithook(self._audit)
        for environment in (os.environ, os.environb):
            self._watch_environment(environment)
        _compile_plugins(self.plugin_tops)

    def declare(self, labels: Iterable[str]) -> None:
        """Record declared files as opened, because C code may open them unseen."""
        for label in labels:
            path = str(portable_paths.locate(label) or label)
            self.declared[path] = label
            self.opened.setdefault(path, _stamp(path))

    def add_children(self) -> None:
        """Add the files that forked children of the worker have opened or written."""
        size = os.fstat(self._log).st_size
        lines = os.pread(self._log, size, 0).decode("utf-8", "surrogateescape").split("\0")
        for line in filter(None, lines):
            kind, path = line[0], line[1:]
            if kind == "w":
                self.written.add(path)
            # whatever else a plugin wrote into the log names no file
            elif kind == "r" and path not in self.opened:
                self.opened[path] = _stamp(path)
            elif kind == "l":
                self.listed.setdefault(path, portable_paths.names_in(path))

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if handle := self._handlers.get(event):
            # an exception here would fail whatever the plugin does
            with suppress(Exception):
                handle(*arguments)

    def _start(self, event: str) -> Callable[..., None]:
        place = STARTS[event]

        def start(*arguments: Any) -> None:
            self.started.add(os.fsdecode(arguments[place])[:200])

        return start

    def _open(self, path: Any, _mode: str | None, flags: int) -> None:
        # an open descriptor has been opened before
        if isinstance(path, int):
            return
        name = _absolute(path)
        if (flags & os.O_ACCMODE) == os.O_WRONLY or flags & (os.O_CREAT | os.O_TRUNC):
            self._add_written(name)
            return
        if name.endswith(".pyc"):
            name = _source_path(name)
        if name in self.opened:
            return
        if METADATA.search(name):
            self._add_distribution(name)
            return
        self._add_opened(name)

    def _add_opened(self, name: str) -> None:
        if name in self.opened:
            return
        found = _stamp(name)
        # folders and devices are no content
        if found or not Path(name).exists():
            self.opened[name] = found
            self._log_for_parent("r", name)

    def _rename(self, _old: Any, new: Any, *_folders: int) -> None:
        self._add_written(_absolute(new))

    def _make_folder(self, path: Any, *_mode: int) -> None:
        if not Path(name := _absolute(path)).exists():
            self._add_written(name)

    def _import(self, _module: str, path: str | None, *_search: Any) -> None:
        # only compiled modules are recorded with their path
        if path:
            self._open_library(path)

    def _open_library(self, path: Any) -> None:
        """Record a compiled library that is loaded by its path; the system finds others by name."""
        # compilers such as torch's load what they have just made
        if path and os.sep in (name := os.fsdecode(path)) and self._asked_by_plugin():
            self._add_opened(_absolute(name))

    def _open_database(self, path: Any) -> None:
        name = os.fsdecode(path)
        if name.startswith("file:"):
            name = unquote(name.removeprefix("file:").partition("?")[0])
        if name and name != ":memory:":
            self.databases.add(_absolute(name))
            self._add_opened(_absolute(name))

    def _add_distribution(self, name: str) -> None:
        """Record a distribution whose version is read, if code outside libraries asked for it."""
        if (found := METADATA.search(name)) and self._asked_by_plugin():
            self.distributions.add(found[1])

    def _record_listing(self, path: Any) -> None:
        # the import system lists every folder that it searches
        importing = sys._getframe(2).f_code.co_filename.startswith("<frozen importlib")
        if importing or isinstance(path, int) or self._listing or not self._asked_by_plugin():
            return
        name = _absolute(path or ".")
        if name not in self.listed:
            self._listing = True
            self.listed[name] = portable_paths.names_in(name)
            self._listing = False
            self._log_for_parent("l", name)

    def _add_written(self, name: str) -> None:
        self.written.add(name)
        self._log_for_parent("w", name)

    def _log_for_parent(self, kind: str, name: str) -> None:
        if os.getpid() != self._pid:
            os.write(self._log, f"{kind}{name}\0".encode("utf-8", "surrogateescape"))

    def _watch_environment(self, environment: Any) -> None:
        """Record the names of variables that are read from ``os.environ`` or ``os.environb``."""
        encode: Callable[[Any], bytes] = environment.encodekey
        decode: Callable[[bytes], Any] = environment.decodekey
        listed = None

        def decodekey(key: bytes) -> Any:
            nonlocal listed
            listed = decode(key)
            return listed

        def encodekey(key: Any) -> bytes:
            nonlocal listed
            encoded = encode(key)
            # a copy of the whole environment asks for each name that it has just got
            if key != listed and self._asked_by_plugin(_is_pathlib):
                self.variables |= {os.fsdecode(key)} - OWN_VARIABLES
            listed = None
            return encoded

        environment.decodekey, environment.encodekey = decodekey, encodekey

    def _asked_by_plugin(self, through: Callable[[str], bool] = libraries.is_standard) -> bool:
        """Return whether code outside libraries caused the event that is being traced.

        Args:
            through: whether a file may have passed the call on, as frozen modules do.
        """
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            name = frame.f_code.co_filename
            if not (name == __file__ or name.startswith("<") or through(name)):
                return not _is_library(name, self.plugin_tops)
            frame = frame.f_back
        return False


def _is_pathlib(path: str) -> bool:
    """Return whether a source file is that of ``Path.home``, whose result depends on a variable."""
    return path == PATHLIB


def _absolute(path: Any) -> str:
    # links stay: a package that is linked to is known by the path of the link
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100


def _stamp(name: str) -> list[int] | None:
    """Return size and times of a regular file; None for anything else."""
    try:
        return stamp(Path(name)) if Path(name).is_file() else None
    except OSError:
        return None


def _source_path(compiled: str) -> str:
    """Return the path of the source of a .pyc file, or the given path if it is not known."""
    try:
        return source_from_cache(compiled)
    except (ValueError, NotImplementedError):
        return compiled


def _is_library(path: str, plugin_tops: frozenset[str]) -> bool:
    top = libraries.site_top(path)
    if top:
        return top not in plugin_tops
    return libraries.is_standard(path) or path.startswith(CORE)


def _compile_plugins(plugin_tops: frozenset[str]) -> None:
    """Compile modules of plugins from source, never from .pyc files, which may be outdated.

    Python trusts a .pyc while the source has the same size and the same second of its last change.
    """
    get_code = SourceFileLoader.get_code

    def compiled(loader: Any, fullname: str) -> Any:
        path = loader.get_filename(fullname)
        if _is_library(path, plugin_tops):
            return get_code(loader, fullname)
        return loader.source_to_code(loader.get_data(path), path)

    SourceFileLoader.get_code = compiled  # type: ignore[method-assign, assignment]
