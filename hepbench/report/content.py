"""The content of a report: what its page shows, as plain data that its script reads."""

from __future__ import annotations

import msgspec


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of numbers in the tables of a report.

    Attributes:
        name: as in ``hepbench table --columns``.
        title: as it is shown.
        about: one sentence on what it is.
        kind: ``metric``, ``cost``, or ``other``.
        better: 1 if higher is better, -1 if lower is, 0 if neither is.
        shown: whether it is shown at first: 1 always, 2 on wide screens, 0 only if chosen.
        unit: of its values; empty: none.
    """

    name: str
    title: str
    about: str = ""
    kind: str = "metric"
    better: int = 0
    shown: int = 0
    unit: str = ""


class Section(msgspec.Struct, frozen=True):
    """A titled list of names and texts, such as the parameters of a row; rows share equal ones."""

    title: str
    items: list[tuple[str, str]]


class Roc(msgspec.Struct, frozen=True):
    """A ROC curve of a row at the page's efficiencies, from the index ``start`` on.

    Attributes:
        start: index of the first efficiency where enough background passes.
        rejection: mean over seeds.
        stderr: error of the test sample.
        spread: standard deviation over seeds; empty for one seed.
    """

    start: int
    rejection: list[float]
    stderr: list[float]
    spread: list[float]


class Line(msgspec.Struct, frozen=True):
    """A quantity by epoch, mean and standard deviation over seeds.

    Attributes:
        quantity: what it is: ``loss``, or the name of a metric.
        part: ``train`` or ``validation``.
        epochs, mean: (points,).
        spread: (points,); empty for one seed.
        kept: epoch and value of each seed's weights that were kept.
    """

    quantity: str
    part: str
    epochs: list[int]
    mean: list[float]
    spread: list[float] = []
    kept: list[tuple[int, float]] = []


class Step(msgspec.Struct, frozen=True):
    """The training of one step of a chain.

    Attributes:
        name: of the method.
        time: unit of the horizontal axis, such as ``epoch``.
        reported: whether the values are as an estimator reports them; others are measured.
        lines: its quantities.
    """

    name: str
    time: str
    reported: bool
    lines: list[Line]


class Scores(msgspec.Struct, frozen=True):
    """Score distributions of a row in equal bins from 0 to 1, each of area 1, mean over seeds.

    Attributes:
        test: densities of test examples, by class.
        train: of training examples, by class; empty if their scores are not stored.
    """

    test: list[list[float]]
    train: list[list[float]]


class Curves(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The curves of a row; None or empty where there are none."""

    roc: Roc | None = None
    steps: list[Step] = []
    scores: Scores | None = None


class PageRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A row of a report: a cell with all its seeds.

    Attributes:
        id: the fragment of the page's address that opens it.
        name: the shortest that tells it apart in its dataset.
        model, chain: its names in full.
        more: other names that tell it apart: suite, preset, source.
        values: unrounded, one for each column; None where there is none.
        texts: the same rounded, with errors.
        stderr, spread: errors of the main value: of the test sample, and over seeds.
        group: letter of the group that the paired tests put it in; empty: not compared.
        best: whether it is starred.
        apart: whether it cannot be compared with the others, and was not ranked.
        notes: what to know before its numbers are used.
        sections: indices of its sections.
        seeds: a line of each seed: seed, status, key, value of the main metric, time.
        commands: make the row again; and compare bit for bit.
        machine: where its latency was measured.
        curves: of it, if they are in the page.
    """

    id: str
    name: str
    model: str
    chain: str
    more: str = ""
    values: list[float | None]
    texts: list[str]
    stderr: float | None = None
    spread: float | None = None
    group: str = ""
    best: bool = False
    apart: bool = False
    notes: list[str] = []
    sections: list[int] = []
    seeds: list[list[str]] = []
    commands: list[str] = []
    machine: str = ""
    curves: Curves | None = None


class PageTable(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one dataset in a report, best first.

    Attributes:
        name: of the dataset, with its parameters.
        subtitle: its source, and how many examples its parts have.
        verdict: what the rows say, in words.
        findings: what else they show, a sentence each.
        remarks: looks at the test set, and why no row is starred.
        classes: names of its classes.
        rows: see ``PageRow``.
        left_out: rows of the dataset that the page does not hold.
    """

    name: str
    subtitle: str
    verdict: str
    findings: list[str]
    remarks: list[str]
    classes: list[str]
    rows: list[PageRow]
    left_out: int = 0


class Dependence(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of rows that differ in one parameter, such as the ratio of a pruning.

    Attributes:
        title: what is drawn.
        parameter: the label of the horizontal axis.
        table: index of the table of its first line.
        lines: name and points of each; a point is table, row and the value of the parameter.
    """

    title: str
    parameter: str
    table: int
    lines: list[tuple[str, list[tuple[int, int, float]]]]


class SuiteText(msgspec.Struct, frozen=True):
    """A suite file: name, where it was found, its text or why there is none."""

    name: str
    path: str
    text: str


class Verification(msgspec.Struct, frozen=True):
    """The outcome of ``hepbench verify``: when, whether all agrees, what it printed."""

    when: str
    good: bool
    lines: list[str]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a whole report.

    Attributes:
        title: the suites.
        made: when, UTC.
        version: of hepbench, that made the page.
        results: where the records are.
        counts: how many records, cells, seeds.
        verification: None: not verified.
        warnings: what was skipped or left out.
        main: index of the column that ranks rows.
        groups: what the letters of groups mean.
        columns, tables, dependences: see there.
        efficiencies: of ROC curves.
        sections: those that rows refer to.
        environment: versions and machines of all records, each once.
        suites: files of the suites.
    """

    title: str
    made: str
    version: str
    results: str
    counts: str
    verification: Verification | None
    warnings: list[str]
    main: int
    groups: str
    columns: list[Column]
    tables: list[PageTable]
    dependences: list[Dependence]
    efficiencies: list[float]
    sections: list[Section]
    environment: list[Section]
    suites: list[SuiteText]
