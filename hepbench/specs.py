"""What a plugin meets: the specs that its hooks return and the contracts of what they name.

Whatever runs is named ``"module:function"`` and imported when it runs, so the module that holds a
plugin's hooks imports nothing heavy. Everything here is data; nothing imports numpy or torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from hepbench.allowed import Allowed, Range, refused
from hepbench.errors import PluginError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from hepbench.examples import Examples, TrainingData
    from hepbench.recipes import Recipe

Array: TypeAlias = Any
"""A numpy array or what stands for one (SparseImages), shapes as documented where it appears."""

Inputs: TypeAlias = Mapping[str, Array]
"""Named inputs of N examples: ``image`` (N, C, H, W), ``cloud`` (N, P, F) with ``mask`` (N, P) bool
(True = real particle) and ``neighbours`` (N, P, k), whole numbers (the places in the cloud of what is
near each particle; its own where there is no other), ``table`` (N, F), ``scalars`` (N, S)."""

Params: TypeAlias = Mapping[str, Any]
"""Parameters by name, of JSON's types: they are written into records and hashed into keys."""

Role: TypeAlias = Literal["labelled", "unlabelled", "test"]

TRAINING: Params = {
    "epochs": 10,
    "batch_size": 128,
    "least_steps": 1,
    "optimizer": {"name": "AdamW"},
    "schedule": None,
    "clip": None,
    "patience": None,
    "choose": "loss",
    "augment": [],
}
"""Defaults of what ``Work.fit`` may be told: for the params of a method that trains. What each
means: ``train.Training``."""

TRAINING_ALLOWED: Mapping[str, Allowed] = {
    "epochs": Range(least=0, whole=True),
    "batch_size": Range(least=1, whole=True),
    "least_steps": Range(least=1, whole=True),
    "optimizer.name": ("AdamW", "Adam", "SGD"),
    "schedule.name": (
        *("ReduceLROnPlateau", "StepLR"),
        *("CosineAnnealingLR", "CosineAnnealingWarmRestarts"),
    ),
    "clip": Range(above=0),
    "patience": Range(least=0, whole=True),
}
"""What these may be, of methods that have them all."""

STEPS: Mapping[str, tuple[str, ...]] = {
    "standardise": (),
    "channel-maximum": (),
    "signed-log": (),
    "zero-suppression": ("below",),
}
"""Preprocessing that the core has, and the numbers that each must be told, written in brackets as
``zero-suppression[below=0.001]``: see ``preprocess``, which nothing imports only to list it."""

LIMITS = ("n_train", "n_validation", "n_test")
"""Parameters that every dataset has: at most so many examples of each part (None: all)."""

OWN_PARAMS: Params = {**dict.fromkeys(LIMITS), "label_fraction": 1.0}
"""Defaults of the parameters that every dataset has. ``label_fraction`` is the share of the training
examples whose labels methods see: another choice for each seed, the same for every method, and a
smaller share is part of a larger one. Validation and test examples keep all of theirs."""

SIMULATED = b"simulated by hepbench"
"""By these bytes among the first MARK_BYTES of a file runs know that a generator has made it."""

MARK_BYTES = 512
"""As many as a user block of HDF5 has at least."""

