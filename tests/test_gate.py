"""A gate: it passes only if something was measured, and its exit codes tell worse from unknown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from made_runs import Cell, run

from hepbench.cli import comparisons
from hepbench.planning import suite_file
from hepbench.specs import gate as rules
from hepbench.specs.errors import SuiteError, UsageError
from hepbench.specs.gate import Rule

GOOD = Cell(cost={"flops": 1000})
RESEEDED = Cell(first=50, cost={"flops": 1000})


def gate(base, new, *conditions, format_="plain", suite=None, metrics=None):
    """Text and exit code of a gate on two results."""
    return comparisons.gate(
        base=base.root, new=new.root, metrics=metrics, suite=suite, conditions=conditions,
        format_=format_,
    )  # fmt: skip


def of_cells(folder, base, new, *conditions, n=4000):
    """Sentence and exit code of a gate on two runs of one cell."""
    shutil.rmtree(folder, ignore_errors=True)
    runs = [run(folder / name, n=n, m=cell) for name, cell in (("base", base), ("new", new))]
    text, code = gate(*runs, *conditions)
    return text.split("\n\n")[0].replace("\n", " "), code


def made(folder, situation):
    """Two runs that differ as the situation says."""
    base = {"n": 4000, "a": GOOD, "b": GOOD}
    changed = {
        "same run": {},
        "better": {"a": Cell(first=50, separation=1.5, cost={"flops": 1000})},
        "worse": {"a": Cell(first=50, separation=1.0, cost={"flops": 1000})},
        "missing cell": {"a": None},
        "another dataset version": {"data": "d2"},
        "40 test examples": {"n": 40, "a": RESEEDED},
        "one seed": {"a": Cell(first=50, seeds=1, cost={"flops": 1000})},
    }[situation]
    both = {"n": 40} if situation == "40 test examples" else {}
    new = {name: value for name, value in (base | changed).items() if value is not None}
    return run(folder / "base", **base | both), run(folder / "new", **new)


SITUATIONS = {
    "same run": (0, "Gate passed: 2 cells, none worse than allowed (AUC: 2 identical; FLOPs: 2"),
    "better": (0, "Gate passed: 2 cells, none worse than allowed (AUC: 1 better, 1 identical;"),
    "worse": (1, "Gate failed: 1 cell is worse than allowed: higgs/a/scratch, AUC: 0.7"),
    "missing cell": (
        3,
        (
            "Gate: nothing can be concluded: 1 cell could not be judged: higgs/a/scratch, AUC: missing:"
            " not in NEW."
        ),
    ),
    "another dataset version": (
        3,
        (
            "Gate: nothing can be concluded: 2 cells could not be judged: higgs/a/scratch, AUC: not "
            "comparable: BASE against NEW: data (d1 against d2)."
        ),
    ),
    "40 test examples": (
        3,
        (
            "Gate: nothing can be concluded: 1 cell could not be judged: higgs/a/scratch, AUC: too few "
            "examples or seeds: a loss of 0.02 would not have been seen, only one of"
        ),
    ),
    "one seed": (
        3,
        (
            "Gate: nothing can be concluded: 1 cell could not be judged: higgs/a/scratch, AUC: nothing "
            "concluded: one seed in NEW"
        ),
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_exit_codes_and_sentences_of_seven_situations(tmp_path, situation):
    """Passed is 0, worse 1, and 3 if nothing could be concluded, which is never passed."""
    text, code = gate(*made(tmp_path, situation))
    expected, sentence = SITUATIONS[situation]
    assert code == expected
    assert text.replace("\n", " ").startswith(sentence)


def test_too_few_examples_are_told_with_how_many_would_do(tmp_path):
    """As many pass; where seeds are too few, seeds are told."""
    cells = (Cell(own=0.9, seeds=8), Cell(own=0.9, seeds=8, first=50))
    text, code = of_cells(tmp_path / "a", *cells, n=200)
    assert code == 3
    needed = int(text.partition("; about ")[2].partition(" test examples would do")[0].replace(",", ""))  # fmt: skip
    assert 200 < needed < 20_000
    text, code = of_cells(tmp_path / "b", *cells, n=2 * needed)
    assert code == 0
    spread = Cell(spread=0.3)
    text, code = of_cells(tmp_path / "c", spread, Cell(spread=0.3, first=50))
    assert code == 3
    assert "seeds would do, there are 3" in text


def test_a_loss_within_the_tolerance_passes(tmp_path):
    """A loss above it does not; the same loss is worse without a tolerance."""
    worse = Cell(first=50, separation=1.12)
    assert of_cells(tmp_path, Cell(), worse)[1] == 1
    text, code = of_cells(tmp_path, Cell(), worse, "auc loss > 0.05")
    assert code == 0
    assert "1 worse within tolerance" in text
    assert of_cells(tmp_path, Cell(), worse, "auc loss > 0.01")[1] == 1


@pytest.mark.parametrize(("flops", "code"), [(1000, 0), (900, 0), (1010, 0), (1011, 1), (None, 3)])
def test_growing_flops_fail(tmp_path, flops, code):
    """Beyond one percent without a policy; FLOPs that are no longer measured are not judged."""
    new = Cell(cost={"flops": flops} if flops else {"gaps": ["flops: not today"]})
    assert of_cells(tmp_path, GOOD, new)[1] == code


def test_costs_that_nobody_measured_do_not_fail_the_default_policy(tmp_path):
    """But a rule of one's own that measures nothing does not pass."""
    assert of_cells(tmp_path, Cell(), Cell())[1] == 0
    text, code = of_cells(tmp_path, Cell(), Cell(), "flops increase > 5%")
    assert code == 3
    assert "FLOPs: measured in no cell of BASE" in text


