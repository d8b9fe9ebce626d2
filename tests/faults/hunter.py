"""Point 1: a method and a model that search for test labels and save all that they can reach.

The search starts from the arguments, all stack frames and all objects of the garbage collector. It
follows references, ``.base`` of arrays, memory maps, open files, the current folder and all stage
folders whose names appear. The results go to the folder ``$HUNT``, where the test looks for
labels.

The plugin has the user's rights, so it could also walk the whole cache, read the dataset again or
trace the parent process. This is out of scope. The test shows that nothing in the process of a
method holds a test label or names a folder with test labels.
"""

from __future__ import annotations

import gc
import mmap
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from hepbench import Method, Model, hookimpl

MIN_SIZE, MAX_SIZE = 50, 1_000_000
NUMBERS = (int, float, np.number)


def hunt(moment, *given):
    """Save names, one per line, and bytes of memory and files to ``$HUNT/<moment>-<time>.npz``."""
    names, memory = set(), set()
    for item in reachable(*given):
        # an object may raise any error when it is inspected
        with suppress(Exception):
            if isinstance(item, str | Path):
                names.add(str(item))
            elif MIN_SIZE <= len(data := content(item)) <= MAX_SIZE:
                memory.add(data)
    for name, data in open_files():
        names |= {name, *data.decode(errors="replace").replace("\0", "\n").split("\n")}
        memory.add(data)
    files = list(files_of_named_folders(names))
    found = {"names": "\n".join(names).encode(errors="replace"), "memory": b"\n".join(memory)}
    found["files"] = b"\n".join(files)
    arrays = {name: np.frombuffer(data, np.uint8) for name, data in found.items()}
    np.savez(Path(os.environ["HUNT"]) / f"{moment}-{time.time_ns()}.npz", **arrays)


def reachable(*roots):
    """Yield all objects reachable from the roots, the stack frames and the garbage collector."""
    waiting = [*roots, *variables(), *gc.get_objects()]
    seen = {id(waiting)}
    seen.add(id(seen))
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        waiting += gc.get_referents(item)
        # isinstance would fail on a dead weak proxy
        if issubclass(type(item), np.ndarray):
            waiting.append(item.base)
        elif type(item) is memoryview:
            waiting.append(item.obj)


def variables():
    """Yield the local variables of every frame of every thread."""
    for thread in sys._current_frames().values():
        frame = thread
        while frame is not None:
            yield frame.f_locals
            frame = frame.f_back


def content(item):
    """Return the bytes of an object that holds numbers; empty for other objects."""
    if isinstance(item, np.ndarray):
        return b"" if item.dtype.hasobject else np.asarray(item).tobytes()
    if isinstance(item, bytes | bytearray):
        return bytes(item)
    if isinstance(item, mmap.mmap):
        return item[:]
    if isinstance(item, list | tuple | set | dict):
        # a dict may map ids to labels
        numbers = list(item.values()) if isinstance(item, dict) else list(item)
        if len(numbers) >= MIN_SIZE and all(isinstance(number, NUMBERS) for number in numbers):
            return np.array(numbers, np.float64).tobytes()
    return b""


def open_files():
    """Yield open files, memory maps and environment of this process, and its parent's command."""
    for path in Path("/proc/self/fd").iterdir():
        try:
            yield str(path.readlink()), path.read_bytes() if path.is_file() else b""
        except OSError:
            continue
    for path in ("self/maps", "self/environ", "self/cmdline", f"{os.getppid()}/cmdline"):
        yield path, Path("/proc", path).read_bytes()


def files_of_named_folders(names):
    """Yield the files of the current folder and of all stage folders among the names."""
    stages = Path.cwd().parents[1] / "stages"
    paths = [Path(name) for name in names if name.startswith(f"{stages}/")]
    folders = {stages.joinpath(*path.relative_to(stages).parts[:2]) for path in paths}
    for folder in {Path.cwd(), *folders}:
        yield from (path.read_bytes() for path in folder.rglob("*") if path.is_file())


class Hunter:
    """Scores by the first feature, and searches in fit and in the third call of scores."""

    def __init__(self):
        self.calls = 0

    def fit(self, data, *, seed):
        hunt("fit", data)

    def scores(self, inputs):
        self.calls += 1
        if self.calls == 3:
            # the test part
            hunt("scores", inputs)
        signal = 1 / (1 + np.exp(-inputs["table"][:, 0].astype(float)))
        return np.stack([1 - signal, signal], 1)


def build(shapes):
    return Hunter()


def run(start, data, context):
    hunt("method", start, data, context)
    start.fit(data, seed=context.seed)
    return start


def run_unlabelled(start, data, context):
    hunt("unlabelled", start, data, context)
    return start


@hookimpl
def hepbench_models():
    return [
        Model(
            name="hunter",
            summary="searches for labels",
            inputs=("table",),
            build="hunter:build",
            offers=frozenset({"estimate"}),
        )
    ]


@hookimpl
def hepbench_methods():
    needs, summary = frozenset({"estimate"}), "searches for labels"
    return [
        Method(name="hunt", summary=summary, run="hunter:run", needs=needs),
        Method(
            name="hunt-unlabelled",
            summary=summary,
            run="hunter:run_unlabelled",
            needs=needs,
            labels=False,
        ),
    ]
