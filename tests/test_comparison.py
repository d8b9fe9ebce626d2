"""Comparison of two results: verdicts on cells, what is said, and in which formats."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest
from conftest import TESTS
from made_runs import Cell, run

from hepbench.cli import comparisons
from hepbench.comparison import comparison, gate
from hepbench.comparison.document import FORMATS
from hepbench.comparison.findings import VERDICTS
from hepbench.comparison.quality import Runs
from hepbench.comparison.sentences import sentences
from hepbench.registry.builtin import hepbench_metrics
from hepbench.specs.errors import UsageError
from hepbench.specs.gate import Rule
from hepbench.storage import packing
from hepbench.storage.results import Results

METRICS = {metric.name: metric for metric in hepbench_metrics()}
BASELINE = TESTS.parent / "results/baseline"


def compared(base, new, *names):
    """The comparison of two results by some metrics and costs, by default by the AUC."""
    runs = Runs(Results(base.root), Results(new.root))
    records = [results.records() for results in runs]
    return comparison.compare(runs, records, metrics=METRICS, names=names or ["auc"])


def verdicts(base, new, name="auc"):
    """Verdict and finding on each model."""
    found = compared(base, new, name).findings[name]
    return {finding.cell.split("/")[1]: finding for finding in found}


def one(folder, base, new, name="auc", **both):
    """The finding on a single cell of two runs."""
    runs = [run(folder / n, m=cell, **both) for n, cell in (("base", base), ("new", new))]
    return verdicts(*runs, name)["m"]


@pytest.mark.parametrize("name", ["auc", "accuracy", "log_loss"])
@pytest.mark.parametrize("weights", [False, True])
def test_cells_that_differ_have_the_right_verdict(tmp_path, name, weights):
    """Other seeds of one model show no difference; better and worse separated scores do."""
    cells = {name: Cell() for name in ("same", "reseeded", "better", "worse")}
    base = run(tmp_path / "base", weights=weights, **cells)
    changed = {
        "reseeded": Cell(first=50),
        "better": Cell(first=50, separation=1.6),
        "worse": Cell(first=50, separation=0.8),
    }
    new = run(tmp_path / "new", weights=weights, **cells | changed)
    found = verdicts(base, new, name)
    assert {model: each.verdict for model, each in found.items()} == {
        "same": "identical",
        "reseeded": "no difference shown",
        "better": "better",
        "worse": "worse",
    }
    assert found["worse"].loss > 0 > found["better"].loss
    assert found["reseeded"].smallest_visible < found["worse"].loss


def test_values_are_those_of_the_records(tmp_path):
    """Means over seeds, whichever way they were computed."""
    base, new = (run(tmp_path / n, m=Cell(first=first)) for n, first in (("base", 0), ("new", 9)))
    for name in ("auc", "accuracy", "log_loss"):
        found = verdicts(base, new, name)["m"]
        for value, results in ((found.base, base), (found.new, new)):
            recorded = [record.metrics[name].value for record in results.records()]
            assert value == pytest.approx(np.mean(recorded), abs=1e-9)


def test_one_seed_concludes_nothing_unless_scores_are_identical(tmp_path):
    """However large the difference is, and whichever run has one seed."""
    found = one(tmp_path, Cell(seeds=1), Cell(seeds=1, separation=0.1))
    assert found.verdict == "nothing concluded"
    assert "one seed in BASE and NEW" in found.reason
    assert found.loss > 0.2
    found = one(tmp_path / "b", Cell(seeds=3), Cell(seeds=1, separation=0.1))
    assert "one seed in NEW" in found.reason
    assert one(tmp_path / "c", Cell(seeds=1), Cell(seeds=1)).verdict == "identical"


def test_deterministic_models_with_other_seeds_are_identical(tmp_path):
    """Where all trainings of both runs have the same scores, numbers of seeds do not matter."""
    still = Cell(own=0.0)
    assert one(tmp_path, still, replace(still, seeds=2)).verdict == "identical"
    worse = one(tmp_path / "b", still, replace(still, separation=1.0))
    assert (worse.verdict, worse.difference.deterministic) == ("worse", True)


def test_other_test_examples_are_not_compared(tmp_path):
    """The reason names what differs: the data, or the examples themselves."""
    found = one_of_two(tmp_path, {"data": "d1"}, {"data": "d2"})
    assert found.verdict == "not comparable"
    assert "data (d1 against d2)" in found.reason
    found = one_of_two(tmp_path / "b", {"n": 2000}, {"n": 1000})
    assert found.verdict == "not comparable"
    found = one_of_two(tmp_path / "c", {}, {"weights": True})
    assert found.reason == "only one run has event weights"


def one_of_two(folder, base, new):
    """The finding on a cell of two runs that differ in what all their cells share."""
    runs = (run(folder / n, m=Cell(), **how) for n, how in (("base", base), ("new", new)))
    return verdicts(*runs)["m"]


def test_missing_and_failed_cells_are_told(tmp_path):
    """A seed that fails in NEW alone is no smaller sample: the cell is missing."""
    base = run(tmp_path / "base", a=Cell(), b=Cell(), c=Cell())
    new = run(tmp_path / "new", b=Cell(failed=(0, 1, 2)), c=Cell(failed=(1,)), d=Cell())
    found = {name: (each.verdict, each.reason) for name, each in verdicts(base, new).items()}
    assert found["a"] == ("missing", "not in NEW")
    assert found["b"] == ("missing", "failed in NEW: ValueError: told to fail")
    assert found["c"] == ("missing", "seed 1 failed in NEW: ValueError: told to fail")
    assert found["d"] == ("only in NEW", "not in BASE")


def test_predictions_that_are_gone_conclude_nothing(tmp_path):
    """The reason names the file."""
    base, new = run(tmp_path / "base", m=Cell()), run(tmp_path / "new", m=Cell(first=50))
    (new.root / "made/predictions/m1.npz").unlink()
    found = verdicts(base, new)["m"]
    assert found.verdict == "nothing concluded"
    assert "m1.npz is missing" in found.reason


def test_few_examples_of_a_class_conclude_nothing(tmp_path):
    """DeLong's error of nine examples is none."""
    found = one(tmp_path, Cell(), Cell(first=50), n=18)
    assert found.verdict == "nothing concluded"
    assert found.reason == "9 test examples of a class; at least 10 are needed"


