"""Preparation of sparse images: however they are read, they are stored, split and scored alike."""

from __future__ import annotations

import numpy as np
import pictures
import pytest
import tinynets
import torch

from hepbench import (
    DataError,
    Dataset,
    Examples,
    Input,
    Objective,
    Original,
    PluginError,
    Sample,
    SparseImages,
    Split,
    TrainingData,
    View,
    classification,
)
from hepbench.conformance import datasets
from hepbench.data import inputs_stage, read_stage, split_stage, stored_parts
from hepbench.data.messages import (
    DeclaredInput,
    InputsTask,
    ReadTask,
    SplitTask,
    ViewCall,
    inputs_task,
)
from hepbench.registry.plugins import Entry, Plugin
from hepbench.storage import npy_files
from hepbench.storage.workspace import Workspace
from hepbench.training import network_runs
from hepbench.training.context import NetworkContext
from hepbench.training.networks import batches, scoring

FORMS = list(pictures.FORMS)


def prepared(folder, *, form="dense", does="", sparse=True, views=(), wanted=("image",)):
    """Return the folders of the three stages, and what the first two tell."""
    classes = ("background", "signal")
    read = ReadTask(
        dataset="pictures",
        reader="pictures:sample",
        params={"form": form, "does": does},
        inputs={"image": DeclaredInput(pictures.SHAPE, (), sparse)},
        classes=classes,
    )
    split = SplitTask(
        dataset="pictures",
        classes=classes,
        fractions=(0.6, 0.2, 0.2),
        seed=0,
        limits={"n_train": None, "n_validation": 50, "n_test": None},
        official=None,
        params={},
    )
    inputs = InputsTask(
        dataset="pictures",
        inputs=tuple(wanted),
        views={name: ViewCall(f"pictures:{target}", {}) for name, target in views},
    )
    folders = [folder / name for name in ("read", "split", "inputs")]
    for each in folders:
        each.mkdir()
    read_stage.read(read, Workspace([], folders[0], lambda _: None))
    facts = split_stage.split(split, Workspace(folders[:1], folders[1], lambda _: None))
    inputs_stage.inputs(inputs, Workspace(folders[:2], folders[2], lambda _: None))
    return folders, facts


def trained(folder, *, steps):
    """Return the scores of every part, of a network trained on what was laid out, as bytes."""
    torch.set_num_threads(1)
    parts = {part: stored_parts.load_part(folder, part) for part in ("train", "validation", "test")}
    task = tinynets.task("pictures", "pictures:Convolution", preprocess=steps)
    torch.manual_seed(0)
    network = network_runs.fresh(task, parts["train"].inputs, classes=2).with_head()
    data = TrainingData(train=parts["train"], validation=parts["validation"])
    objective = Objective(classification, {"": 0.01})
    NetworkContext(seed=0).fit(network, data, objective, epochs=2, batch_size=32)
    return {part: scoring.scores(network, e.inputs).tobytes() for part, e in parts.items()}


@pytest.mark.parametrize("steps", [(), ("standardise",), ("pictures:Doubled",)])
@pytest.mark.parametrize("limit", [0, 10**9])
def test_scores_do_not_depend_on_how_images_were_read(tmp_path, monkeypatch, steps, limit):
    """Bit for bit the same, dense or sparse, declared so or not, held or made dense each time."""
    monkeypatch.setattr(batches, "IN_MEMORY_SPARSE_BYTES", limit)
    found = []
    for i, (form, sparse) in enumerate([("dense", False), *((form, True) for form in FORMS)]):
        (tmp_path / str(i)).mkdir()
        folders, _ = prepared(tmp_path / str(i), form=form, sparse=sparse)
        found.append(trained(folders[2], steps=steps))
    assert len(found) == 1 + len(FORMS)
    assert all(scores == found[0] for scores in found)


@pytest.mark.parametrize("form", FORMS)
def test_images_are_stored_as_their_hits(tmp_path, form):
    """Without zeros, places in one byte where that is enough; nothing dense is on disk."""
    (read, _, inputs), _ = prepared(tmp_path, form=form)
    for folder, name in ((read, "labelled.input.image"), (inputs / "train", "input.image")):
        images = npy_files.open_stored(folder / f"{name}.sparse")
        assert isinstance(images, SparseImages)
        assert images.positions.dtype == np.uint8
        assert (images.values != 0).all()
        assert not list(folder.glob(f"{name}*.npy"))


