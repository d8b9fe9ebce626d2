"""The verb ``cite``: BibTeX of the datasets and models of results, and of published values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.cli import tabulating
from hepbench.planning.selection import chosen
from hepbench.registry.plugins import installed
from hepbench.sharing import bibliography
from hepbench.specs.errors import UsageError
from hepbench.specs.references import without_parameters
from hepbench.storage.results import Results

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from hepbench.storage.records import Record


def cite(
    *, results: Path, datasets: Sequence[str], models: Sequence[str], methods: Sequence[str]
) -> str:
    """Return BibTeX for what results show."""
    opened = Results(results)
    records = chosen(tabulating.recorded(opened, None), datasets, models, methods, where=opened)
    return bibliography.bibtex(bibliography.publications(_references(records)))


def _references(records: Iterable[Record]) -> Iterator[tuple[str, str]]:
    """Yield what is cited for, and the reference, of datasets, then models, then published values."""
    found = list(records)
    for name in _names(record.dataset for record in found):
        yield f"dataset {name}", _of_dataset(name)
    for name in _names(record.model for record in found):
        yield f"model {name}", _of_model(name)
    for record in found:
        if record.published:
            cell = record.cell.rpartition("#")[0]
            yield f"published values of {without_parameters(cell)}", record.published.source


def _names(given: Iterable[str]) -> list[str]:
    return sorted({without_parameters(name) for name in given})


UNKNOWN = "not installed here"


def _of_dataset(name: str) -> str:
    try:
        spec = installed().entry("dataset", name).spec
    except UsageError:
        return UNKNOWN
    return (spec.original.citation if spec.original else "") or "its plugin names none"


def _of_model(name: str) -> str:
    try:
        spec = installed().entry("model", name).spec
    except UsageError:
        return UNKNOWN
    return spec.source or "its plugin names none"