def test_equal_rankings_of_few_examples_are_no_proof(tmp_path):
    """Two runs that rank all examples correctly have no error by DeLong; forty examples show little."""
    perfect = Cell(separation=40.0, own=0.1)
    for n, visible in ((40, 0.14), (4000, 0.0014)):
        found = one(tmp_path / str(n), perfect, replace(perfect, first=50), n=n)
        assert (found.verdict, found.base, found.new) == ("no difference shown", 1, 1)
        assert found.smallest_visible == pytest.approx(visible, rel=0.01)


def test_warnings_that_only_new_has_are_told(tmp_path):
    """A row that is no longer reproducible got worse, whatever its AUC is."""
    base, new = run(tmp_path / "base", m=Cell()), run(tmp_path / "new", m=Cell(first=50))
    for results, warnings in ((base, ["limits: few"]), (new, ["limits: few", "scores: saturated"])):
        for record in results.records():
            results.rewrite(msgspec.structs.replace(record, warnings=warnings))
    text = comparisons.compare(
        base=base.root, new=new.root, metrics=None, suite=None, format_="plain"
    )
    assert "warning in NEW: scores: saturated" in text
    assert "limits" not in text


def test_an_accuracy_without_its_validation_part_concludes_nothing(tmp_path):
    """It was left out when the results were packed; identical scores are identical all the same."""
    for name, first in (("base", 0), ("new", 50)):
        folder = run(tmp_path / name, m=Cell(first=first), same=Cell())
        packing.pack(folder, tmp_path / f"{name}.zip", packing.Contents(parts=("test",)))
    found = verdicts(*(Results(tmp_path / f"{n}.zip") for n in ("base", "new")), "accuracy")
    assert found["m"].verdict == "nothing concluded"
    assert "validation part was left out" in found["m"].reason
    assert found["same"].verdict == "identical"


def test_many_cells_are_corrected_for_their_number(tmp_path):
    """The same difference has a larger probability, and a larger loss is visible, among more cells."""
    cells = {f"m{i}": Cell() for i in range(6)}
    base = run(tmp_path / "base", **cells)
    new = run(tmp_path / "new", **{name: Cell(first=50) for name in cells})
    alone = verdicts(base, run(tmp_path / "one", m0=Cell(first=50)))["m0"]
    among = verdicts(base, new)["m0"]
    assert (alone.tests, among.tests) == (1, 6)
    assert among.p >= alone.p
    assert among.smallest_visible > alone.smallest_visible


