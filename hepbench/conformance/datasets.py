"""Checks of dataset plugins, on their bundled samples; prepares samples as in a run."""

from __future__ import annotations

import hashlib
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.conformance.claims import Claim, need, spec_claims
from hepbench.conformance.fresh_process import run_in_fresh_process
from hepbench.conformance.suites import SampleEnvironment
from hepbench.data import naming
from hepbench.data.checking import file_check
from hepbench.planning import plan
from hepbench.planning.matrix import Choice
from hepbench.planning.suite_file import Matrix, SuiteFile
from hepbench.registry.plugins import Plugin, Registry
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import HepbenchError, PluginError
from hepbench.specs.method import Method
from hepbench.specs.model import Model
from hepbench.specs.parameters import defaults
from hepbench.specs.sparse_images import SparseImages, joined
from hepbench.specs.training_data import Examples
from hepbench.storage.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from hepbench.registry.plugins import Entry
    from hepbench.specs.dataset import Dataset, File, Input
    from hepbench.specs.types import Array, Inputs


ROLES = ("labelled", "unlabelled", "test")


DAMAGED = {
    "no content": b"",
    "text": b"<html><body>404 Not Found</body></html>\n" * 20,
    "random bytes": np.random.default_rng(0).bytes(4096),
}
"""Content that a broken download can leave under the name of an original file."""


class _DatasetUnderTest:
    """A dataset under test; its bundled sample is read once for all checks."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.spec: Dataset = entry.spec
        self.params = defaults(self.spec.params)

    def chosen(self, names: Collection[str]) -> dict[str, Any]:
        """Return default values of some parameters of the dataset under test."""
        return {name: self.params[name] for name in sorted(names)}

    @property
    def read_params(self) -> dict[str, Any]:
        """The parameters for the readers of the dataset under test."""
        return self.chosen(self.spec.read_params)

    @cached_property
    def roles(self) -> Mapping[str, Examples]:
        """All examples in the sample of the dataset under test, by role."""
        assert self.spec.sample is not None
        return _chunks_joined_by_role(resolve(self.spec.sample.read)(**self.read_params))

    @property
    def with_labels(self) -> Mapping[str, Examples]:
        """The sample's examples with labels, by role, of the dataset under test."""
        return {role: found for role, found in self.roles.items() if role != "unlabelled"}


def dataset_claims(entry: Entry) -> list[Claim]:
    """Return the claims to check about a dataset plugin."""
    sample = _DatasetUnderTest(entry)
    spec = sample.spec
    claims = [
        Claim("has a sample or a reader", partial(_check_has_sample_or_original, spec)),
        *spec_claims(spec),
    ]
    if spec.original:
        claims.append(
            Claim("missing files give a one-line error", partial(_check_missing_files, sample))
        )
        claims += [
            Claim(
                f"a damaged {file.name} gives a one-line error",
                partial(_check_damaged_file, sample, file),
            )
            for file in spec.files
        ]
    if spec.known:
        claims.append(
            Claim("every name in 'known' exists in the dataset", partial(_check_known_names, spec))
        )
    return claims + (_claims_about_sample(sample) if spec.sample else [])


def _claims_about_sample(sample: _DatasetUnderTest) -> list[Claim]:
    augmentations = sample.spec.augmentations
    return [
        Claim("the sample can be read", partial(_check_sample_can_be_read, sample), first=True),
        Claim(
            "inputs are as declared: names, shapes, finite numbers",
            partial(_check_declared_inputs, sample),
        ),
        Claim("ids are int64 and unique", partial(_check_ids, sample)),
        Claim(
            "labels are int64 and in range, with every class present",
            partial(_check_labels, sample),
        ),
        Claim("weights are finite, and their sums positive", partial(_check_weights, sample)),
        Claim("no input column equals the label", partial(_check_labels_are_no_input, sample)),
        *(
            [
                Claim(
                    "the official test set is (N,) bool, or None",
                    partial(_check_official_test_set, sample),
                )
            ]
            if sample.spec.split.official
            else []
        ),
        *(
            Claim(f"view '{name}' keeps rows, order and shapes", partial(_check_view, sample, name))
            for name in sample.spec.views
        ),
        *(
            Claim(
                f"augmentation '{name}' keeps rows and shapes",
                partial(_check_augmentation, sample, name),
            )
            for name in augmentations
        ),
        Claim(
            "another process reads the same sample", partial(_check_same_in_other_process, sample)
        ),
        Claim(
            "can be prepared as in a run, with every class in each part",
            partial(_check_can_be_prepared, sample),
        ),
    ]


def _check_has_sample_or_original(spec: Dataset) -> None:
    need(spec.sample or spec.original, "neither 'sample' nor 'original' is set")


