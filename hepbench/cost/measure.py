"""What scoring costs: operations, latency, memory, of the very network or estimator that scored.

A stage of its own, alone on the machine: nothing else of any run works while it measures. A network
is counted (``counting``), exported (``export``) and timed in eager torch and in ONNX Runtime; an
estimator says itself how many operations it takes, and is timed as it is.
"""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.cost.timing import LIMIT_S, doubts, measure_background_load, time_calls
from hepbench.specs.errors import ExportError, PluginError
from hepbench.specs.model import Estimator
from hepbench.storage import machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import nn

    from hepbench.cost.timing import Call
    from hepbench.cost.tracing import Tensors
    from hepbench.specs.types import Inputs


Facts = dict[str, Any]


LARGE = 256
"""The large batch, beside batch 1."""


NOTEWORTHY = 0.01
"""Above this share of MACs that weights of zero could save, ``theoretical_macs`` is reported."""


OPERATIONS = ("macs", "comparisons")


@dataclass(frozen=True)
class Setting:
    """How latencies are measured: threads, batch sizes, seconds for each at most."""

    threads: int
    sizes: tuple[int, ...]
    limit_s: float


def measure(
    scored: nn.Module | Estimator,
    inputs: Inputs,
    *,
    folder: Path,
    threads: int = 1,
    large: int = LARGE,
    limit_s: float = LIMIT_S,
) -> Facts:
    """Return what scoring costs: the fields of ``records.Cost``, and how they were found.

    Args:
        scored: a network, called with a dict of named inputs, on the processor; or an estimator.
        inputs: examples by name, the first axis of each the batch: real ones, since work may depend
            on values. Where there are fewer than ``large`` they are used over and over.
        folder: where the exported graph, ``network.onnx``, is written.
        threads: of torch, of ONNX Runtime, of OpenMP and BLAS.
        large: batch size, beside 1.
        limit_s: seconds for each latency.

    Returns:
        Of JSON's types. Beside the fields of ``Cost``: ``counted`` (by operator, both counters),
        ``timed`` (how well each latency is known: see ``Timed``), ``export``
        (the largest difference from torch's scores) and ``warnings``.
    """
    setting = Setting(threads, (1, large), limit_s)
    if isinstance(scored, Estimator):
        return _of_estimator(scored, inputs, setting)
    return _of_network(scored, inputs, setting, folder)


def _of_network(network: nn.Module, inputs: Inputs, setting: Setting, folder: Path) -> Facts:
    from hepbench.cost import export, tracing

    facts = _counts(network, tracing.batch(inputs, 1))
    batches = {n: tracing.batch(inputs, n) for n in setting.sizes}
    calls = {("torch", n): _eager(network, tensors) for n, tensors in batches.items()}
    with _torch_threads(setting.threads), tracing.scoring(network):
        facts["peak_memory_mb"] = _peak_memory(calls["torch", max(setting.sizes)])
        if path := _exported(network, inputs, folder, facts):
            session = export.session(path, threads=setting.threads)
            for n, tensors in batches.items():
                calls["onnxruntime", n] = _in_session(session, export.feeds(session, tensors))
        return facts | _times(calls, setting, facts["warnings"])


def _exported(network: nn.Module, inputs: Inputs, folder: Path, facts: Facts) -> Path | None:
    """Export a network; where that fails, add to the facts why."""
    from hepbench.cost import export

    path = folder / "network.onnx"
    try:
        facts["export"] = {"difference": export.export(network, inputs, path)}
    except ExportError as error:
        facts["gaps"].append(f"onnxruntime: {error}")
        # that it is not installed is no fault of the network
        if not export.missing():
            facts["warnings"].append(f"export: {error}")
        return None
    return path


