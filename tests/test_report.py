"""The report: what its page holds, that names are harmless in it, and what it refuses."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
import subprocess
import sys
import tempfile
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import conftest
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from made_records import METRICS, Comparing, failed, record, seeds

from hepbench.cli import reporting
from hepbench.cli.commands import cli
from hepbench.evaluation import stored_predictions
from hepbench.plots.results import roc_curves
from hepbench.report import assembly, groups, page
from hepbench.specs.errors import ResultsError, UsageError
from hepbench.storage.records import Published, encode
from hepbench.storage.results import Results
from hepbench.tables import stars
from hepbench.tables.columns import Columns
from hepbench.tables.ranking import rank
from hepbench.tables.rows import collect

BASELINE = Path(__file__).parents[1] / "results" / "baseline"
EVIL = "</script><script>window.hit = 1</script><img src=x onerror='window.hit=1'><!--"


class Ties:
    """Stands for the paired tests: rows tie that are within some distance of the best."""

    def __init__(self, distance, elsewhere=()):
        self.distance, self.elsewhere, self.best = distance, elsewhere, ()

    def __call__(self, rows, metric):
        values = [row[0].metrics[metric].value for row in rows]
        apart = [i for i, row in enumerate(rows) if row[0].model in self.elsewhere]
        known = [value for i, value in enumerate(values) if i not in apart]
        found = Ties(self.distance)
        found.best = [
            i for i, v in enumerate(values) if v >= max(known) - self.distance and i not in apart
        ]
        found.elsewhere = apart
        return found


def without_predictions(rows, metric, pairs=()):
    """Results beside which no predictions are stored."""
    raise ResultsError("no predictions were recorded")


def letters(records, compare):
    """The letters of the ranked rows of records."""
    columns = Columns(group="dataset", labels=(), names=["auc"], metrics=METRICS)
    return groups.letters(rank(collect(records, columns=["auc"]), columns), columns, compare)


def content(records, *, compare=without_predictions, **changed):
    """The content of a report of records without files."""
    request = {
        "results": Results(Path("nowhere")),
        "records": records,
        "looked": records,
        "metrics": METRICS,
        "summaries": {},
        "compare": compare,
        "verification": None,
        "suites": [],
        "made": "2026-01-01 00:00 UTC",
        "version": "0.1.0",
    }
    return assembly.page(assembly.Request(**(request | changed)))


def report(*arguments):
    """Run the verb; return what it prints."""
    done = CliRunner().invoke(cli, ["report", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@cache
def data_of(name):
    """The content of the report of a packed file, as its page holds it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.html"
        report(BASELINE / f"{name}.zip", "-o", path, "--no-verify")
        return data_in(path)


def data_in(path):
    """The content in the file of a report."""
    return json.loads(elements(path.read_text())["application/json"])


class Scripts(HTMLParser):
    """Reads the texts of the scripts and styles of a page, as a browser divides them."""

    def __init__(self):
        super().__init__()
        self.found, self.tags, self._open = {}, [], None

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._open = dict(attrs).get("type", tag) if tag in {"script", "style"} else None

    def handle_data(self, data):
        if self._open:
            self.found[self._open] = self.found.get(self._open, "") + data

    def handle_endtag(self, tag):
        self._open = None


def parsed(text):
    """A page as a parser of HTML sees it."""
    parser = Scripts()
    parser.feed(text)
    return parser


def elements(text):
    """The texts of the scripts of a page, by type."""
    return parsed(text).found


def test_groups_are_formed_from_the_best_row_down():
    """The rows that tie with the best are A; the same among the others gives B, then C."""
    records = [r for m, auc in zip("abcde", (0.9, 0.89, 0.8, 0.79, 0.5), strict=True)
               for r in seeds(m, auc)]  # fmt: skip
    assert letters(records, Ties(0.02)) == ["A", "A", "B", "B", "C"]
    assert letters(records, Ties(1)) == ["A"] * 5


def test_rows_that_no_test_can_compare_are_in_no_group():
    """One seed, other test examples, a failure, or no predictions at all."""
    pair = [*seeds("a", 0.9), *seeds("b", 0.6)]
    assert letters([*pair, record("c", auc=0.8), failed("d")], Ties(0.01)) == ["A", "", "B", ""]
    assert letters([*pair, *seeds("c", 0.5)], Ties(0.01, elsewhere=("b",))) == ["A", "", "B"]
    assert letters(pair, without_predictions) == ["", ""]
    assert letters([*seeds("a", 0.9), record("b")], Ties(0.01)) == ["", ""]


def test_a_row_whose_seeds_differ_by_too_much_has_a_question_mark():
    """It is not called one of the best, as in a table."""
    wide = [record("b", seed, 0.7 + d) for seed, d in enumerate((0.05, -0.05))]
    records = [*seeds("a", 0.9), *wide, *seeds("c", 0.5)]
    (table,) = content(records, compare=Comparing(0, 1)).tables
    assert [row.group for row in table.rows] == ["A", "?", "B"]
    assert stars.FEW_SEEDS in table.rows[1].notes