def _check_known_names(spec: Dataset) -> None:
    wrong = file_check.misnamed(spec)
    need(
        not wrong,
        f"the name {wrong[:1]} in Original.known does not exist; its docstring lists allowed names",
    )


def _check_missing_files(sample: _DatasetUnderTest) -> None:
    labelled = any(file.role == "labelled" for file in sample.spec.files)
    need(labelled, "'original' is never read, because its 'files' contain no labelled file")
    with TemporaryDirectory() as folder:
        _check_error_of_reader(sample, Path(folder), "an empty folder")


def _check_damaged_file(sample: _DatasetUnderTest, file: File) -> None:
    """Check that a dataset's reader reports damaged files, under each name of one file."""
    same = [other for other in sample.spec.files if other.form == file.form]
    others = [other.name for other in same if other is not file]
    for name in (file.name, *file.variants):
        for case, content in DAMAGED.items():
            with TemporaryDirectory() as folder:
                for path in (Path(folder) / each for each in (name, *others)):
                    path.write_bytes(content)
                _check_error_of_reader(sample, Path(folder), f"{name} with {case}")


def _check_error_of_reader(sample: _DatasetUnderTest, folder: Path, case: str) -> None:
    try:
        assert sample.spec.original is not None
        for _ in resolve(sample.spec.original.read)(folder, **sample.read_params):
            pass
    except HepbenchError as error:
        lines = len(str(error).splitlines())
        need(lines == 1, f"{case}: the reader's error has {lines} lines; one is expected")
    except Exception as error:
        msg = f"{case}: {type(error).__name__} ({error}); a DataError with the reason is expected"
        raise PluginError(msg) from error
    else:
        msg = f"{case}: read without an error"
        raise PluginError(msg)


def _check_sample_can_be_read(sample: _DatasetUnderTest) -> None:
    need("labelled" in sample.roles, "the sample has no labelled example")
    # raises if a file of the sample is missing
    SampleEnvironment().found(sample.entry)
    stated = sample.spec.sample.examples if sample.spec.sample else None
    found = sum(map(len, sample.roles.values()))
    need(
        stated in {None, found}, f"Sample.examples is {stated}, but the sample has {found} examples"
    )


def _check_declared_inputs(sample: _DatasetUnderTest) -> None:
    for role, examples in sample.roles.items():
        for name, declared in sample.spec.inputs.items():
            need(
                name in examples.inputs,
                f"{role} examples have no input '{name}', which the spec declares",
            )
            _check_input(f"{role} '{name}'", examples.inputs[name], declared)
        mask = examples.inputs.get("mask")
        need(
            mask is None or mask.dtype == bool,
            f"{role} 'mask' must be bool, True for real particles",
        )


def _check_input(where: str, given: Array, declared: Input) -> None:
    array = given if isinstance(given, SparseImages) else np.asarray(given)
    shape, names = array.shape[1:], set(declared.names)
    need(shape == tuple(declared.shape), f"{where} is {shape}; {declared.shape} is declared")
    need(array.dtype.kind in "fiub", f"{where} is {array.dtype}; numbers are expected")
    values = array.hits()[2] if isinstance(array, SparseImages) else array
    need(np.isfinite(values).all(), f"{where} has a value that is not finite")
    if names:
        # an image's channels come first, the features of anything else last
        size = shape[0] if len(shape) == 3 else shape[-1]
        need(len(names) == size, f"{where}: {len(names)} different names for {size} features")


def _check_ids(sample: _DatasetUnderTest) -> None:
    for role, examples in sample.roles.items():
        kind = np.asarray(examples.ids).dtype
        need(kind == np.int64, f"{role} ids are {kind}; int64 is expected")
    unlabelled = [e.ids for role, e in sample.roles.items() if role == "unlabelled"]
    for ids in ([e.ids for e in sample.with_labels.values()], unlabelled):
        whole = np.concatenate([np.empty(0, np.int64), *ids])
        values, counts = np.unique(whole, return_counts=True)
        twice = values[counts > 1]
        need(not len(twice), f"{len(twice)} ids belong to several examples, such as {twice[:1]}")


def _check_labels(sample: _DatasetUnderTest) -> None:
    classes = sample.spec.classes
    for role, examples in sample.with_labels.items():
        labels = np.asarray(examples.labels)
        need(labels.dtype == np.int64, f"{role} labels are {labels.dtype}; int64 is expected")
        low, high = labels.min(), labels.max()
        inside = low >= -1 and high < len(classes)
        need(inside, f"{role} labels are {low} to {high}; 0 to {len(classes) - 1} is expected")
        missing = [name for i, name in enumerate(classes) if i not in labels]
        need(not missing, f"no {role} example is of class {', '.join(missing)}")


