"""Tables: what records say, one row for all seeds of a cell, ranked where they may be compared.

Pure: records in, text out. Rows hold unrounded numbers; ``formats`` rounds and writes them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import fsum, hypot, sqrt
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from hepbench import formats
from hepbench.errors import ResultsError, UsageError, unknown
from hepbench.formats import DASH, Document, Figure, Table
from hepbench.keys import differences
from hepbench.records import Cost, Source

if TYPE_CHECKING:
    from hepbench.records import Published, Record

Metrics: TypeAlias = Mapping[str, tuple[bool, frozenset[str]]]
"""By name: whether higher is better, and what must be equal for two values to be compared."""

FORMATS = ("plain", "github", "latex", "csv", "json", "html")
GROUPS = (
    *("suite", "dataset", "model", "method", "chain", "preset", "seed", "status"),
    "data.source",
)
DEFAULT_COLUMNS = (
    *("auc", "seeds", "train_auc", "accuracy", "rejection_50", "log_loss"),
    *("parameters", "train_seconds", "published"),
)
LABELS = ("suite", "dataset", "model", "chain", "preset", "source")
COUNTS = (*Cost.__struct_fields__, "epochs", "best_epoch")
OTHERS = ("seeds", "published")
SIZES = ("n_test", "n_train", "n_validation", "n_unlabelled")
PARTS = {"train": "metrics_train", "validation": "metrics_validation"}
ASPECTS = ("data", "split", "labels", "preset")
SOURCES = {"file": "file", "sample": "simulated sample", "": ""}
TITLES = {
    "auc": "AUC",
    "parameters": "params",
    "train_seconds": "training",
    "peak_memory_mb": "memory (MB)",
}
TIE = "best, or within 2 standard errors of it: a tie (errors of both rows in quadrature)"
LONGEST_NOTE = 300


@dataclass(frozen=True, kw_only=True)
class Row:
    """The newest records of a cell's seeds; they differ in nothing else and may be averaged.

    Attributes:
        group: the value of what tables are grouped by.
        labels: what names the row: the values of LABELS.
        cells, ok: all seeds, and those that succeeded, in order.
        data: what they saw; None where all failed.
        aspects: what must be equal for values to be compared: the values of ASPECTS.
        figures: by the name of a column.
    """

    group: Any
    labels: tuple[str, ...]
    cells: tuple[Record, ...]
    ok: tuple[Record, ...]
    data: Source | None
    aspects: Mapping[str, Any]
    figures: Mapping[str, Figure]

    @property
    def record(self) -> Record:
        """One that stands for all in what they share."""
        return (self.ok or self.cells)[0]

    @property
    def published(self) -> Published | None:
        """Published figures to show beside."""
        return next((record.published for record in self.cells if record.published), None)


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A row in its place.

    Attributes:
        comparable: it has a value that may be compared with the best.
        best: the best, or within two standard errors of it.
        notes: what must be said of it.
    """

    row: Row
    comparable: bool
    best: bool
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What tables show.

    Attributes:
        group: what there is a table for each value of.
        labels: those of LABELS that the rows of a table need.
        names: of the other columns: test metrics by their name, others as ``train_auc``.
        metrics: direction and comparability of metrics.
    """

    group: str
    labels: Sequence[str]
    names: Sequence[str]
    metrics: Metrics

    @cached_property
    def tests(self) -> list[str]:
        """Metrics of test examples."""
        return [name for name in self.names if _is_test(name)]

    @cached_property
    def main(self) -> str:
        """The first of them, by which rows are ranked, or empty."""
        return next(iter(self.tests), "")

    @property
    def sign(self) -> int:
        """-1 where higher is better, 1 where lower is, 0 where nobody knows."""
        if self.main not in self.metrics:
            return 0
        return -1 if self.metrics[self.main][0] else 1

    def same(self, name: str) -> frozenset[str]:
        """Return what must be equal for two values of a metric to be compared."""
        return self.metrics[name][1] if name in self.metrics else frozenset(ASPECTS)


def table(
    records: Sequence[Record],
    *,
    metrics: Metrics,
    looked: Sequence[Record] | None = None,
    format: str = "plain",
    group: str = "dataset",
    columns: Sequence[str] | None = None,
) -> str:
    """Return the tables of ``records``, one for each value of ``group``.

    Args:
        records: in any order; of each cell the newest is shown.
        metrics: direction and comparability of each metric, from its spec.
        looked: what counts as looks at the test sets, superseded ones too; None: ``records``.
        format: one of FORMATS.
        group: one of GROUPS.
        columns: instead of DEFAULT_COLUMNS. Rows are ranked by the first test metric of them.

    Raises:
        ResultsError: there are no records.
        UsageError: unknown format, group or column.
    """
    if not records:
        msg = "no records to show; 'hepbench run' writes them"
        raise ResultsError(msg)
    for kind, name, known in (("format", format, FORMATS), ("group", group, GROUPS)):
        if name not in known:
            raise UsageError(unknown(kind, name, known))
    asked = _asked(records, metrics, columns)
    rows = collect(records, group=group, columns=asked)
    shown = _columns(rows, asked, metrics, group=group, every=columns is not None)
    sections = _sections(rows, shown)
    looked = records if looked is None else looked
    if format in ("csv", "json"):
        looks = _looks(looked)
        lines = chain.from_iterable(sections.values())
        objects = [_object(line, shown, looks) for line in lines]
        return formats.csv(objects) if format == "csv" else formats.json(objects)
    return formats.WRITERS[format](_document(sections, shown, _look_lines(looked, group)))


def collect(
    records: Iterable[Record], *, group: str = "dataset", columns: Iterable[str] = ()
) -> list[Row]:
    """Return one row for all seeds of a cell, with the figures of ``columns``.

    Seeds that saw other data or another split make a row of their own: they may not be averaged.
    """
    families: dict[Any, list[Record]] = defaultdict(list)
    for (*identity, _), record in sorted(newest(records).items()):
        families[*identity, _value(record, group)].append(record)
    names = {part for name in columns for part in (name, _base(name))}.difference(OTHERS, LABELS)
    rows = [
        _row(seeds, labels=family[: len(LABELS)], group=family[-1], names=names)
        for family, members in families.items()
        for seeds in _alike(members)
    ]
    return sorted(rows, key=lambda row: (row.labels, row.record.key))


def newest(records: Iterable[Record]) -> dict[tuple[Any, ...], Record]:
    """Return the newest record of each cell, by what makes it the same cell; its seed is last."""
    found: dict[tuple[Any, ...], Record] = {}
    for record in records:
        cell = (*_identity(record), record.seed)
        if cell not in found or _age(record) > _age(found[cell]):
            found[cell] = record
    return found


def rank(rows: Sequence[Row], columns: Columns) -> list[Ranked]:
    """Return rows of one dataset: the comparable ones first, best first; those without value last.

    Comparable are those that agree with most in all that the main metric declares.
    """
    main, same = columns.main, columns.same(columns.main)
    reference = _reference(rows, same)

    def place(row: Row) -> tuple[Any, ...]:
        value = row.figures[main].value if main else None
        apart = [str(row.aspects[name]) for name in _differing(row, reference) if name in same]
        value_first = columns.sign * (value or 0.0)
        return (value is None, bool(apart), apart, value_first, row.labels, row.record.key)

    places = sorted(((place(row), row) for row in rows), key=lambda pair: pair[0])
    peers = [row for (valueless, apart, *_), row in places if not valueless and not apart]
    best = {id(row) for row in _best(peers, columns)}
    comparable, changed = {id(row) for row in peers}, _changed(rows)
    return [
        Ranked(
            row=row,
            comparable=id(row) in comparable,
            best=id(row) in best,
            notes=[*_notes(row, reference, columns), *changed.get(id(row), [])],
        )
        for _, row in places
    ]


def _sections(rows: Iterable[Row], columns: Columns) -> dict[Any, list[Ranked]]:
    """Return the rows of each table, every dataset in it ranked by itself."""
    by_group: dict[Any, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_group[row.group][row.record.dataset].append(row)
    return {
        value: [line for _, peers in sorted(datasets.items()) for line in rank(peers, columns)]
        for value, datasets in sorted(by_group.items())
    }


def _asked(records: Iterable[Record], metrics: Metrics, columns: Sequence[str] | None) -> list[str]:
    """Return the names of columns, each once, or say what is allowed."""
    tests = set(metrics).union(*(record.metrics for record in records))
    parts = (f"{part}_{name}" for part in PARTS for name in tests)
    known = {*tests, *parts, *COUNTS, *OTHERS, *LABELS}
    for name in columns or ():
        if name not in known:
            raise UsageError(unknown("column", name, known))
    return list(dict.fromkeys(columns or DEFAULT_COLUMNS))


def _identity(record: Record) -> tuple[Any, ...]:
    """Return what makes a cell the same cell, but for its seed: LABELS and its parameters."""
    params = msgspec.json.encode(record.params, order="sorted")
    names = (record.suite, record.dataset, record.model, record.chain, record.preset)
    return (*names, _source(record), params)


def _source(record: Record) -> str:
    # a cell that failed has no data, but its key says what they were to be
    planned = record.key_parts.get("read", {}).get("source", "")
    return record.data.source if record.data else str(planned)


def _age(record: Record) -> tuple[str, str, str]:
    return (str(record.provenance.get("finished", "")), record.key, record.status)


def _value(record: Record, group: str) -> Any:
    return _source(record) if group == "data.source" else getattr(record, group)


def _alike(members: Iterable[Record]) -> list[list[Record]]:
    """Return records in lists that saw the same data; those that saw none join the longest."""
    lists: dict[tuple[str, str], list[Record]] = defaultdict(list)
    blind = []
    for record in members:
        if record.data:
            lists[record.data.fingerprint, record.data.split_hash].append(record)
        else:
            blind.append(record)
    if blind:
        longest = max(sorted(lists), key=lambda data: len(lists[data]), default=("", ""))
        lists[longest] = sorted(lists[longest] + blind, key=attrgetter("seed"))
    return list(lists.values())


def _is_test(name: str) -> bool:
    return name not in (*COUNTS, *OTHERS, *LABELS) and _base(name) == name


def _base(name: str) -> str:
    """Return the metric of a training or validation column, and any other name as it is."""
    part, _, rest = name.partition("_")
    return rest if part in PARTS and name not in COUNTS else name


def _entry(record: Record, name: str) -> Any:
    """Return what a record holds for a column of figures: a Value, a number or None."""
    if name in COUNTS:
        return getattr(record.cost if name in Cost.__struct_fields__ else record, name)
    metric = _base(name)
    if metric == name:
        return record.metrics.get(name)
    return getattr(record, PARTS[name.partition("_")[0]]).get(metric)


def _recorded(rows: Iterable[Row], name: str) -> bool:
    if name in OTHERS:
        return name == "seeds" or any(row.published for row in rows)
    return any(_entry(record, name) is not None for row in rows for record in row.ok)


def _row(
    cells: Sequence[Record], *, labels: tuple[str, ...], group: Any, names: Iterable[str]
) -> Row:
    ok = tuple(record for record in cells if record.status == "ok")
    record = (ok or cells)[0]
    data = next((record.data for record in cells if record.data), None)
    classes = record.params.get("dataset", {}).get("classes")
    aspects = {
        "data": data.fingerprint if data else "",
        "split": data.split_hash if data else "",
        "labels": tuple(classes or record.key_parts.get("read", {}).get("classes", ())),
        "preset": record.preset,
    }
    return Row(
        group=group,
        labels=labels,
        cells=tuple(cells),
        ok=ok,
        data=data,
        aspects=aspects,
        figures={name: _figure(ok, name) for name in names},
    )


def _figure(records: Sequence[Record], name: str) -> Figure:
    """Return the mean over ``records``, its two errors, and whether it is a limit."""
    known = [entry for record in records if (entry := _entry(record, name)) is not None]
    if name in COUNTS:
        return Figure(_mean(known), n=len(known))
    known = [entry for entry in known if entry.value is not None]
    values = [entry.value for entry in known]
    if any(entry.limit for entry in known):
        return Figure(_mean(values), n=len(values), limit=True)
    stderr = _mean([entry.stderr for entry in known if entry.stderr is not None])
    return Figure(_mean(values), stderr, _spread(values), len(values))


def _mean(values: Sequence[float]) -> float | None:
    if not values:
        return None
    # equal values have themselves as their mean, to the last bit
    return values[0] if min(values) == max(values) else fsum(values) / len(values)


def _spread(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation; None for a single value."""
    mean = _mean(values)
    if mean is None or len(values) < 2:
        return None
    return sqrt(fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _reference(rows: Iterable[Row], same: Iterable[str]) -> Row | None:
    """Return a row that agrees with most in ``same``, and among those with most in the rest.

    Of two sets of rows, equally many, the one with more test examples counts as most.
    """
    left = [row for row in rows if row.ok]
    for names in (sorted(set(ASPECTS).intersection(same)), ASPECTS):
        votes: dict[Any, list[Row]] = defaultdict(list)
        for row in left:
            votes[tuple(row.aspects[name] for name in names)].append(row)
        sizes = {
            a: (len(some), some[0].data.n_test if some[0].data else 0) for a, some in votes.items()
        }
        left = votes[max(sizes, key=lambda a: (sizes[a], a), default=())]
    return left[0] if left else None


def _differing(row: Row, reference: Row | None) -> list[str]:
    if reference is None or not row.ok:
        return []
    return [name for name in ASPECTS if row.aspects[name] != reference.aspects[name]]


def _best(peers: Sequence[Row], columns: Columns) -> list[Row]:
    """Return the first of ``peers`` and those within two standard errors of it, if it has one."""
    if len(peers) < 2 or not columns.sign:
        return []
    figures = [row.figures[columns.main] for row in peers]
    values = [figure.value or 0.0 for figure in figures]
    errors = [_error(figure) for figure in figures]
    if (error := errors[0]) is None:
        return []
    return [
        row
        for row, value, own in zip(peers, values, errors, strict=True)
        if own is not None and abs(value - values[0]) <= 2 * hypot(error, own)
    ]


def _error(figure: Figure) -> float | None:
    """Return the standard error of a mean over seeds that share one test sample."""
    if figure.stderr is None:
        return None
    return hypot(figure.stderr, (figure.spread or 0.0) / sqrt(figure.n))


def _notes(row: Row, reference: Row | None, columns: Columns) -> list[str]:
    """Return all that must be said of a row, the gravest first, each on one line."""
    said = (
        *_failures(row),
        *_incomparable(row, reference, columns),
        *_warnings(row),
        *_gaps(row, columns),
        *_credit(row, columns),
    )
    return [_one_line(note) for note in said]


def _failures(row: Row) -> list[str]:
    failed = (record for record in row.cells if record.status != "ok")
    return _by_seed(((_failure(record), record.seed) for record in failed), row.cells)


def _failure(record: Record) -> str:
    verb = "timed out" if record.status == "timeout" else "failed"
    if record.error is None:
        return f"{verb}, no reason recorded"
    where = f" of {record.error.cell}" if record.error.cell else ""
    why = ": ".join(filter(None, [record.error.type, record.error.message]))
    return f"{verb} in {record.error.stage}{where}: {why}"


def _incomparable(row: Row, reference: Row | None, columns: Columns) -> list[str]:
    """Say in which of the columns a row may not be compared with the others, and why."""
    differing = _differing(row, reference)
    touched = [n for n in columns.tests if not columns.same(n).isdisjoint(differing)]
    if reference is None or not touched:
        return []
    same = frozenset[str]().union(*map(columns.same, touched))
    what = [_difference(row, reference, name) for name in differing if name in same]
    where = "" if touched == columns.tests else f" in {_listed(map(title, touched))}"
    others = "rows above" if touched[0] == columns.main else "other rows"
    verb = "differs" if len(what) == 1 else "differ"
    return [f"not comparable{where} with the {others}: {_listed(what)} {verb}"]


def _difference(row: Row, reference: Row, name: str) -> str:
    """Return what differs, as ``split (n_test 2196 against 500000)``."""
    here, there = row.data, reference.data
    if here and there and name == "data" and here.source != there.source:
        return f"data ({SOURCES[here.source]} against {SOURCES[there.source]})"
    if here and there and name == "split":
        for size in SIZES:
            if getattr(here, size) != getattr(there, size):
                return f"split ({size} {getattr(here, size)} against {getattr(there, size)})"
    pair = (_shown(name, each.aspects[name]) for each in (row, reference))
    return f"{name} ({' against '.join(pair)})"


def _shown(name: str, aspect: Any) -> str:
    if name == "labels":
        return ", ".join(map(str, aspect)) or "not recorded"
    return (aspect if name == "preset" else aspect[:8]) or "not recorded"


def _changed(rows: Iterable[Row]) -> dict[int, list[str]]:
    """Say, by id of the row, what tells older rows from the newest of the same name."""
    namesakes: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        namesakes[row.labels].append(row)
    notes = {}
    for same in namesakes.values():
        last = max(same, key=lambda row: max(map(_age, row.cells)))
        for row in same:
            lines = differences(row.record.params, last.record.params) if row is not last else []
            if lines:
                notes[id(row)] = [f"parameters changed since: {', '.join(lines)}"]
    return notes


def _warnings(row: Row) -> list[str]:
    """Return one note for each kind of warning."""
    kinds: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for record in row.ok:
        for warning in dict.fromkeys(record.warnings):
            name, _, what = warning.partition(": ")
            kinds[name].append((what, record.seed))
    return [f"{name}: {'; '.join(_by_seed(said, row.ok))}" for name, said in kinds.items()]


def _gaps(row: Row, columns: Columns) -> list[str]:
    """Say which metrics have no value, or only a limit, and why."""
    notes = []
    for name in filter(row.figures.__contains__, columns.names):
        figure = row.figures[name]
        if name not in COUNTS and (figure.n < len(row.ok) or figure.limit):
            said = ((_gap(_entry(record, name)), record.seed) for record in row.ok)
            said = ((f"{title(name)} {why}", seed) for why, seed in said if why)
            notes += _by_seed(said, row.ok)
    return notes


def _gap(entry: Any) -> str:
    if entry is None:
        return "is not recorded"
    if entry.value is None:
        return f"is undefined: {entry.undefined or 'no reason recorded'}"
    return "is a 95 % lower limit, hence ≥" if entry.limit else ""


def _credit(row: Row, columns: Columns) -> list[str]:
    """Say where a published figure is from, and what else was published."""
    published = row.published
    if published is None or "published" not in columns.names:
        return []
    metrics = [f"{title(n)} {x!r}" for n, x in published.metrics.items() if n != columns.main]
    size = [] if published.n_test is None else [f"{published.n_test} test examples"]
    caveat = [f"caveat: {published.caveat}"] if published.caveat else []
    return [f"published: {'; '.join([published.source, *size, *metrics, *caveat])}"]


def _by_seed(said: Iterable[tuple[str, int]], records: Sequence[Record]) -> list[str]:
    """Return each text once, followed by its seeds unless all records say the same."""
    seeds: dict[str, list[int]] = defaultdict(list)
    for text, seed in said:
        seeds[text].append(seed)
    notes = []
    for text, some in seeds.items():
        which = f"seed{'s' if len(some) > 1 else ''} {', '.join(map(str, some))}"
        notes.append(text if len(some) == len(records) else f"{text} ({which})")
    return notes


def _one_line(note: str) -> str:
    # an error message may hold line ends, and what a terminal would obey
    return " ".join("".join(c if c.isprintable() else " " for c in note).split())


def _listed(texts: Iterable[str]) -> str:
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last


def title(name: str) -> str:
    """Return the head of a column in words."""
    if (metric := _base(name)) != name:
        return f"{name.partition('_')[0]} {title(metric)}"
    if point := re.fullmatch(r"rejection_(\d+)", name):
        return f"rej. {point[1]} %"
    return TITLES.get(name, name.replace("_", " "))


def _columns(
    rows: Sequence[Row], asked: Sequence[str], metrics: Metrics, *, group: str, every: bool
) -> Columns:
    """Return what to show: ``every`` name, or those that records hold anything of."""
    names = [name for name in asked if name not in LABELS]
    if not every:
        names = [name for name in names if name == "auc" or _recorded(rows, name)]
    needed = {"dataset", "model", "chain", *asked} | ({"source"} if group != "dataset" else set())
    needed |= {name for i, name in enumerate(LABELS[:-1]) if len({r.labels[i] for r in rows}) > 1}
    if len({(row.group, row.labels[-1]) for row in rows}) > len({row.group for row in rows}):
        # elsewhere the titles say the source
        needed.add("source")
    labels = [name for name in LABELS if name in needed and name != group.removeprefix("data.")]
    return Columns(group=group, labels=labels, names=names, metrics=metrics)


def _looks(records: Iterable[Record]) -> Counter[str]:
    """Return how often each test set was looked at, by the hash of its split."""
    return Counter(r.data.split_hash for r in records if r.data and r.status == "ok")


def _look_lines(records: Sequence[Record], group: str) -> dict[Any, list[str]]:
    """Return by group a line for each test set that its records looked at."""
    looks = _looks(records)
    lines: dict[Any, dict[str, str]] = defaultdict(dict)
    for record in records:
        if record.data and record.status == "ok":
            split, n = record.data.split_hash, record.data.n_test
            times = "once" if looks[split] == 1 else f"{looks[split]} times"
            line = f"test set {split[:8]} ({n} examples): looked at {times}"
            lines[_value(record, group)][split] = line
    return {value: [found[split] for split in sorted(found)] for value, found in lines.items()}


def _object(line: Ranked, columns: Columns, looks: Mapping[str, int]) -> dict[str, Any]:
    """Return a row as plain data, nothing rounded."""
    row = line.row
    entries: dict[str, Any] = dict(zip(LABELS, row.labels, strict=True))
    if columns.group.removeprefix("data.") not in LABELS:
        entries[columns.group] = row.group
    entries |= {size: getattr(row.data, size, None) for size in SIZES}
    split = getattr(row.data, "split_hash", "")
    entries |= {"split_hash": split, "seeds": len(row.ok), "failed": len(row.cells) - len(row.ok)}
    for name in columns.names:
        if name in COUNTS:
            entries[name] = row.figures[name].value
        elif name == "published":
            entries[name] = _published(row, columns)
        elif name in row.figures:
            figure = row.figures[name]
            entries |= {name: figure.value, f"{name}_stderr": figure.stderr}
            entries |= {f"{name}_spread": figure.spread, f"{name}_limit": figure.limit}
    entries |= {"comparable": line.comparable, "best": line.best}
    return entries | {"test_looks": looks[split], "notes": line.notes}


def _published(row: Row, columns: Columns) -> float | None:
    return row.published.metrics.get(columns.main) if row.published else None


def _document(
    sections: Mapping[Any, list[Ranked]], columns: Columns, looks: Mapping[Any, list[str]]
) -> Document:
    """Return tables as text, rounded."""
    main, names = columns.main, columns.names
    tables = [_table(v, section, columns, looks.get(v, [])) for v, section in sections.items()]
    best = any(line.best for section in sections.values() for line in section)
    heads = [f"{title(name)} ±test ±seeds" if name == main else title(name) for name in names]
    return Document(
        heads=[*columns.labels, *heads],
        left=len(columns.labels),
        tables=tables,
        main=len(columns.labels) + names.index(main) if main else None,
        tie=TIE if best else "",
        legend=_legend(tables, columns),
    )


def _table(value: Any, section: list[Ranked], columns: Columns, looks: list[str]) -> Table:
    """Return one table as text, its notes numbered."""
    name = str(value) if value != "" else "not recorded"
    whole = columns.group == "dataset"
    decimals = _decimals([line.row for line in section], columns)
    numbers: dict[str, int] = {}
    return Table(
        title=name if whole else f"{columns.group.removeprefix('data.')} {name}",
        facts=_facts(section[0].row) if whole else "",
        rows=[_cells(line.row, columns, decimals[_sample(line.row)]) for line in section],
        best=[line.best for line in section],
        marks=[
            sorted(numbers.setdefault(_short(note), len(numbers) + 1) for note in line.notes)
            for line in section
        ],
        notes=list(numbers),
        looks=looks,
    )


def _sample(row: Row) -> tuple[Any, ...]:
    return (row.record.dataset, row.aspects["data"], row.aspects["split"])


def _decimals(rows: Sequence[Row], columns: Columns) -> dict[Any, dict[str, int]]:
    """Return the decimals of each metric, the same for all rows that saw the same examples."""
    samples: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        samples[_sample(row)].append(row)
    metrics = {_base(name) for name in columns.names}.difference(COUNTS, OTHERS)
    return {
        sample: {
            name: formats.column_places(row.figures[name] for row in alike) for name in metrics
        }
        for sample, alike in samples.items()
    }


def _cells(row: Row, columns: Columns, decimals: Mapping[str, int]) -> list[str]:
    labels = dict(zip(LABELS, row.labels, strict=True))
    cells = [labels[name] or DASH for name in columns.labels]
    return cells + [_text(row, name, decimals, columns) for name in columns.names]


def _facts(row: Row) -> str:
    source = SOURCES[row.labels[-1]]
    if (data := row.data) is None:
        return source
    sizes = f"{data.n_train} training, {data.n_validation} validation, {data.n_test} test examples"
    return f"{source}: {sizes}"


def _text(row: Row, name: str, decimals: Mapping[str, int], columns: Columns) -> str:
    """Return what one cell of a table says."""
    if name == "seeds":
        ok, every = len(row.ok), len(row.cells)
        return str(ok) if ok == every else f"{ok} of {every}"
    if name == "published":
        published = _published(row, columns)
        return DASH if published is None else repr(published)
    figure, metric = row.figures[name], row.figures[_base(name)]
    if name in COUNTS:
        return (formats.duration if name == "train_seconds" else formats.number)(figure.value)
    places = formats.row_places(figure if metric.value is None else metric, decimals[_base(name)])
    if name == columns.main:
        return formats.with_errors(figure, places)
    return (formats.compact if name in columns.tests else formats.value_only)(figure, places)


def _short(note: str) -> str:
    return note if len(note) <= LONGEST_NOTE else f"{note[: LONGEST_NOTE - 3]}..."


def _legend(tables: Sequence[Table], columns: Columns) -> list[str]:
    """Explain what the tables show, in the order of its columns."""
    cells = [cell for table in tables for row in table.rows for cell in row[len(columns.labels) :]]
    lines = []
    if columns.main:
        lines.append(
            f"{title(columns.main)}: mean over seeds; ±test: standard error from the size of the "
            f"test sample, mean over seeds; ±seeds: standard deviation over seeds, {DASH} for one"
        )
    if len(columns.tests) > 1:
        spelt = list(filter(None, map(formats.spelt_out, cells)))
        example = min(spelt, key=lambda text: DASH in text, default="the second over seeds")
        lines.append(f"in brackets the same two, in units of the last digit: {example}")
    points = [(name, re.fullmatch(r"rejection_(\d+)", name)) for name in columns.tests]
    lines += [
        f"{title(name)}: rejection, 1 / background efficiency at {point[1]} % signal efficiency"
        for name, point in points
        if point
    ]
    means = [title(name) for name in columns.names if name in COUNTS or _base(name) != name]
    if means:
        lines.append(f"{_listed(means)}: mean over seeds")
    if "published" in columns.names and columns.main:
        lines.append(f"published: {title(columns.main)}, as published")
    if "source" in columns.labels:
        lines.append(
            f"source sample: the {SOURCES['sample']} that a plugin ships, not the original"
        )
    return lines
