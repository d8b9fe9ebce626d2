"""Renamed: an old word of the plugin API is answered with the new one."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest

import hepbench
from hepbench import Dataset, Examples, Input, Original, Predictions, Sample, Split, View
from hepbench.evaluation import joining
from hepbench.registry import plugins
from hepbench.specs import parameters
from hepbench.specs.renamed import NEW_WORDS, explained, new_word

OWNERS = {"Dataset": Dataset, "Split": Split, "Examples": Examples, "Predictions": Predictions}
NEW = {"View": View, "Sample": Sample, "Original": Original, "Param": parameters.Param}


def plugin(tmp_path, monkeypatch, source):
    """Return what the registry makes of a plugin with this source."""
    (tmp_path / "oldplugin.py").write_text(source)
    monkeypatch.delitem(sys.modules, "oldplugin", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    return plugins.load(EntryPoint("old", "oldplugin", "hepbench"))


OLD = """
from hepbench import Dataset, Input, hookimpl


@hookimpl
def hepbench_datasets():
    return [Dataset(name="old", summary="old", classes=("a", "b"),
                    inputs={{"table": Input(shape=(1,))}}, {field}={value})]
"""
FIELDS = {
    "view_names": ("{}", "Dataset: 'view_names' is now View(names=...)"),
    "reads": ("frozenset()", "Dataset: 'reads' is now read_params"),
    "allowed": ("{}", "Dataset: 'allowed' is now Param(default, allowed)"),
    "files": ("()", "Dataset: 'files' is now Original(files=...)"),
    "target_units": ("{}", "Dataset: 'target_units' is now spectators"),
    "sample": ("'x:y'", "dataset old: sample is 'x:y'; Sample('x:y') is expected"),
}


@pytest.mark.parametrize(("field", "value"), FIELDS.items(), ids=FIELDS)
def test_a_plugin_with_an_old_field_is_left_out_with_the_new_word(
    tmp_path, monkeypatch, field, value
):
    """The line names the new word and is no bare TypeError."""
    given, expected = value
    loaded = plugin(tmp_path, monkeypatch, OLD.format(field=field, value=given))
    assert loaded.error == expected


def test_an_old_name_of_the_api_is_answered(tmp_path, monkeypatch):
    """An import of it fails with the new name."""
    loaded = plugin(tmp_path, monkeypatch, "from hepbench import Work\n")
    assert "hepbench.Work is now hepbench.Context" in loaded.error
    with pytest.raises(ImportError, match=r"hepbench\.Work is now hepbench\.Context"):
        _ = hepbench.Work


@pytest.mark.parametrize("kind", OWNERS)
def test_old_fields_are_gone_and_new_ones_exist(kind):
    """The table cannot fall behind the specs."""
    for old, new in NEW_WORDS[kind].items():
        assert old not in OWNERS[kind].__dataclass_fields__
        owner, _, rest = new.partition("(")
        field = rest.partition("=")[0].rstrip(")") or owner
        of = NEW[owner] if rest else OWNERS[kind]
        for name in field.split(", "):
            assert name.partition(".")[0] in {*of.__dataclass_fields__, *NEW}


def test_an_old_attribute_is_answered():
    """Metrics and methods of plugins read spectators by name."""
    ids = np.arange(2)
    examples = Examples(inputs={}, ids=ids, spectators={"mass": ids})
    with pytest.raises(AttributeError, match="Examples: 'targets' is now spectators"):
        _ = examples.targets
    with pytest.raises(AttributeError, match="Predictions: 'targets' is now spectators"):
        _ = Predictions(labels=ids, scores=ids).targets
    with pytest.raises(AttributeError, match="'Examples' object has no attribute 'weihgts'"):
        _ = examples.weihgts


def test_other_errors_are_not_explained():
    """A word that never existed has no new word."""
    with pytest.raises(TypeError) as caught:
        Dataset(sumary="")
    assert explained(caught.value) == ""
    assert explained(ValueError("x")) == ""
    assert new_word("Nobody", "x") == ""
    assert Dataset(name="new", summary="", classes=("a", "b"), inputs={"table": Input(shape=(1,))})


@pytest.mark.parametrize("prefix", ["spectator", "target"])
def test_stored_labels_of_older_versions_are_read(tmp_path, prefix):
    """They hold spectators under their old name."""
    mass, labels = np.array([80.0, 90.0]), {}
    for part in ("train", "validation", "test"):
        columns = {"labels": np.arange(2), "ids": np.arange(2), f"{prefix}.mass": mass}
        labels |= {f"{part}.{name}": array.copy() for name, array in columns.items()}
    scores = dict.fromkeys(("train", "validation", "test"), np.full((2, 2), 0.5))
    np.savez(tmp_path / "scores.npz", **scores)
    found = joining.join(labels, tmp_path / "scores.npz")
    for part in found.values():
        assert part.spectators.keys() == {"mass"}
        np.testing.assert_array_equal(part.spectators["mass"], mass)