def test_worse_wins_over_what_cannot_be_judged(tmp_path):
    """The sentence tells both."""
    base = run(tmp_path / "base", n=4000, a=Cell(), b=Cell())
    new = run(tmp_path / "new", n=4000, b=Cell(first=50, separation=0.9))
    text, code = gate(base, new)
    assert code == 1
    assert "1 cell could not be judged" in text.split("\n\n")[0].replace("\n", " ")


def test_only_blocking_rules_decide(tmp_path):
    """Warnings are told; a policy that cannot fail is refused."""
    base = run(tmp_path / "base", n=4000, a=Cell())
    new = run(tmp_path / "new", n=4000, a=Cell(first=50, separation=1.0))
    policy = "log_loss = { max_loss = 0, must_see = 0.05, tier = 'warning' }\n"
    suite = suite_of(tmp_path, f"auc = {{ max_loss = 0.2 }}\n{policy}")
    text, code = gate(base, new, suite=suite)
    assert code == 0
    assert "warning: higgs/a/scratch: log loss: 0." in text
    with pytest.raises(UsageError, match="no blocking rule"):
        gate(base, new, suite=suite_of(tmp_path, policy))


def suite_of(folder, policy, name="made.toml"):
    """The path of a suite's file with a ``[gate]`` table."""
    path = folder / name
    path.write_text(
        "name = 'made'\n[[run]]\ndatasets = ['higgs']\nmodels = ['m']\nmethods = ['scratch']\n"
        f"[gate]\n{policy}"
    )
    return str(path)


def test_the_policy_is_that_of_the_suite_of_new(tmp_path, monkeypatch):
    """Its file is where the run was started; another place or another suite is told."""
    monkeypatch.chdir(tmp_path)
    suite_of(tmp_path, "auc = { max_loss = 0.2 }")
    base = run(tmp_path / "base", n=4000, m=Cell())
    new = run(tmp_path / "new", n=4000, suite_file="made.toml", m=Cell(first=50, separation=1.0))
    text, code = gate(base, new)
    assert code == 0
    assert "Policy ([gate] of made.toml): blocking: AUC loss > 0.2" in text
    compared = comparisons.compare(
        base=base.root, new=new.root, metrics=None, suite=None, format_="plain"
    )
    assert "worse within the tolerance" in compared
    (tmp_path / "made.toml").unlink()
    text, code = gate(base, new)
    assert code == 1
    assert "Policy (default, because there is no suite made.toml here)" in text


def test_a_rule_of_a_glob_applies_to_its_cells(tmp_path):
    """The first rule of a tier that matches a cell applies; one that matches none is refused."""
    worse = Cell(first=50, separation=1.0)
    base = run(tmp_path / "base", n=4000, a=Cell(), b=Cell())
    new = run(tmp_path / "new", n=4000, a=worse, b=Cell())
    assert gate(base, new, "auc loss > 0.01 in higgs/b/*")[1] == 0
    assert gate(base, new, "auc loss > 0.01 in */a/*")[1] == 1
    assert gate(base, new, "auc loss > 0.2 in */a/*", "auc loss > 0.01")[1] == 0
    with pytest.raises(UsageError, match="gate: auc: no cell named '\\*/c/\\*'"):
        gate(base, new, "auc loss > 0.01 in */c/*")


def test_a_rule_matches_names_with_and_without_parameters():
    """Brackets are no set of characters."""
    rule = Rule(max_loss=1, cells="higgs/mlp/*")
    assert rule.matches("higgs[features=21]/mlp[width=3]/scratch")
    assert Rule(max_loss=1, cells="higgs[features=21]/*").matches("higgs[features=21]/mlp/scratch")
    assert not Rule(max_loss=1, cells="higgs[features=2]/*").matches("higgs[features=21]/m/s")


