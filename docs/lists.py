"""Lists on pages that are made from the code: modules, parameters and original files of datasets."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from hepbench.cli.catalogue import size_text
from hepbench.registry.plugins import installed
from hepbench.specs.parameters import Range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hepbench import Dataset, File, Param

ROOT = Path(__file__).parents[1]


def modules(folder: str) -> str:
    """Return a table of the modules in a folder: the first line of each docstring."""
    lines = ["| file | what it holds |", "|---|---|"]
    for path in sorted((ROOT / folder).rglob("*.py")):
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
        lines.append(f"| `{path.relative_to(ROOT / folder)}` | {first} |")
    return "\n".join(lines)


def parameters(_: str) -> str:
    """Return a table of the parameters of the datasets, and which views use each."""
    lines = ["| dataset | parameter | default | allowed | views |", "|---|---|---|---|---|"]
    for spec in _datasets():
        for name, given in spec.params.items():
            views = ", ".join(view for view, each in spec.views.items() if name in each.params)
            cells = [f"`{spec.name}`", f"`{name}`", _text(given.default), _allowed(given), views]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def original_files(_: str) -> str:
    """Return a table of the original files, as paths in the folder that --data names."""
    lines = ["| file | size | | to get it |", "|---|---|---|---|"]
    for spec in _datasets():
        for file in spec.files:
            paths = " or ".join(f"`{spec.name}/{name}`" for name in (file.name, *file.variants))
            size = size_text(file.bytes) if file.bytes else ""
            lines.append(f"| {paths} | {size} | {_about(file)} | {_source(file)} |")
    return "\n".join(lines)


def published(file: str) -> str:
    """Return a table of the published results in a TOML file.

    The error of a rejection R is binomial: R / sqrt(n), of n background examples that pass.
    """
    found = tomllib.loads((ROOT / file).read_text())
    lines = ["| network | AUC | rejection at 30 % | background left | source |"]
    lines.append("|---|---|---|---|---|")
    for each in found["result"]:
        left = found["n_test"] / 2 / each["rejection"]
        rejection = f"{each['rejection']} ± {each['rejection'] / left**0.5:.0f}"
        cells = [each["network"], f"{each['auc']:.4f}", rejection, f"{left:.0f}", each["source"]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _datasets() -> Iterator[Dataset]:
    """Yield the specs of the datasets that come with hepbench."""
    for entry in installed().entries("dataset"):
        if entry.plugin.distribution == "hepbench-plugins":
            yield entry.spec


def _allowed(given: Param) -> str:
    if given.allowed is None:
        return ""
    return str(given.allowed) if isinstance(given.allowed, Range) else _text(given.allowed)


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _about(file: File) -> str:
    form = f"form: {file.form}" if file.form else ""
    role = "" if file.role == "labelled" else file.role
    return ", ".join(filter(None, [form, role, "optional" if file.optional else ""]))


def _source(file: File) -> str:
    if file.url:
        return "`data fetch`"
    return f"[in a browser]({file.address})" if file.address else "your own"
