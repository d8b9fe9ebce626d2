"""Checks of examples: all fields that readers and views yield are checked here, and nowhere else.

Fields come out as numbers in native byte order: ids and labels as int64, weights as float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn, get_args

import numpy as np

from hepbench.specs.errors import DataError
from hepbench.specs.sparse_images import SparseImages
from hepbench.specs.text import shortened
from hepbench.specs.training_data import Examples
from hepbench.specs.types import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from hepbench.data.messages import DeclaredInput
    from hepbench.specs.types import Array


OTHER_KINDS = {
    **dict.fromkeys("USTO", "text or Python objects"),
    "c": "complex numbers",
    "V": "records",
    "M": "dates",
    "m": "times",
}
"""What arrays hold whose values are no real numbers, by the kind of their type."""


LARGEST = float(np.finfo(np.float32).max)
"""Networks compute in float32."""


@dataclass
class FieldTypes:
    """The type and shape of each field in the first chunk of some examples, for later chunks.

    Attributes:
        where: dataset and role (or part), at the start of each error.
    """

    where: str
    first: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = field(default_factory=dict)

    def same(self, name: str, array: Array) -> Array:
        """Return a field of a later chunk in the type that it has in the first chunk.

        Raises:
            DataError: another shape, or a type whose values the first one cannot hold.
        """
        dtype, shape = self.first.setdefault(name, (array.dtype, tuple(array.shape[1:])))
        if tuple(array.shape[1:]) != shape:
            _refuse(
                f"{self.where}: '{name}' is {array.shape[1:]} in one chunk, but {shape} in the first"
            )
        if array.dtype == dtype:
            return array
        if not np.can_cast(array.dtype, dtype, "safe"):
            _refuse(
                f"{self.where}: '{name}' is {array.dtype} in one chunk, but {dtype} in the first"
            )
        return array.astype(dtype)


@dataclass
class ExampleChecker:
    """Checks the chunks of examples that a dataset's reader yields.

    Attributes:
        dataset: its name, at the start of each error.
        inputs: as the dataset declares them.
        classes: number of classes.
    """

    dataset: str
    inputs: Mapping[str, DeclaredInput]
    classes: int
    _types: dict[str, FieldTypes] = field(default_factory=dict)
    _rows: dict[str, int] = field(default_factory=dict)

    def checked(self, item: Any) -> tuple[str, Examples]:
        """Return the role and the examples of one chunk, checked and in stored types.

        Raises:
            DataError: a field is missing, or is not as it should be; the line says dataset, field,
                what was found and what is expected.
        """
        role, examples = self._role_and_examples(item)
        if not len(examples):
            return role, examples
        examples = self._with_columns(role, examples)
        examples = replace(examples, inputs=self._inputs(examples))
        examples = self._like_first_chunk(role, examples)
        self._rows[role] = self._rows.get(role, 0) + len(examples)
        return role, examples

    def _role_and_examples(self, item: Any) -> tuple[str, Examples]:
        pair = isinstance(item, (tuple, list)) and len(item) == 2
        role, examples = item if pair else (None, None)
        if not isinstance(role, str) or not isinstance(examples, Examples):
            kinds = ", ".join(type(each).__name__ for each in (item if pair else [item]))
            _refuse(f"{self.dataset}: the reader yields {kinds}; (role, Examples) is expected")
        if role not in get_args(Role):
            found, known = shortened(repr(role), 60), " or ".join(get_args(Role))
            _refuse(f"{self.dataset}: the reader yields role {found}; {known} is expected")
        return role, examples

    # --- ids, labels, weights, spectators

    def _with_columns(self, role: str, examples: Examples) -> Examples:
        where, n = f"{self.dataset}: {role} examples", len(examples)
        ids, weights = _ids(where, examples.ids, n), examples.weights
        return replace(
            examples,
            ids=ids,
            labels=None if role == "unlabelled" else self._labels(where, examples.labels, ids),
            weights=None if weights is None else _weights(where, weights, ids),
            spectators={
                name: _spectator(where, f"spectator {name}", array, n)
                for name, array in examples.spectators.items()
            },
        )

    def _labels(self, where: str, given: Any, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        n, numbers = len(ids), f"whole numbers 0 to {self.classes - 1}"
        if given is None:
            _refuse(f"{where}: no labels found; {numbers}, or -1 (unknown class), are expected")
        array = numeric(where, "labels", given, n, expected=f"{numbers} are expected")
        if array.shape != (n,):
            one_hot = array.shape == (n, self.classes) and _are_one_hot(array)
            found = f"{'one-hot rows, ' if one_hot else ''}shape {array.shape}"
            _refuse(f"{where}: labels: {found} found; {numbers} of shape ({n},) are expected")
        labels = _whole(where, "labels", array, ids).astype(np.int64, copy=False)
        if not -1 <= labels.min() <= labels.max() < self.classes:
            allowed = f"0 to {self.classes - 1} expected, or -1 for an unknown class"
            _refuse(f"{where}: labels from {labels.min()} to {labels.max()}; {allowed}")
        return labels

    # --- inputs

    def _inputs(self, examples: Examples) -> dict[str, Array]:
        for name in self.inputs:
            if name not in examples.inputs:
                _refuse(f"{self.dataset}: input '{name}' is declared, but was not read")
        return {
            name: self._input(str(name), given, examples) for name, given in examples.inputs.items()
        }

    def _input(self, name: str, given: Any, examples: Examples) -> Array:
        array = numeric(self.dataset, f"'{name}'", given, len(examples))
        declared = self.inputs.get(name)
        if declared is not None and tuple(array.shape[1:]) != declared.shape:
            _refuse(f"{self.dataset}: '{name}' is {array.shape[1:]}; {declared.shape} is declared")
        sparse = isinstance(array, SparseImages) if declared is None else declared.sparse
        array = without_zero_hits(array) if sparse else np.asarray(array)
        if len(rows := unusable_rows(array)):
            kind = " in float32" if array.dtype.itemsize > 4 else ""
            first = examples.ids[rows[0]]
            _refuse(f"{self.dataset}: '{name}' of id {first} is not finite{kind}")
        return self._particle_input(name, array, examples)

    def _particle_input(self, name: str, array: Array, examples: Examples) -> Array:
        """Return a mask as bool, and neighbours as whole numbers within the cloud."""
        if "cloud" not in examples.inputs or name not in {"mask", "neighbours"}:
            return array
        if array.dtype == np.bool_:
            return array
        whole = _whole(self.dataset, f"'{name}'", array, examples.ids)
        particles = np.shape(examples.inputs["cloud"])[1]
        most = 1 if name == "mask" else particles - 1
        if whole.size and not 0 <= whole.min() <= whole.max() <= most:
            found = f"{whole.min()} to {whole.max()} found"
            _refuse(f"{self.dataset}: '{name}': {found}; 0 to {most} is expected")
        return array.astype(bool) if name == "mask" else array

    # --- the same fields in every chunk

    def _like_first_chunk(self, role: str, examples: Examples) -> Examples:
        """Return a chunk's fields in the types of the first chunk; all chunks have the same fields."""
        names = _field_names(examples)
        known = role in self._types
        types = self._types.setdefault(role, FieldTypes(f"{self.dataset}: {role} examples"))
        if known:
            self._check_names(role, names, types.first.keys())
        inputs = {n: types.same(f"input {n}", a) for n, a in examples.inputs.items()}
        spectators = {n: types.same(f"spectator {n}", a) for n, a in examples.spectators.items()}
        if examples.weights is not None:
            types.same("weights", examples.weights)
        if not known:
            self._check_other_roles(role)
        return replace(examples, inputs=inputs, spectators=spectators)

    def _check_names(self, role: str, names: set[str], first: Any) -> None:
        n = self._rows[role]
        for name in sorted(names ^ set(first)):
            verb = "are missing" if name == "weights" else f"'{name}' is missing"
            subject = "weights " if name == "weights" else ""
            where = f"from the first {n}" if name in names else f"after the first {n}"
            _refuse(
                f"{self.dataset}: {subject}{verb} {where} {role} examples; "
                "the same fields are expected in every chunk"
            )

    def _check_other_roles(self, role: str) -> None:
        """Check that the roles have the same inputs, and labelled and test examples all fields."""
        mine = self._types[role].first
        for other, types in self._types.items():
            kinds = ("input ",) if "unlabelled" in {role, other} else ("input ", "spectator ")
            for name in sorted(mine.keys() ^ types.first.keys()):
                if name.startswith(kinds):
                    there, absent = (role, other) if name in mine else (other, role)
                    _refuse(
                        f"{self.dataset}: {there} examples have '{name}', but {absent} ones do not; "
                        "the same fields are expected"
                    )
            for name in mine.keys() & types.first.keys():
                if mine[name][1] != types.first[name][1]:
                    _refuse(
                        f"{self.dataset}: '{name}' is {mine[name][1]} in {role} examples, but "
                        f"{types.first[name][1]} in {other} ones; the same shape is expected"
                    )


