"""Naming: what figures write beside the channels and features that views leave."""

from __future__ import annotations

import pytest

from hepbench import Dataset, Input, PluginError, Sample, View
from hepbench.data import naming
from hepbench.registry.plugins import installed
from hepbench.specs.parameters import allowed_values, defaults

FEATURES = ("mass", "hits")
UNITS = ("GeV", "")


def names(*, channels):
    return tuple(channels)


def units(*, channels):
    return tuple({"energy": "GeV", "time": "ns"}[name] for name in channels)


def summarise(inputs, **_params):
    return inputs


SPEC = Dataset(
    name="named",
    summary="an image, and what views make of it",
    classes=("a", "b"),
    inputs={
        "image": Input(shape=(2, 4, 4), names=("energy", "time"), units=("GeV", "ns")),
        "scalars": Input(shape=(1,), names=("pt",), units=("GeV",)),
    },
    sample=Sample("nowhere:sample"),
    params={"channels": ["energy", "time"], "k": 1},
    views={
        "image": View(
            "v:image",
            params=frozenset({"channels"}),
            names=f"{__name__}:names",
            units=f"{__name__}:units",
        ),
        "table": View("v:table", names=f"{__name__}:FEATURES", units=f"{__name__}:UNITS"),
        "cloud": View("v:cloud", params=frozenset({"k"})),
        "scalars": View("v:scalars"),
    },
)


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("image", {}, (("energy", "time"), ("GeV", "ns"))),
        ("image", {"channels": ["time", "energy"]}, (("time", "energy"), ("ns", "GeV"))),
        ("image", {"channels": ["time"]}, (("time",), ("ns",))),
        ("table", {}, (FEATURES, UNITS)),
        ("scalars", {}, (("pt",), ("GeV",))),
        ("cloud", {}, ((), ())),
    ],
)
def test_names_follow_the_parameters_of_a_view(name, params, expected):
    """Those of a view that tells none are the input's that it takes the place of, if any."""
    assert naming.described(SPEC, name, {**defaults(SPEC.params), **params}) == expected


def test_names_and_units_that_do_not_fit_are_the_plugins_fault(monkeypatch):
    """They would stand beside the wrong figures."""
    from hepbench.registry.resolve import resolve

    monkeypatch.setitem(globals(), "UNITS", ("GeV",))
    resolve.cache_clear()
    with pytest.raises(
        PluginError, match="named: 'table' has 2 names and 1 units; one unit for each name"
    ):
        naming.described(SPEC, "table", defaults(SPEC.params))
    resolve.cache_clear()


def choices(spec):
    """Yield all parameters at their defaults, and with each choice of each one that has some."""
    params = defaults(spec.params)
    yield params
    for name, allowed in allowed_values(spec.params).items():
        if isinstance(allowed, tuple):
            for choice in allowed:
                many = isinstance(params[name], list)
                yield {**params, name: [choice] if many else choice}


@pytest.mark.parametrize(
    "entry", list(installed().entries("dataset")), ids=lambda entry: entry.spec.name
)
def test_whatever_is_asked_of_a_dataset_is_named_as_often_as_there_are_features(entry):
    """Of some examples of its sample, with each choice that its parameters have."""
    from hepbench.registry.resolve import resolve

    spec = entry.spec
    given = {name: spec.params[name].default for name in spec.read_params}
    (_, examples), *_ = resolve(spec.sample.read)(**given)
    few = examples[:20].inputs
    for params in choices(spec):
        for name, view in spec.views.items():
            if view.names or view.units:
                given = {key: params[key] for key in view.params}
                made = resolve(view.run)(few, **given)[name]
                named, _ = naming.described(spec, name, params)
                assert len(named) == made.shape[1 if made.ndim == 4 else -1], (name, params)
