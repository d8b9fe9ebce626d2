"""Datasets: the specs of a dataset, its inputs, views, original files, sample and split."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from hepbench.specs.errors import PluginError
from hepbench.specs.parameters import (
    Allowed,
    Param,
    Range,
    as_params,
    check_files,
    check_name,
    check_params,
)
from hepbench.specs.renamed import new_word, unknown_attribute

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hepbench.specs.types import Params, Role


LIMITS = ("n_train", "n_validation", "n_test")
"""Parameters of every dataset: the largest number of examples in each part (None: all)."""


TRAINING_WEIGHTS = ("physical", "balanced", "absolute", "none")
"""Rules for the weights that training sees, the default first."""


OWN_PARAMS: Params = {
    **dict.fromkeys(LIMITS),
    "training_size": None,
    "label_fraction": 1.0,
    "training_weights": TRAINING_WEIGHTS[0],
}
"""Defaults of the parameters that every dataset has.

``training_size`` is the number of training examples that the methods of a chain see (None: all). The
choice depends on the seed, and a smaller size is part of a larger one. Nothing else is seen: neither
other training inputs nor the dataset's unlabelled examples. Validation and test parts stay as they are.
``n_train`` is a limit, which a small dataset may not reach; fewer examples than ``training_size`` are an
error.

``label_fraction`` is the fraction of these examples whose labels a method sees. The choice depends
on the seed, not on the method, and a smaller fraction is part of a larger one. Validation and test
examples keep all labels.

``training_weights`` says which weights of mean 1 training and validation examples have: the event
weights (``physical``), their absolute values, the event weights scaled so that all classes have the
same sum (``balanced``), or none. Negative weights need ``absolute`` or ``none``. Metrics always see the
event weights."""


SIMULATED = b"simulated by hepbench"
"""The mark of a file that ``Dataset.generate`` wrote: its first 512 bytes contain these bytes."""


MARK_BYTES = 512
"""The smallest user block of HDF5."""


OWN_ALLOWED: Mapping[str, Allowed] = {
    **dict.fromkeys((*LIMITS, "training_size"), Range(least=1, whole=True)),
    "label_fraction": Range(above=0, most=1),
    "training_weights": TRAINING_WEIGHTS,
}
"""Allowed values of the parameters that every dataset has."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """One named input of an example.

    Attributes:
        shape: shape of one example, without the leading N.
        names: names of the channels (image) or features (cloud, table, scalars).
        units: unit of each channel or feature, as plots show it; an empty text for no unit.
        sparse: True for images with mostly zero pixels: they are stored as SparseImages, and views
            and methods get SparseImages. Readers may yield SparseImages or dense arrays.
    """

    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    sparse: bool = False

    def __post_init__(self) -> None:
        if self.units and len(self.units) != len(self.names):
            n, m = len(self.names), len(self.units)
            msg = f"an input has {n} names and {m} units; one unit for each name is expected"
            raise PluginError(msg)
        if self.sparse and len(self.shape) != 3:
            msg = f"an input of shape {self.shape} cannot be sparse; only (C, H, W) can be"
            raise PluginError(msg)


@dataclass(frozen=True, kw_only=True)
class File:
    """An original file of a dataset, looked for as ``<data folder>/<dataset>/<name>``.

    Attributes:
        name: the original file name.
        role: role of its examples; ``test`` is an official test file.
        variants: other accepted names of the same content.
        form: name of the file format. All files of one form belong together, and one complete form
            is enough. If several forms are complete, the form that is listed first is read.
        optional: True if its form is complete without it, as long as another file of the form
            exists.
        lacks: what this form lacks and other forms hold, in words that can follow the file name.
            Records repeat it as a note, not as a warning.
        bytes: published size.
        sha256: published checksum. Another checksum is a warning when the file is read, and an
            error when the file is downloaded.
        url: http or https link to the file, used by ``hepbench data fetch``.
        address: web page where a person downloads the file.
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
    """Fractions of train, validation and test examples, stratified by class.

    Attributes:
        train, validation, test: fractions that add to 1. With an official test set, train and
            validation divide the remaining examples in their proportion.
        official: ``"module:function"`` of ``(ids, **params) -> (N,) bool, int8 or None``: True or
            1 for the rows of the official test set, -1 for rows that are in no part, None if the
            file is incomplete.
        params: names of the dataset's parameters that ``official`` gets.
        files: files that ``official`` opens through C libraries: see ``Model.files``.
    """

    train: float = 0.6
    validation: float = 0.2
    test: float = 0.2
    official: str | None = None
    params: frozenset[str] = frozenset()
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-9:
            msg = f"split fractions must be positive and add to 1; got {self.fractions}"
            raise PluginError(msg)
        check_files("split", self.files)

    @property
    def fractions(self) -> tuple[float, float, float]:
        """The fractions of train, validation and test examples."""
        return (self.train, self.validation, self.test)


