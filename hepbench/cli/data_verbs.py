"""The verbs ``check``, ``croissant``, ``fetch`` and ``simulate`` of ``hepbench data``."""

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
    """Return a summary of a dataset's files, and exit code 1 if there is a warning."""
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
    return findings.json() if as_json else findings.text(), 1 if findings.warnings else 0


def croissant(name: str, *, folder: Path | None) -> str:
    """Return the metadata of a dataset in Croissant, with checksums of its files in a folder."""
    from hepbench.data import finding
    from hepbench.sharing import croissant as metadata
    from hepbench.storage.results import sha256

    spec: Dataset = installed().entry("dataset", name).spec
    root = session.data_folder(folder)
    found = finding.present(spec, root / spec.name) if root else {}
    return metadata.described(spec, {name: sha256(path) for name, path in found.items()})


def fetch(name: str, *, folder: Path | None, files: Sequence[str]) -> tuple[str, int]:
    """Download the missing files of a dataset; return a line for each file, and 1 if one of them
    must be downloaded by hand.

    Raises:
        DataError: a file cannot be downloaded, or another file has its name.
        UsageError: the folder is not stated, or the dataset has no file of a given name.
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
    """Return the folder that ``data fetch`` downloads to, which need not exist yet."""
    root = session.named_folder(folder)
    if root is None:
        msg = "fetch needs a folder: give --data DIR, or set HEPBENCH_DATA"
        raise UsageError(msg)
    if root.exists() and not root.is_dir():
        where = "--data" if folder else "HEPBENCH_DATA"
        msg = f"{where} {root} is not a folder; files go into DIR/<dataset>"
        raise UsageError(msg)
    return root


def _wanted(spec: Dataset, folder: Path, names: Sequence[str]) -> list[File]:
    """Return the files to download: those that the user named, or all of one form."""
    from hepbench.data import finding

    if not spec.files:
        msg = f"{spec.name}: this dataset declares no original files"
        raise UsageError(msg)
    by_name = {file.name: file for file in spec.files}
    for name in names:
        if name not in by_name:
            raise UsageError(unknown(f"file of {spec.name}", name, by_name))
    form = finding.whole_form(spec.files, finding.present(spec, folder))
    form = spec.files[0].form if form is None else form
    return [by_name[n] for n in names] or [file for file in spec.files if file.form == form]


def _fetched(spec: Dataset, file: File, folder: Path) -> tuple[str, bool]:
    """Download a file unless it exists; return a line about it, and whether it exists now."""
    from hepbench.data import finding
    from hepbench.data.fetch import Fetch
    from hepbench.running.progress import Ticker

    if there := finding.present(spec, folder).get(file.name):
        size = there.stat().st_size
        if there.name == file.name and file.bytes not in {None, size}:
            msg = (
                f"{spec.name}: {there} exists with {size:,} bytes, the published file has "
                f"{file.bytes:,}; remove it to download the published file"
            )
            raise DataError(msg)
        return f"{there} exists", True
    if not file.url:
        return _by_hand(spec, file, folder), False
    with Ticker(file.name) as report_progress:
        path = Fetch(spec.name, file, folder, report_progress)()
    return f"{path} downloaded, {path.stat().st_size:,} bytes; {_checked(file)}", True


def _checked(file: File) -> str:
    """Describe which published checks (size, checksum) a downloaded file passed."""
    if file.sha256:
        return "its checksum matches the published one"
    if file.bytes:
        return "its size matches the published one; no checksum is published"
    return "complete as the server sent it; neither size nor checksum is published"


def _by_hand(spec: Dataset, file: File, folder: Path) -> str:
    if not file.address:
        return f"{file.name}: no link or page is known; see 'hepbench data info {spec.name}'"
    return (
        f"{file.name} must be downloaded by hand. In a browser, open\n  {file.address}\n"
        f"and save it as\n  {folder.absolute() / file.name}"
    )


def simulate(*, dataset: str, events: int, seed: int, jobs: int | None, out: Path) -> str:
    """Simulate examples of a dataset into original files; return a line with their path."""
    import time

    from hepbench.registry.resolve import resolve
    from hepbench.storage import machine

    session.check_positive(events=events, jobs=jobs)
    spec = installed().entry("dataset", dataset).spec
    if spec.generate is None:
        msg = f"{dataset} has no generator; 'hepbench show dataset {dataset}' names its source"
        raise UsageError(msg)
    folder = out / spec.name
    if taken := [f.name for f in spec.files if (folder / f.name).exists()]:
        msg = f"{folder / taken[0]} exists already; choose another --out"
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