def test_latencies_are_judged_by_their_reference(tmp_path):
    """Slower than allowed fails; without a reference nothing is concluded."""
    base = Cell(latencies=((1.0, 2.0), (1.01, 2.0), (0.99, 2.0)))
    slow = Cell(first=50, latencies=((1.5, 2.0), (1.51, 2.0), (1.49, 2.0)))
    rule = "latency increase > 20%"
    assert of_cells(tmp_path, base, slow, rule)[1] == 1
    assert of_cells(tmp_path, base, slow, "latency increase > 60%")[1] == 0
    noisy = Cell(first=50, latencies=((1.5, 2.0), (0.7, 2.0), (1.1, 2.0)))
    text, code = of_cells(tmp_path, base, noisy, rule)
    assert code == 3
    assert "an increase of 20 % would not have been seen" in text
    unknown = Cell(first=50, latencies=((1.0, None), (1.01, None), (0.99, None)))
    text, code = of_cells(tmp_path, base, unknown, rule)
    assert code == 3
    assert "the time of the reference computation was not recorded" in text


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("auc < 0.5", "is expected"),
        ("auc loss > -1", "a number of at least 0"),
        ("auc loss > 0", "no comparison can see a loss of 0"),
        ("auc loss > nan", "a number of at least 0"),
        ("flops loss > 5%", "flops is a cost: give max_increase"),
        ("auc increase > 5%", "auc is a metric: give max_loss"),
        ("flops increase > 5", "is a percentage"),
        ("", "is expected"),
    ],
)
def test_rules_that_are_not_allowed_are_refused(text, wrong):
    """In one line that says what is expected."""
    with pytest.raises(UsageError, match=wrong) as found:
        rules.parse_condition(text)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("policy", "wrong"),
    [
        ("auc = { max_los = 1 }", "no key named 'max_los'. Did you mean 'max_loss'"),
        ("auc = { max_loss = 0 }", "rule at $.gate.auc: no comparison can see a loss of 0"),
        ("auc = { tier = 'blocking' }", "rule at $.gate.auc: a rule for auc needs max_loss"),
        ("auc = [{ max_loss = 'x' }]", "'x': a number of at least 0 or a percentage"),
        ("flops = { max_increase = '5%', must_see = 1 }", "must_see belongs to metrics"),
    ],
)
def test_a_gate_that_is_wrong_is_refused_with_its_place(tmp_path, policy, wrong):
    """In the suite's file."""
    path = suite_of(tmp_path, policy)
    with pytest.raises(SuiteError) as found:
        suite_file.parse(Path(path).read_bytes(), "made.toml")
    assert wrong in str(found.value)


def test_a_suite_without_a_gate_is_no_policy(tmp_path):
    """Nor can it be given beside --fail-if."""
    base = run(tmp_path / "base", m=Cell())
    path = suite_of(tmp_path, "")
    with pytest.raises(UsageError, match=r"has no \[gate\] table"):
        gate(base, base, suite=path)
    with pytest.raises(UsageError, match="not both"):
        gate(base, base, "auc loss > 0.1", suite=path)


def test_json_holds_every_judgement(tmp_path):
    """And the exit code."""
    text, code = gate(*made(tmp_path, "worse"), format_="json")
    found = json.loads(text)
    assert found["gate"]["exit_code"] == code == 1
    outcomes = {(j["name"], j["cell"]): j["outcome"] for j in found["gate"]["judgements"]}
    assert outcomes == {
        ("auc", "higgs/a/scratch"): "worse",
        ("auc", "higgs/b/scratch"): "passed",
        ("flops", "higgs/a/scratch"): "passed",
        ("flops", "higgs/b/scratch"): "passed",
    }


@pytest.mark.parametrize("verb", ["compare", "gate"])
def test_results_that_are_not_there_are_a_usage_error(bench, verb):
    """One line, exit code 2: an empty folder gates nothing."""
    run(bench.folder / "base", m=Cell())
    (bench.folder / "empty").mkdir()
    for other in ("empty", "nowhere"):
        done = bench(verb, "base", other)
        assert (done.code, done.out) == (2, "")
        assert len(done.err.splitlines()) == 1
    assert bench(verb, "base").code == 2


def test_the_exit_code_reaches_the_shell(bench):
    """1 for worse, 3 for nothing concluded."""
    run(bench.folder / "base", n=4000, m=Cell())
    run(bench.folder / "worse", n=4000, m=Cell(first=50, separation=1.0))
    run(bench.folder / "other", n=4000, k=Cell())
    assert [bench("gate", "base", new).code for new in ("base", "worse", "other")] == [0, 1, 3]
