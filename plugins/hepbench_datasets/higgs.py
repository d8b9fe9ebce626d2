"""Read HIGGS: simulated collisions with a Higgs boson (signal) or a pair of top quarks.

Baldi, Sadowski and Whiteson, Nature Communications 5, 4308 (2014), arXiv:1402.4735; the file is
doi:10.24432/C5V312. A line holds the label and 28 features in the format ``%.18e``: 21 low-level
features (momenta in units of their mean, angles, b-tags) and 7 invariant masses computed from them.

Checked against numpy: 10,977 rows of the original file are read bit-identically.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from gzip import BadGzipFile
from importlib.resources import files
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import DataError, Examples
from hepbench_datasets import HIGGS
from hepbench_datasets.compressed_streams import open_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hepbench import Array, Inputs, Role

COLUMNS = ("label", *HIGGS.inputs["table"].names)
LINE = "a line is 29 finite numbers, the label (0 or 1) first, and there is no header"
NUMBER = re.compile(rb"[ \t]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\r?")
# numbers from here on round to infinity as float32
OVERFLOW = 2.0**128 - 2.0**103

VIEWS = {7: slice(21, 28), 21: slice(0, 21), 28: slice(0, 28)}
ROWS, TEST_ROWS = 11_000_000, 500_000
WRITE_UP_TRAIN, WRITE_UP_TEST = 1_100_000, 100_000

BLOCK_BYTES = 16 << 20
LINE_BYTES = 1 << 20


def read(folder: Path) -> Iterator[tuple[Role, Examples]]:
    """Yield the events of ``HIGGS.csv.gz`` or another form of it, about 23,000 at a time.

    Args:
        folder: holds ``HIGGS.csv``, as it is or compressed by gzip, bzip2, xz or zstd; of several the
            first in ``HIGGS.files`` is read.

    Yields:
        ("labelled", Examples): ``table`` (N, 28) float32; labels (N,) int64; ids are the positions
        of the rows in the file, from 0.

    Raises:
        DataError: there is no file, the file is damaged, a line is invalid (the message names the
            first invalid line), or a class has no row.
    """
    path = _find(Path(folder))
    rows, signal = 0, 0
    for block in _ahead(_blocks(path)):
        values = _parse(block, path.name, rows)
        labels = values[:, 0].astype(np.int64)
        table = np.ascontiguousarray(values[:, 1:], np.float32)
        ids = np.arange(rows, rows + len(labels))
        rows, signal = rows + len(labels), signal + int(labels.sum())
        yield "labelled", Examples(inputs={"table": table}, ids=ids, labels=labels)
    if rows == 0:
        raise _error(path.name, 1, "the file is empty", LINE)
    if signal in {0, rows}:
        what = f"every label up to here is {int(signal > 0)}"
        raise _error(path.name, rows, what, "both 0 and 1 are needed")


def sample() -> Iterator[tuple[Role, Examples]]:
    """Yield the bundled sample of HIGGS, in the form of ``read``."""
    with files("hepbench_datasets").joinpath("samples/higgs.npz").open("rb") as file:
        arrays = np.load(file, allow_pickle=False)
        table, labels = arrays["table"].astype(np.float32), arrays["labels"].astype(np.int64)
    yield "labelled", Examples(inputs={"table": table}, ids=np.arange(len(labels)), labels=labels)


def select(inputs: Inputs, *, features: int, **_others: Any) -> Inputs:
    """Return some features of the events: all 28, the 21 low-level ones or the 7 masses.

    Raises:
        DataError: ``features`` is another number.
    """
    if features not in VIEWS:
        msg = (
            f"higgs: features is {features!r}; allowed are 7 (masses), 21 (low-level) and 28 (all)"
        )
        raise DataError(msg)
    return {"table": inputs["table"][:, VIEWS[features]]}


def names(*, features: int) -> tuple[str, ...]:
    """Return the names of the features that ``select`` returns."""
    return HIGGS.inputs["table"].names[VIEWS[features]]


def units(*, features: int) -> tuple[str, ...]:
    """Return the units of the features that ``select`` returns."""
    return HIGGS.inputs["table"].units[VIEWS[features]]


def official(ids: Array, *, split: str, **_params: Any) -> Array | None:
    """Return a published split of rows: 1 test, 0 training, -1 unused; None for a partial file.

    Args:
        ids: (N,) positions of the rows in the file, from 0.
        split: ``official``: the last 500,000 rows are the test set (Baldi et al.); ``write-up``: the
            last 100,000 rows are, and the first 1,100,000 are trained with (write-up 002).
    """
    if len(ids) != ROWS or ids.min() != 0 or ids.max() != ROWS - 1:
        return None
    if split == "official":
        return (ids >= ROWS - TEST_ROWS).astype(np.int8)
    unused = (ids >= WRITE_UP_TRAIN) & (ids < ROWS - WRITE_UP_TEST)
    return (ids >= ROWS - WRITE_UP_TEST).astype(np.int8) - unused.astype(np.int8)


def _error(name: str, line: int, what: str, allowed: str) -> DataError:
    return DataError(f"higgs: {name}: line {line}: {what}; {allowed}")


def _find(folder: Path) -> Path:
    names = (HIGGS.files[0].name, *HIGGS.files[0].variants)
    for path in (folder / name for name in names):
        if path.is_file():
            return path
    listed = f"{', '.join(names[:-1])} or {names[-1]}"
    msg = f"higgs: {folder} holds no {listed}; one of them is needed"
    raise DataError(msg)


def _ahead(blocks: Iterator[bytes], depth: int = 2) -> Iterator[bytes]:
    """Yield blocks of a file, of which a thread reads and decompresses the next ``depth``."""
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, blocks, None) for _ in range(depth))
        while (block := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, blocks, None))
            yield block


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield the contents of a text file in blocks of whole lines."""
    from isal.isal_zlib import IsalError

    lines = 0
    try:
        with _open(path) as file:
            while block := file.read(BLOCK_BYTES):
                block += file.readline(LINE_BYTES)
                if not block.endswith(b"\n"):
                    if file.read(1):
                        raise _error(
                            path.name,
                            lines + _count(block),
                            "the line is longer than a megabyte",
                            LINE,
                        )
                    block += b"\n"
                lines += _count(block)
                yield block
    except (BadGzipFile, EOFError, IsalError, lzma.LZMAError) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno is None:  # as bz2 and pyarrow say that data are damaged
            raise _damaged(path, error) from error
        raise _error(path.name, lines + 1, f"cannot be read: {error.strerror}", LINE) from error