def test_counts_are_compared_exactly(tmp_path):
    """One multiply-accumulate more is more; what neither run counted is not compared."""
    costs = {"equal": 1000, "more": 1001, "fewer": 999}
    base = run(tmp_path / "base", trees=Cell(), **{n: Cell(cost={"flops": 1000}) for n in costs})
    cells = {name: Cell(cost={"flops": flops}) for name, flops in costs.items()}
    found = verdicts(base, run(tmp_path / "new", trees=Cell(), **cells), "flops")
    assert {name: each.verdict for name, each in found.items()} == {
        "equal": "identical",
        "more": "worse",
        "fewer": "better",
    }
    assert found["more"].increase == pytest.approx(0.001)


def test_a_count_that_is_gone_or_a_lower_bound_is_no_improvement(tmp_path):
    """Fewer FLOPs because operators were not counted are not fewer FLOPs."""
    gap = {"gaps": ["macs: not counted: aten::fancy"]}
    base = run(tmp_path / "base", a=Cell(cost={"flops": 1000}), b=Cell(cost={"flops": 1000}))
    new = run(tmp_path / "new", a=Cell(cost=gap), b=Cell(cost={"flops": 10, **gap}))
    found = verdicts(base, new, "flops")
    assert (found["a"].verdict, found["b"].verdict) == ("not measured", "nothing concluded")
    assert "aten::fancy" in found["a"].reason
    assert "only a lower bound" in found["b"].reason


def timed(*ms, reference=2.0):
    """A cell whose latencies were timed beside a reference computation, one for each seed."""
    return Cell(latencies=tuple((each, reference) for each in ms))


@pytest.mark.parametrize(
    ("new", "verdict"),
    [
        (timed(1.5, 1.51, 1.49), "worse"),
        # the machine is twice as slow, the network is not
        (timed(2.02, 1.99, 2.0, reference=4.0), "no difference shown"),
        (timed(0.5, 0.49, 0.51), "better"),
        (timed(1.0, 1.01, 0.99), "identical"),
        (timed(1.5, 1.51, 1.49, reference=None), "not comparable"),
    ],
)
def test_latencies_are_compared_in_multiples_of_the_reference(tmp_path, new, verdict):
    """A network that takes half as long again is slower, on whichever machine."""
    found = one(tmp_path, timed(1.0, 1.01, 0.99), new, "latency")
    assert found.verdict == verdict
    if verdict == "worse":
        assert found.increase == pytest.approx(0.5, abs=0.01)
        assert found.smallest_visible < 0.1


def rounds(*factors, scatter=0.03):
    """Rounds of two runs in as many turns as there are factors, by which NEW takes longer."""
    rng = np.random.default_rng(3)
    base = rng.normal(1, scatter, (len(factors), 6))
    new = np.array(factors)[:, None] * rng.normal(1, scatter, (len(factors), 6))
    return base.tolist(), new.tolist()


def in_turn(folder, **of_models):
    """The comparison of two runs whose latencies were timed in turn, by model."""
    cells = dict.fromkeys(of_models, timed(1.0, 1.01, 0.99))
    runs = Runs(run(folder / "base", **cells), run(folder / "new", **cells))
    return comparison.compare(
        runs, [each.records() for each in runs], metrics=METRICS, names=["latency"],
        time_in_turn=lambda pairs: {p.cell: of_models[p.cell.split("/")[1]] for p in pairs},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (rounds(1.5, 1.48, 1.52, 1.5), "worse"),
        (rounds(0.7, 0.71, 0.7, 0.69), "better"),
        (rounds(1.0, 1.01, 0.99, 1.0), "no difference shown"),
        # significant, but smaller than what other places in memory do
        (rounds(1.06, 1.07, 1.06, 1.06), "no difference shown"),
        # other work slowed down three of four turns
        (rounds(1.5, 1.4, 0.97, 1.3), "no difference shown"),
        (rounds(1.5, 0.6, 1.6, 0.7, scatter=0.5), "no difference shown"),
        (([], []), "identical"),
    ],
)
def test_latencies_that_were_timed_in_turn_are_told_if_they_differ_in_every_turn(
    tmp_path, made, verdict
):
    """By more than a tenth and beyond chance; they replace what the records hold."""
    (finding,) = in_turn(tmp_path, m=made).findings["latency"]
    assert finding.verdict == verdict
    if verdict == "worse":
        assert finding.increase == pytest.approx(0.5, abs=0.03)
        assert 0.1 <= finding.smallest_visible < 0.15


