"""Datasets: the specs of original files, inputs, splits and of the dataset itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hepbench.specs.errors import PluginError
from hepbench.specs.parameters import Allowed, Param, Range, check_name, check_params

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.specs.types import Params, Role


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
    spectator_units: Mapping[str, str] = field(default_factory=dict)
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
        check_name("dataset", self.name)
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
        if extra := sorted({path.partition(".")[0] for path in self.allowed} - set(self.params)):
            msg = f"dataset {self.name}: 'allowed' names {extra[0]!r}, which is not in params"
            raise PluginError(msg)
        check_params(f"dataset {self.name}", all_params_of(self))
        for what in ("uses", "view_names", "view_units"):
            if extra := sorted(set(getattr(self, what)) - set(self.views)):
                msg = f"dataset {self.name}: {what} has {extra[0]!r}, which no view makes"
                raise PluginError(msg)

    def handed(self, view: str) -> frozenset[str]:
        """The params that a view is handed."""
        others = self.reads.union(self.split.uses, *self.uses.values())
        return (frozenset(self.params) - others) | self.uses.get(view, frozenset())


def all_params_of(spec: Dataset) -> dict[str, Param]:
    """Return the parameters of a dataset, those that every dataset has too."""
    own = {
        name: given if isinstance(given, Param) else Param(given, spec.allowed.get(name))
        for name, given in spec.params.items()
    }
    return {**own, **{name: Param(v, OWN_ALLOWED.get(name)) for name, v in OWN_PARAMS.items()}}