@dataclass(frozen=True)
class View:
    """A dataset's function that computes one input from the inputs in its files.

    Attributes:
        run: ``"module:function"`` of ``(inputs, **params) -> Inputs``. It works on any number of
            examples and sees no label and no id. It gets sparse inputs as SparseImages, and may
            return SparseImages.
        params: names of the dataset's parameters that ``run``, ``names`` and ``units`` get. A
            parameter that a view does not get changes no key of this view.
        names: names of the channels or features that it makes: ``"module:NAME"`` of a tuple, or of
            a function ``(**params) -> tuple``. A view that replaces an input keeps the input's
            names if this is empty. ``hepbench data check`` shows statistics of other views only if
            they have names.
        units: units of the channels or features, stated like ``names``.
        files: files that ``run`` opens through C libraries: see ``Model.files``.
    """

    run: str
    _: KW_ONLY
    params: frozenset[str] = frozenset()
    names: str = ""
    units: str = ""
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_files(f"view {self.run}", self.files)


@dataclass(frozen=True)
class Sample:
    """The small sample of a dataset that is bundled with its plugin.

    Attributes:
        read: ``"module:function"`` of ``(**params) -> Iterator[(Role, Examples)]``, in chunks.
        files: the files that ``read`` opens, as ``"package:path"``. Their hash identifies the
            sample.
        examples: number of examples, including unlabelled ones.
    """

    read: str
    _: KW_ONLY
    files: tuple[str, ...] = ()
    examples: int | None = None