def test_groups_of_very_many_rows_end_with_the_best(monkeypatch):
    """Each further group would read all predictions once more."""
    monkeypatch.setattr(groups, "MOST_ROWS", 2)
    records = [r for m, auc in zip("abc", (0.9, 0.8, 0.7), strict=True) for r in seeds(m, auc)]
    assert letters(records, Ties(0.01)) == ["", "", ""]
    assert letters(records, Ties(0.15)) == ["A", "A", ""]


def test_the_page_has_the_rows_of_the_table_in_its_order():
    """Same values, same errors, same stars; notes begin alike."""
    shown = data_of("electron-photon")
    done = CliRunner().invoke(
        cli, ["table", str(BASELINE / "electron-photon.zip"), "--format", "json"]
    )
    rows = json.loads(done.stdout)
    names = [column["name"] for column in shown["columns"]]
    (table,) = shown["tables"]
    assert [row["model"] for row in table["rows"]] == [row["model"] for row in rows]
    for mine, theirs in zip(table["rows"], rows, strict=True):
        assert mine["values"][names.index("auc")] == pytest.approx(theirs["auc"], rel=1e-6)
        assert mine["values"][names.index("flops")] == theirs["flops"]
        assert mine["stderr"] == pytest.approx(theirs["auc_stderr"])
        assert mine["spread"] == pytest.approx(theirs["auc_spread"])
        assert mine.get("best", False) == theirs["best"]
        said = {part for note in mine["notes"] for part in note.split(": ")}
        assert all(said.intersection(note.split(": ")) for note in theirs["notes"])
    assert table["rows"][0]["group"] == "A"
    assert table["verdict"].startswith("gbdt is best")


def test_the_page_has_the_findings_of_the_table():
    """Each is an item of its own below the verdict, also for readers without the script."""
    done = CliRunner().invoke(cli, ["table", str(BASELINE / "quickstart.zip")])
    said = " ".join(done.stdout.split())
    findings = [text for table in data_of("quickstart")["tables"] for text in table["findings"]]
    assert len(findings) >= 3
    assert all(text in said for text in findings)


def test_a_value_that_is_missing_is_empty_and_never_zero():
    """Its note says why it is missing."""
    trees = next(r for r in data_of("electron-photon")["tables"][0]["rows"] if r["model"] == "gbdt")
    place = [c["name"] for c in data_of("electron-photon")["columns"]].index("flops")
    assert (trees["values"][place], trees["texts"][place]) == (None, "")


def test_roc_curves_are_those_of_the_predictions():
    """Each point is at its own efficiency, also where the first ones are missing."""
    shown = data_of("quickstart")
    results = Results(BASELINE / "quickstart.zip")
    row = shown["tables"][0]["rows"][0]
    mine = [r for r in results.records() if r.key[:12] in {seed[3] for seed in row["seeds"]}]
    curves = [roc_curves.roc(p) for p in stored_predictions.of_records(results, mine, "test")]
    drawn = row["curves"]["roc"]
    assert 0 < drawn["start"] < len(shown["efficiencies"])
    for i, rejection in enumerate(drawn["rejection"]):
        at = shown["efficiencies"][drawn["start"] + i]
        place = int(np.argmin(abs(roc_curves.EFFICIENCIES - at)))
        expected = np.mean([curve.rejection[place] for curve in curves])
        assert rejection == pytest.approx(expected, rel=1e-3)


def test_rows_that_differ_in_one_parameter_are_lines():
    """Pruning ratios of each method; numbers of labels across datasets."""
    (ratios,) = data_of("pruning")["dependences"]
    assert ratios["parameter"] == "ratio"
    names = [name for name, _ in ratios["lines"]]
    assert len(set(names)) == len(names)
    for _, points in ratios["lines"]:
        assert len(points) >= 3
        assert [v for *_, v in points] == sorted(v for *_, v in points)
    (labels,) = data_of("higgs-transformer")["dependences"]
    assert labels["parameter"] == "training examples with labels"
    for _, points in labels["lines"]:
        assert [table for table, *_ in points] == [0, 1, 2]
        most = points[-1][2]
        assert [v for *_, v in points] == [0.01 * most, 0.1 * most, most]


def test_trainings_say_which_epochs_were_kept():
    """Of networks and of estimators; a step of a chain is a panel of its own."""
    rows = data_of("quickstart")["tables"][0]["rows"]
    steps = {step["name"] for row in rows for step in row["curves"].get("steps", [])}
    assert {"pretrain", "finetune", "scratch"} <= steps
    lines = [x for row in rows for step in row["curves"].get("steps", []) for x in step["lines"]]
    assert any(line["kept"] for line in lines if line["part"] == "validation")
    assert all(len(line["epochs"]) == len(line["mean"]) for line in lines)


