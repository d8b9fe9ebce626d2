"""What a plugin meets: the specs that its hooks return and the contracts of what they name.

Whatever runs is named ``"module:function"`` and imported when it runs, so the module that holds a
plugin's hooks imports nothing heavy. Everything here is data; nothing imports numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from hepbench.errors import PluginError

if TYPE_CHECKING:
    from hepbench.examples import TrainingData

Array: TypeAlias = Any
"""A numpy array (or what stands for one), shapes as documented where it appears."""

Inputs: TypeAlias = Mapping[str, Array]
"""Named inputs of N examples: ``image`` (N, C, H, W), ``cloud`` (N, P, F) with ``mask`` (N, P) bool
(True = real particle), ``table`` (N, F), ``scalars`` (N, S)."""

Params: TypeAlias = Mapping[str, Any]
"""Parameters by name, of JSON's types: they are written into records and hashed into keys."""

Role: TypeAlias = Literal["labelled", "unlabelled", "test"]

LIMITS = ("n_train", "n_validation", "n_test")
"""Parameters that every dataset has: at most so many examples of each part (None: all)."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """One named input of an example.

    Attributes:
        shape: of one example, without the leading N.
        names: of the channels (image) or features (cloud, table, scalars).
        sparse: True where most values are zero.
    """

    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    sparse: bool = False


@dataclass(frozen=True, kw_only=True)
class File:
    """An original file of a dataset, looked for as ``<data folder>/<dataset>/<name>``.

    Attributes:
        name: the original file name.
        role: what its examples are; ``test`` is an official test file.
        variants: other names under which the same content is accepted.
        bytes: its size, where it is known.
        sha256: its checksum, where one was published. Another one is a warning, never an error.
        address: where to get it.
    """

    name: str
    role: Role = "labelled"
    variants: tuple[str, ...] = ()
    bytes: int | None = None
    sha256: str | None = None
    address: str = ""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Shares of train, validation and test examples, stratified by class; the seed is the suite's.

    Attributes:
        train, validation, test: shares that add to 1. Where the test part is official, train and
            validation divide the rest in their proportion.
        official: ``"module:function"`` of ``(ids, **params) -> (N,) bool or None``: True for the
            rows of the official test set, None where the file at hand is not whole.
        uses: the dataset's params that ``official`` is handed.
    """

    train: float = 0.6
    validation: float = 0.2
    test: float = 0.2
    official: str | None = None
    uses: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.test)
        if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
            msg = f"split shares must be positive and add to 1; got {shares}"
            raise PluginError(msg)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A named source of examples. Its functions also get its resolved params by keyword.

    Attributes:
        name: as written in suites.
        summary: one line.
        classes: names in the order of the labels 0, 1, ...; for two classes, 1 is the signal.
        inputs: what ``read`` and ``sample`` yield, by name.
        read: ``(folder, **params) -> Iterator[(Role, Examples)]``, in chunks: the original files in
            ``folder``. Ids are the same in every run and on every machine.
        sample: ``(**params) -> `` the same: the simulated sample that ships with the plugin.
        sample_files: what ``sample`` reads, as ``"package:path"``: hashed as its fingerprint.
        reads: the params that change what ``read`` and ``sample`` yield; only these are handed to
            them. Those that are neither here nor in ``split.uses`` are handed to views: changing
            one needs no second reading.
        views: by the name of the input that they make, ``(inputs, **params) -> Inputs`` on any
            number of examples; a view sees no label and no id. A view named like an input that is
            read takes its place.
        files: the original files; at least one must be found for ``read`` to be used.
        split: how examples are divided.
        params: defaults of the dataset's own parameters.
        augmentations: ``(inputs) -> Inputs`` by name, for training batches only.
        citation, licence: of the original.
        generate: ``(folder, *, events, seed, jobs, progress) -> Path``: simulates more examples
            into ``folder`` in the original file format.
    """

    name: str
    summary: str
    classes: tuple[str, ...]
    inputs: Mapping[str, Input]
    read: str | None = None
    sample: str | None = None
    sample_files: tuple[str, ...] = ()
    reads: frozenset[str] = frozenset()
    views: Mapping[str, str] = field(default_factory=dict)
    files: tuple[File, ...] = ()
    split: Split = field(default_factory=Split)
    params: Params = field(default_factory=dict)
    augmentations: Mapping[str, str] = field(default_factory=dict)
    citation: str = ""
    licence: str = ""
    generate: str | None = None

    def __post_init__(self) -> None:
        _check_name("dataset", self.name)
        if len(self.classes) < 2:
            msg = f"dataset {self.name}: needs at least two classes; got {self.classes}"
            raise PluginError(msg)
        if set(self.params) & set(LIMITS):
            msg = f"dataset {self.name}: the core has the params {', '.join(LIMITS)} itself"
            raise PluginError(msg)
        if extra := sorted((self.reads | self.split.uses) - set(self.params)):
            msg = f"dataset {self.name}: reads or uses {extra[0]!r}, which is not in params"
            raise PluginError(msg)


@dataclass(frozen=True, kw_only=True)
class Model:
    """What encodes inputs, or an estimator that fits itself.

    Attributes:
        name, summary: as written in suites; one line.
        inputs: names of the inputs that it takes.
        build: ``(shapes, **params) -> Estimator``; ``shapes`` maps an input to the shape of one
            example.
        offers: what it can do; a method runs only where its ``needs`` are offered.
        params, presets: defaults, and what a preset changes.
        imports: modules worth importing once, before any worker starts.
        source: paper or document.
    """

    name: str
    summary: str
    inputs: tuple[str, ...]
    build: str
    offers: frozenset[str] = frozenset({"encode"})
    params: Params = field(default_factory=dict)
    presets: Mapping[str, Params] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        _check_name("model", self.name)
        _check_presets("model", self)


@dataclass(frozen=True, kw_only=True)
class Method:
    """What is done with a model on a dataset: one step of a chain.

    Attributes:
        name, summary: as written in suites; one line.
        run: ``(start, data, work, **params) -> `` what follows, of the kind of ``start``;
            ``data`` is TrainingData, ``work`` is Work.
        after: what it may follow: methods, or whatever makes an ``encoder`` or a ``classifier``, or
            ``fresh``, a model as built. The first is what it follows when it is named alone.
        needs: what the model must offer.
        labels: False for a method that may see no label: it gets every training input, no label.
        makes: ``encoder`` or ``classifier``; only a classifier ends a chain.
        params, presets: defaults, and what a preset changes.
    """

    name: str
    summary: str
    run: str
    after: tuple[str, ...] = ("fresh",)
    needs: frozenset[str] = frozenset({"encode"})
    labels: bool = True
    makes: Literal["encoder", "classifier"] = "classifier"
    params: Params = field(default_factory=dict)
    presets: Mapping[str, Params] = field(default_factory=dict)
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_name("method", self.name)
        _check_presets("method", self)
        if not self.after:
            msg = f"method {self.name}: 'after' names nothing that it may follow"
            raise PluginError(msg)


@dataclass(frozen=True)
class Measured:
    """A value with its uncertainty.

    Attributes:
        value: finite.
        stderr: standard error of the test sample, where one is known.
        low, high: 68 % interval, where it is not symmetric.
        limit: True where ``value`` is a 95 % lower limit.
    """

    value: float
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    limit: bool = False


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Scores of one part joined to its labels; exists only in the parent process.

    Attributes:
        labels: (N,) int64, the class of each example.
        scores: (N, classes) float64, rows adding to 1.
        weights: (N,) float64, or None for equal weights.
        ids: (N,) int64.
        targets: (N,) each: mass, pt and the like, for slices.
        validation: the validation part, for whatever must be chosen before the test set is seen:
            thresholds and calibration.
    """

    labels: Array
    scores: Array
    weights: Array | None = None
    ids: Array | None = None
    targets: Inputs = field(default_factory=dict)
    validation: Predictions | None = None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure computed from predictions.

    Attributes:
        name, summary: as shown in tables; one line.
        compute: ``(Predictions) -> float | Measured``; raises UndefinedMetricError where it has
            no value.
        higher_is_better: direction.
        same: what must be equal for two values to be compared: names among ``data``, ``split``,
            ``labels``, ``preset``.
        classes: how many classes it is made for; None: any.
    """

    name: str
    compute: str
    higher_is_better: bool
    summary: str = ""
    same: frozenset[str] = frozenset({"data", "split", "labels"})
    classes: int | None = None

    def __post_init__(self) -> None:
        _check_name("metric", self.name)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A suite that a plugin ships; the file is read only when it is asked for.

    Attributes:
        name: as given to ``hepbench run``.
        path: ``"package:folder/name.toml"``.
    """

    name: str
    path: str

    def __post_init__(self) -> None:
        _check_name("suite", self.name)


