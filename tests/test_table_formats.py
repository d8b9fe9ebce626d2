"""Columns, groups and formats of tables."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from io import StringIO

import pytest
from made_records import (
    LATENCY,
    METRICS,
    SAMPLE,
    Comparing,
    failed,
    objects,
    plain,
    record,
    row_of,
    seeds,
    table,
    unwrapped,
)
from needs import skip_unless

from hepbench.specs.errors import ResultsError, UsageError
from hepbench.specs.text import DASH
from hepbench.storage.costs import Cost
from hepbench.storage.records import (
    DataSummary,
    Machine,
    Provenance,
    Record,
    Value,
)
from hepbench.tables.request import FORMATS, GROUPS

# --- columns and groups


def test_a_table_has_one_section_for_each_value_of_its_group():
    """Datasets by default; anything that a record names, or the source of its data."""
    pair = [record(), record(dataset="jets", data=DataSummary(**SAMPLE))]
    assert [line for line in plain(pair).splitlines() if ": " in line and "training" in line] == [
        "higgs  file: 0 training, 0 validation, 500000 test examples; 1 seed",
        "jets  bundled sample: 0 training, 0 validation, 2196 test examples; 1 seed",
    ]
    assert "\nsource sample\n" in plain(pair, group="data.source")
    assert "\nmodel mlp\n" in plain([record(), record("mlp")], group="model")


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_shows_the_same_rows(group):
    """Grouping moves rows and loses none."""
    records = [record(m, 0, dataset=d) for m in "abc" for d in ("higgs", "jets")]
    assert len(objects(records, group=group)) == 6


def test_a_superseded_failure_is_in_no_group():
    """Grouped by status, a cell that succeeded since is not among the failed."""
    old = failed(finished="2025-11-19T10:00:00")
    assert "status failed" not in plain([old, record()], group="status")


def test_columns_are_shown_as_asked_for():
    """Any metric, on training and validation examples too, and any cost."""
    both = {
        "metrics_train": {"auc": Value(0.8, 0.001)},
        "metrics_validation": {"auc": Value(0.76, 0.01)},
        "cost": Cost(parameters=61761, peak_memory_mb=512.5),
    }
    names = ["validation_auc", "auc", "train_auc", "parameters", "peak_memory_mb"]
    text = plain([record(**both)], columns=names)
    assert re.fullmatch(
        rf"gbdt +scratch +0\.760 +0\.750\(10\)\({DASH}\) +0\.800 +61\.8 k +512",
        row_of(text, "gbdt"),
    )
    assert "\nmodel  chain    validation" in text


def test_default_columns_of_which_no_record_holds_anything_are_left_out():
    """A column of dashes tells nobody anything."""
    head = plain([record()]).splitlines()[4]
    assert re.split(r" {2,}", head) == ["model", "chain", "AUC"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"columns": ["acuracy"]},
            r"no column named 'acuracy'. Did you mean 'accuracy'\? Nearest of \d+: accuracy",
        ),
        ({"group": "modle"}, r"no group named 'modle'. Did you mean 'model'\? Known: chain, "),
        (
            {"format": "pdf"},
            r"no format named 'pdf'.* Known: csv, github, html, json, latex, plain",
        ),
    ],
)
def test_a_wrong_name_is_answered_with_what_is_allowed(wrong, said):
    """One line, with a suggestion where one is near."""
    with pytest.raises(UsageError, match=said):
        plain([record()], **wrong)


def test_no_records_make_no_table():
    """One line that says so."""
    with pytest.raises(ResultsError, match=r"^no records to show; .*$"):
        plain([])


# --- formats

NASTY = r'50% of_a|b & <i>#1</i> {x} ~^ $2$ \end "quoted", *bold* ±é'


def nasty() -> list[Record]:
    """Records whose names and messages hold what formats must escape."""
    return [
        record(NASTY, warnings=[f"odd: {NASTY}"]),
        failed("svm", message="line\none\x1b[31m red\tx"),
        record("mlp", auc=0.6),
    ]


def test_csv_is_read_back_to_the_unrounded_numbers():
    """RFC 4180: quoted where needed, lines end in CR LF, one header, one record for each row."""
    text = table([record(auc=0.1 + 0.2), *nasty()], metrics=METRICS, format="csv")
    rows = list(csv.DictReader(StringIO(text, newline="")))
    assert {row["model"] for row in rows} == {"gbdt", NASTY, "mlp", "svm"}
    assert next(row["auc"] for row in rows if row["model"] == "gbdt") == "0.30000000000000004"
    assert next(row["notes"] for row in rows if row["model"] == NASTY) == json.dumps(
        [f"odd: {NASTY}"], ensure_ascii=False
    )
    assert all(line.endswith("\r") for line in text.split("\n")[:-1])


def test_github_rows_have_as_many_cells_as_the_header():
    """Pipes in names are escaped, notes are numbered lines below."""
    lines = table(nasty(), metrics=METRICS, format="github").splitlines()
    cells = {len(re.split(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")}
    assert len(cells) == 1
    assert any(line.startswith("1. odd: 50% of") and r"a\|b &amp; &lt;i>" in line for line in lines)


def test_latex_is_escaped_and_uses_booktabs():
    """Signs with a meaning in TeX are printed; plus-minus is set in mathematics."""
    pair = [*nasty(), *seeds("a"), *seeds("b", 0.6)]
    text = table(pair, metrics=METRICS, format="latex", compare=Comparing(0))
    assert r"50\% of\_a$|$b \& $<$i$>$\#1$<$/i$>$ \{x\}" in text
    assert r"\textbf{0.750(10)(0)}" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1


def test_html_holds_every_cell_and_no_foreign_tag():
    """Names are text there, never markup."""

    class Reader(HTMLParser):
        tags: frozenset[str] = frozenset()
        text = ""

        def handle_starttag(self, tag, attrs):
            self.tags |= {tag}

        def handle_data(self, data):
            self.text += data

    reader = Reader()
    reader.feed(table(nasty(), metrics=METRICS, format="html"))
    assert NASTY in reader.text
    assert "i" not in reader.tags
    assert {"table", "th", "td", "style"} < reader.tags


def test_a_terminal_gets_no_control_characters():
    """An error message may hold escape sequences, which are written out, and line ends."""
    text = plain(nasty())
    assert "\x1b" not in text
    assert r"MemoryError: line one\x1b[31m red x" in text


def test_a_line_end_in_a_name_makes_no_line_of_a_table():
    """Parameters that differ stand in a name, and may hold anything."""
    text = plain([record("two\nlines"), record("mlp", auc=0.6)])
    assert "two lines  scratch" in text
    assert row_of(text, "mlp")


def test_every_format_names_every_row_and_ends_its_last_line():
    """Failed rows, too."""
    records = [record(), failed("svm"), record("mlp", data=DataSummary(**SAMPLE))]
    for name in FORMATS:
        text = table(records, metrics=METRICS, format=name)
        assert text.endswith("\n")
        assert all(model in text for model in ("gbdt", "svm", "mlp"))
        assert "out of memory" in text


def test_plain_tables_fit_the_width_and_keep_every_name():
    """Chains are wrapped at their steps; usual columns leave where it is narrow, and are named."""
    chain = "pretrain[epochs=9]+finetune+prune-structured[ratio=0.8,after=recalibrate]"
    both = {"auc": Value(0.8, 0.01), "rejection_50": Value(29.67, 8.87)}
    cost = Cost(parameters=672_850, flops=10_600_000, latencies=[LATENCY])
    rows = seeds("conv-vae", metrics=both, cost=cost, chain=chain)
    rows += seeds("a", metrics=both, cost=cost, chain="scratch+prune-structured")
    for width in (100, 80, 60):
        text = plain(rows, width=width)
        assert max(map(len, text.splitlines())) <= width
        pieces = ("pretrain", "[epochs=9]", "+finetune", "+prune-structured", "[ratio=0.8,")
        assert all(piece in text for piece in (*pieces, "after=recalibrate]"))
    assert "rej. 50 %" in plain(rows, width=100)
    assert "rej. 50 %" not in plain(rows, width=60)
    left_out = unwrapped(plain(rows, width=60)).partition("more columns: ")[2]
    assert left_out.startswith("--columns all, or NAME,... of parameters, rejection_50")


def test_columns_that_were_asked_for_stand_below_where_they_do_not_fit():
    """None is left out; the labels are there again."""
    names = ["auc", "accuracy", "log_loss", "rejection_50", "parameters", "epochs", "flops"]
    rows = [record(metrics=dict.fromkeys(METRICS, Value(0.8, 0.01)), epochs=3)]
    text = plain(rows, columns=names, width=60)
    assert max(map(len, text.splitlines())) <= 60
    assert sum(line.startswith("model ") for line in text.splitlines()) == 2
    assert all(title in text for title in ("AUC", "accuracy", "rej.", "params", "epochs", "FLOPs"))


def test_parameters_of_all_rows_are_told_once_above_the_table():
    """In every format that people read."""
    long = "scratch[epochs=20,batch_size=64,augment=['rotations','flips']]"
    rows = [record("a", chain=long), record("b", chain=long)]
    for name in ("plain", "github", "html", "latex"):
        text = table(rows, metrics=METRICS, format=name)
        assert text.count("epochs=20") == 1
        assert re.search(r"[Ll]eft out of the names( below)?: scratch", text)


def test_a_doubtful_latency_is_marked_and_explained_once():
    """No row has a note about it; background load without an effect is no doubt."""
    load = "latency under load: other work kept 0.9 of 2 cores busy"
    cost = Cost(latencies=[LATENCY])
    rows = [record(m, cost=cost, warnings=[load, "latency: not steady"]) for m in "ab"]
    text = plain([*rows, record("c", cost=cost, warnings=[load])])
    assert [row_of(text, m).split()[-1] for m in "abc"] == ["ms?", "ms?", "ms"]
    said = "?: not steady; measure it again on an idle machine"
    assert unwrapped(text).count(said) == 1
    assert "?:" not in plain(rows, columns=["auc"])
    (row, *_) = objects(rows)
    assert (row["latency_steady"], row["latency_ms"]) == (False, 1.0)
    assert row["notes"] == ["latency: not steady"]


def test_a_note_of_all_rows_is_told_once_without_a_number():
    """A warning about the data is one of the dataset."""
    rows = [record(m, warnings=["duplicates: 3 copies"]) for m in "ab"]
    text = plain(rows)
    assert "\n  all rows: duplicates: 3 copies\n" in text
    assert "notes" not in text.partition("\n\n")[2].partition("---")[0]
    assert "  1  duplicates: 3 copies\n" in plain([rows[0], record("c")])


def test_a_warning_about_a_column_that_is_not_shown_is_not_told():
    """Accuracy at a wrong threshold says nothing about the AUC."""
    both = {"auc": Value(0.8, 0.01), "accuracy": Value(0.5, 0.01)}
    rows = [record("a", metrics=both, warnings=["accuracy: the threshold calls all signal"])]
    rows.append(record("b", metrics=both))
    assert "threshold" not in plain(rows)
    assert "threshold" in plain(rows, columns=["auc", "accuracy"])


def test_csv_and_json_name_units_host_and_commit():
    """Of all seeds of a row; notes are a list in both."""
    about = [Provenance(machine=Machine(host=h), git=g) for h, g in (("x", "1a"), ("y", "1a"))]
    rows = [record(seed=i, provenance=p, warnings=["a: b; c"]) for i, p in enumerate(about)]
    (row,) = objects(rows, columns=["latency", "batch_latency", "load", "train_seconds"])
    assert {"latency_ms", "batch_latency_ms", "load_cores", "train_seconds"} <= row.keys()
    assert (row["host"], row["commit"], row["notes"]) == ("x, y", "1a", ["a: b; c"])
    (line,) = csv.DictReader(StringIO(table(rows, metrics=METRICS, format="csv"), newline=""))
    assert (line["host"], json.loads(line["notes"])) == ("x, y", ["a: b; c"])


# --- tables for a paper


def paper(records, **how):
    """Tables for a paper."""
    return table(records, metrics=METRICS, format="latex", style="paper", **how)


def test_a_table_for_a_paper_has_short_names_a_label_and_notes():
    """A model alone names its row if it has one; notes stand below the table."""
    rows = [*seeds("gbdt", warnings=["seal: broken"]), *seeds("mlp"), failed("svm")]
    text = paper(rows)
    assert r"\label{tab:standard-higgs}" in text
    assert "\ngbdt\\tnote{1} & " in text
    assert "\nmlp & " in text
    assert "scratch" not in text
    assert r"\item[1] seal: broken" in text
    labels = re.findall(r"\\label\{(.*?)\}", paper([*rows, *seeds("mlp", dataset="jets[n=2]")]))
    assert labels == ["tab:standard-higgs", "tab:standard-jets-n-2"]


def test_each_table_explains_what_it_shows_in_latex():
    """Readers of a paper see one table at a time; those of a terminal see one legend for all."""
    both = {"auc": Value(0.8, 0.01), "rejection_50": Value(29.67, 8.87)}
    rows = [*seeds("a", dataset="d"), *seeds("a", dataset="e", metrics=both)]
    rows += [*seeds("b", 0.6, dataset="d"), *seeds("b", 0.6, dataset="e", metrics=both)]
    said = "1 / background efficiency at 50"
    for style in ("full", "paper"):
        text = table(rows, metrics=METRICS, format="latex", style=style)
        first, second, *_ = re.split(r"\\end\{table\*?\}", text)
        assert [said in part for part in (first, second)] == [False, True]
    assert unwrapped(plain(rows)).count(said) == 1


def test_a_long_table_for_a_paper_is_divided():
    """Each part fits a page; only the last one has the notes."""
    rows = [r for i in range(99) for r in seeds(f"model-{i}", 0.9 - i / 1000)]
    text = paper(rows)
    assert text.count(r"\begin{table}") == text.count(r"\label{") == 3
    assert text.count("(continued)") == 2
    assert text.count(r"\begin{tablenotes}") == 1
    assert all(f"model-{i} & " in text.replace(r"\allowbreak{}", "") for i in range(99))


def nasty_names() -> list[Record]:
    """Records with names that have a meaning in a format, or none in a font."""
    names = [NASTY, "[a]", "*", "\N{GREEK SMALL LETTER CHI}\N{GRINNING FACE}", "-", "x" * 90, "a&b"]
    return [r for i, name in enumerate(names) for r in seeds(name, 0.9 - i / 100)]


@skip_unless(shutil.which("pdflatex") is not None, "needs LaTeX: pdflatex")
@pytest.mark.parametrize("style", ["full", "paper"])
def test_latex_compiles_whatever_the_names(style, tmp_path):
    """Without an error; in two columns of text without a line that is too wide."""
    text = table(nasty_names(), metrics=METRICS, format="latex", style=style)
    packages = r"\usepackage{array,booktabs,threeparttable}"
    begin = rf"\documentclass[twocolumn]{{article}}{packages}\begin{{document}}"
    (tmp_path / "t.tex").write_text(f"{begin}\n{text}\\end{{document}}\n")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    if style == "paper":
        assert "Overfull" not in done.stdout


def test_plain_columns_line_up():
    """Numbers end in one column: the rule below the heads is as wide as any cell."""
    text = plain([record("a", auc=0.8), record("a-much-longer-name", auc=0.7), failed("c")])
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("model "))
    head, rule, *rows = lines[start : start + 5]
    ends = [match.end() for match in re.finditer(r"-+", rule)]
    assert [row[end : end + 2].strip() for row in (head, *rows) for end in ends] == [""] * 20
