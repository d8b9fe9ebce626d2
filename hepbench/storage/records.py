"""The record of a cell: the JSON file from which tables and plots are made."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from hepbench._version import __version__
from hepbench.specs.errors import ResultsError
from hepbench.specs.types import Json
from hepbench.storage import old_records
from hepbench.storage.costs import STATED, Cost, Device

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


SCHEMA_VERSION = 3


CONSTANT_SCORES = "scores: all test examples get the same scores"
"""The beginning of a warning in a record."""


class Value(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A recorded value of a metric, as in ``Measured``.

    Attributes:
        value: finite; None if there is none.
        stderr: standard error of the test sample, if known.
        low, high: 68 % interval, if it is not symmetric.
        limit: True if ``value`` is a 95 % lower limit.
        undefined: why there is no value.
    """

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
    "sample": "bundled sample",
    "": "",
}
"""Origins in words; the empty one stands for an origin that is not recorded."""


class Leak(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of one finding of the leak audit: what may make a classifier look too good.

    Attributes:
        kind: ``feature``: one feature alone tells a class from the others; ``precision``: a class
            has values of another precision; ``near_copies``: examples of two parts are nearly
            equal; ``order``: the classes follow the order of ids.
        where: the feature (``table.process``), or the two parts (``train_test``).
        detail: the pixel or particle, or the kind of precision.
        label: the class.
        found: AUC of a small tree on the feature; fraction of values with this precision in the class;
            fraction of examples of the second part that nearly equal one of the first.
        other: fraction of values with this precision in the other classes.
        count, examined: number of features, near-copies or changes of class that were found, and of
            features or examples that were looked at.
    """

    kind: Literal["feature", "precision", "near_copies", "order"]
    where: str = ""
    detail: str = ""
    label: str = ""
    found: float | None = None
    other: float | None = None
    count: int
    examined: int


class DataSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The record of the data of a cell: files, numbers of examples and hashes.

    Attributes:
        source: ``file``: the original dataset; ``simulated``: a file of the same format that
            ``hepbench data simulate`` wrote; ``sample``: the small sample bundled with the plugin.
        fingerprint: hash of the files that were read.
        files: their names.
        n_train, n_unlabelled: training examples with labels, and those without.
        n_validation, n_test: examples of the other parts.
        split_hash: hash of the ids of each part.
        contents, test_contents: hash of ids, labels, weights and inputs of all examples, and of the
            test examples: other numbers under the same ids are other data.
        duplicates: exact copies in two parts: ``train_test: 3`` means that 3 test examples equal a
            training example.
        leaks: findings of the leak audit; None: there was none, as in older records.
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
    leaks: list[Leak] | None = None

    @property
    def test_set(self) -> str:
        """The hash of a record's test set; the oldest records have only a hash of all parts."""
        return self.test_contents or self.split_hash


class EventWeights(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of where weights of simulated events were used; None means not recorded.

    Attributes:
        training: whether the examples that were trained on had weights.
        metrics: whether the examples that metrics were computed on had weights.
        rule: the dataset's ``training_weights``.
        effective_test: by class, the number of equal examples that the test examples count like.
    """

    training: bool | None = None
    metrics: bool | None = None
    rule: str = ""
    effective_test: dict[str, float] = {}


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The record of an error: why a cell has no metrics.

    Attributes:
        stage: name of the stage that failed.
        type, message: of the exception.
        traceback: where it was raised.
        stderr: last output of the worker that failed.
        cell: name of the cell that the failed stage belongs to, if it is another cell.
    """

    stage: str
    type: str
    message: str
    traceback: str = ""
    stderr: str = ""
    cell: str = ""


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stored file that belongs to a record: its path and checksum.

    Attributes:
        path: relative to the folder of the record's file, which is its suite's. In a record that
            was read from results: relative to these results.
        sha256: its checksum.
        parts: the parts that were kept when the results were packed; empty: all.
    """

    path: str
    sha256: str
    parts: tuple[str, ...] = ()


class Published(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A published result, shown in tables beside the measured one.

    Attributes:
        cell: ``dataset/model/chain`` to show it beside; may be a glob.
        metrics: published values by metric name.
        source: the publication.
        n_test: test examples of the publication.
        caveat: why the two may not be comparable.
    """

    cell: str
    metrics: dict[str, float]
    source: str
    n_test: int | None = None
    caveat: str = ""


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of what a stage used: files, distributions, environment, processes.

    Attributes:
        files: digest of each file that was read, None where it was missing; by path, in packages
            relative to the top-level one. Of a folder that was listed (``pack/tables/``), the digest
            of its names.
        distributions: version of each Python distribution that was imported.
        environment: hash of each environment variable that was read, None where it was not set.
        processes: programs of the processes that were started.
    """

    files: dict[str, str | None] = {}
    distributions: dict[str, str] = {}
    environment: dict[str, str | None] = {}
    processes: list[str] = []


class Machine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of the machine of a run.

    Attributes:
        host: its name.
        processor: model of the processor.
        cores: that processes may use.
        memory_gb: what processes may use, in GB.
        system: operating system.
    """

    host: str = ""
    processor: str = ""
    cores: int | None = None
    memory_gb: float | None = None
    system: str = ""


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """The origin of a record: versions, machine, device and times.

    Attributes:
        hepbench: its version.
        plugins: version of each distribution that dataset, model and methods come from.
        git: commit of the folder that the run was started in; ``+`` marks uncommitted changes.
        machine: the machine of the run.
        libraries: versions of Python and of the libraries that compute.
        device: where networks were trained and scored.
        threads: of each worker.
        suite_file: path of the suite file, as the run was given it.
        run: name that the run was given; empty: it is called by its start.
        started, finished: UTC: start of the run, end of the cell.
    """

    hepbench: str = ""
    plugins: dict[str, str] = {}
    git: str = ""
    machine: Machine = Machine()
    libraries: dict[str, str] = {}
    device: Device = Device()
    threads: int | None = None
    suite_file: str = ""
    run: str = ""
    started: str = ""
    finished: str = ""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one cell: its settings, metrics, costs and origin.

    Attributes:
        schema_version: of the format; records of older versions are still read.
        suite: name of the suite.
        dataset, model, chain: labels, with the parameters that differ from the preset's.
        method: the last of the chain.
        preset: name of the preset.
        seed: of this cell.
        params: of ``dataset``, ``model`` and each of ``methods``, whose second use in a chain is
            ``finetune#2``.
        key: content hash: equal keys, equal results.
        status: ``ok``, or why there are no metrics.
        metrics, metrics_train, metrics_validation: by metric name.
        cost: parameters, operations, latencies, times.
        epochs, best_epoch: of the last method: number of epochs, and the epoch whose weights were
            kept, counted from 0.
        history: a row for each epoch of every method; ``step`` is its place in the chain, from 0.
        data: the data of the cell.
        stage_keys: keys of the cell's stages by name: ``read``, ``split``, ``inputs``, each method
            (``pretrain+finetune net``), ``cost``. Empty where they are not known.
        key_parts: what each key was hashed from, by the same names and ``evaluate``.
        used: what each stage used while it ran beside what the stages before it used, by the same
            names. Empty in records of older versions.
        event_weights: where the weights of events were used.
        provenance: versions, machine and times.
        warnings: doubts about this record, ``name: what``.
        published: the published result that the suite shows beside it.
        error: of a cell that failed.
        predictions: scores of each part.
        labels: their ids, labels and weights.
        spectators: quantities of the same examples that are carried along but not given to the
            model (mass, pt); None where there are none, or where ``labels`` holds them.
    """

    schema_version: int = SCHEMA_VERSION
    suite: str
    dataset: str
    model: str
    method: str
    chain: str
    preset: str
    seed: int
    params: dict[str, Json]
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
    stage_keys: dict[str, str] = {}
    key_parts: dict[str, dict[str, Json]] = {}
    used: dict[str, Usage] = {}
    event_weights: EventWeights = EventWeights()
    provenance: Provenance = Provenance()
    warnings: list[str] = []
    published: Published | None = None
    error: Failure | None = None
    predictions: Stored | None = None
    labels: Stored | None = None
    spectators: Stored | None = None

    @property
    def cell(self) -> str:
        """The name of the record's cell, ``dataset/model/chain#seed``."""
        return f"{self.dataset}/{self.model}/{self.chain}#{self.seed}"

    @property
    def constant_scores(self) -> bool:
        """Whether a warning of the record says that all its test scores are the same."""
        return any(warning.startswith(CONSTANT_SCORES) for warning in self.warnings)

    @property
    def stated(self) -> list[str]:
        """The fields of the record's cost that an estimator stated about itself."""
        if self.cost.stated or not self._of_estimator:
            return self.cost.stated
        return [name for name in STATED if getattr(self.cost, name) is not None]

    @property
    def _of_estimator(self) -> bool:
        # older records do not say what was stated; the keys of estimators hold no version of torch
        methods = (part for part in self.key_parts.values() if "method" in part)
        libraries: Any = next((part.get("libraries", {}) for part in methods), {})
        return bool(libraries) and "torch" not in libraries

    @property
    def run(self) -> str:
        """The name of the run that made the record, by default the run's start time."""
        return self.provenance.run or self.provenance.started


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A summary of a run for observers.

    Attributes:
        suite: name of the suite.
        results: path of the results folder.
        cells: number of cells of the plan.
        cached: cells that the run has not run; at its end, those with a valid record.
        failed: cells that failed; 0 at the start.
    """

    suite: str
    results: str
    cells: int
    cached: int
    failed: int = 0


def encode(record: Record) -> bytes:
    """Write a record as indented JSON with sorted keys; its checksum comes first."""
    text = msgspec.json.format(msgspec.json.encode(record, order="sorted"), indent=1) + b"\n"
    rest = text.removeprefix(b"{")
    return _checksum_field(rest) + rest


def _checksum_field(rest: bytes | memoryview) -> bytes:
    return b'{\n "checksum": "%08x",' % zlib.crc32(rest)


def decode(
    data: bytes,
    *,
    name: object = "the record",
    parse: Callable[[bytes], Record] | None = None,
) -> Record:
    """Read a record from JSON; one of an older schema is converted.

    Args:
        data: JSON.
        name: the record's name in error messages, such as its path.
        parse: reads the JSON of a record of today's schema; see ``record_reading.RecordReader``.

    Raises:
        ResultsError: a newer hepbench wrote it.
        msgspec.MsgspecError: it is not a record, or was changed after it was written.
    """
    _compare_checksum(data)
    try:
        record = (parse or _decoder.decode)(data)
    except msgspec.ValidationError:
        # only what could not be read is read twice: most records are of today's schema
        version = _version_decoder.decode(data).schema_version
        if version in {2, SCHEMA_VERSION}:
            raise
    except UnicodeDecodeError as error:
        msg = f"invalid text: {error.reason}"
        raise msgspec.DecodeError(msg) from error
    except RecursionError as error:
        msg = "nested too deeply"
        raise msgspec.DecodeError(msg) from error
    else:
        version = record.schema_version
    if version > SCHEMA_VERSION:
        msg = (
            f"{name} has schema version {version}, but hepbench {__version__} reads only 1 to "
            f"{SCHEMA_VERSION}; update hepbench"
        )
        raise ResultsError(msg)
    if version == SCHEMA_VERSION:
        return record
    return _from_schema_2(record) if version == 2 else _from_schema_1(data)


def _compare_checksum(data: bytes) -> None:
    """Raise an error if a record differs from its checksum; old records have none."""
    found = _CHECKSUM.match(data)
    if found and found[0] != _checksum_field(memoryview(data)[found.end() :]):
        msg = "the checksum differs: the record was changed after it was written"
        raise msgspec.DecodeError(msg)


STORED = ("predictions", "labels", "spectators")
"""Fields of a record that name a stored file."""


def stored_files(record: Record) -> dict[str, Stored]:
    """Return the stored files that belong to a record, by the record's field."""
    named = {name: getattr(record, name) for name in STORED}
    return {name: stored for name, stored in named.items() if stored is not None}


def with_paths(record: Record, change: Callable[[str], str]) -> Record:
    """Return a copy of a record with other paths of its stored files."""
    changed = {
        name: msgspec.structs.replace(stored, path=change(stored.path))
        for name, stored in stored_files(record).items()
    }
    return msgspec.structs.replace(record, **changed)


def _from_schema_2(record: Record) -> Record:
    """Convert a record of schema 2, whose paths begin with the suite's folder."""
    changed = with_paths(record, lambda path: old_records.in_suite(path, record.suite))
    return msgspec.structs.replace(changed, schema_version=SCHEMA_VERSION)


def _from_schema_1(data: bytes) -> Record:
    try:
        builtins = old_records.convert(msgspec.json.decode(data))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = f"a record of schema 1 that cannot be converted: {type(error).__name__}: {error}"
        raise msgspec.ValidationError(msg) from error
    return msgspec.convert(builtins, Record)


MEASURED = (
    *("latencies", "train_seconds", "train_cpu_seconds", "trained_per_second"),
    *("pretrain_cpu_seconds", "peak_memory_mb"),
    *("pretrain_examples", "stated"),
)
"""Fields of a cost that may differ if a cell is computed again: times and memory, and fields that
older records do not have."""


def same(a: Record, b: Record) -> bool:
    """Whether two records are equal, ignoring times, memory and timestamps."""
    return comparable(a) == comparable(b)


def comparable(record: Record) -> Mapping[str, Json]:
    """Return a record as builtins, without times, memory and timestamps."""
    built: dict[str, Json] = msgspec.to_builtins(record)
    for name in MEASURED:
        built["cost"].pop(name, None)
    for name in ("started", "finished", "machine", "git", "suite_file", "run"):
        built["provenance"].pop(name, None)
    built["provenance"]["device"].pop("name", None)
    # warnings about latencies differ as latencies do
    built["warnings"] = [w for w in built["warnings"] if not w.startswith("latency")]
    if built["error"]:
        built["error"] |= {"traceback": "", "stderr": ""}
    return built


class _Version(msgspec.Struct):
    schema_version: int = SCHEMA_VERSION


_CHECKSUM = re.compile(rb'\{\n ".{8}": ".{8}",', re.DOTALL)
"""The beginning of a record with a checksum, even if one bit of its name has changed."""


_decoder = msgspec.json.Decoder(Record)


_version_decoder = msgspec.json.Decoder(_Version)