Spec: TypeAlias = Dataset | Model | Method | Metric | Suite


@runtime_checkable
class Estimator(Protocol):
    """A model that fits itself, such as boosted trees; imports no torch.

    ``vars(estimator)`` is its state: plain values and arrays are stored as JSON and npy, objects of
    scikit-learn by skops, and put back into what ``build`` returns. An attribute ``trusts`` may
    list the type names that skops does not trust by itself; ``parameters`` (int) is the number of
    fitted values, shown in tables; ``history`` (list of dicts, one per epoch or iteration) and
    ``best_epoch`` (int) go into the record. A method ``cost()`` may return what scoring one example
    takes, as it was fitted: ``{"macs": ...}`` (multiply-accumulates: features of a linear model,
    support vectors x features of an SVM) or ``{"comparisons": ...}`` (nodes on the paths through
    trees, on average over examples), or both.
    """

    def fit(self, data: TrainingData, *, seed: int) -> None:
        """Fit on ``data.train``; choose and stop early on ``data.validation`` only."""
        ...

    def scores(self, inputs: Inputs) -> Array:
        """Return (N, classes) probabilities, rows adding to 1, each from its own example alone."""
        ...


class Work(Protocol):
    """What a method is lent.

    Attributes:
        seed: drawn from the cell's seed and the stage's key; numpy's global generator is seeded
            with it too.
        threads: how many threads it may use.
    """

    seed: int
    threads: int


def _check_name(kind: str, name: str) -> None:
    if not name or not all(c.isalnum() or c in "-_." for c in name) or not name[0].isalnum():
        msg = f"{kind} name {name!r}: letters, digits, '-', '_' and '.' are allowed"
        raise PluginError(msg)


def _check_presets(kind: str, spec: Model | Method) -> None:
    for preset, params in spec.presets.items():
        if extra := sorted(set(params) - set(spec.params)):
            msg = f"{kind} {spec.name}: preset '{preset}' sets {extra[0]!r}, which is not in params"
            raise PluginError(msg)