def test_a_gate_on_latencies_timed_in_turn_knows_what_it_can_see(tmp_path):
    """A tolerance below a tenth cannot be judged; a larger one passes, or fails."""
    found = in_turn(tmp_path, same=rounds(1.0, 1.01, 0.99), slow=rounds(1.5, 1.5, 1.5))

    def outcomes(allowed):
        policy = [("latency", Rule(max_increase=allowed))]
        judged = gate.judge(found, policy, is_default=False)
        return {each.cell.split("/")[1]: each.outcome for each in judged}

    assert outcomes("5%") == {"same": "unclear", "slow": "worse"}
    assert outcomes("20%") == {"same": "passed", "slow": "worse"}
    assert outcomes("70%") == {"same": "passed", "slow": "passed"}


def test_many_latencies_that_were_timed_in_turn_are_corrected_for_their_number(tmp_path):
    """Holm's procedure, as for other tests."""
    models = {f"m{i}": rounds(1.0, 1.01, 0.99) for i in range(9)}
    found = in_turn(tmp_path, slow=rounds(1.5, 1.5, 1.5), **models)
    by_model = {each.cell.split("/")[1]: each for each in found.findings["latency"]}
    slow = by_model["slow"]
    assert (slow.verdict, slow.tests) == ("worse", 10)
    assert slow.p == pytest.approx(10 * slow.timed.p)
    assert {each.verdict for each in by_model.values()} == {"worse", "no difference shown"}


def test_seeds_that_share_a_measurement_are_one_measurement(tmp_path):
    """Equal latencies of three seeds are no sign that latencies do not vary."""
    found = one(tmp_path, timed(1.0, 1.0, 1.0), timed(1.5, 1.5, 1.5), "latency")
    assert found.verdict == "nothing concluded"
    assert "one measurement does not show how much latencies vary" in found.reason


def test_what_changed_in_the_key_stands_beside_the_cell(tmp_path):
    """As hepbench why tells it; the seed is no change."""
    base = run(tmp_path / "base", m=Cell())
    new = run(tmp_path / "new", m=Cell(first=50, learning_rate=0.2))
    (pair,) = compared(base, new).pairs
    assert pair.changes == ["scratch.params.learning_rate: 0.1 -> 0.2"]
    text = comparisons.compare(
        base=base.root, new=new.root, metrics=None, suite=None, format_="plain"
    )
    assert "changed: scratch.params.learning_rate: 0.1 -> 0.2" in text


def test_a_legend_is_only_about_what_a_table_shows(tmp_path):
    """Costs of cells that one run alone has are in no table."""
    base = run(tmp_path / "base", m=Cell(), other=timed(1.0, 1.01, 0.99))
    new = run(tmp_path / "new", m=Cell(first=50))
    how = {"metrics": None, "suite": None, "format_": "plain"}
    assert "latency:" not in comparisons.compare(base=base.root, new=new.root, **how)
    again = run(tmp_path / "again", m=Cell(first=50), other=timed(1.5, 1.51, 1.49))
    assert "\nlatency: " in comparisons.compare(base=base.root, new=again.root, **how)


def test_unknown_names_are_refused(tmp_path):
    """With a suggestion; so is a metric without a direction."""
    base = run(tmp_path, m=Cell())
    with pytest.raises(UsageError, match="no metric or cost named 'acu'"):
        compared(base, base, "acu")
    metrics = {"auc": replace(METRICS["auc"], higher_is_better=None)}
    records = [base.records()] * 2
    with pytest.raises(UsageError, match="neither its high nor its low values are better"):
        comparison.compare(Runs(base, base), records, metrics=metrics, names=["auc"])


def test_a_metric_of_a_plugin_that_raises_costs_no_comparison(tmp_path):
    """Its cells conclude nothing, with the error."""
    base, new = run(tmp_path / "base", m=Cell()), run(tmp_path / "new", m=Cell(first=50))
    broken = {"auc": replace(METRICS["auc"], compute="math:sqrt")}
    records = [results.records() for results in (base, new)]
    found = comparison.compare(Runs(base, new), records, metrics=broken, names=["auc"])
    assert found.findings["auc"][0].verdict == "nothing concluded"
    assert "must be real number" in found.findings["auc"][0].reason


