"""Suite files: TOML, checked and parsed into matrices of datasets, models and chains."""

from __future__ import annotations

import codecs
import re
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.planning import suite_lines
from hepbench.specs import gate, toml
from hepbench.specs.errors import SuiteError
from hepbench.specs.gate import Rule
from hepbench.specs.references import alternatives, count_alternatives
from hepbench.specs.text import shortened, unknown
from hepbench.storage.records import Published

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_PRESET = "quick"


DEFAULT_SUITE = "standard"


ALL_MODELS = "all-models"
"""Name of the suite of every model on chosen datasets; no plugin brings it."""


class Matrix(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[[run]]`` table of a suite: datasets x models x chains.

    Names may be globs and have parameters: ``name[param=value]``, or ``name[param={1,2}]`` for one
    with each value.

    Attributes:
        datasets: names of datasets.
        models: names of models.
        methods: chains of methods, joined by ``+``: ``pretrain+finetune``. A method named alone
            follows the first method in its ``after``.
        training_sizes: numbers of training examples that methods see, one cell for each; a list, or
            a table with a list for each preset.
        label_fractions: fractions of the training labels that methods see, one cell for each.
        presets: as the suite's, for this table alone; they win over the suite's.
        exclude: globs over ``dataset/model/chain``, names without parameters.
        set: parameters under every preset: ``dataset.*``, ``model.*`` or ``<method>.*``; the text
            ``none`` stands for None. Settings and presets apply to every use of a method in a
            chain, brackets to one use.
    """

    datasets: list[str]
    models: list[str]
    methods: list[str]
    training_sizes: list[int] | dict[str, list[int]] = []
    label_fractions: list[float] = []
    presets: dict[str, dict[str, dict[str, Any]]] = {}
    exclude: list[str] = []
    set: dict[str, Any] = {}

    def axes(self, preset: str) -> dict[str, Sequence[float]]:
        """Return the values of dataset parameters for which each dataset of a matrix is repeated.

        Raises:
            SuiteError: ``training_sizes`` has no list for the preset.
        """
        sizes = self.training_sizes
        if isinstance(sizes, dict) and preset not in sizes:
            msg = f"training_sizes: {unknown('preset', preset, sizes)}"
            raise SuiteError(msg)
        axes: dict[str, Sequence[float]] = {
            "training_size": sizes[preset] if isinstance(sizes, dict) else sizes,
            "label_fraction": self.label_fractions,
        }
        return {name: values for name, values in axes.items() if values}

    @property
    def repetitions(self) -> int:
        """How often each dataset of a matrix is repeated, at most."""
        sizes = self.training_sizes
        every = sizes.values() if isinstance(sizes, dict) else [sizes]
        return (max(map(len, every), default=0) or 1) * (len(self.label_fractions) or 1)


EACH_SEED = "each seed"
"""Value of ``cost`` with which no two cells share a measurement."""


class SuiteFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of a suite file.

    Attributes:
        name: names the folder of its records.
        summary: one line.
        preset: selects the defaults of parameters: ``quick``, ``paper``, or another of a plugin.
        seeds: a number n for 0 .. n-1, or a list.
        split_seed: of the division into train, validation and test, the same for every cell.
        cost: whether the cost of scoring is measured too: once for all networks of equal layers and
            sizes, such as those of several seeds; ``"each seed"``: for every cell.
        presets: parameters under a preset, a table for ``dataset``, ``model`` or a method:
            ``[presets.paper.scratch]``, ``epochs = 50``. Labels show the parameters that differ
            from the preset, so they do not show these, except those of datasets, which have no
            presets of their own.
        run: the ``[[run]]`` tables.
        published: the ``[[published]]`` tables.
        gate: the ``[gate]`` table: by metric or cost, a rule of ``hepbench gate`` or a list of them.
    """

    name: str
    summary: str = ""
    preset: str = DEFAULT_PRESET
    seeds: int | list[int] = 1
    split_seed: int = 0
    cost: bool | str = True
    presets: dict[str, dict[str, dict[str, Any]]] = {}
    run: list[Matrix]
    published: list[Published] = []
    gate: dict[str, Rule | list[Rule]] = {}

    def rules(self) -> list[tuple[str, Rule]]:
        """Return the suite's gate as pairs of a metric or cost and one of its rules."""
        return [
            (name, rule)
            for name, given in self.gate.items()
            for rule in (given if isinstance(given, list) else [given])
        ]

    def seed_list(self) -> list[int]:
        """Return the suite's seeds as a list."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


def parse(data: bytes, path: str) -> SuiteFile:
    """Parse a suite file.

    Raises:
        SuiteError: it is not TOML, or a key or value is not allowed; the message contains ``path``
            and the line.
    """
    try:
        # editors on Windows begin a file with a byte order mark
        text = data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        msg = f"{path}: {error}"
        raise SuiteError(msg) from error
    try:
        suite = msgspec.convert(toml.loads(text), SuiteFile, strict=True)
        _check_suite(suite, path)
        _check_number_of_cells(suite, path)
    except (msgspec.ValidationError, toml.TomlError, SuiteError) as error:
        message = str(error).removeprefix(f"{path}: ")
        message = suite_lines.in_words(_with_allowed_keys(message))
        raise SuiteError(suite_lines.with_line(text, message, path)) from error
    return msgspec.structs.replace(suite, run=[_without_braces(matrix) for matrix in suite.run])


def of_datasets(
    datasets: Sequence[str], models: Sequence[str] = (), methods: Sequence[str] = ()
) -> SuiteFile:
    """Return a suite that runs models and methods on some datasets.

    Args:
        datasets: names of datasets, as in a ``[[run]]`` table.
        models: names of models; none: all that fit.
        methods: methods and chains; none: all methods that fit.
    """
    matrix = Matrix(
        datasets=list(datasets), models=list(models) or ["*"], methods=list(methods) or ["*"]
    )
    summary = "models that fit, each with its methods"
    suite = SuiteFile(name=ALL_MODELS, summary=summary, run=[matrix])
    _check_number_of_cells(suite, "-d")
    return msgspec.structs.replace(suite, run=[_without_braces(matrix)])


def _without_braces(matrix: Matrix) -> Matrix:
    """Return a ``[[run]]`` table in which braces are replaced by all their alternatives."""
    names = ("datasets", "models", "methods")
    lists = {n: [one for text in getattr(matrix, n) for one in alternatives(text)] for n in names}
    return msgspec.structs.replace(matrix, **lists)


def _with_allowed_keys(message: str) -> str:
    """Return an error message about a suite file, with the allowed keys if one is unknown."""
    found = re.search(r"unknown field `([^`]+)`(?: - at `([^`]*)`)?", message)
    if found is None:
        return message
    name, place = found.group(1), found.group(2) or "$"
    kinds = {".run[": Matrix, ".published[": Published, ".gate[": Rule}
    kind = next((kind for text, kind in kinds.items() if text in place), SuiteFile)
    return f"{place}: {unknown('key', name, kind.__struct_fields__)}"


LONGEST = 100
"""Characters of a suite's name."""


LARGEST_INTEGER = 2**63 - 1


MOST_CELLS = 100_000
"""Cells of a suite, and the seeds of each."""


def _check_suite(suite: SuiteFile, path: str) -> None:
    _check_seeds(suite, path)
    _check_gate(suite, path)
    # it names a folder
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", suite.name) or len(suite.name) > LONGEST:
        msg = (
            f"{path}: name at $.name is {shortened(suite.name, LONGEST)!r}; at most {LONGEST} "
            "letters, digits, '-', '_', '.' are allowed"
        )
        raise SuiteError(msg)
    if isinstance(suite.cost, str) and suite.cost != EACH_SEED:
        msg = f"{path}: cost at $.cost is {suite.cost!r}; true, false or {EACH_SEED!r} is expected"
        raise SuiteError(msg)
    for i, published in enumerate(suite.published):
        if wrong := [n for n, value in published.metrics.items() if not isfinite(value)]:
            msg = f"{path}: metrics at $.published[{i}]: '{wrong[0]}' is not a finite number"
            raise SuiteError(msg)
        if not 0 <= (published.n_test or 0) <= LARGEST_INTEGER:
            msg = f"{path}: n_test at $.published[{i}] must be a whole number of at least 0"
            raise SuiteError(msg)
    if suite.name == ALL_MODELS:
        msg = f"{path}: name at $.name is {ALL_MODELS!r}, which stands for runs without a suite"
        raise SuiteError(msg)
    for i, matrix in enumerate(suite.run):
        for field in ("datasets", "models", "methods"):
            if not getattr(matrix, field):
                msg = f"{path}: {field} at $.run[{i}] is empty; at least one is needed"
                raise SuiteError(msg)
    if not suite.run:
        msg = f"{path}: the suite has no [[run]] table; at least one is needed"
        raise SuiteError(msg)


def _check_gate(suite: SuiteFile, path: str) -> None:
    for name, rule in suite.rules():
        if wrong := gate.problem(name, rule):
            msg = f"{path}: rule at $.gate.{shortened(name, LONGEST)}: {wrong}"
            raise SuiteError(msg)


def _check_seeds(suite: SuiteFile, path: str) -> None:
    if isinstance(suite.seeds, int) and suite.seeds > MOST_CELLS:
        msg = f"{path}: seeds at $.seeds is {suite.seeds:,}; at most {MOST_CELLS:,} are allowed"
        raise SuiteError(msg)
    seeds = suite.seed_list()
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        allowed = "a number above 0 or a list of different numbers of at least 0"
        msg = f"{path}: seeds at $.seeds must be {allowed}"
        raise SuiteError(msg)
    for name, seed in (("seeds", max(seeds)), ("split_seed", suite.split_seed)):
        if not 0 <= seed <= LARGEST_INTEGER:
            msg = f"{path}: {name} at $.{name}: {seed} is not allowed, only 0 to {LARGEST_INTEGER}"
            raise SuiteError(msg)


def _check_number_of_cells(suite: SuiteFile, path: str) -> None:
    """Raise SuiteError if a ``[[run]]`` table has too many cells."""
    for i, matrix in enumerate(suite.run):
        axes = (matrix.datasets, matrix.models, matrix.methods)
        numbers = [sum(map(count_alternatives, axis)) for axis in axes]
        cells = prod([*numbers, matrix.repetitions, len(suite.seed_list())])
        if cells > MOST_CELLS:
            msg = f"{path}: $.run[{i}] has {cells:,} cells; at most {MOST_CELLS:,} are allowed"
            raise SuiteError(msg)
