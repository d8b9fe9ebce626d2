"""Read and write tables in HDF5 files as pandas stores them (PyTables).

``DataFrame.to_hdf(..., format="table")`` makes a group with a dataset ``table``. Columns of one
dtype are stored side by side in one field, ``values_block_0`` and so on; their names are a pickled
list in an attribute, ``values_block_0_kind``. Any other field is one column. The list is parsed
opcode by opcode, so that nothing is unpickled. ``create`` makes a table of version 2.7 that pandas
can read.
"""

from __future__ import annotations

import pickle
import pickletools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from hepbench import Array
    from hepbench_datasets.hdf5 import HDF5

STRINGS = {
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
}
LISTS = {
    *("PROTO", "FRAME", "MARK", "LIST", "EMPTY_LIST", "APPEND", "APPENDS", "STOP"),
    *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"),
}
"""The pickle opcodes that a list of strings needs; none of them runs code."""


class Table:
    """A pandas table in an open HDF5 file.

    Args:
        file: the open file.
        key: the key that was passed to pandas.

    Raises:
        DataError: there is no table, its columns have no names, or two columns have the same name.
    """

    def __init__(self, file: HDF5, key: str) -> None:
        self.file = file
        self.key = f"{key}/table"
        self.stored = file.table(self.key)
        self.columns: dict[str, tuple[str, int]] = {}
        """Column name -> name of the field that holds the column, and position in the field."""
        for field in self.stored.dtype.names:
            for place, name in enumerate(self._names(field)):
                if name in self.columns:
                    what = f"'{self.key}' has several columns '{name}'"
                    self.file.refuse(what, "each name is expected once")
                self.columns[name] = (field, place)

    def __len__(self) -> int:
        return len(self.stored)

    def require(self, names: Sequence[str], kind: type) -> None:
        """Raise a DataError if a table lacks a column, or the column has another kind of number."""
        for name in names:
            if name not in self.columns:
                first = ", ".join(list(self.columns)[:4])
                what = f"no column '{name}' among its {len(self.columns)} columns ({first}, ...)"
                self.file.refuse(f"'{self.key}' has {what}", f"'{name}' is needed")
            found = self.stored.dtype[self.columns[name][0]].base
            if not np.issubdtype(found, kind):
                what = f"column '{name}' is {found}"
                self.file.refuse(what, f"{getattr(kind, '__name__', kind)} is expected")

    def values(self, rows: Array, names: Sequence[str]) -> Array:
        """Return the named columns, (N, names), of table rows that were read from ``stored``."""
        fields, places = zip(*(self.columns[name] for name in names), strict=True)
        made = np.empty((len(rows), len(names)), self.stored.dtype[fields[0]].base)
        for field in dict.fromkeys(fields):
            ours = [i for i, each in enumerate(fields) if each == field]
            block = rows[field].reshape(len(rows), -1)
            made[:, ours] = block[:, [places[i] for i in ours]]
        return made

    def _names(self, field: str) -> list[str]:
        """Return the names of the table columns that a field holds."""
        width = int(np.prod(self.stored.dtype[field].shape))
        names = _parse_list(self.file.attribute(self.stored, f"{field}_kind"))
        if names is None and width == 1 and not self.stored.dtype[field].shape:
            return [field]
        if names is None or len(names) != width:
            count = "no" if names is None else len(names)
            what = f"'{field}' of '{self.key}' has {width} columns and {count} names"
            self.file.refuse(what, f"one name for each column is expected in '{field}_kind'")
        return names


def _parse_list(pickled: object) -> list[str] | None:
    """Return a pickled list of strings; None if ``pickled`` holds anything else."""
    if not isinstance(pickled, bytes | np.void):
        return None
    try:
        opcodes = list(pickletools.genops(bytes(pickled)))
    except ValueError:
        return None
    if any(opcode.name not in STRINGS | LISTS for opcode, _, _ in opcodes):
        return None
    return [str(text) for opcode, text, _ in opcodes if opcode.name in STRINGS]


def create(file: Any, key: str, blocks: Mapping[str, Sequence[str]], rows: int) -> Any:
    """Create a table of zeros in an open ``h5py.File``, with the layout of pandas.

    Args:
        file: an empty file, open for writing.
        key: the key that pandas would use.
        blocks: column names by dtype, for example ``<f4``. The rows have a field ``index``, then
            one field ``values_block_0`` and so on for each dtype.
        rows: number of rows; they are compressed by gzip in chunks of 1,000.
    """
    fields = {f"values_block_{i}": block for i, block in enumerate(blocks.items())}
    dtypes = [(field, dtype, (len(names),)) for field, (dtype, names) in fields.items()]
    _set_attributes(file, CLASS="GROUP", PYTABLES_FORMAT_VERSION="2.1", VERSION="1.0")
    group = file.create_group(key)
    all_names = [name for names in blocks.values() for name in names]
    _describe_frame(group, list(fields), all_names)
    table = group.create_dataset(
        "table",
        (rows,),
        [("index", "<i8"), *dtypes],
        chunks=(min(max(rows, 1), 1000),),
        maxshape=(None,),
        compression="gzip",
        compression_opts=1,
    )
    _describe_table(table, fields)
    return table


def _describe_frame(group: Any, fields: list[str], names: list[str]) -> None:
    """Write the attributes by which pandas recognises a group as a ``DataFrame``."""
    _set_attributes(
        group,
        CLASS="GROUP",
        VERSION="1.0",
        pandas_type="frame_table",
        pandas_version="0.15.2",
        table_type="appendable_frame",
        encoding="UTF-8",
        errors="strict",
        levels=1,
        nan_rep="nan",
    )
    _set_attributes(
        group,
        index_cols=[(0, "index")],
        values_cols=fields,
        non_index_axes=[(1, names)],
        data_columns=[],
        info={},
    )


def _describe_table(table: Any, fields: Mapping[str, tuple[str, Sequence[str]]]) -> None:
    """Write the attributes of a PyTables table, and the column names of each field."""
    rows = len(table)
    _set_attributes(table, CLASS="TABLE", VERSION="2.7", NROWS=rows, index_kind="integer")
    for i, name in enumerate(table.dtype.names):
        _set_attributes(table, **{f"FIELD_{i}_NAME": name, f"FIELD_{i}_FILL": 0})
    for field, (dtype, names) in fields.items():
        kind = np.dtype(dtype).name
        _set_attributes(table, **{f"{field}_kind": list(names), f"{field}_dtype": kind})


def _set_attributes(target: Any, **attributes: Any) -> None:
    """Write HDF5 attributes as PyTables does, with lists pickled."""
    import h5py

    for name, value in attributes.items():
        if isinstance(value, int):
            target.attrs[name] = np.int64(value)
        elif isinstance(value, str):
            # PyTables recognises text by its character set; it unpickles other strings
            target.attrs.create(name, value.encode(), dtype=h5py.string_dtype("utf-8", len(value)))
        else:
            target.attrs[name] = np.bytes_(pickle.dumps(value, 0))
