"""One gate for examples: what readers and views yield is used as it is meant, or refused in a line."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from hepbench import Examples, HepbenchError
from hepbench.data import inputs_stage, read_stage, split_stage, stored_parts
from hepbench.data.messages import DeclaredInput, InputsTask, ReadTask, SplitTask, ViewCall
from hepbench.storage.workspace import Workspace

N = 40
PARTICLES = 5
ROLES = ("labelled", "labelled", "test", "unlabelled")
DECLARED = {
    "table": DeclaredInput((3,)),
    "cloud": DeclaredInput((PARTICLES, 2)),
    "mask": DeclaredInput((PARTICLES,)),
}
READ = ReadTask(
    dataset="toy",
    reader=f"{__name__}:reader",
    params={},
    inputs=DECLARED,
    classes=("background", "signal"),
)
SPLIT = SplitTask(
    dataset="toy",
    classes=READ.classes,
    fractions=(0.6, 0.2, 0.2),
    seed=0,
    limits={"n_train": None, "n_validation": None, "n_test": None},
    official=None,
    params={},
)
INPUTS = InputsTask(
    dataset="toy",
    inputs=("table", "cloud", "mask", "sums"),
    views={"sums": ViewCall(f"{__name__}:view", {})},
)
state: dict = {}


def fields(i, *, unlabelled=False):
    """Return the fields of the i-th chunk; values are exact in float32."""
    rng = np.random.default_rng(i)
    mask = np.arange(PARTICLES) < rng.integers(1, PARTICLES + 1, N)[:, None]
    cloud = rng.integers(-64, 64, (N, PARTICLES, 2)) * mask[:, :, None]
    found = {
        "table": (rng.integers(-64, 64, (N, 3)) / 8).astype(np.float32),
        "cloud": cloud.astype(np.float32),
        "mask": mask,
        "ids": np.arange(i * N, (i + 1) * N),
        "mass": rng.integers(1, 100, N).astype(np.float32),
    }
    if not unlabelled:
        found |= {"labels": np.arange(N) % 2, "weights": rng.integers(1, 9, N) / 4}
    return found


def chunks():
    return [[role, fields(i, unlabelled=role == "unlabelled")] for i, role in enumerate(ROLES)]


def examples(found):
    """Return examples of some fields; those of other names are inputs."""
    columns = {name: found[name] for name in ("ids", "labels", "weights") if name in found}
    inputs = {n: a for n, a in found.items() if n not in {*columns, "mass"}}
    spectators = {"mass": found["mass"]} if "mass" in found else {}
    return Examples(**{"ids": None, **columns}, inputs=inputs, spectators=spectators)


def reader():
    for item in state["items"]:
        fine = isinstance(item, list) and len(item) == 2 and isinstance(item[1], dict)
        yield (item[0], examples(item[1])) if fine else item


def view(inputs):
    made = {"sums": inputs["table"].sum(1, keepdims=True)}
    return state["view"](made)


def prepared(folder, items, after_view=lambda made: made):
    """Run all stages that prepare data; return what a method and a metric would get."""
    state.update(items=items, view=after_view)
    shutil.rmtree(folder, ignore_errors=True)
    places = [folder / name for name in ("read", "split", "inputs")]
    for place in places:
        place.mkdir(parents=True)

    def work(i):
        return Workspace(folder=places[i], parents=tuple(places[:i]), report_progress=str)

    read_stage.read(READ, work(0))
    split_stage.split(SPLIT, work(1))
    inputs_stage.inputs(INPUTS, work(2))
    found = dict(np.load(places[1] / "test.npz"))
    for part in ("train", "validation", "test", "unlabelled"):
        loaded = stored_parts.load_part(places[2], part)
        columns = {"ids": loaded.ids, "labels": loaded.labels, "weights": loaded.weights}
        columns |= {f"input.{name}": np.asarray(array) for name, array in loaded.inputs.items()}
        columns |= {f"spectator.{name}": array for name, array in loaded.spectators.items()}
        found |= {f"{part}.{name}": array for name, array in columns.items() if array is not None}
    return found


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Return the prepared data of the examples as they should be."""
    return prepared(tmp_path_factory.mktemp("clean"), chunks())


