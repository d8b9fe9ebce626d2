"""The verb ``report``: results as one HTML page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hepbench._version import __version__
from hepbench.cli import tabulating
from hepbench.registry.plugins import installed
from hepbench.running import session
from hepbench.specs.errors import HepbenchError, UsageError
from hepbench.specs.text import one_line
from hepbench.storage.results import Results, records_of_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from hepbench.registry.plugins import Registry
    from hepbench.report.assembly import Request
    from hepbench.report.content import SuiteText, Verification
    from hepbench.storage.records import Record


MOST_VERIFIED = 1000
"""Records that are verified unless the command says otherwise: about ten seconds."""


MOST_LINES = 100
"""Differences that a page lists."""


def report(
    *, results: Path, run: str | None, output: Path, verify: bool | None, **globs: Any
) -> str:
    """Write a report of results, and return a line about it.

    Args:
        results: a results folder or packed file.
        run: only the records of this run.
        output: the page to write.
        verify: whether results are verified first; None: if there are few.
        globs: ``datasets``, ``models`` and ``methods`` that are shown.

    Raises:
        UsageError: ``output`` is no HTML file, or nothing was chosen.
        ResultsError: there are no records, or the file cannot be written.
    """
    from hepbench.report import assembly, page

    _check_output(output)
    opened = Results(results)
    everything = tabulating.recorded(opened, None)
    chosen = everything if run is None else records_of_run(everything, run)
    content = assembly.page(_request(opened, everything, chosen, globs, verify=verify))
    page.write(content, output)
    size = f"{output.stat().st_size / 1e6:.1f} MB"
    return "\n".join([*content.warnings, f"{output}: {content.counts}, {size}"])


def _request(
    opened: Results,
    everything: Sequence[Record],
    chosen: Sequence[Record],
    globs: Mapping[str, Any],
    *,
    verify: bool | None,
) -> Request:
    """Return the request for a report: the records that globs choose, and what is known of them."""
    from hepbench.plots import request, selection
    from hepbench.report.assembly import Request

    registry = installed()
    specs = [entry.spec for entry in registry.entries("metric")]
    metrics = {spec.name: (spec.higher_is_better, spec.same) for spec in specs}
    asked = request.Request(results=opened, records=chosen, metrics=metrics, **globs)
    records = selection.chosen(asked)
    return Request(
        results=opened,
        records=records,
        looked=everything,
        metrics=metrics,
        summaries={spec.name: spec.summary for spec in specs},
        compare=tabulating.comparing(opened, registry, session.known_cache_folder()),
        count_labels=tabulating.counting_labels(opened, registry),
        verification=_verification(opened, records, verify),
        suites=_suites(records, registry),
        made=_now(),
        version=__version__,
    )


def _check_output(output: Path) -> None:
    if output.suffix.lower() not in {".html", ".htm"}:
        msg = f"--output {output}: a report is an HTML page; the suffix must be .html or .htm"
        raise UsageError(msg)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _verification(
    results: Results, records: Sequence[Record], wanted: bool | None
) -> Verification | None:
    """Return the outcome of verifying records; None if they are many, or if it is not wanted."""
    from hepbench.evaluation import verify
    from hepbench.report.content import Verification

    if not (len(records) <= MOST_VERIFIED if wanted is None else wanted):
        return None
    (*lines, summary), code = verify.verify(results, records)
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"and {len(lines) - MOST_LINES:,} more: see hepbench verify"]
    return Verification(_now(), code == 0, [one_line(line) for line in (*lines, summary)])


def _suites(records: Iterable[Record], registry: Registry) -> list[SuiteText]:
    """Return the suite files of records as they are now, or why one cannot be shown."""
    from hepbench.report.content import SuiteText

    found = []
    for suite, path in sorted({(r.suite, r.provenance.suite_file) for r in records}):
        try:
            where, data = session.suite_bytes(path or suite, registry)
            found.append(SuiteText(suite, str(where), data.decode("utf-8", "replace")))
        except HepbenchError as error:
            found.append(SuiteText(suite, "", f"not found here: {one_line(str(error))}"))
    return found
