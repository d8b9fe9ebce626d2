"""Conformance: what a plugin, a metric or a suite promises, claim by claim.

A claim's function returns where it holds, and raises PluginError with one line where it does not.
How claims are chosen and run is in ``testing``; the other kinds are in ``conformance_data``,
``conformance_model`` and ``conformance_method``.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import consistency, data, plan, session
from hepbench.errors import PluginError, UndefinedMetricError
from hepbench.matrix import Choice
from hepbench.registry import KINDS, kind_of
from hepbench.resolve import resolve
from hepbench.specs import Dataset, Measured, Predictions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hepbench.plan import Found
    from hepbench.registry import Entry, Plugin, Registry
    from hepbench.specs import Metric, Spec

HEAVY = (
    *("numpy", "scipy", "sklearn", "skops", "matplotlib", "pandas", "polars", "pyarrow", "numba"),
    *("h5py", "tables", "uproot", "awkward", "vector", "fastjet", "pythia8mc"),
    *("torch", "timm", "torch_geometric", "tensorflow", "jax", "xgboost", "lightgbm", "onnx"),
)
"""Modules that listing what is installed must not wait for."""


@dataclass(frozen=True)
class Claim:
    """One claim; ``run`` raises what speaks against it.

    Attributes:
        first: others of the same subject stand on it.
        slow: it may take more than a few seconds.
    """

    text: str
    run: Callable[[], object]
    first: bool = False
    slow: bool = False


def need(holds: object, otherwise: str) -> None:
    """Raise PluginError with a line unless something holds."""
    if not holds:
        raise PluginError(otherwise)


def afresh(target: str, *arguments: Any) -> Any:
    """Return what ``"module:function"`` returns in a new process; values are of JSON's types.

    Its hash seed is another one, so that whatever hangs on the order of a set shows.

    Raises:
        PluginError: it fails there; its last line on stderr is quoted.
    """
    code = (
        "import json, sys\n"
        "from hepbench.resolve import resolve\n"
        "found = resolve(sys.argv[1])(*json.loads(sys.argv[2]))\n"
        "print('\\n' + json.dumps(found))"
    )
    return json.loads(_python(code, target, json.dumps(arguments)))


def _python(code: str, *arguments: str) -> str:
    """Return the last line that a new process prints."""
    hash_seed = "1" if os.environ.get("PYTHONHASHSEED") == "2" else "2"
    environment = {
        **os.environ,
        **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")},
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONHASHSEED": hash_seed,
    }
    command = [sys.executable, "-P", "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    need(done.returncode == 0, f"in a new process: {said[-1]}")
    return done.stdout.splitlines()[-1]


# --- plugins


def of_plugin(plugin: Plugin, registry: Registry) -> list[Claim]:
    """Return what is claimed of an entry point."""
    return [
        Claim("it is loaded", partial(_is_loaded, plugin), first=True),
        Claim("listing what it brings imports nothing heavy", partial(_is_light, plugin)),
        Claim("its hooks return the same specs each time", partial(_repeats, plugin)),
        Claim("nobody else has its names", partial(_is_alone, plugin, registry)),
    ]


def _is_loaded(plugin: Plugin) -> None:
    need(not plugin.error, plugin.error)


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
    found = set(_python(code, plugin.module).split())
    names = ", ".join(name for name in HEAVY if name in found)
    need(not names, f"importing {plugin.module} imports {names}; import it where it is used")


def _repeats(plugin: Plugin) -> None:
    for kind in KINDS:
        name = f"hepbench_{kind}s"
        hook = getattr(plugin.loaded, name, list)
        need(list(hook()) == list(hook()), f"{name} returns other specs when called again")


def _is_alone(plugin: Plugin, registry: Registry) -> None:
    for spec in plugin.specs:
        # raises, naming both distributions
        registry.entry(kind_of(spec), spec.name)


# --- what every dataset, model, method and metric promises


def of_spec(spec: Spec) -> list[Claim]:
    """Return what is claimed of what a hook returned, before anything of it runs."""
    return [
        Claim("every function that it names exists", partial(_exists, spec), first=True),
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
        if spec.split.official:
            yield spec.split.official


def _describes(spec: Any) -> None:
    need(spec.summary and "\n" not in spec.summary, f"summary is {spec.summary!r}; one line is due")
    params = getattr(spec, "params", {})
    for values in (params, *getattr(spec, "presets", {}).values()):
        for name, value in values.items():
            need(_is_plain(value), f"'{name}' is {value!r}; JSON has no {type(value).__name__}")


def _is_plain(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False


# --- metrics


def of_metric(entry: Entry) -> list[Claim]:
    """Return what is claimed of a metric, on made-up predictions of two classes and of three."""
    spec: Metric = entry.spec
    classes = (2, 3) if spec.classes is None else (spec.classes,)

    def on_each(check: Callable[[Metric, int], None]) -> None:
        for count in classes:
            check(spec, count)

    return [
        *of_spec(spec),
        Claim("it returns a finite float or Measured, or says why not", partial(on_each, _value)),
        Claim("nothing about it is odd: order, ties, chance", partial(on_each, _is_not_odd)),
        Claim("of a single class it has a finite value, or says why not",
              partial(on_each, _survives_one_class)),
        Claim("an example of weight 2 counts like two", partial(on_each, _weighs)),
        Claim("better scores do not make it worse", partial(on_each, _has_direction)),
    ]  # fmt: skip


def made_up(classes: int, *, seed: int = 0, n: int = 150) -> Predictions:
    """Return predictions with ties that lean to the right class; masses and pts are random."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    counts = rng.integers(1, 6, (n, classes)) + (labels[:, None] == np.arange(classes))
    return Predictions(
        labels=labels,
        scores=counts / counts.sum(axis=1, keepdims=True),
        ids=np.arange(n) + n * seed,
        targets={name: rng.exponential(100, n) for name in ("mass", "pt")},
        validation=None if seed else made_up(classes, seed=1),
    )