def _counts(network: nn.Module, one: Tensors) -> Facts:
    from hepbench.cost import counting

    counted = counting.count(network, one)
    facts: Facts = {
        "parameters": counting.parameters(network),
        "nonzero_parameters": counting.nonzero_parameters(network),
        "counted": {
            "by_operator": dict(counted.by_operator),
            "elementwise": counted.elementwise,
            "cross_check": counted.cross_check,
            "ratio": counted.ratio,
        },
        "gaps": [f"macs: {gap}" for gap in counted.gaps],
        "warnings": counted.warnings,
    }
    # where nothing but gaps is left, zero would be no count
    if counted.macs is not None and (counted.macs or not counted.gaps):
        facts |= {"macs": counted.macs, "flops": 2 * counted.macs}
        theoretical = counting.theoretical_macs(network, one, counted.macs)
        # a drawn weight may be zero by chance
        if theoretical < (1 - NOTEWORTHY) * counted.macs:
            facts["theoretical_macs"] = theoretical
    return facts


def _eager(network: nn.Module, tensors: Tensors) -> Call:
    import torch

    def call() -> object:
        with torch.inference_mode():
            return network(tensors)

    return call


def _in_session(session: Any, feeds: Mapping[str, Any]) -> Call:
    return lambda: session.run(None, feeds)


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _of_estimator(estimator: Estimator, inputs: Inputs, setting: Setting) -> Facts:
    facts: Facts = {"gaps": [], "warnings": []}
    if (parameters := getattr(estimator, "parameters", None)) is not None:
        facts["parameters"] = int(parameters)
    facts |= _operations(estimator)
    if not facts.keys() & set(OPERATIONS):
        name = type(estimator).__name__
        facts["gaps"].append(f"operations: {name} has no cost() that counts them")
    batches = {n: _rows(inputs, n) for n in setting.sizes}
    calls = {("native", n): _native(estimator, rows) for n, rows in batches.items()}
    with _native_threads(setting.threads):
        facts["peak_memory_mb"] = _peak_memory(calls["native", max(setting.sizes)])
        return facts | _times(calls, setting, facts["warnings"])


def _operations(estimator: Estimator) -> Facts:
    """Return what an estimator says it takes to score one example.

    Raises:
        PluginError: it says something else than OPERATIONS, or no finite number of them.
    """
    say = getattr(estimator, "cost", None)
    if say is None:
        return {}
    name, said = type(estimator).__name__, dict(say())
    for kind, value in said.items():
        if kind not in OPERATIONS or not (math.isfinite(value) and value >= 0):
            msg = (
                f"{name}.cost() says {kind!r}: {value!r}; finite numbers, at least 0, of "
                f"{' and '.join(OPERATIONS)} are expected"
            )
            raise PluginError(msg)
    if "macs" in said:
        said["macs"] = round(said["macs"])
        said["flops"] = 2 * said["macs"]
    return said


def _native(estimator: Estimator, rows: Inputs) -> Call:
    return lambda: estimator.scores(rows)


def _rows(inputs: Inputs, n: int) -> Inputs:
    return {name: np.array(values[np.arange(n) % len(values)]) for name, values in inputs.items()}


@contextmanager
def _native_threads(threads: int) -> Iterator[None]:
    with ExitStack() as held:
        # it comes with scikit-learn
        if find_spec("threadpoolctl"):
            import threadpoolctl

            held.enter_context(threadpoolctl.threadpool_limits(limits=threads))
        yield


def _peak_memory(call: Call) -> float:
    """Return the most memory, in MB, that this process holds while a call runs for the first time.

    It is that of the whole process, libraries included, as for training.
    """
    machine.forget_peak_memory()
    call()
    return machine.peak_memory_mb()


def _times(calls: Mapping[tuple[str, int], Call], setting: Setting, warnings: list[str]) -> Facts:
    """Return the latency of each runtime and batch; add what is odd about them to ``warnings``."""
    with measure_background_load() as load:
        found = time_calls(calls, limit_s=setting.limit_s)
    facts: Facts = {"latency_ms": {}, "timed": {}, "load": load.others}
    for (runtime, n), timed in found.items():
        how = asdict(timed)
        latency = {name: how.pop(name) for name in ("median", "p95", "rounds")}
        facts["latency_ms"].setdefault(runtime, {})[str(n)] = latency
        facts["timed"].setdefault(runtime, {})[str(n)] = how
    named = {f"{runtime} at batch {n}": timed for (runtime, n), timed in found.items()}
    warnings += [*doubts(named, setting.threads), *load.doubts(setting.threads)]
    return facts