def refusal(folder, items, after_view=lambda made: made):
    """Return the one line with which examples are refused."""
    with pytest.raises(HepbenchError) as caught:
        prepared(folder, items, after_view)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("toy: "), caught.value
    return str(caught.value)


def changed(name, change, *, which=(0, 1, 2)):
    """Return the chunks, of some of which a field is changed."""
    items = chunks()
    for i in which:
        items[i][1][name] = change(items[i][1][name])
    return items


def divided(labels):
    """Return labels as a division may leave them: a signal of 1 - 1e-9."""
    return np.where(np.arange(N) == 3, 1 - 1e-9, labels)


WRONG = {
    "a label that is no whole number": (
        "labels", divided, "labels: 0.999999999 found in example 3; whole numbers are expected"),
    "no number as a label": ("labels", lambda x: np.where(x == 1, np.nan, 0), "nan found in example 1;"),
    "a column of labels": (
        "labels", lambda x: x[:, None], "labels: shape (40, 1) found; whole numbers 0 to 1 of shape (40,)"),
    "one-hot labels": (
        "labels", lambda x: np.eye(2)[x], "labels: one-hot rows, shape (40, 2) found; whole numbers 0 to 1"),
    "text as labels": ("labels", lambda x: np.where(x == 1, "s", "b"), "text found, such as 'b'; whole"),
    "names as labels": ("labels", lambda x: np.array(["s"] * N, object), "text found, such as 's'; whole"),
    "another class": ("labels", lambda x: x + 1, "labels from 1 to 2; 0 to 1 expected, or -1"),
    "no labels": ("labels", lambda x: None, "no labels found; whole numbers 0 to 1"),
    "a column of weights": ("weights", lambda x: x[:, None], "weights: shape (40, 1) found; (40,) is exp"),
    "an infinite weight": ("weights", lambda x: np.where(x > 1, np.inf, x), "weights: inf found in example"),
    "text as weights": ("weights", lambda x: x.astype(str), "weights: text found, such as"),
    "ids that are no whole numbers": ("ids", lambda x: x + 0.5, "ids: float64 found; whole"),
    "ids of all chunks alike": ("ids", lambda x: x % N, "two examples have the id"),
    "text as an input": ("table", lambda x: x.astype(str), "'table': text found, such as"),
    "rows of different lengths": ("table", lambda x: [[1.0], [1.0, 2.0]] * (N // 2), "'table': a ragged list"),
    "another shape": ("table", lambda x: x[:, :2], "'table' is (2,); (3,) is declared"),
    "too few rows": ("table", lambda x: x[1:], "'table' has 39 rows, but there are 40 ids"),
    "no number": ("table", lambda x: np.where(x > 7, np.nan, x), "'table' of id"),
    "more than float32 holds": ("table", lambda x: x.astype(float) * 1e39, "is not finite in float32"),
    "masked values": ("table", lambda x: np.ma.masked_equal(x, x[0, 0]), "'table': masked values found"),
    "a mask of halves": ("mask", lambda x: x / 2, "'mask': 0.5 found in example 0; whole numbers"),
    "a mask of counts": ("mask", lambda x: 2 * x, "'mask': 0 to 2 found; 0 to 1 is expected"),
    "a spectator with columns": ("mass", lambda x: x[:, None], "spectator mass: shape (40, 1) found; (40,)"),
    "dates": ("mass", lambda x: x.astype("M8[s]"), "spectator mass: dates found"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "change", "words"), WRONG.values(), ids=WRONG)
def test_a_field_that_is_not_as_it_should_be_is_refused(tmp_path, name, change, words):
    """The line says dataset, field, what was found and what is expected."""
    assert words in refusal(tmp_path / "x", changed(name, change))


KINDS = (
    "bool",
    "int8",
    "uint8",
    "int16",
    ">i4",
    "uint64",
    "float16",
    "float32",
    ">f8",
    "longdouble",
)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_every_type_that_holds_them_exactly_are_used(tmp_path, clean, kind):
    """They are the same labels."""
    same(prepared(tmp_path / "x", changed("labels", lambda x: x.astype(kind))), clean)


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


CHUNKS = {
    "weights of some chunks": ("weights", (1,), "weights are missing after the first 40 labelled"),
    "weights that begin later": ("weights", (0,), "weights are missing from the first 40 labelled"),
    "a spectator of some chunks": ("mass", (1,), "'spectator mass' is missing after the first 40"),
    "a spectator of one role": (
        "mass",
        (2,),
        "labelled examples have 'spectator mass', but test ones",
    ),
    "an input of some chunks": ("cloud", (1,), "input 'cloud' is declared, but was not read"),
}


@pytest.mark.parametrize(("name", "which", "words"), CHUNKS.values(), ids=CHUNKS)
def test_every_chunk_has_the_same_fields(tmp_path, name, which, words):
    """A field that only some examples have is refused, not filled up."""
    items = chunks()
    for i in which:
        del items[i][1][name]
    assert words in refusal(tmp_path / "x", items)


ITEMS = {
    "nothing": (None, "the reader yields NoneType; (role, Examples) is expected"),
    "fields alone": ({}, "the reader yields dict; (role, Examples) is expected"),
    "no examples": (("labelled", 1), "the reader yields str, int; (role, Examples) is expected"),
    "another role": (
        ["train", fields(9)],
        "role 'train'; labelled or unlabelled or test is expected",
    ),
    "examples without ids": (["labelled", {}], "arrays: object of type 'NoneType' has no len()"),
    "examples that are one number": (["labelled", {**fields(9), "table": 1}], "'int' has no len()"),
}


@pytest.mark.parametrize(("item", "words"), ITEMS.values(), ids=ITEMS)
def test_a_reader_yields_roles_and_examples(tmp_path, item, words):
    """Whatever else it yields is named, also in the middle of reading."""
    assert words in refusal(tmp_path / "x", [*chunks(), item])


def test_a_reader_that_returns_no_iterator_is_refused(tmp_path, monkeypatch):
    """Its type is named."""
    monkeypatch.setattr(read_stage, "resolve", lambda _: lambda: None)
    words = "returns NoneType; it must yield (role, Examples)"
    assert words in refusal(tmp_path / "x", [])


VIEWS = {
    "nothing": (
        lambda made: None,
        "view 'sums' returns NoneType; a mapping with 'sums' is expected",
    ),
    "another name": (
        lambda made: {"sum": made["sums"]},
        "view 'sums' returns sum; 'sums' is expected",
    ),
    "fewer rows": (lambda made: {"sums": made["sums"][1:]}, "rows are expected, one for each id"),
    "text": (lambda made: {"sums": made["sums"].astype(str)}, "'sums': text found, such as"),
    "no number": (lambda made: {"sums": made["sums"] * np.nan}, "values that are not finite"),
    "one number": (lambda made: {"sums": 1.0}, "view 'sums': 'sums': shape () found; "),
}


@pytest.mark.parametrize(("after", "words"), VIEWS.values(), ids=VIEWS)
def test_views_pass_the_same_gate(tmp_path, after, words):
    """The line names the view."""
    assert words in refusal(tmp_path / "x", chunks(), after)


# --- fuzz


def placed(array, value):
    """Return an array as float64 with a value at one place."""
    found = np.array(array, np.float64)
    found.reshape(-1)[state["rng"].integers(found.size)] = value
    return found


def with_another_axis(array):
    return array[..., None]


ANY_FIELD = (
    *(lambda x: None, lambda x: 1, lambda x: "text", lambda x: {}, lambda x: object()),
    *(lambda x: x[:-1], lambda x: x[:0], lambda x: np.concatenate([x, x])),
    *(with_another_axis, lambda x: x[None], lambda x: x.T),
    *(np.ndarray.tolist, lambda x: tuple(x.tolist()), np.asfortranarray, memoryview),
    *(lambda x: x.astype(str), lambda x: x.astype(object), lambda x: x.astype(complex)),
    *(lambda x: x.astype("S8"), lambda x: x.astype(">f8"), lambda x: x.astype("longdouble")),
    *(lambda x: x.astype(np.float64), lambda x: x.astype(x.dtype.newbyteorder())),
    *(lambda x: [*x.tolist()[:-1], None], lambda x: [*x.tolist()[:-1], [1, 2]]),
    *(lambda x: np.ma.masked_array(x, np.zeros(x.shape, bool)), np.ma.masked_all_like),
    *(lambda x: x.astype([("a", float)]), lambda x: np.repeat(x, 2, 0)[::2], np.matrix),
    *(iter, lambda x: (row for row in x), lambda x: set(range(N)), lambda x: x.tobytes()),
)  # fmt: skip
NOT_FINITE = (np.nan, np.inf, -np.inf)
NUMBERS = {
    **dict.fromkeys(("table", "cloud"), (*NOT_FINITE, 1e300)),
    "weights": NOT_FINITE,
    **dict.fromkeys(("labels", "ids", "mask"), (*NOT_FINITE, 0.5, -7.25, 1e19, 2.0**63)),
}
LABELS = (divided, lambda x: x + 2, lambda x: np.eye(2)[x], lambda x: np.where(x == 1, "s", "b"),
          lambda x: x - 2, lambda x: x.astype(bool), lambda x: x.astype(np.uint8), lambda x: x * 1j)  # fmt: skip
ITEM = (
    *(lambda item: None, lambda item: item[1], lambda item: item[:1], lambda item: (*item, 1)),
    *(lambda item: [item[0].upper(), item[1]], lambda item: [None, item[1]], lambda item: item[0]),
    *(lambda item: [[item[0]], item[1]], lambda item: [np.array([item[0]]), item[1]]),
    lambda item: [item[0], {**item[1], "extra": item[1]["table"]}],
    lambda item: [item[0], {**item[1], "weights": item[1]["mask"]}],
)  # fmt: skip


def with_other_items(items, which, rng):
    """Return chunks of which some are something else, or hold nothing."""
    if rng.random() < 0.2:
        role, found = items[which[0]]
        items.insert(which[0], [role, {name: array[:0] for name, array in found.items()}])
        return items
    change = ITEM[rng.integers(len(ITEM))]
    return [change(item) if i in which else item for i, item in enumerate(items)]


def with_other_field(items, which, rng, name, change):
    """Return chunks of which some have another field, or lack it."""
    for i in which:
        found = items[i][1]
        if name in found:
            with np.errstate(all="ignore"):
                found[name] = change(found[name])
            if found[name] is None and name in {"labels", "weights", "mass"}:
                del found[name]
    return items


def corrupted(rng):
    """Return chunks with one thing wrong at random, and a change of what the view makes."""
    items = chunks()
    some = rng.random() < 0.7
    which = [int(rng.integers(len(items)))] if some else list(range(len(items)))
    kind = rng.choice(["field", "field", "number", "labels", "item", "view"])
    if kind == "item":
        return with_other_items(items, which, rng), lambda made: made
    any_change = ANY_FIELD[rng.integers(len(ANY_FIELD))]
    if kind == "view":
        # the shape of what a view makes is not declared
        any_change = next(c for c in (any_change, np.asfortranarray) if c is not with_another_axis)
        return items, lambda made: {"sums": any_change(np.asarray(made["sums"]))}
    name = "labels" if kind == "labels" else str(rng.choice([n for n in fields(0) if n in NUMBERS]))
    number = float(rng.choice(NUMBERS[name]))
    label_change = LABELS[rng.integers(len(LABELS))]
    change = {"field": any_change, "number": lambda x: placed(x, number), "labels": label_change}
    return with_other_field(items, which, rng, name, change[str(kind)]), lambda made: made


def outcome(folder, items, after):
    """Return what the stages make of corrupted chunks, or the line with which they are refused."""
    try:
        return prepared(folder, items, after)
    except HepbenchError as error:
        return str(error)


# numpy's matrices are among the corruptions
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize(
    "start", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in range(100, 500, 100))]
)
def test_five_hundred_corruptions_are_refused_in_a_line_or_change_nothing(tmp_path, clean, start):
    """Whatever readers and views yield: other types, shapes, numbers, objects, chunks, roles."""
    refused = 0
    for seed in range(start, start + 100):
        state["rng"] = rng = np.random.default_rng(seed)
        try:
            items, after = corrupted(rng)
        except (TypeError, ValueError):
            # numpy refuses the corruption itself
            continue
        found = outcome(tmp_path / "x", items, after)
        if isinstance(found, str):
            assert found.startswith("toy: "), (seed, found)
            assert len(found.splitlines()) == 1, (seed, found)
            refused += 1
        else:
            # weights may be missing from the test examples, or from all
            lacking = {n for n in clean if n.endswith("weights")} - found.keys()
            same(found, {n: array for n, array in clean.items() if n not in lacking})
    assert 30 < refused < 90