def _rows(predictions: Predictions, rows: Any) -> Predictions:
    return replace(
        predictions,
        labels=predictions.labels[rows],
        scores=predictions.scores[rows],
        ids=np.arange(len(predictions.labels[rows])),
        targets={name: array[rows] for name, array in predictions.targets.items()},
    )


def _measured(spec: Metric, predictions: Predictions, what: str) -> float | None:
    """Return a metric's value; None where it says that it has none, or only a limit."""
    try:
        found = resolve(spec.compute)(predictions)
    except UndefinedMetricError as error:
        need(str(error).strip(), f"{what}: the UndefinedMetricError says nothing")
        return None
    except Exception as error:
        msg = f"{what}: {type(error).__name__} ({error}); UndefinedMetricError is for no value"
        raise PluginError(msg) from error
    value = found.value if isinstance(found, Measured) else found
    number = isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
    need(number, f"{what}: it returns a {type(value).__name__}; a float or Measured is expected")
    need(math.isfinite(value), f"{what}: it is {value}; a metric is finite or undefined")
    return None if isinstance(found, Measured) and found.limit else float(value)


def _value(spec: Metric, classes: int) -> None:
    _measured(spec, made_up(classes), f"{classes} classes")


def _is_not_odd(spec: Metric, classes: int) -> None:
    odd = consistency.audit(resolve(spec.compute), classes=classes)
    need(not odd, f"{classes} classes: {'; '.join(odd)}")


def _survives_one_class(spec: Metric, classes: int) -> None:
    whole = made_up(classes)
    for label in range(classes):
        alone = _rows(whole, whole.labels == label)
        _measured(spec, alone, f"{classes} classes, examples of class {label} alone")


def _weighs(spec: Metric, classes: int) -> None:
    whole = made_up(classes)
    weights = np.random.default_rng(3).integers(1, 4, len(whole.labels))
    weighted = replace(whole, weights=weights.astype(float))
    repeated = _rows(whole, np.repeat(np.arange(len(weights)), weights))
    one, other = (_measured(spec, p, f"{classes} classes") for p in (weighted, repeated))
    if one is not None and other is not None:
        same = math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
        need(same, f"{classes} classes: {one:.4g} with weights, {other:.4g} with so many copies")


def _has_direction(spec: Metric, classes: int) -> None:
    """What does not depend on how good scores are is not worse each of twelve times."""
    pairs = [[_measured(spec, predictions, f"{classes} classes") for predictions in pair]
             for pair in (_good_and_bad(classes, seed) for seed in range(12))]  # fmt: skip
    values = [(good, bad) for good, bad in pairs if good is not None and bad is not None]
    wrong = [good < bad if spec.higher_is_better else good > bad for good, bad in values]
    said = f"higher_is_better is {spec.higher_is_better}"
    need(not values or not all(wrong), f"{said}; (good, half random) scores give {values[:1]}")


def _good_and_bad(classes: int, seed: int) -> tuple[Predictions, Predictions]:
    """Return calibrated scores, and the same with those of every other example shuffled."""
    rng = np.random.default_rng(seed)
    whole = made_up(classes, n=400)
    odds = np.exp(rng.normal(size=(400, classes)))
    odds[np.arange(400), whole.labels] *= np.exp(rng.normal(1, 1, 400) + 1)
    scores = odds / odds.sum(axis=1, keepdims=True)
    mixed = scores.copy()
    mixed[::2] = rng.permutation(mixed[::2])
    return replace(whole, scores=scores), replace(whole, scores=mixed)


# --- suites


@dataclass
class SampleFacts:
    """Facts for a plan of which nothing is cached: see ``plan.Facts``."""

    threads: int = 1
    libraries: Mapping[str, str] = field(default_factory=dict)
    measuring: Mapping[str, str] = field(default_factory=dict)

    def sources(self, target: str, entry: Entry) -> Mapping[str, str]:  # noqa: ARG002
        """Return no digest."""
        return {}

    def found(self, entry: Entry) -> Found:
        """Return the sample of a dataset, whose files must be there."""
        return data.find(entry.spec, None, "sample", lambda path, _: str(path))


def of_suite(entry: Entry, registry: Registry) -> list[Claim]:
    """Return what is claimed of a suite."""
    name = entry.spec.name
    return [
        Claim("its file is a suite", partial(session.read_suite, name, registry), first=True),
        Claim("all that it names is installed, and something fits",
              partial(_planned, name, registry), first=True),
        Claim("each published figure stands beside a cell", partial(_shows, name, registry)),
    ]  # fmt: skip


def _planned(name: str, registry: Registry) -> plan.Plan:
    return plan.make(session.read_suite(name, registry), registry, SampleFacts(), Choice())


def _shows(name: str, registry: Registry) -> None:
    made = _planned(name, registry)
    shown = [cell.published for cell in made.cells]
    for figure in made.suite.published:
        need(figure in shown, f"published '{figure.cell}' is no cell of this suite")
