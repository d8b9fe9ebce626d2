"""What the verbs of ``hepbench data`` do, but for those that only look: see ``catalogue``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hepbench.registry.plugins import installed
from hepbench.running import session
from hepbench.specs.errors import DataError, ResultsError, UsageError
from hepbench.specs.text import several, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hepbench.data.finding import Wanted
    from hepbench.specs.dataset import Dataset, File


def check(name: str, *, folder: Path | None, source: Wanted, as_json: bool) -> tuple[str, int]:
    """Return what the files of a dataset hold, and 1 where something is odd."""
    from hepbench.data import finding
    from hepbench.data.checking import file_check
    from hepbench.planning import settings
    from hepbench.running import progress
    from hepbench.specs import references
    from hepbench.storage.digest_cache import DigestCache

    given = references.reference(name)
    spec: Dataset = installed().entry("dataset", given.name).spec
    params = settings.dataset_params(spec, given.params)
    remembered = DigestCache(session.cache_folder() / "digests.json")
    try:
        found = finding.find(spec, session.data_folder(folder), source, remembered)
    finally:
        remembered.save()
    with progress.Ticker(spec.name) as report_progress:
        findings = file_check.check(spec, found, params, report_progress)
    return findings.json() if as_json else findings.text(), 1 if findings.odd else 0


def fetch(name: str, *, folder: Path | None, files: Sequence[str]) -> tuple[str, int]:
    """Fetch what is missing of a dataset; return what became of each file, and 1 where one must be
    fetched by hand.

    Raises:
        DataError: a file cannot be had, or another is there under its name.
        UsageError: nobody says where to, or names a file that is none of the dataset's.
    """
    spec: Dataset = installed().entry("dataset", name).spec
    root = _target(folder)
    lines, by_hand = [], False
    for file in _wanted(spec, root / spec.name, files):
        line, here = _fetched(spec, file, root / spec.name)
        lines.append(line)
        by_hand |= not here
    if not by_hand:
        lines.append(f"Next: hepbench data check {name} --data {root}")
    return "\n".join(lines), 1 if by_hand else 0


def _target(folder: Path | None) -> Path:
    """Return where files are to go; it need not be there yet."""
    root = session.named_folder(folder)
    if root is None:
        msg = "fetch needs to know where to: give --data DIR, or set HEPBENCH_DATA"
        raise UsageError(msg)
    if root.exists() and not root.is_dir():
        where = "--data" if folder else "HEPBENCH_DATA"
        msg = f"{where} {root} is no folder; files go into DIR/<dataset>"
        raise UsageError(msg)
    return root


def _wanted(spec: Dataset, folder: Path, names: Sequence[str]) -> list[File]:
    """Return the files that were named; else those of the form at hand, or of the first one."""
    from hepbench.data import finding

    if not spec.files:
        msg = f"{spec.name}: no original file is known"
        raise UsageError(msg)
    by_name = {file.name: file for file in spec.files}
    for name in names:
        if name not in by_name:
            raise UsageError(unknown(f"file of {spec.name}", name, by_name))
    form = finding.whole_form(spec.files, finding.present(spec, folder))
    form = spec.files[0].form if form is None else form
    return [by_name[n] for n in names] or [file for file in spec.files if file.form == form]


def _fetched(spec: Dataset, file: File, folder: Path) -> tuple[str, bool]:
    """Return what became of a file, and whether it is here."""
    from hepbench.data import finding
    from hepbench.data.fetch import Fetch
    from hepbench.running.progress import Ticker

    if there := finding.present(spec, folder).get(file.name):
        size = there.stat().st_size
        if there.name == file.name and file.bytes not in {None, size}:
            msg = (
                f"{spec.name}: {there} is there with {size:,} bytes, the published file has "
                f"{file.bytes:,}; remove it to fetch that"
            )
            raise DataError(msg)
        return f"{there} is there", True
    if not file.url:
        return _by_hand(spec, file, folder), False
    with Ticker(file.name) as report_progress:
        path = Fetch(spec.name, file, folder, report_progress)()
    return f"{path} fetched, {path.stat().st_size:,} bytes; {_checked(file)}", True


def _checked(file: File) -> str:
    """Return what of a fetched file was compared with what is known of it."""
    if file.sha256:
        return "its checksum is the published one"
    if file.bytes:
        return "its size is the published one, no checksum is known"
    return "whole as the server sent it; neither size nor checksum is known to compare it with"


def _by_hand(spec: Dataset, file: File, folder: Path) -> str:
    if not file.address:
        return f"{file.name}: nobody says where it is; see 'hepbench data info {spec.name}'"
    return (
        f"{file.name} must be fetched by hand. In a browser, open\n  {file.address}\n"
        f"and save it as\n  {folder.absolute() / file.name}"
    )


def simulate(*, dataset: str, events: int, seed: int, jobs: int | None, out: Path) -> str:
    """Simulate examples into the original file format, and say where they are."""
    import time

    from hepbench.registry.plugins import installed
    from hepbench.registry.resolve import resolve
    from hepbench.storage import machine

    session.check_positive(events=events, jobs=jobs)
    spec = installed().entry("dataset", dataset).spec
    if spec.generate is None:
        msg = f"{dataset} has no generator; 'hepbench show dataset {dataset}' says where it is from"
        raise UsageError(msg)
    folder = out / spec.name
    if taken := [f.name for f in spec.files if (folder / f.name).exists()]:
        msg = f"{folder / taken[0]} is there already; choose another --out"
        raise ResultsError(msg)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot write {folder}: {error.strerror}; choose another --out"
        raise ResultsError(msg) from error
    began = time.perf_counter()

    def report_progress(done: int) -> None:
        rate = done / (time.perf_counter() - began)
        end = "\r" if sys.stderr.isatty() else "\n"
        sys.stderr.write(f"{done} of {events} examples, {rate:.1f}/s{end}")

    jobs = jobs or machine.cores()
    path = resolve(spec.generate)(
        folder, events=events, seed=seed, jobs=jobs, progress=report_progress
    )
    seconds = time.perf_counter() - began
    return (
        f"{path}: {events} simulated examples, seed {seed}, {seconds:.0f} s, "
        f"{events / seconds:.1f}/s on {several(jobs, 'worker')}\n"
        f"Next: hepbench run --dataset {dataset} --data {out}"
    )