def test_every_form_is_one_content(tmp_path):
    """The hash of all examples, and that of the test part; copies of examples too are found."""
    found = []
    for form in FORMS:
        (tmp_path / form).mkdir()
        found.append(prepared(tmp_path / form, form=form, does="copies")[1])
    assert all(facts == found[0] for facts in found)
    assert sum(found[0].duplicates.values()) == 3
    (tmp_path / "other").mkdir()
    other = prepared(tmp_path / "other", does="")[1]
    assert other.contents != found[0].contents
    assert other.duplicates == {}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("chunk", [1, 700, 10**9])
def test_parts_are_laid_out_whatever_the_size_of_chunks(tmp_path, monkeypatch, form, chunk):
    """An official test file's images lie behind the others, each with its own id."""
    monkeypatch.setattr(stored_parts, "CHUNK_BYTES", chunk)
    views = (("table", "summarise"), ("brighter", "brighter"))
    folders, _ = prepared(tmp_path, form=form, views=views, wanted=("image", "table", "brighter"))
    every = {}
    for _, examples in pictures.sample("dense", ""):
        every |= dict(zip(examples.ids.tolist(), examples.inputs["image"], strict=True))
    sizes = {}
    for part in ("train", "validation", "test", "unlabelled"):
        examples = stored_parts.load_part(folders[2], part)
        sizes[part] = len(examples)
        expected = np.stack([every[i] for i in examples.ids.tolist()])
        image, brighter = (examples.inputs[name] for name in ("image", "brighter"))
        assert isinstance(image, SparseImages)
        assert isinstance(brighter, SparseImages)
        np.testing.assert_array_equal(image, expected)
        np.testing.assert_array_equal(brighter, 2 * expected)
        counts = (expected != 0).sum((1, 2, 3))
        np.testing.assert_array_equal(examples.inputs["table"][:, 0], counts)
    assert sizes == {"train": 300, "validation": 50, "test": 150, "unlabelled": 80}
    assert stored_parts.load_part(folders[2], "test").ids.min() >= 400


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("does", "message"),
    [
        ("nan", r"'image' of id 299 is not finite"),
        ("narrow", r"'image' is \(2, 9, 6\); \(2, 9, 7\) is declared"),
    ],
)
def test_images_that_cannot_be_are_refused(tmp_path, form, does, message):
    """Dense or sparse: the example or the shape is named."""
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, form=form, does=does)


def test_what_is_declared_dense_is_stored_dense(tmp_path):
    """Also where a reader yields sparse images."""
    (read, _, _), _ = prepared(tmp_path, form="sparse", sparse=False)
    stored = npy_files.open_stored(read / "labelled.input.image.npy")
    expected = [e.inputs["image"] for role, e in pictures.sample("dense", "") if role == "labelled"]
    np.testing.assert_array_equal(stored, np.concatenate(expected))


def test_a_view_in_the_place_of_sparse_images_is_sparse(tmp_path):
    """A view that knows dense images alone costs no dense file."""
    folders, _ = prepared(tmp_path, views=(("image", "darker"),))
    stored = npy_files.open_stored(folders[2] / "train" / "input.image.sparse")
    raw = npy_files.open_stored(folders[0] / "labelled.input.image.sparse")
    ids = stored_parts.load_part(folders[2], "train").ids
    np.testing.assert_array_equal(stored, np.asarray(raw)[ids] / 2)


def claims(*, brighter="brighter", does=""):
    """Return by text what is claimed of a dataset of sparse images."""
    spec = Dataset(
        name="pictures",
        summary="small images",
        classes=("background", "signal"),
        inputs={"image": Input(shape=pictures.SHAPE, sparse=True)},
        sample=Sample("pictures:sample"),
        views={
            "table": View("pictures:summarise"),
            "brighter": View(f"pictures:{brighter}"),
        },
        augmentations={"flipped": "pictures:flipped"},
        params={"form": "sparse", "does": does},
        read_params=frozenset({"form", "does"}),
    )
    plugin = Plugin("pictures", "pictures", "pictures", "0.1", specs=(spec,))
    return {claim.text: claim.run for claim in datasets.dataset_claims(Entry(spec, plugin))}


def test_a_dataset_of_sparse_images_conforms():
    """Every claim of a dataset holds: views are given sparse images, augmentations dense ones."""
    found = claims()
    assert len(found) >= 10
    for run in found.values():
        run()