def everything(folder):
    """Two runs with cells of each verdict."""
    base = run(
        folder / "base", same=Cell(), reseeded=Cell(cost={"flops": 1000}), worse=Cell(),
        gone=Cell(), one_seed=Cell(seeds=1),
    )  # fmt: skip
    new = run(
        folder / "new", same=Cell(), reseeded=Cell(first=50, cost={"flops": 1120}),
        worse=Cell(first=50, separation=0.8), one_seed=Cell(first=50, seeds=1), more=Cell(),
    )  # fmt: skip
    return base, new


def test_the_first_sentence_says_what_got_better_and_worse_and_what_cannot_be_told(tmp_path):
    """Names stand where there is something to look at."""
    first, flops, *_ = sentences(compared(*everything(tmp_path), "auc", "flops"), ["auc", "flops"])
    assert first.startswith("AUC of 6 cells: 1 worse (higgs/worse/scratch by 0.0")
    for part in (
        "1 without a difference that can be shown",
        "1 bit-identical",
        "1 missing or failed (higgs/gone/scratch)",
        "1 where nothing can be concluded (higgs/one_seed/scratch)",
        "1 only in NEW (higgs/more/scratch)",
    ):
        assert part in first
    assert flops == "FLOPs of 1 cell: 1 higher (higgs/reseeded/scratch by 12 %)."


def test_cells_that_are_identical_in_everything_are_counted_not_listed(tmp_path):
    """And the very same records are told to be that."""
    base = run(tmp_path, m=Cell(), k=Cell())
    text = comparisons.compare(
        base=base.root, new=base.root, metrics=None, suite=None, format_="plain"
    )
    assert text.startswith("AUC is bit-identical in both cells.\nNEW holds the same records")
    assert "model" not in text


@pytest.mark.parametrize("format_", ["plain", "github", "html"])
def test_cells_that_one_run_alone_has_are_named_in_a_line_and_in_no_table(tmp_path, format_):
    """A line for each run, with their number; of many, some names. A failed cell has its row."""
    many = {f"m{i:02}": Cell(seeds=1) for i in range(12)}
    base = run(tmp_path / "base", kept=Cell(), **many)
    new = run(tmp_path / "new", kept=Cell(failed=(1,)), more=Cell(seeds=1))
    text = comparisons.compare(
        base=base.root, new=new.root, metrics=None, suite=None, format_=format_
    )
    text = " ".join(text.split())
    assert "Only in BASE, higgs: 12 cells: m00/scratch, m01/scratch" in text
    assert "m09/scratch, and 2 more" in text
    assert "Only in NEW, higgs: 1 cell: more/scratch" in text
    assert text.count("more/scratch") == 2  # in the sentence and the line
    assert text.count("told to fail") == 1
    assert "m11" not in text


def test_runs_without_a_common_cell_have_no_table_and_no_legend(tmp_path):
    """Lines with the names remain."""
    base, new = run(tmp_path / "base", a=Cell(seeds=1)), run(tmp_path / "new", b=Cell(seeds=1))
    text = comparisons.compare(
        base=base.root, new=new.root, metrics=None, suite=None, format_="plain"
    )
    assert text.endswith(
        "\n\nOnly in BASE, higgs: 1 cell: a/scratch\nOnly in NEW, higgs: 1 cell: b/scratch\n"
    )


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "br", "li", "p", "html"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_tells_the_same(tmp_path, format_):
    """Its sentences, every cell that is not identical, every verdict."""
    base, new = everything(tmp_path)
    text = comparisons.compare(
        base=base.root, new=new.root, metrics="auc,accuracy", suite=None, format_=format_
    )
    for part in ("1 worse (", "worse", "missing", "nothing concluded", "no difference shown"):
        assert part in text.replace("\\", "")
    if format_ == "json":
        found = json.loads(text)
        findings = {each["cell"]: each["findings"] for each in found["cells"]}
        assert findings["higgs/worse/scratch"]["auc"]["verdict"] == "worse"
        assert findings["higgs/worse/scratch"]["auc"]["seeds"] == [3, 3]
        assert {f["verdict"] for each in findings.values() for f in each.values()} <= {*VERDICTS}
    elif format_ == "html":
        parser = _Tags()
        parser.feed(text)
        assert not parser.open
        assert "http" not in text
    else:
        assert "higgs" in text.splitlines()[0]