def _check_weights(sample: _DatasetUnderTest) -> None:
    for role, examples in sample.roles.items():
        if examples.weights is None:
            continue
        weights = np.asarray(examples.weights, np.float64)
        low, high = weights.min(), weights.max()
        need(np.isfinite(weights).all(), f"{role} weights are {low} to {high}; finite is expected")
        for i, name in enumerate(sample.spec.classes if examples.labels is not None else ()):
            total = weights[np.asarray(examples.labels) == i].sum()
            need(total > 0, f"{role} weights of '{name}' add up to {total}; above 0 is expected")


def _check_labels_are_no_input(sample: _DatasetUnderTest) -> None:
    examples = sample.roles["labelled"][:500]
    labels = np.asarray(examples.labels)[:, None]
    for name, array in examples.inputs.items():
        columns = np.asarray(array).reshape(len(labels), -1)
        equal = (columns == labels).all(0) | (columns == 1 - labels).all(0)
        need(not equal.any(), f"column {equal.argmax()} of input '{name}' equals the label")


def _check_official_test_set(sample: _DatasetUnderTest) -> None:
    ids = sample.roles["labelled"].ids
    params = sample.chosen(sample.spec.split.params)
    found = resolve(sample.spec.split.official or "")(ids, **params)
    array = np.asarray(found)
    usual = array.dtype in {np.dtype(bool), np.dtype(np.int8)} and array.shape == (len(ids),)
    need(
        found is None or usual,
        f"it returns {array.dtype} {array.shape}; bool or int8 ({len(ids)},), or None, is expected",
    )
    need(
        found is None or set(array.tolist()) <= {-1, 0, 1},
        "Split.official returns numbers other than -1, 0, 1",
    )