OWN_ALLOWED: Mapping[str, Allowed] = {
    **dict.fromkeys(LIMITS, Range(least=1, whole=True)),
    "label_fraction": Range(above=0, most=1),
}
"""What these may be."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """One named input of an example.

    Attributes:
        shape: of one example, without the leading N.
        names: of the channels (image) or features (cloud, table, scalars).
        units: of each of these, as figures show them; an empty text for none.
        sparse: True for images of which most pixels are zero: they are kept as SparseImages, and
            so given to views and methods. ``read`` and ``sample`` may yield them so, or dense.
    """

    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    sparse: bool = False

    def __post_init__(self) -> None:
        if self.units and len(self.units) != len(self.names):
            msg = f"an input has {len(self.names)} names and {len(self.units)} units; one for each"
            raise PluginError(msg)
        if self.sparse and len(self.shape) != 3:
            msg = f"an input of shape {self.shape} cannot be sparse: an image (C, H, W) can"
            raise PluginError(msg)


@dataclass(frozen=True, kw_only=True)
class File:
    """An original file of a dataset, looked for as ``<data folder>/<dataset>/<name>``.

    Attributes:
        name: the original file name.
        role: what its examples are; ``test`` is an official test file.
        variants: other names under which the same content is accepted.
        form: files of one form belong together, and those of any one form are enough. Where
            several are there, the one whose file is listed first is read.
        optional: True where its form is whole without it, as long as another file of it is there.
        lacks: what its form does not have of all that others hold, in words that may follow its
            name. Records repeat it; it is not odd.
        bytes: its size, where it is known.
        sha256: its checksum, where one was published. Another one is a warning where the file is
            read, and an error where it was fetched.
        url: a link to the file itself, by http or https: ``hepbench data fetch`` takes it from there.
        address: the page where a person gets it, with a browser.
    """

    name: str
    role: Role = "labelled"
    variants: tuple[str, ...] = ()
    form: str = ""
    optional: bool = False
    lacks: str = ""
    bytes: int | None = None
    sha256: str | None = None
    url: str = ""
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
        sample_examples: how many examples it has, those without labels among them.
        reads: the params that change what ``read`` and ``sample`` yield; only these are handed to
            them. Those that are neither here nor in ``split.uses`` are handed to views: changing
            one needs no second reading.
        views: by the name of the input that they make, ``(inputs, **params) -> Inputs`` on any
            number of examples; a view sees no label and no id. A view named like an input that is
            read takes its place. What is sparse comes as SparseImages; a view may make some.
        uses: by the name of a view, the params that are for it: other views are not handed them,
            and where no such view is in use, another value changes no key. What is here for no
            view is for all.
        view_names: what the channels or features are called that a view makes, by its name:
            ``"module:NAME"`` of a tuple, or of a function ``(**params) -> tuple`` which is handed
            what the view is. A view that takes the place of an input keeps its names unless it has
            some here. ``hepbench data check`` shows the statistics of all other views that have.
        view_units: the units of these, in the same way.
        target_units: the units of targets, by name.
        files: the original files; those of one form must be found for ``read`` to be used.
            ``read`` asks ``hepbench.original_files`` for them, and says with ``warnings.warn(text,
            hepbench.DataWarning)`` what is odd about them: records repeat it.
        known: what is known of the original, ``(least, most)`` by name, to check files by:
            ``share.<class>``; ``<input>.<channel or feature>.<statistic>`` with ``mean``, ``min``,
            ``max`` or ``nonzero`` (the share of pixels, or rows, that is not 0); one more
            ``.<class>`` takes that class alone. A file outside is odd, and may be right. The input
            may be one of ``view_names``, or ``target``. Channels and features without a name count
            from 0; of a cloud with a ``mask`` only real particles do; ``mask.particles`` is how
            many there are. What is not labelled is left out.
        split: how examples are divided.
        params: defaults of the dataset's own parameters.
        allowed: what they may be; see ``Method``.
        augmentations: ``(inputs) -> Inputs`` by name, for training batches only: dense tensors, on
            the device.
        citation, licence: of the original.
        generate: ``(folder, *, events, seed, jobs, progress) -> Path``: simulates more examples
            into ``folder`` in the original file format. It writes ``hepbench.SIMULATED`` where
            readers of the format do not look, such as the user block of HDF5 or the name in the
            header of gzip: what is made of a file so marked is labelled as simulated.
    """

    name: str
    summary: str
    classes: tuple[str, ...]
    inputs: Mapping[str, Input]
    read: str | None = None
    sample: str | None = None
    sample_files: tuple[str, ...] = ()
    sample_examples: int | None = None
    reads: frozenset[str] = frozenset()
    views: Mapping[str, str] = field(default_factory=dict)
    uses: Mapping[str, frozenset[str]] = field(default_factory=dict)
    view_names: Mapping[str, str] = field(default_factory=dict)
    view_units: Mapping[str, str] = field(default_factory=dict)
    target_units: Mapping[str, str] = field(default_factory=dict)
    files: tuple[File, ...] = ()
    known: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    split: Split = field(default_factory=Split)
    params: Params = field(default_factory=dict)
    allowed: Mapping[str, Allowed] = field(default_factory=dict)
    augmentations: Mapping[str, str] = field(default_factory=dict)
    citation: str = ""
    licence: str = ""
    generate: str | None = None

    def __post_init__(self) -> None:
        _check_name("dataset", self.name)
        if len(self.classes) < 2:
            msg = f"dataset {self.name}: needs at least two classes; got {self.classes}"
            raise PluginError(msg)
        if set(self.params) & set(OWN_PARAMS):
            msg = f"dataset {self.name}: the core has the params {', '.join(OWN_PARAMS)} itself"
            raise PluginError(msg)
        named = self.reads.union(self.split.uses, *self.uses.values())
        if extra := sorted(named - set(self.params)):
            msg = f"dataset {self.name}: reads or uses {extra[0]!r}, which is not in params"
            raise PluginError(msg)
        _check_allowed("dataset", self)
        for what in ("uses", "view_names", "view_units"):
            if extra := sorted(set(getattr(self, what)) - set(self.views)):
                msg = f"dataset {self.name}: {what} has {extra[0]!r}, which no view makes"
                raise PluginError(msg)

    def handed(self, view: str) -> frozenset[str]:
        """The params that a view is handed."""
        others = self.reads.union(self.split.uses, *self.uses.values())
        return (frozenset(self.params) - others) | self.uses.get(view, frozenset())


