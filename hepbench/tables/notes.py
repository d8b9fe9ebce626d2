"""Write the notes below a table: failures, incomparable values, warnings, sources."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from hepbench.specs.text import one_line, several
from hepbench.storage.costs import STATED
from hepbench.storage.keys import differences
from hepbench.storage.records import ORIGINS
from hepbench.tables import latencies
from hepbench.tables.columns import COUNTS, LOSS_METRICS, TIMES, base, title
from hepbench.tables.rows import made_of, recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hepbench.storage.records import Record, Value
    from hepbench.tables.columns import Columns
    from hepbench.tables.rows import Row


SIZES = ("n_test", "n_train", "n_validation", "n_unlabelled")


SOURCES = {**ORIGINS, "file": "file"}


def annotate(row: Row, *, reference: Row | None, last: Row, columns: Columns) -> list[str]:
    """Return the notes on a table row, the most serious first, one line each.

    Args:
        row: one of the rows that are ranked together.
        reference: the row that they are compared with.
        last: the newest row of the same name.
        columns: the columns that are shown.
    """
    said = (
        *_failures(row),
        *_incomparable(row, reference, columns),
        *_other_settings(row, reference, columns),
        *_event_weights(row),
        *_few_draws(row),
        *_warnings(row, columns),
        *latencies.notes_on_missing(row, columns.names),
        *_stated(row, columns),
        *_missing_values(row, columns),
        *([row.labels_note] if row.labels_note and "labels_from_scratch" in columns.names else ()),
        *_source_of_published(row, columns),
        *_changes(row, last),
    )
    return [one_line(note) for note in said]


def listed(texts: Iterable[str]) -> str:
    """Join texts as ``a, b and c``."""
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last


def _failures(row: Row) -> list[str]:
    failed = ((_failure(record), record.seed) for record in row.cells if record.status != "ok")
    return _by_seed(failed, row.cells)


def _failure(record: Record) -> str:
    verb = "timed out" if record.status == "timeout" else "failed"
    if record.error is None:
        return f"{verb}, no reason recorded"
    where = f" of {record.error.cell}" if record.error.cell else ""
    why = ": ".join(filter(None, [record.error.type, record.error.message]))
    return f"{verb} in {record.error.stage}{where}: {why}"


def _incomparable(row: Row, reference: Row | None, columns: Columns) -> list[str]:
    """Return a note on which columns of a row cannot be compared with other rows, and why."""
    differing = row.differing(reference)
    known = [name for name in columns.tests if row.averages[name].value is not None]
    touched = [name for name in known if not columns.same(name).isdisjoint(differing)]
    if reference is None or not touched:
        return []
    same = frozenset[str]().union(*map(columns.same, touched))
    what = [difference(row, reference, name) for name in differing if name in same]
    where = "" if touched == known else f" in {listed(map(title, touched))}"
    others = "rows above" if touched[0] == columns.main else "other rows"
    verb = "differs" if len(what) == 1 else "differ"
    return [f"not comparable{where} with the {others}: {listed(what)} {verb}"]


def _other_settings(row: Row, reference: Row | None, columns: Columns) -> list[str]:
    """Return a note on times measured on another machine or with other settings than other rows."""
    times = [n for n in columns.names if n in TIMES and row.averages[n].value is not None]
    if reference is None or not times:
        return []
    here, there = row.setting, reference.setting
    where = listed(map(title, times))
    if mixed := [f"{n} ({here[n]})" for n in here if " and " in here[n]]:
        return [
            f"{where}: mean over seeds that were measured with different settings: {listed(mixed)}"
        ]
    what = [f"{n} ({here[n]} against {there[n]})" for n in here if here[n] != there[n]]
    verb = "differs" if len(what) == 1 else "differ"
    return [f"not comparable in {where} with other rows: {listed(what)} {verb}"] if what else []


def difference(row: Row, reference: Row, name: str) -> str:
    """Describe how two rows differ, such as ``split (n_test 2196 against 500000)``."""
    here, there = row.data, reference.data
    if here and there and name == "data" and here.source != there.source:
        return f"data ({SOURCES[here.source]} against {SOURCES[there.source]})"
    if here and there and name == "split":
        for size in SIZES:
            if getattr(here, size) != getattr(there, size):
                return f"split ({size} {getattr(here, size)} against {getattr(there, size)})"
    pair = (_aspect_text(name, each.aspects[name]) for each in (row, reference))
    return f"{name} ({' against '.join(pair)})"


def _aspect_text(name: str, aspect: Any) -> str:
    if isinstance(aspect, tuple):
        return ", ".join(aspect) or ("none" if name == "preprocess" else "not recorded")
    return (aspect if name == "preset" else aspect[:8]) or "not recorded"


def _event_weights(row: Row) -> list[str]:
    """Return notes on where event weights were used, and on how many examples count with them."""
    return _by_seed(
        ((text, record.seed) for record in row.ok if (text := _weights_of_record(record))), row.ok
    )


FEWEST_DRAWS = 3
"""Choices of training examples or labels, one for each seed, from which their spread is known."""


def _few_draws(row: Row) -> list[str]:
    """Return a note if few seeds show how much depends on which examples or labels were drawn."""
    params = row.record.params.get("dataset", {})
    drawn = []
    if params.get("training_size"):
        drawn.append("training examples")
    if params.get("label_fraction", 1) != 1:
        drawn.append("labels")
    if not drawn or not 0 < len(row.ok) < FEWEST_DRAWS:
        return []
    draws = several(len(row.ok), "draw")
    return [
        f"{draws} of {listed(drawn)}: {FEWEST_DRAWS} seeds or more show how much depends on them"
    ]


def _weights_of_record(record: Record) -> str:
    used = record.event_weights
    if not used.metrics and not used.training:
        return ""
    like = listed(f"{number:.4g} of {name}" for name, number in used.effective_test.items())
    metrics = (
        f"test examples count like {like} with equal weights" if like else "metrics unweighted"
    )
    training = used.rule if used.training else "none"
    return f"weighted: {metrics}; training weights: {training}"


CALIBRATED = ("accuracy", "accuracy_at_half", "log_loss", "brier", "ece")


ABOUT = {
    "accuracy": frozenset(CALIBRATED),
    "values": frozenset(LOSS_METRICS),
    "macs": frozenset({"macs", "flops", "theoretical_macs"}),
}
"""Columns that a kind of warning is about: it is shown if one of them is."""


def _warnings(row: Row, columns: Columns) -> list[str]:
    """Return one note for each kind of warning in the records of a row.

    Warnings about columns that are not shown are left out, except that a metric raised an error.
    """
    shown = {*map(base, columns.names)}
    kinds: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for record in row.ok:
        for warning in dict.fromkeys(record.warnings):
            name, _, what = warning.partition(": ")
            metric = re.fullmatch(r"metric (\S+)", name)
            about = {metric[1]} if metric else ABOUT.get(name, shown)
            of_latency = name.startswith("latency")
            if of_latency and not latencies.is_shown(warning, columns.names):
                continue
            if not shown.isdisjoint(about):
                kinds[name].append((what, record.seed))
    return [f"{name}: {'; '.join(_by_seed(said, row.ok))}" for name, said in kinds.items()]


def _missing_values(row: Row, columns: Columns) -> list[str]:
    """Return notes on metrics without a value or with only a limit, one for each reason."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in columns.names:
        average = row.averages.get(name)
        if name in LOSS_METRICS and not columns.asked and not (average and average.n):
            # the legend says which networks have such a value
            continue
        if average and name not in COUNTS and (average.n < len(row.ok) or average.limit):
            reasons = ((_missing_reason(recorded(record, name)), record.seed) for record in row.ok)
            for note in _by_seed(((why, seed) for why, seed in reasons if why), row.ok):
                found[note].append(title(name))
    return [
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} {why}"
        for why, names in found.items()
    ]


