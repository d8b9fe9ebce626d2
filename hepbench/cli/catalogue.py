"""The verbs ``data list`` and ``data info``: which original files exist, and how to get others."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hepbench.data import finding
from hepbench.data.naming import with_unit
from hepbench.registry.plugins import installed
from hepbench.running import session
from hepbench.specs.dataset import OWN_PARAMS, SIMULATED
from hepbench.specs.errors import HepbenchError
from hepbench.specs.parameters import defaults
from hepbench.specs.text import several
from hepbench.storage.records import ORIGINS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hepbench.registry.plugins import Entry
    from hepbench.specs.dataset import Dataset, File, Input, Split
    from hepbench.storage.records import Origin


WIDTH = 110
"""Largest number of characters in a line of names."""


@dataclass(frozen=True, kw_only=True)
class FileState:
    """The state of an original file of a dataset: its path and size, or missing.

    Attributes:
        path: None if it is missing.
        simulated: True if a generator made it.
        found_bytes: its size.
        published_size: whether its size is the published one; None if there is nothing to compare.
    """

    file: File
    path: str | None = None
    simulated: bool = False
    found_bytes: int | None = None
    published_size: bool | None = None

    def plain(self) -> dict[str, Any]:
        """Return the JSON data that ``data list --json`` prints about an original file."""
        state = asdict(self)
        return {**state.pop("file"), **state}


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """The files of a dataset that exist, and the source that runs read.

    Attributes:
        folder: where its original files are looked for.
        source: what runs read; None if there is nothing to read.
        form: the complete form that runs read.
        problem: why a run would be refused.
        generator: True if more examples can be simulated.
    """

    name: str
    summary: str
    folder: str | None
    source: Origin | None
    form: str | None
    problem: str | None
    files: Sequence[FileState]
    sample_bytes: int | None
    sample_examples: int | None
    generator: bool

    def plain(self) -> dict[str, Any]:
        """Return the JSON data that ``data list --json`` prints about a dataset."""
        return {**vars(self), "files": [state.plain() for state in self.files]}


def listed(chosen: Path | None, *, as_json: bool = False) -> str:
    """Return the text of ``data list``: found files of each dataset, and how to get the others."""
    folder = session.data_folder(chosen)
    found = [_dataset_files(entry.spec, folder) for entry in installed().entries("dataset")]
    if as_json:
        return json.dumps([each.plain() for each in found], indent=1)
    where = f"in {folder}/<dataset>" if folder else "nowhere: give --data DIR, or set HEPBENCH_DATA"
    blocks = [f"Original files are looked for {where}."]
    blocks += ["\n".join([_headline(each), *_lines(each)]) for each in found]
    return "\n\n".join(blocks)


def info(name: str, chosen: Path | None, *, as_json: bool = False) -> str:
    """Return the text of ``data info``: the description of a dataset, and its found files."""
    entry = installed().entry("dataset", name)
    found = _dataset_files(entry.spec, session.data_folder(chosen))
    if as_json:
        return json.dumps({**found.plain(), **_plain_description(entry)}, indent=1)
    return "\n".join([*_description(entry), "", _headline(found), *_lines(found, details=True)])


def _dataset_files(spec: Dataset, folder: Path | None) -> Holdings:
    place = folder / spec.name if folder else None
    found = finding.present(spec, place) if place else {}
    form = finding.whole_form(spec.files, found)
    files = [_file_state(file, found.get(file.name)) for file in spec.files]
    source, problem = _source(spec, folder)
    return Holdings(
        name=spec.name,
        summary=spec.summary,
        folder=str(place) if place else None,
        source=source,
        form=form,
        problem=problem,
        files=files,
        sample_bytes=_sample_bytes(spec),
        sample_examples=spec.sample.examples if spec.sample else None,
        generator=spec.generate is not None,
    )


def _source(spec: Dataset, folder: Path | None) -> tuple[Origin | None, str | None]:
    """Return the source that a run would read; None and an error if there is none."""
    try:
        # checksums do not matter here
        return finding.find(spec, folder, "auto", lambda *_: "").source, None
    except HepbenchError as error:
        return None, str(error)


def _sample_bytes(spec: Dataset) -> int | None:
    try:
        return finding.sample_bytes(spec) if spec.sample else None
    except HepbenchError:
        return None


def _file_state(file: File, path: Path | None) -> FileState:
    if path is None:
        return FileState(file=file)
    size = path.stat().st_size
    # a file under a variant name, such as one without .gz, may have another size
    comparable = file.bytes is not None and path.name == file.name
    return FileState(
        file=file,
        path=str(path),
        simulated=finding.simulated(path),
        found_bytes=size,
        published_size=size == file.bytes if comparable else None,
    )


def _headline(found: Holdings) -> str:
    if found.problem:
        return f"{found.name}: {found.problem.removeprefix(found.name + ': ')}"
    assert found.source is not None, "without a source, a run is refused"
    source = ORIGINS[found.source]
    if found.source != "sample":
        form = f" ({found.form})" if found.form else ""
        return f"{found.name}: runs read the {source}s{form}"
    count = f"{found.sample_examples:,} examples" if found.sample_examples else ""
    size = size_text(found.sample_bytes) if found.sample_bytes else ""
    about = ", ".join(filter(None, [count, size]))
    return f"{found.name}: runs read the {source}" + (f" ({about})" if about else "")


def _lines(found: Holdings, *, details: bool = False) -> Iterator[str]:
    """Yield a line for each file of a dataset, and the commands that get missing ones.

    Without ``details``, files of other forms than the complete one are only counted.
    """
    forms = dict.fromkeys(state.file.form for state in found.files)
    shown = [s for s in found.files if details or found.form in {None, s.file.form}]
    for form in dict.fromkeys(state.file.form for state in shown):
        if len(forms) > 1:
            yield f"  {form or 'as first published'}"
        for state in shown:
            if state.file.form == form:
                yield from _file_lines(state, details=details)
    if others := len(found.files) - len(shown):
        count = several(others, "file")
        yield f"  or {count} of another form: hepbench data info {found.name}"
    if any(state.path is None for state in shown):
        yield f"  to get it: hepbench data fetch {found.name}"
    if found.generator:
        yield f"  to simulate more: hepbench data simulate {found.name}"


def _file_lines(state: FileState, *, details: bool) -> Iterator[str]:
    file = state.file
    about: list[str] = [file.role] if file.role != "labelled" else []
    about += ["optional"] if file.optional else []
    name = f"{file.name} ({', '.join(about)})" if about else file.name
    if state.path and state.found_bytes is not None:
        yield f"  found    {state.path} ({size_text(state.found_bytes)}{_size_remark(state)})"
    else:
        size = f", {size_text(file.bytes)}" if file.bytes else ""
        yield f"  missing  {name}{size}"
    if details:
        yield from _published(file)
    elif not state.path and not file.url and file.address:
        yield f"           in a browser: {file.address}"


def _size_remark(state: FileState) -> str:
    if state.simulated:
        return f", {SIMULATED.decode()}"
    if state.published_size is False and state.file.bytes:
        return f"; the published file has {size_text(state.file.bytes)}: incomplete download?"
    return ""


def _published(file: File) -> Iterator[str]:
    stated = {
        "": file.lacks,
        "or named ": ", ".join(file.variants),
        "size ": file.bytes and f"{file.bytes:,} bytes",
        "sha256 ": file.sha256,
        "link ": file.url,
        "page ": file.address,
    }
    yield from (f"           {label}{text}" for label, text in stated.items() if text)


def size_text(count: int) -> str:
    """Return a number of bytes as text, with three digits and a unit."""
    if count < 1000:
        return several(count, "byte")
    unit, size = next(u for u in _UNITS if count < 999.5 * u[1] or u is _UNITS[-1])
    return f"{count / size:.3g} {unit}"


_UNITS = (("kB", 1e3), ("MB", 1e6), ("GB", 1e9))


def _plain_description(entry: Entry) -> dict[str, Any]:
    """Return the fields of a dataset's spec as JSON data."""
    spec: Dataset = entry.spec
    return {
        "distribution": entry.plugin.distribution,
        "version": entry.plugin.version,
        "classes": list(spec.classes),
        "inputs": {name: asdict(given) for name, given in spec.inputs.items()},
        "spectators": dict(spec.spectators),
        "views": {name: view.run for name, view in spec.views.items()},
        "augmentations": dict(spec.augmentations),
        "params": {**defaults(spec.params), **OWN_PARAMS},
        "split": dict(zip(_PARTS, spec.split.fractions, strict=True)),
        "official": spec.split.official,
        "known": dict(spec.known),
        "citation": spec.original.citation if spec.original else "",
        "licence": spec.original.licence if spec.original else "",
    }