@dataclass(frozen=True, kw_only=True)
class Model:
    """What encodes inputs, or an estimator that fits itself.

    Attributes:
        name, summary: as written in suites; one line.
        inputs: names of the inputs that it takes.
        build: ``(shapes, **params) -> Encoder | Estimator``; ``shapes`` maps an input to the shape
            of one example; torch's generator is seeded.
        offers: what it can do: ``encode``, ``pretrain``, ``reconstruct`` an Encoder, ``estimate``
            an Estimator; a method runs only where its ``needs`` are offered.
        preprocess: what is done to the inputs first, in this order: the core's Steps (``STEPS``)
            by name, or the plugin's own as ``"module:class"``. Fitted on training inputs. It is the
            default of the param ``preprocess``, which every network has without naming it.
        params, presets: defaults, and what a preset changes.
        allowed: what parameters may be; see ``Method``.
        imports: modules worth importing once, before any worker starts.
        source: paper or document.
    """

    name: str
    summary: str
    inputs: tuple[str, ...]
    build: str
    offers: frozenset[str] = frozenset({"encode"})
    preprocess: tuple[str, ...] = ()
    params: Params = field(default_factory=dict)
    presets: Mapping[str, Params] = field(default_factory=dict)
    allowed: Mapping[str, Allowed] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        _check_name("model", self.name)
        if "preprocess" in self.params:
            msg = f"model {self.name}: the core has the param preprocess itself"
            raise PluginError(msg)
        _check_presets("model", self, {"preprocess"})
        _check_allowed("model", self)

    @property
    def steps(self) -> frozenset[str]:
        """The preprocessing of its own, ``"module:class"``, that it or a preset of it names."""
        named = (self.preprocess, *(p.get("preprocess", ()) for p in self.presets.values()))
        return frozenset(step for some in named for step in some if ":" in step)


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
        labels: False for a method that may see no label: it gets every training input, those of
            unlabelled examples too.
        makes: ``encoder`` or ``classifier``; only a classifier ends a chain. A head that an
            encoder-making method used on its way is dropped.
        freezes: parts (``encoder``, ``encoder.blocks``, ``head``) that come out bit-identical,
            buffers too. It is checked.
        head: ``(width, classes, **params) -> nn.Module``, what ``Work.with_head`` puts on: (N,
            width) codes in, (N, classes) logits out. None: the encoder's own, else linear.
        params, presets: defaults, and what a preset changes.
        allowed: by the name of a parameter its ``Range``, or a tuple of choices; of a list they are
            meant of every entry, and ``optimizer.name`` of that entry of a table. Any other value
            is refused before anything runs. What is not here must only be of its default's kind.
    """

    name: str
    summary: str
    run: str
    after: tuple[str, ...] = ("fresh",)
    needs: frozenset[str] = frozenset({"encode"})
    labels: bool = True
    makes: Literal["encoder", "classifier"] = "classifier"
    freezes: frozenset[str] = frozenset()
    head: str | None = None
    params: Params = field(default_factory=dict)
    presets: Mapping[str, Params] = field(default_factory=dict)
    allowed: Mapping[str, Allowed] = field(default_factory=dict)
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_name("method", self.name)
        _check_presets("method", self)
        _check_allowed("method", self)
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
        values: (N,) each, of a network whose encoder is as its own loss left it: the terms of that
            loss (``reconstruction``, ``kl``); ``elbo``, their weighted sum, where one is ``kl``;
            ``code_zeros``, the share of the code that is nearly zero. See ``encoders.values``.
        validation: the validation part, for whatever must be chosen before the test set is seen:
            thresholds and calibration.
    """

    labels: Array
    scores: Array
    weights: Array | None = None
    ids: Array | None = None
    targets: Inputs = field(default_factory=dict)
    values: Inputs = field(default_factory=dict)
    validation: Predictions | None = None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure computed from predictions.

    Attributes:
        name, summary: as shown in tables; one line.
        compute: ``(Predictions) -> float | Measured``; raises UndefinedMetricError where it has
            no value.
        higher_is_better: direction; None where neither is better: such a figure ranks nothing.
        same: what must be equal for two values to be compared: names among ``data``, ``split``,
            ``labels``, ``preset``, ``preprocess``.
        classes: how many classes it is made for; None: any.
    """

    name: str
    compute: str
    higher_is_better: bool | None
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


class Step(Protocol):
    """One step of preprocessing: an ``nn.Module`` built as ``Step(shapes)``.

    Its constants are buffers: it is stored, scored and exported with the network. Shapes of inputs
    stay as they are; padding and the like belong to the encoder.
    """

    def fit(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Set the constants from training inputs, once, at the fresh start."""
        ...

    def __call__(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the inputs, each example's from itself alone."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """What ``Model.build`` returns where the model is a network: an ``nn.Module``.

    Only ``encode`` is a must. In eval mode nothing is random and nothing crosses the batch. Inputs
    are never written to: others are handed them too. Neither the order of a cloud's particles nor
    more padding changes a code. An encoder may also have:

    - ``head(classes) -> nn.Module``: from codes to (N, classes) logits, where linear is not meant;
    - ``pretraining_terms(inputs) -> {name: (N,)}``: the terms of its own loss, unweighted, for
      models that offer ``pretrain``;
    - ``term_weights(progress) -> {name: weight}``: of these, 1 where none is named; ``progress``
      goes from 0 to 1, where validation is;
    - ``reconstruct(inputs) -> inputs``, for models that offer ``reconstruct``;
    - ``moments(inputs) -> (mean, log_variance)``, (N, D) each, where it is variational, and
      ``decode(codes) -> inputs``: figures show with them which dimensions are in use, and images
      that were never seen.
    """

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (N, D) float32 codes of preprocessed inputs."""
        ...


class Network(Protocol):
    """The core's ``nn.Module``: preprocessing, an encoder, and perhaps a head.

    Attributes:
        recipe: what it is rebuilt from; ``recipe.classes`` is the number of classes.
        preprocess: applied by whoever makes batches, never in the call.
        encoder, head: the parts that rates and ``freezes`` name.
        masks: parameter name -> (shape of it) bool, False where a weight is pruned. ``Work.fit``
            applies them after every step; they are stored beside the weights.
    """

    recipe: Recipe
    preprocess: nn.Module
    encoder: Any
    head: nn.Module | None
    masks: dict[str, Tensor]

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (N, classes) logits of preprocessed inputs, or (N, D) codes without a head."""
        ...

    def blank(self, n: int = 2) -> dict[str, Tensor]:
        """Return n inputs of the right shapes, for tracing."""
        ...

    def trim(self) -> Network:
        """Drop what scoring does not use (decoder, log-variance), in place."""
        ...

    def restart(self) -> Network:
        """Draw every weight anew, in place; shapes, masks and preprocessing stay."""
        ...

    def apply_masks(self) -> None:
        """Set pruned weights to zero."""
        ...


@dataclass(frozen=True)
class Objective:
    """What is minimised, and by which parts; each objective has an optimiser of its own.

    Attributes:
        terms: ``(network, batch) -> {name: (N,)}``; the core has ``classification`` and
            ``pretraining``. Their sum, weighted by the encoder's ``term_weights`` and the examples'
            weights, is the loss.
        rates: part of the network -> learning rate. A part is a prefix of parameters' names
            (``encoder``, ``encoder.blocks.3``; ``""`` is all), the longest that fits counts. What
            no rate names is frozen and stays in eval mode.
    """

    terms: Callable[[Any, Any], Mapping[str, Tensor]]
    rates: Mapping[str, float]

    def __post_init__(self) -> None:
        wrong = [f"{part!r}: {rate!r}" for part, rate in self.rates.items() if not rate > 0]
        if wrong or not self.rates:
            found = wrong[0] if wrong else "none"
            msg = f"an objective needs learning rates above 0; got {found}"
            raise PluginError(msg)


class Work(Protocol):
    """What a method is lent. All but ``seed`` and ``threads`` is for networks only.

    Attributes:
        seed: drawn from the cell's seed and the stage's key; numpy's and torch's global generators
            are seeded with it too.
        threads: how many threads it may use.
        device: where networks and batches are.
        augmentations: the dataset's, by name: ``(inputs) -> inputs`` on batches.
    """

    seed: int
    threads: int
    device: torch.device
    augmentations: Mapping[str, Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]]

    def with_head(self, network: Network, **params: Any) -> Network:
        """Return the same network under a new head: ``Method.head``, else the encoder's own, else
        linear.
        """
        ...

    def fit(
        self, network: Network, data: TrainingData, *objectives: Objective, **training: Any
    ) -> Network:
        """Train in place and return the network as it was after its best epoch.

        Args:
            network, data: what is trained, and on what.
            objectives: one, or several that take turns at every batch.
            training: the keys of TRAINING; see ``train.Training``.
        """
        ...

    def warn(self, text: str) -> None:
        """Put into the record what must be said of the result, as ``name: what``, one line."""
        ...

    def encode(self, network: Network, examples: Examples) -> Array:
        """Return (N, D) codes as numpy, in eval mode."""
        ...

    def batches(
        self, network: Network, examples: Examples, batch_size: int = 256
    ) -> Iterator[Examples]:
        """Yield examples as dense preprocessed tensors, in their order."""
        ...


def _check_name(kind: str, name: str) -> None:
    if not name or not all(c.isalnum() or c in "-_." for c in name) or not name[0].isalnum():
        msg = f"{kind} name {name!r}: letters, digits, '-', '_' and '.' are allowed"
        raise PluginError(msg)


def _check_presets(kind: str, spec: Model | Method, others: Collection[str] = ()) -> None:
    for preset, params in spec.presets.items():
        if extra := sorted(set(params) - set(spec.params) - set(others)):
            msg = f"{kind} {spec.name}: preset '{preset}' sets {extra[0]!r}, which is not in params"
            raise PluginError(msg)


def _check_allowed(kind: str, spec: Dataset | Model | Method) -> None:
    """Raise PluginError where what is said of a parameter is of none, or not true of a default."""
    if extra := sorted({path.partition(".")[0] for path in spec.allowed} - set(spec.params)):
        msg = f"{kind} {spec.name}: 'allowed' names {extra[0]!r}, which is not in params"
        raise PluginError(msg)
    presets = {f"preset '{n}'": params for n, params in getattr(spec, "presets", {}).items()}
    for where, params in {"params": spec.params, **presets}.items():
        for name, why in refused(params, spec.allowed):
            msg = f"{kind} {spec.name}: {where}: '{name}' {why}"
            raise PluginError(msg)
