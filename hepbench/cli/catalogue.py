"""The catalogue: datasets, which of their files are at hand, and how to get the others, in words."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

from hepbench.data import finding
from hepbench.data.naming import with_unit
from hepbench.registry.plugins import installed
from hepbench.running import session
from hepbench.specs.dataset import OWN_PARAMS, SIMULATED
from hepbench.specs.errors import HepbenchError
from hepbench.specs.text import several
from hepbench.storage.records import ORIGINS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hepbench.registry.plugins import Entry
    from hepbench.specs.dataset import Dataset, File
    from hepbench.storage.records import Origin


Facts = dict[str, Any]


WIDTH = 110
"""Letters of a line that is broken."""


def listed(chosen: Path | None, *, as_json: bool = False) -> str:
    """Return which files of each dataset are at hand, and how to get the others."""
    folder = session.data_folder(chosen)
    entries = installed().entries("dataset")
    found = [_holdings(entry.spec, folder) for entry in entries]
    if as_json:
        return json.dumps(found, indent=1)
    where = f"in {folder}/<dataset>" if folder else "nowhere: give --data DIR, or set HEPBENCH_DATA"
    blocks = [f"Original files are looked for {where}."]
    blocks += ["\n".join([_headline(facts), *_lines(facts)]) for facts in found]
    return "\n\n".join(blocks)


def info(name: str, chosen: Path | None, *, as_json: bool = False) -> str:
    """Return all that is known of a dataset, and what is at hand of it."""
    entry = installed().entry("dataset", name)
    facts = _holdings(entry.spec, session.data_folder(chosen))
    if as_json:
        return json.dumps({**facts, **_described(entry)}, indent=1)
    return "\n".join([*_description(entry), "", _headline(facts), *_lines(facts, whole=True)])


def _holdings(spec: Dataset, folder: Path | None) -> Facts:
    """Return the files of a dataset by form, what runs would read, and what is wrong with them."""
    place = folder / spec.name if folder else None
    found = finding.present(spec, place) if place else {}
    form = finding.whole_form(spec.files, found)
    files = [_file(file, found.get(file.name)) for file in spec.files]
    return {
        "name": spec.name,
        "summary": spec.summary,
        "folder": str(place) if place else None,
        "reads": _reads(spec, form, files),
        "form": form,
        "wrong": _wrong(spec, folder),
        "files": files,
        "sample_bytes": _sample_bytes(spec),
        "sample_examples": spec.sample_examples,
        "generator": spec.generate is not None,
    }


def _reads(spec: Dataset, form: str | None, files: Sequence[Facts]) -> Origin | None:
    """Return what runs read: see ``plan.DataFiles``."""
    if form is None or not spec.read:
        return "sample" if spec.sample else None
    return "simulated" if any(f["simulated"] and f["form"] == form for f in files) else "file"


def _wrong(spec: Dataset, folder: Path | None) -> str | None:
    """Return why a run would be refused."""
    try:
        # the checksums of what is there are of no concern
        finding.find(spec, folder, "auto", lambda *_: "")
    except HepbenchError as error:
        return str(error)
    return None


def _sample_bytes(spec: Dataset) -> int | None:
    try:
        return finding.sample_bytes(spec) if spec.sample else None
    except HepbenchError:
        return None


def _file(file: File, path: Path | None) -> Facts:
    size = path.stat().st_size if path else None
    # what has another name, such as one without .gz, may have another size
    comparable = file.bytes is not None and path is not None and path.name == file.name
    return {
        "name": file.name,
        "variants": list(file.variants),
        "role": file.role,
        "form": file.form,
        "optional": file.optional,
        "lacks": file.lacks,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "url": file.url,
        "address": file.address,
        "path": str(path) if path else None,
        "simulated": path is not None and finding.simulated(path),
        "found_bytes": size,
        "published_size": size == file.bytes if comparable else None,
    }


def _headline(facts: Facts) -> str:
    if facts["wrong"]:
        return f"{facts['name']}: {facts['wrong'].removeprefix(facts['name'] + ': ')}"
    if facts["reads"] != "sample":
        form = f" ({facts['form']})" if facts["form"] else ""
        return f"{facts['name']}: runs read the {ORIGINS[facts['reads']]}s{form}"
    count = f"{facts['sample_examples']:,} examples" if facts["sample_examples"] else ""
    size = size_told(facts["sample_bytes"]) if facts["sample_bytes"] else ""
    about = ", ".join(filter(None, [count, size]))
    return f"{facts['name']}: runs read the simulated sample" + (f" ({about})" if about else "")


def _lines(facts: Facts, *, whole: bool = False) -> Iterator[str]:
    """Yield a line for each file, and the commands that help; without ``whole``, the files of other
    forms than the one that is there are only counted.
    """
    files = facts["files"]
    shown = [f for f in files if whole or facts["form"] in {None, f["form"]}]
    for form in dict.fromkeys(file["form"] for file in shown):
        if len({file["form"] for file in files}) > 1:
            yield f"  {form or 'as first published'}"
        for file in shown:
            if file["form"] == form:
                yield from _file_lines(file, whole=whole)
    if others := len(files) - len(shown):
        count = several(others, "file")
        yield f"  or {count} of another form: hepbench data info {facts['name']}"
    if any(file["path"] is None for file in shown):
        yield f"  to get it: hepbench data fetch {facts['name']}"
    if facts["generator"]:
        yield f"  to simulate more: hepbench data simulate {facts['name']}"


def _file_lines(file: Facts, *, whole: bool) -> Iterator[str]:
    about = [file["role"]] if file["role"] != "labelled" else []
    about += ["optional"] if file["optional"] else []
    name = f"{file['name']} ({', '.join(about)})" if about else file["name"]
    if file["path"]:
        other = file["published_size"] is False
        note = f", not the published {size_told(file['bytes'])}: a cut of it?" if other else ""
        note = f", {SIMULATED.decode()}" if file["simulated"] else note
        yield f"  found    {file['path']} ({size_told(file['found_bytes'])}{note})"
    else:
        size = f", {size_told(file['bytes'])}" if file["bytes"] else ""
        yield f"  missing  {name}{size}"
    if whole:
        yield from _published(file)
    elif not file["path"]:
        yield from _way(file)


def _way(file: Facts) -> Iterator[str]:
    if not file["url"] and file["address"]:
        yield f"           in a browser: {file['address']}"


def _published(file: Facts) -> Iterator[str]:
    told = {
        "": file["lacks"],
        "or named ": ", ".join(file["variants"]),
        "size ": file["bytes"] and f"{file['bytes']:,} bytes",
        "sha256 ": file["sha256"],
        "link ": file["url"],
        "page ": file["address"],
    }
    yield from (f"           {what}{text}" for what, text in told.items() if text)


def size_told(count: int) -> str:
    """Return bytes with three digits and their unit."""
    if count < 1000:
        return several(count, "byte")
    unit, size = next(u for u in _UNITS if count < 999.5 * u[1] or u is _UNITS[-1])
    return f"{count / size:.3g} {unit}"


_UNITS = (("kB", 1e3), ("MB", 1e6), ("GB", 1e9))


def _described(entry: Entry) -> Facts:
    spec: Dataset = entry.spec
    return {
        "distribution": entry.plugin.distribution,
        "version": entry.plugin.version,
        "classes": list(spec.classes),
        "inputs": {
            name: {
                "shape": list(i.shape),
                "names": list(i.names),
                "units": list(i.units),
                "sparse": i.sparse,
            }
            for name, i in spec.inputs.items()
        },
        "target_units": dict(spec.spectator_units),
        "views": dict(spec.views),
        "augmentations": dict(spec.augmentations),
        "params": {**spec.params, **OWN_PARAMS},
        "split": {name: getattr(spec.split, name) for name in _SHARES},
        "official": spec.split.official,
        "known": {name: list(limits) for name, limits in spec.known.items()},
        "citation": spec.citation,
        "licence": spec.licence,
    }


_SHARES = ("train", "validation", "test")


def _description(entry: Entry) -> list[str]:
    about, spec = _described(entry), entry.spec
    fields = {
        "from": f"{about['distribution']} {about['version']}",
        "classes": ", ".join(f"{i} {name}" for i, name in enumerate(spec.classes)),
        **{f"input {name}": _input(given) for name, given in about["inputs"].items()},
        **{f"target {name}": f"in {unit}" for name, unit in spec.spectator_units.items()},
        **{f"view {name}": target for name, target in spec.views.items()},
        **{f"augmentation {name}": target for name, target in spec.augmentations.items()},
        **{f"parameter {name}": _value(value) for name, value in about["params"].items()},
        "split": _split(about),
        **{f"known {name}": f"{low:g} to {high:g}" for name, (low, high) in spec.known.items()},
        "citation": spec.citation,
        "licence": spec.licence,
    }
    width = max(map(len, fields))
    lines = [
        f"{name:<{width}}  {_wrapped(text, width + 2) if name.startswith('input') else text}"
        for name, text in fields.items()
        if text
    ]
    return [f"dataset {spec.name}: {spec.summary}", *lines]


def _wrapped(text: str, indent: int) -> str:
    """Return a list of names in lines, none of which is broken within a name."""
    joined = text.replace(" ", "\0").replace(",\0", ", ")
    lines = textwrap.wrap(joined, WIDTH - indent, break_on_hyphens=False, break_long_words=False)
    return f"\n{' ' * indent}".join(lines).replace("\0", " ")


def _input(given: Mapping[str, Any]) -> str:
    shape = " x ".join(map(str, given["shape"]))
    sparse = ", sparse" if given["sparse"] else ""
    units = given["units"] or [""] * len(given["names"])
    names = ", ".join(map(with_unit, given["names"], units))
    return f"{shape}{sparse}" + (f": {names}" if names else "")


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _split(about: Mapping[str, Any]) -> str:
    shares = ", ".join(f"{share:g} {part}" for part, share in about["split"].items())
    official = f"; official test set: {about['official']}" if about["official"] else ""
    return shares + official
