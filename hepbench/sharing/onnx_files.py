"""The ONNX graph of a recorded cell: found in the cache, and checked against all its test scores."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.data import stored_parts
from hepbench.evaluation import stored_predictions
from hepbench.specs.errors import ResultsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hepbench.specs.training_data import Examples
    from hepbench.specs.types import Array, Inputs
    from hepbench.storage.records import Record
    from hepbench.storage.results import Results
    from hepbench.storage.stage_cache import StageCache

GRAPHS = ("network.onnx", "estimator.onnx")
"""The files of a cost stage, one of which is its graph."""

BATCH = 256

SINGLES = 64
"""Number of test examples that calls with one example take in turn."""

TOLERANCE = 1e-5
"""Largest allowed difference between a score (probability) of the graph and the recorded one."""

NUMPY_TYPES = {
    "tensor(bool)": np.bool_,
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
}


@dataclass(frozen=True)
class Exported:
    """An exported graph.

    Attributes:
        inputs: type and shape of an example of each input, by name.
        output: ``logits`` of a network, or the scores of an estimator.
        examples: number of test examples whose scores were compared.
        difference: the largest difference of their scores from the recorded ones.
    """

    inputs: dict[str, tuple[str, tuple[int, ...]]]
    output: str
    examples: int
    difference: float

    @property
    def is_network(self) -> bool:
        """Whether the output must be turned into scores by a softmax."""
        return self.output == "logits"


def export(results: Results, record: Record, cache: StageCache, out: Path) -> Exported:
    """Write the ONNX graph of a cell, with its preprocessing, and return what it expects.

    Every stored test score is computed again by the graph first. The file names the cell, its key
    and its dataset.

    Raises:
        ResultsError: the graph or the test inputs are not in the cache, scores differ, or the file
            cannot be written.
    """
    import onnx

    from hepbench.cost.onnx_runtime import session

    path = stored_graph(record, cache)
    graph = session(path)
    exported = _checked(graph, results, record, cache)
    model = onnx.load(path)
    for name, text in _facts(record).items():
        model.metadata_props.add(key=f"hepbench.{name}", value=text)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(model.SerializeToString())
    except OSError as error:
        msg = f"cannot write {out}: {error.strerror}; choose another -o"
        raise ResultsError(msg) from error
    return exported


def call(record: Record, cache: StageCache) -> Callable[[], object]:
    """Return a function that scores one test example by a cell's graph, another one in each call.

    Raises:
        ResultsError: the graph or the test inputs are not in the cache.
    """
    from hepbench.cost.onnx_runtime import session

    graph = session(stored_graph(record, cache))
    inputs = _test_inputs(record, cache).inputs
    examples = cycle([_feeds(graph, inputs, slice(i, i + 1)) for i in range(SINGLES)])
    return lambda: graph.run(None, next(examples))


def stored_graph(record: Record, cache: StageCache) -> Path:
    """Return the path of a cell's ONNX graph in the cache.

    Raises:
        ResultsError: there is none; the message says why, or how to get it.
    """
    key = record.stage_keys.get("cost", "")
    if not key:
        msg = f"{record.cell}: its costs were not measured, so it was not exported; set cost = true"
        raise ResultsError(msg)
    if cache.find(key) is None:
        suite = record.provenance.suite_file or record.suite
        msg = f"{record.cell}: not in the cache any more; run {suite} with --fresh"
        raise ResultsError(msg)
    for name in GRAPHS:
        if (path := cache.folder(key) / name).exists():
            return path
    why = record.cost.reason("onnxruntime") or "its model offers no ONNX graph"
    msg = f"{record.cell}: {why}"
    raise ResultsError(msg)


def _checked(graph: Any, results: Results, record: Record, cache: StageCache) -> Exported:
    test = _test_inputs(record, cache)
    recorded = stored_predictions.of_test(results, record)
    if not np.array_equal(np.asarray(recorded.ids), test.ids):
        msg = f"{record.cell}: the test inputs in the cache are not those of the record"
        raise ResultsError(msg)
    batches = list(scores(graph, test.inputs, len(test)))
    difference = float(abs(np.concatenate(batches) - recorded.scores).max())
    # this way round, a NaN fails
    if not difference <= TOLERANCE:
        msg = (
            f"{record.cell}: scores of the ONNX graph differ from the recorded ones by "
            f"{difference:.2g}; at most {TOLERANCE:g} is allowed"
        )
        raise ResultsError(msg)
    inputs = {
        each.name: (str(NUMPY_TYPES[each.type].__name__), np.shape(test.inputs[each.name])[1:])
        for each in graph.get_inputs()
    }
    return Exported(inputs, graph.get_outputs()[0].name, len(test), difference)


def _test_inputs(record: Record, cache: StageCache) -> Examples:
    key = record.stage_keys["inputs"]
    if cache.find(key) is None:
        msg = f"{record.cell}: its test inputs are not in the cache any more"
        raise ResultsError(msg)
    return stored_parts.load_part(cache.folder(key), "test")


def scores(graph: Any, inputs: Inputs, n: int) -> Iterator[Array]:
    """Yield the scores of a graph for stored examples, batch by batch."""
    is_network = graph.get_outputs()[0].name == "logits"
    for start in range(0, n, BATCH):
        given = _feeds(graph, inputs, slice(start, start + BATCH))
        made = np.asarray(graph.run(None, given)[0], np.float64)
        yield _softmax(made) if is_network else made


def _feeds(graph: Any, inputs: Inputs, rows: slice) -> dict[str, Array]:
    """Return some stored examples as a graph takes them."""
    types = {each.name: NUMPY_TYPES[each.type] for each in graph.get_inputs()}
    return {name: np.asarray(inputs[name][rows]).astype(kind) for name, kind in types.items()}


def _softmax(logits: Array) -> Array:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _facts(record: Record) -> dict[str, str]:
    """Return what the file says about its model, as texts by name."""
    return {
        "cell": record.cell,
        "key": record.key,
        "dataset": record.dataset,
        "version": record.provenance.hepbench,
    }