def test_a_page_of_the_standard_suite_is_small(tmp_path):
    """It is sent by mail; five megabytes at most."""
    out = report(BASELINE / "standard.zip", "-o", tmp_path / "r.html")
    assert (tmp_path / "r.html").stat().st_size < 5e6
    records = Results(BASELINE / "standard.zip").records()
    rows = {(record.dataset, record.model, record.chain) for record in records}
    datasets = {record.dataset for record in records}
    assert f"{len(records)} records, {len(rows)} rows, {len(datasets)} datasets" in out


def test_names_with_html_are_text():
    """They end no script, start none, and come back letter by letter."""
    evil = [r for m in (EVIL, "b") for r in seeds(m, dataset=EVIL, suite=EVIL, chain=EVIL)]
    text = page.html(content(evil))
    found = parsed(text)
    # two scripts: the content and the program; nothing in the content became an element
    assert found.tags.count("script") == 2
    assert not {"img"} & set(found.tags)
    data = json.loads(found.found["application/json"])
    assert data["tables"][0]["name"] == EVIL
    assert EVIL in {row["model"] for row in data["tables"][0]["rows"]}


def test_the_page_allows_itself_nothing_but_its_own_script_and_style():
    """Their hashes are in its policy; everything else, any address too, is forbidden."""
    text = page.html(content(seeds("a")))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for rule, kind in (("script-src", "script"), ("style-src", "style")):
        digest = hashlib.sha256(elements(text)[kind].encode()).digest()
        assert rules[rule] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert rules["default-src"] == "'none'"
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_the_command_of_a_row_runs_its_cells_again(tmp_path):
    """As 'plan' tells of the same options: same keys, all of them recorded."""
    bench = conftest.run_pair(tmp_path, "line", "line[slope=-1.0]")
    done = bench("report", "results", "--no-verify")
    assert done.code == 0, done.err
    data = data_in(tmp_path / "report.html")
    for row in data["tables"][0]["rows"]:
        program, verb, *options = shlex.split(row["commands"][0])
        assert (program, verb) == ("hepbench", "run")
        planned = bench("plan", *options).out.splitlines()
        for seed, _, _, key, *_ in row["seeds"]:
            cell = f"  toy/{row['model']}/fit#{seed}  {key[:10]}  recorded, bundled sample"
            assert cell in planned
        verify = shlex.split(row["commands"][1])
        assert bench(*verify[1:]).out.splitlines()[-1].endswith("the same when run again")


def test_a_row_names_its_seeds_parameters_data_and_origin():
    """What is equal in many rows is in the page once."""
    shown = data_of("electron-photon")
    for row in shown["tables"][0]["rows"]:
        titles = [shown["sections"][i]["title"] for i in row["sections"]]
        assert {"Parameters of dataset", "Data", "Environment"} <= set(titles)
        assert [seed[:2] for seed in row["seeds"]] == [["0", "ok"], ["1", "ok"], ["2", "ok"]]
    texts = [msgspec.json.encode(section) for section in shown["sections"]]
    assert len(set(texts)) == len(texts)
    assert "published" in {column["name"] for column in shown["columns"]}


def test_failures_are_rows_with_their_error():
    """They have no value, and are counted."""
    shown = content([*seeds("a"), failed("b", message=EVIL)])
    row = shown.tables[0].rows[1]
    assert (row.model, row.values[0], row.curves) == ("b", None, None)
    assert EVIL in row.seeds[0][5]
    assert "1 failed cell" in shown.counts


def test_records_of_something_else_cost_no_page():
    """A chain that is none, an empty record of data, classes or history."""
    odd = [*seeds("a", chain="]["), *seeds("b", data=None), *seeds("c", params={"methods": {}})]
    assert len(content(odd).tables[0].rows) == 3


def test_rows_of_several_suites_and_presets_say_which():
    """Otherwise two rows would have one name."""
    shown = content([*seeds("a"), *seeds("a", suite="mine"), *seeds("a", preset="paper")])
    more = {row.more for row in shown.tables[0].rows}
    assert more == {
        "suite standard, preset quick",
        "suite mine, preset quick",
        "suite standard, preset paper",
    }
    assert {row.more for row in content(seeds("a")).tables[0].rows} == {""}


def test_published_values_are_a_column_with_their_source():
    """The caveat is beside it."""
    known = Published(cell="*", metrics={"auc": 0.9}, source="a paper", caveat="other data")
    shown = content(seeds("a", published=known))
    place = [column.name for column in shown.columns].index("published")
    row = shown.tables[0].rows[0]
    assert (row.values[place], row.texts[place]) == (0.9, "0.9")
    (section,) = [s for s in shown.sections if s.title == "Published"]
    assert ("caveat", "other data") in section.items