def view_output(where: str, made: Any, wanted: str, n: int) -> dict[str, Array]:
    """Return the checked output of a view for n examples: finite numbers by name.

    Args:
        where: dataset and view, at the start of each error.
        made: what the view returned.
        wanted: name of the input that the view makes.

    Raises:
        DataError: it is no mapping, lacks the input, or an input is not as it should be.
    """
    if not hasattr(made, "items"):
        _refuse(f"{where} returns {type(made).__name__}; a mapping with '{wanted}' is expected")
    if wanted not in made:
        names = shortened(", ".join(map(str, made)) or "nothing", 100)
        _refuse(f"{where} returns {names}; '{wanted}' is expected")
    found = {name: numeric(where, f"'{name}'", array, n) for name, array in made.items()}
    for name, array in found.items():
        if len(rows := unusable_rows(array)):
            _refuse(f"{where} gives '{name}' of {len(rows)} examples values that are not finite")
    return found


def numeric(
    where: str, name: str, given: Any, n: int, *, expected: str = "numbers are expected"
) -> Array:
    """Return a field of n examples as an array of real numbers in native byte order.

    Raises:
        DataError: it holds something else, or has another number of rows.
    """
    if isinstance(given, SparseImages):
        array: Array = given
    else:
        array = _as_array(where, name, given, expected)
    if array.shape[:1] != (n,):
        _refuse(
            f"{where}: {name}: shape {array.shape} found; {n} rows are expected, one for each id"
        )
    return array