def _missing_reason(value: Value | None) -> str:
    if value is None:
        return "not recorded"
    if value.value is None:
        return f"undefined: {value.undefined or 'no reason recorded'}"
    return "given as 95 % lower limit (≥)" if value.limit else ""


def _stated(row: Row, columns: Columns) -> list[str]:
    """Return a note on counts that an estimator states about itself, if one is shown."""
    if row.stated.isdisjoint(columns.names):
        return []
    known = [title(name) for name in STATED if name in row.stated and name in columns.names]
    return [f"stated by the estimator, not counted: {listed(known)}"]


def _source_of_published(row: Row, columns: Columns) -> list[str]:
    """Return a note on a published value: its publication, and other values from there."""
    published = row.published
    if published is None or "published" not in columns.names:
        return []
    metrics = [f"{title(n)} {x!r}" for n, x in published.metrics.items() if n != columns.main]
    size = [] if published.n_test is None else [f"{published.n_test} test examples"]
    caveat = [f"caveat: {published.caveat}"] if published.caveat else []
    return [f"published: {'; '.join([published.source, *size, *metrics, *caveat])}"]


def _changes(row: Row, last: Row) -> list[str]:
    """Return a note on how an older row differs from the newest row of the same name."""
    if row is last:
        return []
    if lines := differences(row.record.params, last.record.params):
        return [f"parameters changed since: {', '.join(lines)}"]
    lines = differences(made_of(row.record), made_of(last.record))
    return [f"changed since: {', '.join(lines)}"] if lines else []


def _by_seed(said: Iterable[tuple[str, int]], records: Sequence[Record]) -> list[str]:
    """Return each different text once, followed by its seeds unless all seeds have it."""
    seeds: dict[str, list[int]] = defaultdict(list)
    for text, seed in said:
        seeds[text].append(seed)
    notes = []
    for text, some in seeds.items():
        which = f"seed{'s' if len(some) > 1 else ''} {', '.join(map(str, some))}"
        notes.append(text if len(some) == len(records) else f"{text} ({which})")
    return notes
