"""Which files a dataset is read from, and what its reader says of them."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hepbench import (
    SIMULATED,
    DataError,
    Dataset,
    DataWarning,
    Examples,
    File,
    Input,
    Original,
    original_files,
)
from hepbench.data import read_stage
from hepbench.data.finding import find
from hepbench.data.messages import DeclaredInput, ReadTask
from hepbench.storage.workspace import Workspace

SPEC = Dataset(
    name="forms",
    summary="files of three forms",
    classes=("background", "signal"),
    inputs={"table": Input(shape=(1,))},
    original=Original(
        "nowhere:read",
        files=(
            File(name="all.h5"),
            File(name="unlabelled.h5", role="unlabelled"),
            File(name="a.npy", form="npy"),
            File(name="b.npy", form="npy"),
            File(name="run0.parquet", form="parquet", optional=True),
            File(name="run1.parquet", form="parquet", optional=True),
        ),
    ),
)


def with_files(*files):
    """Return the dataset with other original files."""
    return replace(SPEC, original=replace(SPEC.original, files=files))


FOUND = {
    "the first form": (("all.h5",), ("all.h5",)),
    "with what is unlabelled": (("all.h5", "unlabelled.h5"), ("all.h5", "unlabelled.h5")),
    "the second form": (("a.npy", "b.npy"), ("a.npy", "b.npy")),
    "two forms": (("a.npy", "b.npy", "all.h5"), ("all.h5",)),
    "one of the files that are optional": (("run1.parquet",), ("run1.parquet",)),
    "a whole form beside a part of another": (("a.npy", "run1.parquet"), ("run1.parquet",)),
}


def holding(tmp_path, names):
    folder = tmp_path / "forms"
    folder.mkdir()
    for name in names:
        (folder / name).write_text(name)
    return tmp_path


def fingerprint(path, compute):
    return path.name


@pytest.mark.parametrize(("there", "expected"), FOUND.values(), ids=FOUND.keys())
def test_files_of_one_form_are_found_together(tmp_path, there, expected):
    """The first form that is whole is read, and its files alone are the fingerprint."""
    folder = holding(tmp_path, there)
    assert tuple(original_files(SPEC, folder / "forms")) == expected
    found = find(SPEC, folder, "auto", fingerprint)
    assert tuple(name.rpartition("/")[2] for name in found.files) == expected


@pytest.mark.parametrize(
    ("there", "message"),
    [
        (("b.npy",), "forms: a.npy is missing; only b.npy is in {}"),
        (("unlabelled.h5",), "forms: all.h5 is missing; only unlabelled.h5 is in {}"),
    ],
)
def test_a_form_that_is_not_whole_is_refused(tmp_path, there, message):
    """What is missing is named; nothing falls back to a simulated sample."""
    folder = holding(tmp_path, there)
    with pytest.raises(DataError) as caught:
        find(SPEC, folder, "auto", fingerprint)
    assert str(caught.value) == message.format(folder)


def folder(path):
    path.mkdir()


def link(path):
    path.symlink_to("nowhere")


def loop(path):
    path.symlink_to(path)


def pipe(path):
    os.mkfifo(path)


@pytest.mark.parametrize("name", ["all.h5", "run1.parquet"])
@pytest.mark.parametrize("make", [folder, link, loop, pipe])
def test_what_has_the_name_of_a_file_and_is_none_is_refused(tmp_path, make, name):
    """Whoever put it there does not mean the sample, nor the other files."""
    path = holding(tmp_path, ["a.npy", "b.npy"]) / "forms" / name
    make(path)
    with pytest.raises(DataError) as caught:
        find(SPEC, tmp_path, "auto", fingerprint)
    expected = f"forms: {path} is not a file; a file, or a link to one, is expected"
    assert str(caught.value) == expected


def test_a_folder_that_is_none_is_refused(tmp_path):
    """A file where the folder of the dataset is looked for."""
    (tmp_path / "forms").write_text("")
    with pytest.raises(DataError, match=r"all.h5 cannot be read \(Not a directory\); a file, or"):
        find(SPEC, tmp_path, "auto", fingerprint)


def test_without_any_file_every_form_is_told(tmp_path):
    """Whoever wants the file learns which ones would do."""
    with pytest.raises(DataError) as caught:
        find(SPEC, tmp_path, "file", fingerprint)
    expected = "forms/all.h5 or forms/a.npy, forms/b.npy or forms/run0.parquet, forms/run1.parquet"
    assert str(caught.value).endswith(f"{expected} expected")


def marked(folder, *names):
    """Write the mark of generators into files."""
    for name in names:
        (folder / "forms" / name).write_bytes(SIMULATED + b", and what the format wants")


def test_files_that_a_generator_marked_are_simulated(tmp_path):
    """Whatever their names are; a mark far inside is a matter of their content."""
    folder = holding(tmp_path, ("a.npy", "b.npy"))
    assert find(SPEC, folder, "auto", fingerprint).source == "file"
    (folder / "forms" / "a.npy").write_bytes(bytes(512) + SIMULATED)
    assert find(SPEC, folder, "auto", fingerprint).source == "file"
    marked(folder, "a.npy", "b.npy")
    found = find(SPEC, folder, "auto", fingerprint)
    assert (found.source, found.warnings) == ("simulated", ())


def test_simulated_files_beside_others_make_all_simulated_and_are_odd(tmp_path):
    """No figure of a mixture is one of the original."""
    folder = holding(tmp_path, ("a.npy", "b.npy"))
    marked(folder, "b.npy")
    found = find(SPEC, folder, "auto", fingerprint)
    assert found.source == "simulated"
    assert found.warnings == ("file: b.npy is simulated, but a.npy is not",)


def test_a_simulated_file_is_not_held_to_the_published_one(tmp_path):
    """Its size and checksum are its own; that it is simulated is said instead."""
    spec = with_files(File(name="all.h5", bytes=1, sha256="ab" * 32))
    folder = holding(tmp_path, ("all.h5",))
    assert find(spec, folder, "auto", fingerprint).warnings
    marked(folder, "all.h5")
    assert find(spec, folder, "auto", fingerprint).warnings == ()


def test_what_a_form_lacks_is_noted_and_is_not_odd(tmp_path):
    """As its spec says, of the form that is read alone."""
    lacking = replace(SPEC.files[2], lacks="holds no times")
    spec = with_files(SPEC.files[0], lacking, SPEC.files[3])
    found = find(spec, holding(tmp_path, ("a.npy", "b.npy")), "auto", fingerprint)
    assert (found.notes, found.warnings) == (("file: a.npy holds no times",), ())
    (tmp_path / "forms" / "all.h5").write_text("whole")
    assert find(spec, tmp_path, "auto", fingerprint).notes == ()


def odd():
    """Yield two examples, with something odd about each and one warning of another kind."""
    for i in range(2):
        warnings.warn(f"label {i} looks wrong", DataWarning, stacklevel=1)
        table = np.full((1, 1), i, np.float32)
        yield "labelled", Examples(inputs={"table": table}, ids=[i], labels=[i])
    warnings.warn("of no concern", UserWarning, stacklevel=1)


TASK = ReadTask(
    dataset="forms",
    reader=f"{__name__}:odd",
    params={},
    inputs={"table": DeclaredInput((1,))},
    classes=SPEC.classes,
)


def test_what_a_reader_finds_odd_is_kept(tmp_path):
    """Its warnings are facts of what was read; those of other kinds go their own way."""
    place = Workspace(folder=tmp_path, parents=(), report_progress=str)
    with pytest.warns(UserWarning, match="of no concern"):
        facts = read_stage.read(TASK, place)
    assert facts.warnings == ["data: label 0 looks wrong", "data: label 1 looks wrong"]


def grown(path):
    path.write_text("more")


def exchanged(path):
    path.with_name("new").write_text("all.h5")
    path.with_name("new").replace(path)


@pytest.mark.parametrize("change", [grown, exchanged, Path.unlink])
def test_a_file_that_is_changed_while_it_is_read_is_refused(tmp_path, change):
    """What was read would be kept under the fingerprint of what was there before."""
    found = find(SPEC, holding(tmp_path, ["all.h5"]), "auto", fingerprint)
    stamps = {path: tuple(stamp) for path, stamp in found.stamps.items()}
    chunks = read_stage.read_chunks(msgspec.structs.replace(TASK, stamps=stamps), [])
    next(chunks)
    change(tmp_path / "forms" / "all.h5")
    with pytest.raises(DataError) as caught, pytest.warns(UserWarning, match="of no concern"):
        list(chunks)
    assert str(caught.value) == "forms: all.h5 was changed while it was read; run again"