_PARTS = ("train", "validation", "test")


def _description(entry: Entry) -> list[str]:
    """Return the lines that describe a dataset's spec."""
    spec: Dataset = entry.spec
    params = {**defaults(spec.params), **OWN_PARAMS}
    fields = {
        "from": f"{entry.plugin.distribution} {entry.plugin.version}",
        "classes": ", ".join(f"{i} {name}" for i, name in enumerate(spec.classes)),
        **{f"input {name}": _input(given) for name, given in spec.inputs.items()},
        **{f"spectator {n}": f"in {u}" if u else "no unit" for n, u in spec.spectators.items()},
        **{f"view {name}": view.run for name, view in spec.views.items()},
        **{f"augmentation {name}": target for name, target in spec.augmentations.items()},
        **{f"parameter {name}": _value(value) for name, value in params.items()},
        "split": _split(spec.split),
        **{f"known {name}": f"{low:g} to {high:g}" for name, (low, high) in spec.known.items()},
        "citation": spec.original.citation if spec.original else "",
        "licence": spec.original.licence if spec.original else "",
    }
    width = max(map(len, fields))
    lines = [
        f"{name:<{width}}  {_wrapped(text, width + 2) if name.startswith('input') else text}"
        for name, text in fields.items()
        if text
    ]
    return [f"dataset {spec.name}: {spec.summary}", *lines]


def _wrapped(text: str, indent: int) -> str:
    """Return a list of names in lines that break only between names."""
    joined = text.replace(" ", "\0").replace(",\0", ", ")
    lines = textwrap.wrap(joined, WIDTH - indent, break_on_hyphens=False, break_long_words=False)
    return f"\n{' ' * indent}".join(lines).replace("\0", " ")


def _input(given: Input) -> str:
    shape = " x ".join(map(str, given.shape))
    sparse = ", sparse" if given.sparse else ""
    units = given.units or [""] * len(given.names)
    names = ", ".join(map(with_unit, given.names, units))
    return f"{shape}{sparse}" + (f": {names}" if names else "")


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _split(split: Split) -> str:
    parts = zip(_PARTS, split.fractions, strict=True)
    fractions = ", ".join(f"{fraction:g} {part}" for part, fraction in parts)
    official = f"; official test set: {split.official}" if split.official else ""
    return fractions + official