def test_what_is_too_much_for_a_page_is_left_out_and_said(monkeypatch):
    """The best rows of each dataset stay."""
    monkeypatch.setattr(assembly, "MOST_ROWS", 4)
    monkeypatch.setattr(assembly, "MOST_CURVES", 2)
    records = [r for d in "xy" for i in range(4) for r in seeds(f"m{i}", 0.9 - i / 10, dataset=d)]
    shown = content(records)
    assert [[row.model for row in t.rows] for t in shown.tables] == [["m0", "m1"], ["m0", "m1"]]
    assert [t.left_out for t in shown.tables] == [2, 2]
    assert shown.warnings[0].startswith("4 rows left out: a page holds 4")
    assert shown.warnings[1].startswith("ROC curves, training curves")


def test_a_report_is_verified_and_says_when(tmp_path):
    """A value that was changed is a difference, named in the page."""
    report(BASELINE / "electron-photon.zip", "-o", tmp_path / "good.html")
    good = data_in(tmp_path / "good.html")
    assert good["verification"]["good"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", good["verification"]["when"])
    subprocess.run(["unzip", "-q", BASELINE / "electron-photon.zip", "-d", tmp_path], check=True)
    results = Results(tmp_path / "electron-photon")
    name, first = next(iter(results.by_name().items()))
    wrong = first.metrics | {"auc": msgspec.structs.replace(first.metrics["auc"], value=0.99)}
    changed = msgspec.structs.replace(first, metrics=wrong)
    folder = first.predictions.path.rpartition("predictions/")[0]
    assert not folder
    (tmp_path / "electron-photon" / name).write_bytes(encode(changed))
    report(tmp_path / "electron-photon", "-o", tmp_path / "bad.html")
    bad = data_in(tmp_path / "bad.html")
    assert not bad["verification"]["good"]
    assert "test auc.value: recorded 0.99" in " ".join(bad["verification"]["lines"])
    report(tmp_path / "electron-photon", "-o", tmp_path / "none.html", "--no-verify")
    none = data_in(tmp_path / "none.html")
    assert none["verification"] is None


def test_of_very_many_differences_the_first_are_listed(tmp_path, monkeypatch):
    """The summary of all of them comes last."""
    monkeypatch.setattr(reporting, "MOST_LINES", 3)
    subprocess.run(["unzip", "-q", BASELINE / "electron-photon.zip", "-d", tmp_path], check=True)
    for path in (tmp_path / "electron-photon").rglob("*.npz"):
        path.unlink()
    report(tmp_path / "electron-photon", "-o", tmp_path / "r.html")
    lines = data_in(tmp_path / "r.html")["verification"]["lines"]
    assert len(lines) == 5
    assert lines[3] == "and 33 more: see hepbench verify"
    assert lines[4].startswith("18 records, 0 values recomputed")


def test_the_suite_file_is_in_the_page_or_why_it_is_not(tmp_path):
    """It is the file of today: the page says so."""
    (suite,) = data_of("electron-photon")["suites"]
    assert "name = " in suite["text"]
    bench = conftest.run_pair(tmp_path, "line")
    (tmp_path / "pair.toml").unlink()
    assert bench("report", "results").code == 0
    data = data_in(tmp_path / "report.html")
    (suite,) = data["suites"]
    assert (suite["path"], suite["text"][:14]) == ("", "not found here")


def test_chosen_rows_are_shown_alone(tmp_path):
    """With the globs of run and plot; one that matches nothing is an error."""
    out = report(BASELINE / "standard.zip", "-d", "higgs", "-m", "gbdt", "-o", tmp_path / "r.html")
    assert "9 records, 3 rows, 3 datasets" in out
    with pytest.raises(UsageError, match="'nothing' matches no dataset"):
        report(BASELINE / "standard.zip", "-d", "nothing")


@pytest.mark.parametrize("output", ["r.pdf", "report", "file/r.html"])
def test_an_output_that_cannot_be_written_is_one_line(bench, output):
    """Nothing is left behind."""
    bench.write("file", "")
    done = bench("report", BASELINE / "electron-photon.zip", "-o", output)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert output in done.err
    assert [path.name for path in bench.folder.iterdir() if path.name != "cache"] == ["file"]


def test_a_report_imports_neither_torch_nor_matplotlib(tmp_path):
    """It is as quick as its predictions are read."""
    code = (
        "import sys; from hepbench.cli.commands import cli; cli(sys.argv[1:], standalone_mode=False); "
        "print([m for m in ('torch', 'matplotlib') if m in sys.modules], file=sys.stderr)"
    )
    path = BASELINE / "electron-photon.zip"
    command = [sys.executable, "-c", code, "report", str(path), "-o", str(tmp_path / "r.html")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
