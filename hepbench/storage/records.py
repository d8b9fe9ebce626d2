"""The record of a cell: the JSON that everything shown is made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


SCHEMA_VERSION = 1


class Value(msgspec.Struct, frozen=True, omit_defaults=True):
    """A metric as recorded: see ``Measured``. ``undefined`` says why there is no value."""

    value: float | None = None
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    limit: bool = False
    undefined: str | None = None


Origin = Literal["file", "simulated", "sample"]


ORIGINS = {
    "file": "original file",
    "simulated": "simulated file",
    "sample": "simulated sample",
    "": "",
}
"""In words; empty where nobody knows."""


class DataSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Which examples a cell saw.

    Attributes:
        source: original ``file``, ``simulated`` file of its format, or simulated ``sample`` that
            ships with the plugin.
        fingerprint: hash of the files read.
        n_train, n_unlabelled: training examples whose labels were seen, and those without.
        split_hash: hash of the ids of each part.
        contents, test_contents: hash of what was read (ids, labels, weights, inputs), and of the
            test part of it: reading other numbers under the same ids makes other data.
        duplicates: exact copies across parts: ``train_test: 3`` test rows equal a training row.
    """

    source: Origin
    fingerprint: str
    files: list[str] = []
    n_train: int = 0
    n_validation: int = 0
    n_test: int = 0
    n_unlabelled: int = 0
    split_hash: str = ""
    contents: str = ""
    test_contents: str = ""
    duplicates: dict[str, int] = {}

    @property
    def test_set(self) -> str:
        """What tells a test set from others; older records know only the hash of all parts."""
        return self.test_contents or self.split_hash


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds of one call that scores a batch."""

    median: float
    p95: float


class Cost(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a cell cost.

    Attributes:
        parameters, nonzero_parameters: of the network that was scored; an estimator's own count.
        macs: multiply-accumulates of scoring one example; ``flops`` is twice that.
        theoretical_macs: without those whose weight is zero: what no mask saves by itself.
        comparisons: along the paths of one example through trees, on average.
        latency_ms: by runtime (``torch``, ``onnxruntime``; ``native`` for an estimator) and batch.
        load: cores that other work kept busy while latencies were measured.
        gaps: what could not be measured or counted, ``name: why``.
    """

    parameters: int | None = None
    nonzero_parameters: int | None = None
    macs: int | None = None
    flops: int | None = None
    theoretical_macs: int | None = None
    comparisons: float | None = None
    latency_ms: dict[str, dict[str, Latency]] = {}
    load: float | None = None
    gaps: list[str] = []
    train_seconds: float | None = None
    examples_per_second: float | None = None
    peak_memory_mb: float | None = None

    @property
    def latency(self) -> float | None:
        """Milliseconds of one example, median: in ONNX Runtime, or as it was trained."""
        for runtime in ("onnxruntime", "torch", "native"):
            if found := self.latency_ms.get(runtime, {}).get("1"):
                return found.median
        return None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a cell has no metrics; ``cell`` names the one whose stage failed, if it is another."""

    stage: str
    type: str
    message: str
    traceback: str = ""
    stderr: str = ""
    cell: str = ""


class Stored(msgspec.Struct, frozen=True):
    """A file beside the record: path relative to the results folder."""

    path: str
    sha256: str


class Published(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A published figure to show beside ours."""

    cell: str
    metrics: dict[str, float]
    source: str
    n_test: int | None = None
    caveat: str = ""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one cell.

    Attributes:
        dataset, model, chain: labels, with the parameters that differ from the preset's.
        method: the last of the chain.
        params: of ``dataset``, ``model`` and each of ``methods``, whose second use in a chain is
            ``finetune#2``.
        key: content hash: equal keys, equal results.
        epochs, best_epoch: of the last method: how many, and which one's weights it kept, from 0.
        history: a row for each epoch of every method; ``step`` is its place in the chain, from 0.
        metrics, metrics_train, metrics_validation: by metric name.
        key_parts: what the key was hashed from, by stage: what ``why`` compares.
        stage_keys: keys of the stages in the cache, by the same names.
        predictions: scores of each part; ``labels``: their ids, labels and weights.
        warnings: protocol points that this record breaks or strains, ``name: what``.
    """

    schema_version: int = SCHEMA_VERSION
    suite: str
    dataset: str
    model: str
    method: str
    chain: str
    preset: str
    seed: int
    params: dict[str, Any]
    key: str
    status: Literal["ok", "failed", "timeout"]
    metrics: dict[str, Value] = {}
    metrics_train: dict[str, Value] = {}
    metrics_validation: dict[str, Value] = {}
    cost: Cost = Cost()
    epochs: int | None = None
    best_epoch: int | None = None
    history: list[dict[str, float]] = []
    data: DataSummary | None = None
    key_parts: dict[str, dict[str, Any]] = {}
    stage_keys: dict[str, str] = {}
    provenance: dict[str, Any] = {}
    warnings: list[str] = []
    published: Published | None = None
    error: Failure | None = None
    predictions: Stored | None = None
    labels: Stored | None = None

    @property
    def cell(self) -> str:
        """The cell's name, ``dataset/model/chain#seed``."""
        return f"{self.dataset}/{self.model}/{self.chain}#{self.seed}"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What observers are told of a run."""

    suite: str
    results: str
    cells: int
    cached: int
    failed: int = 0


def encode(record: Record) -> bytes:
    """Return a record as indented JSON, keys in the order of its definition."""
    return msgspec.json.format(msgspec.json.encode(record, order="sorted"), indent=1) + b"\n"


def decode(data: bytes) -> Record:
    """Return the record in ``data``.

    Raises:
        msgspec.MsgspecError: it is not one.
    """
    return _decoder.decode(data)


def same(a: Record, b: Record) -> bool:
    """Whether two records are equal in all but times, memory and timestamps."""
    return comparable(a) == comparable(b)


def comparable(record: Record) -> Mapping[str, Any]:
    """Return a record as builtins without times, memory and timestamps."""
    built: dict[str, Any] = msgspec.to_builtins(record)
    for name in ("latency_ms", "load", "train_seconds", "examples_per_second", "peak_memory_mb"):
        built["cost"].pop(name, None)
    for name in ("started", "finished", "machine", "git", "suite_file"):
        built["provenance"].pop(name, None)
    # how steady a latency was is no more the same than the latency
    built["warnings"] = [w for w in built["warnings"] if not w.startswith("latency")]
    if built["error"]:
        built["error"] |= {"traceback": "", "stderr": ""}
    return built


_decoder = msgspec.json.Decoder(Record)
