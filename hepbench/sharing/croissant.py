"""Describes a dataset in Croissant, the format of MLCommons for metadata. Pure.

Source: https://docs.mlcommons.org/croissant/docs/croissant-spec.html, version 1.0.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hepbench.specs.text import enumerated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hepbench.specs.dataset import Dataset, File

_CROISSANT_TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty"),
    *("fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField"),
    *("path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("separator", "source", "subField", "transform"),
)

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _CROISSANT_TERMS},
}
"""The terms of the specification, all of which validators expect."""

LICENCES = {
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC0": "https://creativecommons.org/publicdomain/zero/1.0/",
}
"""Addresses of licences, which are better known to programs than their names."""

FORMATS = {
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".h5": "application/x-hdf5",
    ".hdf5": "application/x-hdf5",
    ".parquet": "application/vnd.apache.parquet",
    ".root": "application/x-root",
}
"""Media types by the end of a file name."""


def described(spec: Dataset, checksums: Mapping[str, str]) -> str:
    """Return the metadata of a dataset as JSON-LD.

    Args:
        spec: the dataset.
        checksums: sha256 of original files that are at hand, by name; others are listed if their
            checksum is published.
    """
    known = {file.name: file.sha256 for file in spec.files if file.sha256} | dict(checksums)
    listed = [file for file in spec.files if file.name in known]
    original = spec.original
    whole = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": spec.name,
        "description": _description(spec, [f for f in spec.files if f not in listed]),
        "license": LICENCES.get(original.licence, original.licence) if original else "",
        "citeAs": original.citation if original else "",
        "url": next((f.address or f.url for f in spec.files if f.address or f.url), ""),
        "distribution": [_file(file, known[file.name]) for file in listed],
        "recordSet": list(_record_sets(spec)),
    }
    return json.dumps({k: v for k, v in whole.items() if v}, indent=2, ensure_ascii=False)


def _description(spec: Dataset, unlisted: Sequence[File]) -> str:
    text = f"{spec.summary}."
    if unlisted:
        names = enumerated(file.name for file in unlisted)
        text += f" Not listed, because their checksums are not known here: {names}."
    return text


def _file(file: File, checksum: str) -> dict[str, Any]:
    suffix = "." + file.name.rpartition(".")[2]
    found = {
        "@type": "cr:FileObject",
        "@id": file.name,
        "name": file.name,
        "description": "; ".join(filter(None, [f"{file.role} examples", file.form])),
        # a file that only a person can download is where its page is
        "contentUrl": file.url or file.address or file.name,
        "contentSize": f"{file.bytes} B" if file.bytes else "",
        "encodingFormat": FORMATS.get(suffix, "application/octet-stream"),
        "sha256": checksum,
    }
    return {k: v for k, v in found.items() if v}


def _record_sets(spec: Dataset) -> Iterator[dict[str, Any]]:
    """Yield tables of what the files hold, with their contents: the classes and the inputs."""
    classes = [{"label": label, "class": name} for label, name in enumerate(spec.classes)]
    types = {"label": "sc:Integer", "class": "sc:Text"}
    yield _table("classes", "The class of each label.", types, classes)
    types = {"input": "sc:Text", "shape": "sc:Text", "feature": "sc:Text", "unit": "sc:Text"}
    about = "The inputs of an example, with the names and units of their features or channels."
    yield _table("inputs", about, types, list(_inputs(spec)))
    if spec.spectators:
        types = {"spectator": "sc:Text", "unit": "sc:Text"}
        rows = [{"spectator": name, "unit": unit} for name, unit in spec.spectators.items()]
        yield _table("spectators", "Carried along with an example, and no input.", types, rows)


def _inputs(spec: Dataset) -> Iterator[dict[str, Any]]:
    for name, given in spec.inputs.items():
        shape = " x ".join(map(str, given.shape)) or "1"
        for i, feature in enumerate(given.names or ("",)):
            unit = given.units[i] if given.units else ""
            yield {"input": name, "shape": shape, "feature": feature, "unit": unit}


def _table(
    name: str, description: str, types: Mapping[str, str], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return a set of records that stand in the metadata themselves."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "field": [
            {"@type": "cr:Field", "@id": f"{name}/{column}", "name": column, "dataType": kind}
            for column, kind in types.items()
        ],
        "data": [{f"{name}/{column}": row[column] for column in types} for row in rows],
    }
