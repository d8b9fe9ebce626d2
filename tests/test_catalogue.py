"""The catalogue: what is at hand of each dataset, and how to get the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PLUGIN = """
from hepbench import Dataset, File, Input, Original, Sample, Split, View, hookimpl


@hookimpl
def hepbench_datasets():
    return [
        Dataset(
            name="forms",
            summary="files of two forms",
            classes=("background", "signal"),
            inputs={
                "image": Input(
                    shape=(2, 8, 8), names=("ecal", "hcal"), units=("GeV", ""), sparse=True
                )
            },
            spectators={"mass": "GeV"},
            original=Original(
                "nowhere:read",
                files=(
                    File(name="jets.h5", variants=("all.h5",), bytes=2_000_000, sha256="ab" * 32,
                         url="https://host.example/jets.h5", address="https://host.example/about"),
                    File(name="more.h5", role="unlabelled", address="https://host.example/share"),
                    File(name="run0.parquet", form="parquet", optional=True),
                    File(name="run1.parquet", form="parquet", optional=True, lacks="has no times"),
                ),
                known={"image.ecal.mean": (0.1, 0.25)},
                citation="Nobody et al., J. Nowhere 1 (2026) 1",
                licence="CC0",
            ),
            sample=Sample("nowhere:sample", files=("forms_sample:sample.npz",), examples=1200),
            views={"table": View("nowhere:summarise")},
            augmentations={"flip": "nowhere:flip"},
            split=Split(official="nowhere:official"),
            params={"size": 8},
            generate="nowhere:generate",
        )
    ]
"""


@pytest.fixture
def forms(bench):
    """Return a workbench with a dataset of two forms and a sample of 1,500 bytes."""
    bench.plugin(PLUGIN, "forms")
    bench.write("site/forms_sample/__init__.py", "")
    bench.write("site/forms_sample/sample.npz", "x" * 1500)
    (bench.folder / "data").mkdir()
    return bench


def listed(forms, *arguments):
    """Return the lines of ``data list`` on the dataset."""
    done = forms("data", "list", "--data", "data", *arguments)
    assert done.code == 0, done.err
    (block,) = (block for block in done.out.split("\n\n") if block.startswith("forms: "))
    return block


def facts(forms):
    found = forms("data", "list", "--data", "data", "--json").json
    (each,) = (each for each in found if each["name"] == "forms")
    return each


def test_what_is_missing_is_listed_with_the_way_to_get_it(forms):
    """By command where there is a link, by browser where there is a page only."""
    block = listed(forms)
    assert block.startswith("forms: runs read the bundled sample (1,200 examples, 1.5 kB)")
    assert "missing  jets.h5, 2 MB" in block
    assert (
        "missing  more.h5 (unlabelled)\n           in a browser: https://host.example/share"
        in block
    )
    assert "missing  run0.parquet (optional)" in block
    assert "hepbench data fetch forms" in block
    assert "hepbench data simulate forms" in block
    assert facts(forms)["source"] == "sample"


def test_of_what_is_there_the_form_that_runs_read_is_shown(forms):
    """Others are counted; info shows them."""
    forms.write("data/forms/run1.parquet", "x" * 30)
    block = listed(forms)
    assert block.startswith("forms: runs read the original files (parquet)")
    assert "found    data/forms/run1.parquet (30 bytes)" in block
    assert "or 2 files of another form: hepbench data info forms" in block
    assert "jets.h5" not in block
    assert "jets.h5" in forms("data", "info", "forms", "--data", "data").out
    assert (facts(forms)["source"], facts(forms)["form"]) == ("file", "parquet")


def test_files_of_a_generator_are_not_called_original(forms):
    """They are told by their mark, wherever they came from."""
    forms.write("data/forms/jets.h5", "simulated by hepbench")
    block = listed(forms)
    assert block.startswith("forms: runs read the simulated files")
    assert "found    data/forms/jets.h5 (21 bytes, simulated by hepbench)" in block
    assert facts(forms)["source"] == "simulated"


def test_a_file_of_another_size_is_told(forms):
    """It may be a cut; what has another name may well have another size."""
    forms.write("data/forms/all.h5", "x" * 1_000_000)
    assert "found    data/forms/all.h5 (1 MB)" in listed(forms)
    assert facts(forms)["files"][0]["published_size"] is None
    forms.write("data/forms/jets.h5", "x" * 1_000_000)
    told = "found    data/forms/jets.h5 (1 MB; the published file has 2 MB: incomplete download?)"
    assert told in listed(forms)
    first = facts(forms)["files"][0]
    assert (first["found_bytes"], first["published_size"]) == (1_000_000, False)


def test_a_form_that_is_not_whole_is_told_as_a_run_would(forms):
    """A run is refused; so the list says why."""
    forms.write("data/forms/more.h5", "x")
    assert listed(forms).startswith("forms: jets.h5 is missing; only more.h5 is in")
    assert facts(forms)["problem"].startswith("forms: jets.h5 is missing")


def test_without_a_folder_it_says_how_to_name_one(forms):
    """And lists what it knows all the same."""
    done = forms("data", "list")
    assert "looked for nowhere: give --data DIR, or set HEPBENCH_DATA" in done.out
    assert "missing  jets.h5" in done.out


EXPECTED = (
    "files of two forms",
    "0 background, 1 signal",
    "2 x 8 x 8, sparse: ecal [GeV], hcal",
    "spectator mass",
    "in GeV",
    "has no times",
    "nowhere:summarise",
    "nowhere:flip",
    "parameter size",
    "0.6 train, 0.2 validation, 0.2 test; official test set: nowhere:official",
    "known image.ecal.mean",
    "0.1 to 0.25",
    "Nobody et al., J. Nowhere 1 (2026) 1",
    "CC0",
    "or named all.h5",
    "2,000,000 bytes",
    "sha256 abab",
    "link https://host.example/jets.h5",
    "page https://host.example/about",
    "bundled sample (1,200 examples, 1.5 kB)",
)


@pytest.mark.parametrize("command", [("data", "info", "forms"), ("show", "dataset", "forms")])
def test_info_shows_all_that_the_spec_says(forms, command):
    """``show dataset`` is the same text."""
    text = forms(*command).out
    for each in EXPECTED:
        assert each in text, each


def test_info_as_json_has_what_the_text_has(forms):
    """Files and facts, for other programs."""
    found = forms("data", "info", "forms", "--json").json
    assert found["classes"] == ["background", "signal"]
    assert found["known"] == {"image.ecal.mean": [0.1, 0.25]}
    assert found["params"]["size"] == 8
    assert found["files"][0]["url"] == "https://host.example/jets.h5"
    assert found["citation"].startswith("Nobody")


def test_sizes_have_three_digits():
    """Whatever their unit."""
    from hepbench.cli.catalogue import size_text

    told = {
        1: "1 byte",
        999: "999 bytes",
        1500: "1.5 kB",
        999_999: "1 MB",
        2_816_407_858: "2.82 GB",
    }
    assert {count: size_text(count) for count in told} == told


def test_a_missing_folder_is_one_line(forms):
    """As everywhere."""
    done = forms("data", "list", "--data", "nowhere")
    assert done.code == 2
    assert re.fullmatch(r"hepbench: --data nowhere: no such folder; .*\n", done.err)