def _column(where: str, name: str, given: Any, n: int, **wanted: str) -> NDArray[Any]:
    """Return a field of n examples that has one number for each."""
    array: NDArray[Any] = numeric(where, name, given, n, **wanted)
    if array.shape != (n,):
        _refuse(f"{where}: {name}: shape {array.shape} found; ({n},) is expected")
    return array


def _as_array(where: str, name: str, given: Any, expected: str) -> NDArray[Any]:
    """Return an array of real numbers in native byte order."""
    if np.ma.is_masked(given):
        _refuse(f"{where}: {name}: masked values found; {expected}")
    try:
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError):
        kind = type(given).__name__
        _refuse(f"{where}: {name}: a ragged {kind}, or no array, found; {expected}")
    if array.dtype.kind not in "biuf":
        _refuse(f"{where}: {name}: {_described(array)}; {expected}")
    return _native(array)


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """Return numbers in native byte order, and in at most eight bytes."""
    if array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _described(array: NDArray[Any]) -> str:
    """Describe an array of something else than numbers, with its first value."""
    kind = OTHER_KINDS.get(array.dtype.kind, str(array.dtype))
    values = array.reshape(-1)[:1].tolist()
    if values and isinstance(values[0], (str, bytes)):
        kind = "text"
    example = f", such as {shortened(repr(values[0]), 40)}" if values else ""
    return f"{kind} found{example}"


def _ids(where: str, given: Any, n: int) -> NDArray[np.int64]:
    array = _column(where, "ids", given, n, expected="whole numbers are expected")
    if array.dtype.kind not in "iu":
        _refuse(f"{where}: ids: {array.dtype} found; whole numbers are expected")
    if array.max() > np.iinfo(np.int64).max:
        _refuse(f"{where}: ids: {array.max()} found; numbers below 2**63 are expected")
    return array.astype(np.int64, copy=False)


def _weights(where: str, given: Any, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    weights = _column(where, "weights", given, len(ids)).astype(np.float64, copy=False)
    wrong = np.flatnonzero(~np.isfinite(weights))
    if len(wrong):
        found = f"{weights[wrong[0]]} found in example {ids[wrong[0]]}"
        _refuse(f"{where}: weights: {found}; finite numbers are expected")
    return weights


def _spectator(where: str, name: str, given: Any, n: int) -> NDArray[Any]:
    array = _column(where, name, given, n)
    # torch knows hardly any operation on larger unsigned numbers
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        fits = array.max() <= np.iinfo(np.int64).max
        return array.astype(np.int64 if fits else np.float64)
    return array


def _whole(where: str, name: str, array: NDArray[Any], ids: NDArray[np.int64]) -> NDArray[Any]:
    """Return whole numbers of any type that holds them exactly: floats as int64, others as given."""
    if array.dtype.kind in "ib":
        return array
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int64)
    wrong = np.argwhere(whole != array)
    if len(wrong):
        found = f"{array[tuple(wrong[0])].item()!r} found in example {ids[wrong[0][0]]}"
        _refuse(f"{where}: {name}: {found}; whole numbers are expected")
    return whole


def _are_one_hot(array: NDArray[Any]) -> bool:
    return bool(((array == 0) | (array == 1)).all() and (array.sum(1) == 1).all())


def without_zero_hits(array: Array) -> Array:
    """Return images as sparse images without hits of zero; other arrays stay unchanged."""
    if not isinstance(array, SparseImages):
        dense = np.asarray(array)
        # values that float32 cannot hold become infinite, which is noticed later
        with np.errstate(over="ignore"):
            return SparseImages.from_dense(dense) if dense.ndim == 4 else dense
    rows, positions, values = array.hits()
    if (values != 0).all():
        return array
    return SparseImages.from_hits(rows, positions, values, n=len(array), image=array.image)


def unusable_rows(array: Array) -> NDArray[np.int64]:
    """Return the rows of an input with a value that is not finite, in float32."""
    if array.dtype.kind != "f":
        return np.empty(0, np.int64)
    if isinstance(array, SparseImages):
        rows, _, values = array.hits()
        return rows[~np.isfinite(values)]
    finite = np.isfinite(array)
    if array.dtype.itemsize > 4 and array.size and finite.all():
        finite = abs(array) <= LARGEST
    if finite.all():
        return np.empty(0, np.int64)
    return np.flatnonzero(~finite.reshape(len(array), -1).all(1))


def _field_names(examples: Examples) -> set[str]:
    columns = {f"input {name}" for name in examples.inputs}
    columns |= {f"spectator {name}" for name in examples.spectators}
    return columns if examples.weights is None else {*columns, "weights"}


def _refuse(problem: str) -> NoReturn:
    raise DataError(" ".join(problem.split()))