def _open(path: Path) -> Any:
    """Open a file, compressed or not, to read bytes."""
    if path.suffix == ".gz":
        from isal import igzip

        return igzip.open(path)
    return DECOMPRESSORS[path.suffix][1](path) if path.suffix in DECOMPRESSORS else path.open("rb")


def _open_zstd(path: Path) -> Any:
    import pyarrow

    # with readline and read1, which pyarrow's file lacks
    return BufferedReader(pyarrow.input_stream(path, compression="zstd"))


DECOMPRESSORS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    ".gz": ("gzip", gzip.open),
    ".bz2": ("bzip2", partial(open_streams, decompressor=bz2.BZ2Decompressor)),
    ".xz": ("xz", partial(open_streams, decompressor=lzma.LZMADecompressor)),
    ".zst": ("zstd", _open_zstd),
}
"""File suffix -> name of a compression, and a function that opens such a file."""


def _count(block: bytes) -> int:
    # eight times faster than bytes.count
    return sum(1 for _ in BytesIO(block))


def _damaged(path: Path, error: Exception) -> DataError:
    """Return an error that names the damaged line of a compressed file."""
    name, opened = DECOMPRESSORS[path.suffix]
    lines = 0
    try:
        with opened(path) as file:
            while piece := file.read1(1 << 16):
                lines += piece.count(b"\n")
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as exact:
        error = exact
    what = f"the {name} data is damaged here or before ({str(error).rstrip('.')})"
    return _error(path.name, lines + 1, what, f"a whole {name} file is needed")


def _parse(block: bytes, name: str, rows: int) -> Array:
    """Parse a block of CSV lines as (N, 29) float64: label and features."""
    values = _parse_fast(block)
    if values is not None:
        return values
    lines = block.split(b"\n")[:-1]
    return np.array([_parse_line(line, name, rows + i) for i, line in enumerate(lines, 1)])


def _parse_fast(block: bytes) -> Array | None:
    import polars

    # polars would decompress a block that begins like gzip, zlib or zstd
    if block[:1] not in b"+-.0123456789 \t":
        return None
    schema = dict.fromkeys(COLUMNS, polars.Float64)
    try:
        frame = polars.read_csv(block, has_header=False, schema=schema, quote_char=None)
    except polars.exceptions.PolarsError:
        return None
    # missing values become NaN, which fails both comparisons
    values = frame.to_numpy()
    finite = values.min() > -OVERFLOW and values.max() < OVERFLOW
    known = np.isin(values[:, 0], (0, 1)).all()
    return values if finite and known and len(values) == _count(block) else None


def _parse_line(line: bytes, name: str, number: int) -> list[float]:
    fields = line.split(b",")
    if not line.strip():
        raise _error(name, number, "the line is blank", LINE)
    if len(fields) != len(COLUMNS):
        raise _error(name, number, f"the number of fields is {len(fields)}", LINE)
    for column, field in zip(COLUMNS, fields, strict=True):
        finite = NUMBER.fullmatch(field) and abs(float(field)) < OVERFLOW
        if not finite or (column == "label" and float(field) not in {0, 1}):
            text = repr(field.strip()[:40]).removeprefix("b")
            raise _error(name, number, f"{column} is {text}", LINE)
    return [float(field) for field in fields]
