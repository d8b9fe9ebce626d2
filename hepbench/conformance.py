"""Conformance: what a plugin, dataset, metric or suite promises, claim by claim.

A claim's function returns where it holds, and raises PluginError with one line where it does not.
How they are chosen and run: ``testing``. What is fitted: ``trials``.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import consistency, data, plan, session
from hepbench.errors import HepbenchError, PluginError, UndefinedMetricError
from hepbench.examples import Examples
from hepbench.matrix import Choice
from hepbench.plan import Found
from hepbench.registry import KINDS, Plugin, Registry, kind_of
from hepbench.resolve import resolve
from hepbench.specs import LIMITS, Dataset, Measured, Method, Metric, Model, Predictions
from hepbench.suite import Matrix, SuiteFile
from hepbench.worker import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hepbench.registry import Entry
    from hepbench.specs import Array, File, Input, Inputs, Spec

HEAVY = (
    *("numpy", "scipy", "sklearn", "skops", "matplotlib", "pandas", "polars", "pyarrow", "numba"),
    *("h5py", "tables", "uproot", "awkward", "vector", "fastjet", "pythia8mc"),
    *("torch", "timm", "torch_geometric", "tensorflow", "jax", "xgboost", "lightgbm", "onnx"),
)
"""Modules that listing what is installed must not wait for."""

GARBAGE = {
    "empty": b"",
    "text": b"<html><body>404 Not Found</body></html>\n" * 20,
    "binary": bytes(range(256)) * 20,
}
"""What may lie under the name of an original file: a broken download."""


@dataclass(frozen=True)
class Claim:
    """One claim; ``run`` raises what speaks against it.

    Attributes:
        first: others of the same subject stand on it.
        slow: it may take more than a few seconds.
    """

    text: str
    run: Callable[[], None]
    first: bool = False
    slow: bool = False


def need(holds: object, otherwise: str) -> None:
    """Raise PluginError with a line unless something holds."""
    if not holds:
        raise PluginError(otherwise)


def afresh(target: str, *arguments: Any) -> Any:
    """Return what ``"module:function"`` returns in a new process; values are of JSON's types.

    Its hash seed is its own, so that whatever hangs on the order of a set shows.

    Raises:
        PluginError: it fails there; its last line on stderr is quoted.
    """
    code = (
        "import json, sys\n"
        "from hepbench.resolve import resolve\n"
        "found = resolve(sys.argv[1])(*json.loads(sys.argv[2]))\n"
        "print('\\n' + json.dumps(found))"
    )
    return json.loads(_python(code, target, json.dumps(arguments)).splitlines()[-1])


def _python(code: str, *arguments: str) -> str:
    seed = "1" if os.environ.get("PYTHONHASHSEED") == "2" else "2"
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    path = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed}
    command = [sys.executable, "-P", "-c", code, *arguments]
    environment = {**os.environ, **path, **threads}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    need(done.returncode == 0, f"in a fresh process: {last}")
    return done.stdout


# --- plugins


def of_plugin(plugin: Plugin, registry: Registry) -> list[Claim]:
    """Return what is claimed of an entry point."""
    return [
        Claim("it is loaded", lambda: need(not plugin.error, plugin.error), first=True),
        Claim("listing what it brings imports nothing heavy", partial(_is_light, plugin)),
        Claim("its hooks return the same specs each time", partial(_returns_the_same, plugin)),
        Claim("nobody else claims its names", partial(_is_alone, plugin, registry)),
    ]


def _is_light(plugin: Plugin) -> None:
    code = (
        "import sys\n"
        "from importlib import import_module\n"
        "from hepbench.registry import HOOKS, KINDS\n"
        "before = set(sys.modules)\n"
        "module = import_module(sys.argv[1])\n"
        "[getattr(module, hook, list)() for hook in HOOKS[: len(KINDS)]]\n"
        "print('\\n' + ' '.join({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    found = set(_python(code, plugin.module).splitlines()[-1].split())
    names = ", ".join(name for name in HEAVY if name in found)
    need(not names, f"importing {plugin.module} imports {names}; import it where it is used")


def _returns_the_same(plugin: Plugin) -> None:
    for kind in KINDS:
        hook = getattr(plugin.loaded, f"hepbench_{kind}s", list)
        need(list(hook()) == list(hook()), f"hepbench_{kind}s returns other specs when called again")


def _is_alone(plugin: Plugin, registry: Registry) -> None:
    for spec in plugin.specs:
        # raises, naming both distributions
        registry.entry(kind_of(spec), spec.name)


# --- what every spec promises


def of_spec(spec: Spec) -> list[Claim]:
    """Return what is claimed of a dataset, model, method or metric before anything of it runs."""
    return [
        Claim("every function it names exists", partial(_exists, spec), first=True),
        Claim("it has a summary, and parameters of JSON's types", partial(_describes, spec)),
    ]


def _exists(spec: Spec) -> None:
    for target in _targets(spec):
        need(callable(resolve(target)), f"'{target}' is not a function")
    for module in getattr(spec, "imports", ()):
        import_module(module)


def _targets(spec: Spec) -> Iterator[str]:
    for name in ("read", "sample", "generate", "build", "run", "compute"):
        if target := getattr(spec, name, None):
            yield target
    if isinstance(spec, Dataset):
        yield from (*spec.views.values(), *spec.augmentations.values())
        yield from [spec.split.official] if spec.split.official else []


def _describes(spec: Any) -> None:
    need(spec.summary and "\n" not in spec.summary, f"summary is {spec.summary!r}; one line, please")
    presets = getattr(spec, "presets", {})
    for params in (getattr(spec, "params", {}), *presets.values()):
        for name, value in params.items():
            need(_is_plain(value), f"'{name}' is {value!r}; JSON knows no {type(value).__name__}")
    unknown = {*getattr(spec, "reads", ())} - {*getattr(spec, "params", ()), *LIMITS}
    need(not unknown, f"'reads' names {', '.join(sorted(unknown))}, which is not in params")


def _is_plain(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False


# --- datasets


def of_dataset(entry: Entry) -> list[Claim]:
    """Return what is claimed of a dataset; what is read is its sample."""
    it = _Read(entry)
    spec: Dataset = entry.spec
    found = of_spec(spec)
    if spec.sample:
        found += [
            Claim("its sample can be read", it.is_read, first=True),
            Claim("inputs are as declared: names, shapes, finite numbers", it.is_as_declared),
            Claim("ids are int64 and each stands for one example", it.has_ids),
            Claim("another process reads the same", it.is_the_same_again),
            Claim("labels are int64, in range, and every class is there", it.has_labels),
            Claim("weights are positive and finite", it.has_weights),
            Claim("no input is the label", it.hides_labels),
            Claim("its official test set is (N,) bool or None", it.has_official),
            Claim("a run can prepare it, and each part has every class", it.is_prepared),
        ]
        found += [Claim(f"view '{n}' keeps rows, order and shape", partial(it.is_viewed, n))
                  for n in spec.views]  # fmt: skip
        found += [Claim(f"augmentation '{n}' keeps rows and shapes", partial(it.is_augmented, n))
                  for n in spec.augmentations]  # fmt: skip
    if spec.read:
        found.append(Claim("a file that is missing is one line", it.misses_files))
        found += [Claim(f"a damaged {f.name} is one line", partial(it.refuses, f))
                  for f in spec.files]  # fmt: skip
    need_either = Claim("it has a sample or a reader", lambda: need(
        spec.sample or spec.read, "neither 'sample' nor 'read' is named"), first=True)  # fmt: skip
    return [need_either, *found]


class _Read:
    """A dataset with its sample, read once."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.spec: Dataset = entry.spec

    @cached_property
    def roles(self) -> Mapping[str, Examples]:
        """The sample by role."""
        return _joined(resolve(self.spec.sample or "")(**self.handed))

    @property
    def handed(self) -> dict[str, Any]:
        """The params that reading is handed."""
        return {name: self.spec.params.get(name) for name in sorted(self.spec.reads)}

    @property
    def known(self) -> Mapping[str, Examples]:
        """What has labels, by role."""
        return {role: found for role, found in self.roles.items() if role != "unlabelled"}

    def is_read(self) -> None:
        need("labelled" in self.roles, "it yields no labelled example")
        # raises where a sample file is not there
        _Facts().found(self.entry)

    def is_as_declared(self) -> None:
        for role, examples in self.roles.items():
            for name, declared in self.spec.inputs.items():
                need(name in examples.inputs, f"{role} examples have no '{name}', which is declared")
                _check_input(f"{role} '{name}'", np.asarray(examples.inputs[name]), declared)

    def has_ids(self) -> None:
        for found in (self.known, {"unlabelled": self.roles.get("unlabelled")}):
            ids = [np.asarray(examples.ids) for examples in found.values() if examples is not None]
            for each in ids:
                need(each.dtype == np.int64, f"ids are {each.dtype}; int64 is expected")
            values, counts = np.unique(np.concatenate([*ids, []]), return_counts=True)
            twice = values[counts > 1]
            need(not len(twice), f"{len(twice)} ids stand for more than one example, {twice[:1]}")

    def is_the_same_again(self) -> None:
        again = afresh("hepbench.conformance:digests", self.spec.sample, self.handed)
        for name, digest in _digests(self.roles).items():
            need(again.get(name) == digest, f"{name} differ when another process reads them")

    def has_labels(self) -> None:
        classes = self.spec.classes
        for role, examples in self.known.items():
            labels = np.asarray(examples.labels)
            need(labels.dtype == np.int64, f"{role} labels are {labels.dtype}; int64 is expected")
            low, high = labels.min(), labels.max()
            inside = low >= -1 and high < len(classes)
            need(inside, f"{role} labels are {low} to {high}; 0 to {len(classes) - 1} is expected")
            missing = [name for i, name in enumerate(classes) if i not in labels]
            need(not missing, f"no {role} example is of class {', '.join(missing)}")

    def has_weights(self) -> None:
        for role, examples in self.roles.items():
            weights = np.asarray(1.0 if examples.weights is None else examples.weights, float)
            fine = np.isfinite(weights).all() and weights.min() > 0
            need(fine, f"{role} weights reach from {weights.min()} to {weights.max()}")

    def hides_labels(self) -> None:
        examples = self.roles["labelled"][:500]
        labels = np.asarray(examples.labels)[:, None]
        for name, array in examples.inputs.items():
            columns = np.asarray(array).reshape(len(labels), -1).astype(float)
            told = (columns == labels).all(0) | (columns == 1 - labels).all(0)
            need(not told.any(), f"column {told.argmax()} of '{name}' equals the label")

    def has_official(self) -> None:
        split, ids = self.spec.split, self.roles["labelled"].ids
        if split.official:
            params = {name: self.spec.params[name] for name in sorted(split.uses)}
            found = resolve(split.official)(ids, **params)
            fine = found is None or (
                np.shape(found) == np.shape(ids) and np.asarray(found).dtype == bool
            )
            got = f"{type(found).__name__} {np.shape(found)}"
            need(fine, f"{split.official} returned {got}; ({len(ids)},) bool or None is expected")

    def is_prepared(self) -> None:
        with TemporaryDirectory() as folder:
            prepared(self.entry, tuple({**self.spec.inputs, **self.spec.views}), Path(folder))

    def is_viewed(self, name: str) -> None:
        whole = _read_only(self.roles["labelled"].inputs)
        n = len(whole[next(iter(whole))])
        view = partial(resolve(self.spec.views[name]), **self._view_params())
        made = view(whole)
        need(name in made, f"it makes {', '.join(sorted(made)) or 'nothing'} and no '{name}'")
        if name in self.spec.inputs:
            _check_input(f"view '{name}'", np.asarray(made[name]), self.spec.inputs[name])
        for rows in (np.arange(n)[::-1], np.arange(n // 3), np.arange(n)[n // 2 :: 7]):
            part = view({key: array[rows] for key, array in whole.items()})
            for key, array in made.items():
                need(len(array) == n, f"it makes {len(array)} rows of '{key}' from {n}")
                same = np.array_equal(part[key], array[rows])
                need(same, f"'{key}' of some rows is not those rows of '{key}' of all")

    def _view_params(self) -> dict[str, Any]:
        taken = {*self.spec.reads, *self.spec.split.uses}
        return {name: value for name, value in self.spec.params.items() if name not in taken}

    def is_augmented(self, name: str) -> None:
        inputs = _read_only(self.roles["labelled"][:64].inputs)
        made = resolve(self.spec.augmentations[name])(inputs)
        for key, array in inputs.items():
            shape = np.shape(made.get(key))
            need(shape == array.shape, f"'{key}' becomes {shape}; {array.shape} is expected")

    def misses_files(self) -> None:
        need(
            any(file.role == "labelled" for file in self.spec.files),
            "'read' is never used: no labelled file is declared",
        )
        with TemporaryDirectory() as folder:
            self._expect_one_line(Path(folder), "an empty folder")

    def refuses(self, file: File) -> None:
        """Every file is damaged alike; this one stands under each of its names."""
        for name in (file.name, *file.variants):
            for kind, content in GARBAGE.items():
                with TemporaryDirectory() as folder:
                    for other in {name, *(f.name for f in self.spec.files if f is not file)}:
                        (Path(folder) / other).write_bytes(content)
                    self._expect_one_line(Path(folder), f"{name} with {kind} content")

    def _expect_one_line(self, folder: Path, what: str) -> None:
        try:
            for _ in resolve(self.spec.read or "")(folder, **self.handed):
                pass
        except HepbenchError as error:
            lines = str(error).splitlines()
            need(len(lines) == 1, f"{what}: the error has {len(lines)} lines; one is expected")
        except Exception as error:
            msg = f"{what}: {type(error).__name__} ({error}); a DataError that says what is wrong"
            raise PluginError(msg) from error
        else:
            need(False, f"{what} is read without an error")  # noqa: FBT003


def _check_input(what: str, array: Array, declared: Input) -> None:
    shape, names = array.shape[1:], declared.names
    need(shape == tuple(declared.shape), f"{what} is {shape}; {declared.shape} is declared")
    need(array.dtype.kind in "fiub", f"{what} is {array.dtype}; numbers are expected")
    need(np.isfinite(array).all(), f"{what} holds a value that is not finite")
    if names:
        # channels come first in an image, features last in everything else
        size = shape[0] if len(shape) == 3 else shape[-1]
        need(len(set(names)) == size, f"{what} has {len(set(names))} names for {size} features")
    if what.endswith("'mask'"):
        need(array.dtype == bool, f"{what} is {array.dtype}; bool is expected, True a particle")


def _joined(chunks: Iterable[Any]) -> dict[str, Examples]:
    """Return the examples of each role, chunk behind chunk."""
    roles: dict[str, list[Examples]] = {}
    for chunk in chunks:
        fine = isinstance(chunk, tuple) and len(chunk) == 2 and isinstance(chunk[1], Examples)
        need(fine, f"it yields {type(chunk).__name__}; (role, Examples) is expected")
        role, examples = chunk
        known = ("labelled", "unlabelled", "test")
        need(role in known, f"it yields role {role!r}; {', '.join(known)} are known")
        need(role == "unlabelled" or examples.labels is not None, f"{role} examples have no labels")
        roles.setdefault(role, []).append(examples)
    return {role: _concatenated(found) for role, found in roles.items()}


def _concatenated(found: list[Examples]) -> Examples:
    def whole(arrays: list[Array | None]) -> Array | None:
        return None if arrays[0] is None else np.concatenate([np.asarray(a) for a in arrays])

    def named(maps: list[Inputs]) -> Inputs:
        return {name: whole([m[name] for m in maps]) for name in maps[0]}

    return Examples(
        inputs=named([e.inputs for e in found]),
        ids=whole([e.ids for e in found]),
        labels=whole([e.labels for e in found]),
        weights=whole([e.weights for e in found]),
        targets=named([e.targets for e in found]),
    )


def _read_only(inputs: Inputs) -> dict[str, Array]:
    found = {name: np.array(array) for name, array in inputs.items()}
    for array in found.values():
        array.setflags(write=False)
    return found


def digests(target: str, params: Mapping[str, Any]) -> dict[str, str]:
    """Return a hash of each column that ``"module:function"`` yields, by role and name."""
    return _digests(_joined(resolve(target)(**params)))


def _digests(roles: Mapping[str, Examples]) -> dict[str, str]:
    found = {}
    for role, e in roles.items():
        columns = {"ids": e.ids, "labels": e.labels, "weights": e.weights, **e.inputs, **e.targets}
        for name, array in columns.items():
            content = np.ascontiguousarray(array).tobytes() if array is not None else b""
            found[f"{role} '{name}'"] = hashlib.sha256(content).hexdigest()
    return found


@dataclass(frozen=True)
class _Facts:
    """What a plan must know, without looking: see ``plan.Facts``."""

    threads: int = 1
    libraries: Mapping[str, str] = replace  # type: ignore[assignment]

    def sources(self, target: str, entry: Entry) -> Mapping[str, str]:
        """Return nothing: nothing is cached."""
        return {}

    def found(self, entry: Entry) -> Found:
        """Return the sample."""
        return data.find(entry.spec, None, "sample", lambda path, _compute: str(path))


def prepared(entry: Entry, inputs: tuple[str, ...], folder: Path, **limits: int) -> dict[str, Path]:
    """Read, split and lay out a dataset's sample as a run does; return the folder of each stage."""
    raise NotImplementedError
