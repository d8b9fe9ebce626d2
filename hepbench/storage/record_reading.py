"""Reads many records: what is equal in them is one object in memory, and fields can be left out."""

from __future__ import annotations

from functools import cache
from typing import Any, get_type_hints

import msgspec
from msgspec import UNSET, Raw, UnsetType

from hepbench.storage.records import Provenance, Record

SHARED = frozenset({"params", "data", "used", "event_weights", "published"})
"""Fields that are equal in many records, such as in those of one dataset."""

SHARED_PROVENANCE = frozenset({"plugins", "machine", "libraries", "device"})

SHARED_STAGES = frozenset({"read", "split", "inputs"})
"""Stages whose key parts are equal in all cells of a dataset; those of others contain names or seeds."""


class RecordReader:
    """Reads the records of results, in which settings, data and versions are mostly the same.

    What is equal is decoded once, and all records refer to the same object. A record equals the one
    that ``records.decode`` returns, but for the fields that were left out.

    Args:
        without: fields of records that are not needed, such as ``history``; they have their defaults.
    """

    def __init__(self, without: frozenset[str] = frozenset()) -> None:
        self._decoder, self._provenance_decoder = _decoders(without)
        self._known: dict[tuple[str, bytes], Any] = {}

    def parse(self, data: bytes) -> Record:
        """Return the record in a JSON text, whose version and checksum are not looked at.

        Raises:
            msgspec.MsgspecError: it is not a record.
        """
        found = _fields(self._decoder.decode(data))
        for name in SHARED & found.keys():
            found[name] = self._shared(name, found[name])
        if "key_parts" in found:
            found["key_parts"] = {
                stage: self._parts(stage, parts) for stage, parts in found["key_parts"].items()
            }
        if "provenance" in found:
            parts = _fields(self._provenance_decoder.decode(found["provenance"]))
            for name in SHARED_PROVENANCE & parts.keys():
                parts[name] = self._shared(name, parts[name])
            found["provenance"] = Provenance(**parts)
        return Record(**found)

    def _parts(self, stage: str, parts: Raw) -> dict[str, Any]:
        """Return the key parts of a stage."""
        if stage in SHARED_STAGES:
            found: dict[str, Any] = self._shared("parts", parts)
            return found
        own = _decoder_of("raw parts").decode(parts)
        return {name: self._shared("part", part) for name, part in own.items()}

    def _shared(self, kind: str, raw: Raw) -> Any:
        """Return the value of a JSON text, which is decoded only once."""
        text = bytes(raw)
        try:
            return self._known[kind, text]
        except KeyError:
            found = self._known[kind, text] = _decoder_of(kind).decode(text)
            return found


def _fields(found: msgspec.Struct) -> dict[str, Any]:
    """Return the fields that a JSON text has, by name."""
    values = msgspec.structs.asdict(found)
    return {name: value for name, value in values.items() if value is not UNSET}


@cache
def _decoders(without: frozenset[str]) -> tuple[msgspec.json.Decoder[Any], ...]:
    """Return decoders of records and provenances whose shared fields stay JSON text."""
    raw = dict.fromkeys((*SHARED, "provenance"), Raw) | {"key_parts": dict[str, Raw]}
    partly = _partly_decoded(Record, raw, without)
    provenance = _partly_decoded(Provenance, dict.fromkeys(SHARED_PROVENANCE, Raw))
    return msgspec.json.Decoder(partly), msgspec.json.Decoder(provenance)


def _partly_decoded(
    kind: type[msgspec.Struct], raw: dict[str, Any], without: frozenset[str] = frozenset()
) -> type[msgspec.Struct]:
    """Return a type with the fields of another one, but for those left out.

    Args:
        kind: the other type.
        raw: types of the fields that differ.
        without: fields that are left out.
    """
    types = get_type_hints(kind) | raw
    fields: list[Any] = [
        (each.name, types[each.name])
        if each.required
        else (each.name, types[each.name] | UnsetType, UNSET)
        for each in msgspec.structs.fields(kind)
        if each.name not in without
    ]
    return msgspec.defstruct(kind.__name__, fields, kw_only=True)


@cache
def _decoder_of(kind: str) -> msgspec.json.Decoder[Any]:
    """Return the decoder of a field that records share, of key parts, or of one of them."""
    types = get_type_hints(Record) | get_type_hints(Provenance)
    types |= {"parts": dict[str, Any], "part": Any, "raw parts": dict[str, Raw]}
    return msgspec.json.Decoder(types[kind])