def test_faults_of_sparse_images_break_their_claims():
    """A value that is not finite, and a view that looks at other examples."""
    with pytest.raises(PluginError, match="not finite"):
        claims(does="nan")["inputs are as declared: names, shapes, finite numbers"]()
    with pytest.raises(PluginError, match="differs when the view gets only these examples"):
        claims(brighter="centred")["view 'brighter' keeps rows, order and shapes"]()


def test_an_input_that_is_no_image_cannot_be_sparse():
    """Where it is declared, not where it is read."""
    with pytest.raises(PluginError, match=r"\(28,\) cannot be sparse"):
        Input(shape=(28,), sparse=True)


@pytest.mark.parametrize("form", FORMS)
def test_examples_of_sparse_images_are_joined_and_taken_as_arrays_are(form):
    """Their lengths are checked; a method without labels sees those of both."""
    several = [examples for _, examples in pictures.sample(form, "")]
    dense = [examples for _, examples in pictures.sample("dense", "")]
    whole, expected = several[0].joined(several[4]), dense[0].joined(dense[4])
    assert type(whole.inputs["image"]) is type(several[0].inputs["image"])
    for rows in (slice(290, 310), np.array([379, 0, 5])):
        one, other = whole[rows], expected[rows]
        np.testing.assert_array_equal(one.inputs["image"], other.inputs["image"])
        np.testing.assert_array_equal(one.ids, other.ids)
    with pytest.raises(DataError, match="'image' has 300 rows, but there are 299 ids"):
        Examples(inputs=several[0].inputs, ids=np.arange(299))


def test_a_view_gets_the_parameters_that_it_names():
    """It gets no other parameter: not of another view, nor of readers and splits."""
    spec = Dataset(
        name="pictures",
        summary="",
        classes=("background", "signal"),
        inputs={"image": Input(shape=pictures.SHAPE)},
        read_params=frozenset({"form"}),
        views={
            "told": View("pictures:told", params=frozenset({"k", "size"})),
            "asked": View("pictures:asked", params=frozenset({"k", "points", "size"})),
            "image": View("pictures:darker"),
        },
        params={"form": "dense", "k": 2, "points": 3, "size": 5},
    )
    task = inputs_task(spec, ("told", "asked"), {"k": 2, "points": 3, "size": 5})
    made = inputs_stage.wanted_inputs(task, {"image": np.zeros((3, *pictures.SHAPE), np.float32)})
    assert made["told"].tolist() == [[2, 5]] * 3
    assert made["asked"].tolist() == [[2, 3, 5]] * 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"views": {"told": View("pictures:told", params=frozenset({"points"}))}},
            "view 'told' names parameter 'points', which is not in params",
        ),
        ({"read_params": frozenset({"l"})}, "read_params names parameter 'l', which is not in params"),
        ({"split": Split(params=frozenset({"l"}))}, "split.params names parameter 'l', which is not in"),
        ({"views": {"told": "pictures:told"}}, "View.'pictures:told'. is expected"),
        ({"sample": "pictures:sample"}, "Sample.'pictures:sample'. is expected"),
        ({"original": Original("pictures:read", known={"share.signal": (0, 1)})},
         "known: 'share' is now fraction.<class>"),
    ],
)  # fmt: skip
def test_a_dataset_that_contradicts_itself_is_refused(changed, message):
    """The message names the dataset, the field and what is expected."""
    with pytest.raises(PluginError, match=f"dataset pictures: .*{message}"):
        Dataset(
            name="pictures",
            summary="",
            classes=("background", "signal"),
            inputs={"image": Input(shape=pictures.SHAPE)},
            **{"params": {"k": 2}, **changed},
        )


@pytest.mark.parametrize(
    "rows", [np.full(9, 2), np.zeros(8, bool), np.full(9, 257), np.full(9, 0.5)]
)
def test_other_answers_than_test_or_not_are_refused(monkeypatch, rows):
    """Examples would be in no part without a word."""
    monkeypatch.setattr(split_stage, "resolve", lambda _: lambda _ids: rows)
    task = SplitTask(
        dataset="pictures",
        classes=("a", "b"),
        fractions=(0.6, 0.2, 0.2),
        seed=0,
        limits={},
        official="pictures:official",
        params={},
    )
    with pytest.raises(PluginError, match="pictures:official returns"):
        split_stage.official_rows(task, np.arange(9), 0)