def _check_view(sample: _DatasetUnderTest, name: str) -> None:
    whole = read_only(sample.roles["labelled"].inputs)
    stated = sample.spec.views[name]
    view = partial(resolve(stated.run), **sample.chosen(stated.params))
    made, n = view(whole), len(sample.roles["labelled"])
    # raises if the numbers of names and units differ
    naming.described(sample.spec, name, sample.params)
    need(name in made, f"the view returns {', '.join(sorted(made)) or 'nothing'}, but not '{name}'")
    for key, array in made.items():
        need(len(array) == n, f"the view returns {len(array)} rows of '{key}' for {n} examples")
        if key in sample.spec.inputs:
            _check_input(f"with default parameters, '{key}'", array, sample.spec.inputs[key])
    some = np.arange(n)
    # no row: a plan asks for shapes so
    for rows in (some[::-1], some[: n // 3], some[n // 2 :: 7], some[:0]):
        part = view({key: array[rows] for key, array in whole.items()})
        for key, array in made.items():
            same = _equal(part[key], array[rows])
            need(same, f"'{key}' of some examples differs when the view gets only these examples")


def _equal(a: Array, b: Array) -> bool:
    if isinstance(a, SparseImages) and isinstance(b, SparseImages):
        hits, others = a.hits(), b.hits()
        return a.shape == b.shape and all(np.array_equal(hits[i], others[i]) for i in range(3))
    return np.array_equal(a, b)


def _check_augmentation(sample: _DatasetUnderTest, name: str) -> None:
    import torch

    from hepbench.training.networks import batches

    # as in a training: batches are dense tensors
    inputs = batches.RawInputs(sample.roles["labelled"].inputs, torch.device("cpu"))(slice(64))
    before = {key: tensor.clone() for key, tensor in inputs.items()}
    made = resolve(sample.spec.augmentations[name])(dict(inputs))
    for key, tensor in inputs.items():
        # the memory of a batch is used again for the next
        need(torch.equal(before[key], tensor), f"writes into its input '{key}'")
        shape, expected = tuple(getattr(made.get(key), "shape", ())), tuple(tensor.shape)
        need(shape == expected, f"'{key}' is {shape}; {expected} is expected")
        need(
            isinstance(made[key], torch.Tensor),
            f"the augmentation returns '{key}' as something other than a tensor",
        )


def _check_same_in_other_process(sample: _DatasetUnderTest) -> None:
    assert sample.spec.sample is not None
    target = "hepbench.conformance.datasets:digests"
    again = run_in_fresh_process(target, sample.spec.sample.read, sample.read_params)
    for name, digest in _column_digests(sample.roles).items():
        need(again.get(name) == digest, f"{name} differ when another process reads the sample")


def _check_can_be_prepared(sample: _DatasetUnderTest) -> None:
    inputs = tuple(dict.fromkeys((*sample.spec.inputs, *sample.spec.views)))
    with TemporaryDirectory() as folder:
        prepared(sample.entry, inputs, Path(folder))


def _chunks_joined_by_role(chunks: Iterable[Any]) -> dict[str, Examples]:
    """Join all chunks that the dataset under test yields, by role."""
    roles: dict[str, list[Examples]] = {}
    for chunk in chunks:
        pair = isinstance(chunk, tuple) and len(chunk) == 2 and isinstance(chunk[1], Examples)
        need(
            pair, f"the reader yields a {type(chunk).__name__}; a pair (role, Examples) is expected"
        )
        role, examples = chunk
        need(role in ROLES, f"the reader yields role {role!r}; {', '.join(ROLES)} are allowed")
        no_labels = role != "unlabelled" and examples.labels is None
        need(not no_labels, f"{role} examples without labels")
        roles.setdefault(role, []).append(examples)
    return {role: _concatenate_examples(found) for role, found in roles.items()}


def _concatenate_examples(found: list[Examples]) -> Examples:
    def whole(arrays: list[Array | None]) -> Array | None:
        if arrays[0] is None:
            return None
        sparse = isinstance(arrays[0], SparseImages)
        return joined(arrays if sparse else [np.asarray(a) for a in arrays])

    def named(maps: list[Inputs]) -> Inputs:
        return {name: whole([each[name] for each in maps]) for name in maps[0]}

    return Examples(
        inputs=named([e.inputs for e in found]),
        ids=whole([e.ids for e in found]),
        labels=whole([e.labels for e in found]),
        weights=whole([e.weights for e in found]),
        spectators=named([e.spectators for e in found]),
    )


def read_only(inputs: Inputs) -> dict[str, Array]:
    """Return read-only copies of inputs for a check, like the arrays that a worker gets."""
    return {name: _read_only(array) for name, array in inputs.items()}


def _read_only(array: Array) -> Array:
    if isinstance(array, SparseImages):
        hits = _read_only(array.positions), _read_only(array.values)
        return SparseImages(array.starts, array.ends, *hits, image=array.image)
    copy = np.array(array)
    copy.setflags(write=False)
    return copy


def digests(target: str, params: Mapping[str, Any]) -> dict[str, str]:
    """Return a hash of each column that a dataset's reader yields, for a check."""
    return _column_digests(_chunks_joined_by_role(resolve(target)(**params)))


def _column_digests(roles: Mapping[str, Examples]) -> dict[str, str]:
    found: dict[str, str] = {}
    for role, e in roles.items():
        columns = {"ids": e.ids, "labels": e.labels, "weights": e.weights}
        found |= {
            f"{role} '{name}'": _array_digest(array)
            for name, array in {**columns, **e.inputs, **e.spectators}.items()
        }
    return found


def _array_digest(array: Array | None) -> str:
    """Return a hash of an array or of sparse images, to compare what is read in a check."""
    arrays = array.hits() if isinstance(array, SparseImages) else (array,)
    content = (b"" if a is None else np.ascontiguousarray(a).tobytes() for a in arrays)
    return hashlib.sha256(b"".join(content)).hexdigest()


def prepared(entry: Entry, inputs: tuple[str, ...], folder: Path, **limits: int) -> dict[str, Path]:
    """Prepare a dataset's sample for checks: run the read, split and inputs stages.

    Args:
        inputs: names of declared inputs and of views.
        folder: an empty folder.
        limits: ``n_train`` and the like.

    Returns:
        The folder of each stage: ``read``, ``split``, ``inputs``.
    """
    made = plan.make(
        _suite_with_dataset(entry),
        _registry_with_dataset(entry, inputs),
        SampleEnvironment(),
        _choice_with_limits(limits),
    )
    done: dict[str, Path] = {}
    for stage in made.stages.values():
        if stage.kind != "method":
            parents = [done[key] for key in stage.parents]
            workspace = Workspace(parents, folder / stage.kind, lambda _: None)
            workspace.folder.mkdir()
            resolve(stage.run)(stage.task, workspace)
            done[stage.key] = workspace.folder
    return {path.name: path for path in done.values()}


def _suite_with_dataset(entry: Entry) -> SuiteFile:
    matrix = Matrix(datasets=[entry.spec.name], models=["check"], methods=["check"])
    return SuiteFile(name="check", run=[matrix], cost=False)


def _registry_with_dataset(entry: Entry, inputs: tuple[str, ...]) -> Registry:
    # a plan needs a model and a method; they never run
    model = Model(name="check", summary="", inputs=inputs, build="")
    method = Method(name="check", summary="", run="")
    return Registry([Plugin("check", "", "hepbench", "", specs=(entry.spec, model, method))])


def _choice_with_limits(limits: Mapping[str, int]) -> Choice:
    return Choice(overrides=[f"dataset.{name}={value}" for name, value in limits.items()])