def test_packed_results_compare_as_their_folder_does(tmp_path):
    """A packed file against a folder, and against another packed file."""
    base, new = everything(tmp_path)
    texts = []
    for results in (base, new):
        packing.pack(results, results.root.with_suffix(".zip"), packing.Contents())
    for one_, other in ((base.root, new.root), (base.root.with_suffix(".zip"), new.root),
                        (base.root.with_suffix(".zip"), new.root.with_suffix(".zip"))):  # fmt: skip
        found = json.loads(comparisons.compare(
            base=one_, new=other, metrics=None, suite=None, format_="json"
        ))  # fmt: skip
        texts.append(found["cells"])
    assert texts[0] == texts[1] == texts[2]


def test_older_rows_of_a_cell_are_left_out_and_counted(tmp_path):
    """Results that were made by other code before lie in the same folder."""
    base = run(tmp_path / "base", m=Cell(learning_rate=0.3, separation=0.5))
    run(tmp_path / "base", m=Cell(first=1))
    new = run(tmp_path / "new", m=Cell(first=2))
    text = comparisons.compare(
        base=base.root, new=new.root, metrics=None, suite=None, format_="plain"
    )
    assert "AUC: no difference can be shown in the only cell" in text
    assert "1 older row of the same cells left out" in text


def test_suites_of_other_names_are_compared_where_each_run_has_one(tmp_path):
    """With several suites only cells of equal suites are pairs."""
    base = run(tmp_path / "base", suite="one", m=Cell())
    new = run(tmp_path / "new", suite="two", m=Cell())
    assert verdicts(base, new)["m"].verdict == "identical"
    run(tmp_path / "new", suite="three", m=Cell())
    found = compared(base, new).findings["auc"]
    assert sorted(each.verdict for each in found) == ["missing", "only in NEW", "only in NEW"]


def test_comparing_imports_no_torch():
    """Nor does a gate."""
    code = (
        "import sys; from hepbench.cli.commands import cli; cli(sys.argv[1:], standalone_mode=False)"
        "; print([m for m in ('torch', 'sklearn', 'scipy') if m in sys.modules], file=sys.stderr)"
    )
    path = str(BASELINE / "quickstart.zip")
    for verb in ("compare", "gate"):
        done = subprocess.run(
            [sys.executable, "-c", code, verb, path, path],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr.splitlines()[-1] == "[]"


def test_a_network_that_was_made_worse_is_found_among_real_results(tmp_path):
    """Scores of one cell of a packed baseline are shifted by noise; the others stay identical."""
    base = Results(BASELINE / "electron-photon.zip")
    folder = tmp_path / "new"
    shutil.unpack_archive(BASELINE / "electron-photon.zip", folder)
    new = _spoilt(folder, "resnet15")
    found = compared(base, new).findings["auc"]
    assert {each.verdict for each in found if "/resnet15/" not in each.cell} == {"identical"}
    assert {each.verdict for each in found if "/resnet15/" in each.cell} == {"worse"}


def _spoilt(folder, model):
    """Add noise to the stored scores of a model; what is recorded of them stays consistent."""
    from hepbench.storage.results import ResultsFolder

    results = ResultsFolder(folder)
    for record in results.records():
        if record.model == model:
            _, arrays = results.arrays(record.predictions)
            rng = np.random.default_rng(record.seed)
            signal = arrays["test"][:, 1].astype(float)
            noisy = 1 / (1 + np.exp(-np.log(signal / (1 - signal)) - rng.normal(size=len(signal))))
            scores = np.stack([1 - noisy, noisy], axis=1).astype(np.float32)
            name = record.predictions.path.partition("/")[2]

            def save(path, scores=scores):
                with path.open("wb") as file:
                    np.savez(file, test=scores)

            kept = results.create(record.suite, name, save)
            results.rewrite(
                msgspec.structs.replace(
                    record,
                    predictions=msgspec.structs.replace(
                        kept, path=f"{record.suite}/{kept.path}", parts=("test",)
                    ),
                )
            )
    return ResultsFolder(folder)