@dataclass(frozen=True)
class Original:
    """The original files of a dataset, their reader, and known properties of the data.

    Attributes:
        read: ``"module:function"`` of ``(folder, **params) -> Iterator[(Role, Examples)]``, in
            chunks. It finds its files with ``hepbench.original_files``. Ids are the same in every
            run and on every machine. ``warnings.warn(text, hepbench.DataWarning)`` puts a warning
            about a file into the records.
        files: the files; ``read`` is called only if all files of one form exist.
        side_files: other files that ``read`` opens through C libraries: see ``Model.files``.
        known: published or measured properties, ``(least, most)`` by name, used by
            ``hepbench data check``: ``fraction.<class>``, or
            ``<input>.<channel or feature>.<statistic>`` with ``mean``, ``min``, ``max`` or
            ``nonzero`` (the fraction of pixels, or rows, that is not 0); one more ``.<class>``
            restricts it to that class. A value outside is a warning. The input may also be a view
            with names, or ``spectator``. Unnamed channels and features count from 0. Only real
            particles of a cloud with a ``mask`` count; ``mask.particles`` is their number.
            Unlabelled examples do not count.
        citation, licence: of the original dataset.
    """

    read: str
    _: KW_ONLY
    files: tuple[File, ...] = ()
    side_files: tuple[str, ...] = ()
    known: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    citation: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        check_files(f"original {self.read}", self.side_files)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset plugin: a named source of examples.

    Attributes:
        name: as written in suites.
        summary: one line.
        classes: names in the order of the labels 0, 1, ...; of two classes, 1 is the signal.
        inputs: the inputs that readers yield, by name.
        original: the original files.
        sample: the bundled sample; it is used if the original files are not found.
        views: by the name of the input that they make. A view with the name of an input replaces
            this input.
        spectators: unit of each spectator by name (mass, pt: carried along, not an input).
        split: how examples are divided.
        read_params: names of the parameters that change what is read. Both readers get these
            parameters and no others.
        params: the dataset's own parameters by name: a ``Param``, or its default alone.
        augmentations: ``"module:function"`` of ``(inputs) -> Inputs`` by name. They get the inputs of
            a training batch as dense tensors on the device, after the model's preprocessing, and
            draw from torch's global generator. A method applies those that its setting ``augment``
            names, or calls them itself: see ``Context.augmentations``.
        generate: ``"module:function"`` of ``(folder, *, events, seed, jobs, progress) -> Path``:
            simulates examples into ``folder`` in the original file format. It writes
            ``hepbench.SIMULATED`` where readers of the format do not look, such as the user block
            of HDF5 or the name in a gzip header: results from such files are labelled as simulated.
    """

    name: str
    summary: str
    classes: tuple[str, ...]
    inputs: Mapping[str, Input]
    original: Original | None = None
    sample: Sample | None = None
    views: Mapping[str, View] = field(default_factory=dict)
    spectators: Mapping[str, str] = field(default_factory=dict)
    split: Split = field(default_factory=Split)
    read_params: frozenset[str] = frozenset()
    params: Mapping[str, Param | Any] = field(default_factory=dict)
    augmentations: Mapping[str, str] = field(default_factory=dict)
    generate: str | None = None

    def __post_init__(self) -> None:
        check_name("dataset", self.name)
        object.__setattr__(self, "params", as_params(self.params))
        if len(self.classes) < 2:
            self._raise_error(f"needs at least two classes; got {self.classes}")
        if set(self.params) & set(OWN_PARAMS):
            self._raise_error(
                f"params {', '.join(OWN_PARAMS)} are reserved; every dataset has them"
            )
        self._check_types()
        self._check_params()
        self._check_names_in_known()

    @property
    def files(self) -> tuple[File, ...]:
        """The dataset's original files; empty if ``original`` is None."""
        return self.original.files if self.original else ()

    @property
    def known(self) -> Mapping[str, tuple[float, float]]:
        """Known properties of the original data; empty if ``original`` is None."""
        return self.original.known if self.original else {}

    if not TYPE_CHECKING:
        # type checkers must go on to report unknown attributes
        __getattr__ = unknown_attribute

    def _raise_error(self, problem: str) -> None:
        msg = f"dataset {self.name}: {problem}"
        raise PluginError(msg)

    def _check_types(self) -> None:
        """Raise PluginError if a dataset has a plain string as a View, Sample or Original."""
        views = {f"views: '{name}'": (view, View) for name, view in self.views.items()}
        readers = {"sample": (self.sample, Sample), "original": (self.original, Original)}
        for where, (given, kind) in {**views, **readers}.items():
            if given is not None and not isinstance(given, kind):
                self._raise_error(f"{where} is {given!r}; {kind.__name__}({given!r}) is expected")

    def _check_params(self) -> None:
        """Raise PluginError if a dataset names an unknown parameter or has a bad default."""
        named: dict[str, Iterable[str]] = {
            "read_params": self.read_params,
            "split.params": self.split.params,
            **{f"view '{name}'": view.params for name, view in self.views.items()},
        }
        for where, names in named.items():
            if extra := sorted(set(names) - set(self.params)):
                self._raise_error(f"{where} names parameter {extra[0]!r}, which is not in params")
        check_params(f"dataset {self.name}", self.params)

    def _check_names_in_known(self) -> None:
        """Raise PluginError with the new name if ``Original.known`` contains a renamed one."""
        for name in self.known:
            head = name.partition(".")[0]
            word = new_word("known", head)
            if word and head not in self.inputs:
                self._raise_error(f"'{name}': {word}")


def without_later_defaults(params: Params) -> dict[str, Any]:
    """Return values of a dataset's parameters, for records; two of them only if they are set.

    Records made before there were ``training_weights`` and ``training_size`` belong to the same
    cells.
    """
    later = {"training_weights": TRAINING_WEIGHTS[0], "training_size": None}
    return {n: v for n, v in params.items() if n not in later or v != later[n]}


def all_params_of(spec: Dataset) -> dict[str, Param]:
    """Return a dataset's own parameters and those that every dataset has."""
    own = {
        # the text 'none' stands for None
        name: Param(value, OWN_ALLOWED.get(name), optional=name == "training_weights")
        for name, value in OWN_PARAMS.items()
    }
    return {**spec.params, **own}
