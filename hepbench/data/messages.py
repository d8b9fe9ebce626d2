"""Messages: what the stages that prepare data are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench.specs.dataset import LIMITS, Dataset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.data.finding import DataFiles
    from hepbench.specs.dataset import Input


def reading(spec: Dataset, found: DataFiles, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``prepare.read`` is told: how to read a dataset's files or its sample."""
    reader = spec.sample if found.source == "sample" else spec.original
    return {
        "dataset": spec.name,
        "params": {name: params[name] for name in sorted(spec.read_params)},
        "inputs": {name: declared(given) for name, given in spec.inputs.items()},
        "classes": spec.classes,
        "target": reader.read if reader else "",
        "folder": found.folder,
        "files": found.files,
        "stamps": found.stamps,
    }


def declared(given: Input) -> dict[str, Any]:
    found = {"shape": given.shape, "names": given.names}
    # said only where it is so: keys of dense inputs stay as they are
    return {**found, "sparse": True} if given.sparse else found


def dividing(spec: Dataset, params: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return what ``prepare.split`` is told: how to divide the examples."""
    return {
        "shares": list(spec.split.fractions),
        "seed": seed,
        "limits": {name: params[name] for name in LIMITS},
        "official": spec.split.official,
        "params": {name: params[name] for name in sorted(spec.split.params)},
        "dataset": spec.name,
        "classes": spec.classes,
    }
