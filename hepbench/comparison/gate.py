"""Decides whether a gate passes: rules of a policy applied to the findings of a comparison. Pure.

A gate passes only if every blocking rule could be judged in every cell of BASE that it applies to:
the values are there and comparable, and the loss that it forbids would have been seen.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from hepbench.comparison.sentences import brief, name_of, number, relative
from hepbench.evaluation import paired_runs
from hepbench.specs.errors import UsageError
from hepbench.specs.gate import COSTS, TIERS, Rule
from hepbench.specs.text import DASH, several, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hepbench.comparison.comparison import Comparison
    from hepbench.comparison.findings import Finding


Policy: TypeAlias = "Sequence[tuple[str, Rule]]"
"""Rules, each with the metric or cost that it is about."""


Outcome: TypeAlias = Literal["worse", "unclear", "passed"]


OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
"""Outcomes of a rule in a cell, the most serious first."""


PASSED, WORSE, UNCLEAR = 0, 1, 3
"""Exit codes of a gate; 2 is a usage error."""


def default_policy(main: str) -> list[tuple[str, Rule]]:
    """Return the policy of a suite without one: no significant loss, no growth of FLOPs."""
    return [
        (main, Rule(max_loss=0.0, must_see=0.02)),
        ("flops", Rule(max_increase="1%")),
    ]


@dataclass(frozen=True)
class Judgement:
    """The outcome of one rule in one cell.

    Attributes:
        name: of the metric or cost.
        rule: the rule.
        cell: ``dataset/model/chain``; "" if the rule was measured in no cell.
        outcome: see OUTCOMES.
        text: why, in words.
    """

    name: str
    rule: Rule
    cell: str
    outcome: Outcome
    text: str


def judge(comparison: Comparison, policy: Policy, *, is_default: bool) -> list[Judgement]:
    """Return the judgement of each rule in each cell of BASE that it applies to.

    Args:
        comparison: of the policy's metrics and costs.
        policy: its rules.
        is_default: the policy is no one's own: its cost may be measured in no cell.

    Raises:
        UsageError: a rule matches no cell, or no rule blocks.
    """
    if not any(rule.tier == "blocking" for _, rule in policy):
        msg = "the policy has no blocking rule, so it cannot fail; use 'hepbench compare'"
        raise UsageError(msg)
    cells = [pair.cell for pair in comparison.pairs]
    by_rule = _cells_by_rule(policy, cells)
    found: list[Judgement] = []
    for (name, rule), some in zip(policy, by_rule, strict=True):
        judged = [
            _judgement(name, rule, finding)
            for cell in some
            if (finding := comparison.by_cell[cell].get(name)) and finding.verdict != "only in NEW"
        ]
        if some and not judged and not (is_default and name in COSTS):
            judged = [Judgement(name, rule, "", "unclear", "measured in no cell of BASE")]
        found += judged
    return found


def _cells_by_rule(policy: Policy, cells: Sequence[str]) -> list[list[str]]:
    """Return the cells that each rule applies to: those that no earlier rule of its kind matches.

    Raises:
        UsageError: a rule matches no cell.
    """
    taken: dict[tuple[str, str], set[str]] = defaultdict(set)
    found = []
    for name, rule in policy:
        matched = [cell for cell in cells if rule.matches(cell)]
        if not matched:
            msg = f"gate: {name}: {unknown('cell', rule.cells, cells)}"
            raise UsageError(msg)
        before = taken[name, rule.tier]
        found.append([cell for cell in matched if cell not in before])
        before.update(matched)
    return found


def _judgement(name: str, rule: Rule, finding: Finding) -> Judgement:
    judged = _cost_outcome if name in COSTS else _metric_outcome
    outcome, text = judged(rule, finding)
    return Judgement(name, rule, finding.cell, outcome, text)


def _metric_outcome(rule: Rule, finding: Finding) -> tuple[Outcome, str]:
    if not finding.is_conclusive:
        return "unclear", f"{finding.verdict}: {brief(finding.reason)}"
    if finding.verdict in {"identical", "better"}:
        return "passed", finding.verdict
    base = finding.base or 0.0
    allowed, loss = rule.tolerance.of(base), finding.loss
    if finding.verdict == "worse" and loss > allowed:
        return "worse", f"{_values(finding)}, a loss of {_loss(finding)}; {_allowed(rule)}"
    visible, needed = finding.smallest_visible or 0.0, rule.resolution.of(base)
    if visible > needed:
        return "unclear", f"too few examples or seeds: {_too_few(finding, needed)}"
    return "passed", "worse within tolerance" if finding.verdict == "worse" else finding.verdict


def _allowed(rule: Rule) -> str:
    return f"{rule.tolerance} is allowed" if rule.tolerance.size else "none is allowed"


def _values(finding: Finding) -> str:
    values = (DASH if x is None else number(x, finding) for x in (finding.base, finding.new))
    return " -> ".join(values)


def _loss(finding: Finding) -> str:
    stderr = finding.difference.stderr if finding.difference else 0.0
    return f"{number(finding.loss, finding)} ±{number(stderr, finding)}"


def _too_few(finding: Finding, needed: float) -> str:
    """Return which loss would have been seen, which is needed, and what would do."""
    visible = f"a loss of {needed:.2g} would not have been seen, only one of {finding.smallest_visible:.2g}"
    difference = finding.difference
    if difference is None or finding.n_test is None:
        return visible
    n, level = finding.n_test, finding.level
    examples = paired_runs.examples_needed(difference, n, needed, level)
    if examples is not None:
        return f"{visible}; about {examples:,} test examples would do, there are {n:,}"
    seeds = paired_runs.trainings_needed(difference, needed, level)
    now = min(int(spread.trainings) for spread in difference.spreads)
    if seeds is not None:
        return f"{visible}; about {seeds:,} seeds would do, there are {now:,}"
    return f"{visible}; it takes both more test examples than {n:,} and more seeds than {now:,}"


def _cost_outcome(rule: Rule, finding: Finding) -> tuple[Outcome, str]:
    if not finding.is_conclusive:
        return "unclear", f"{finding.verdict}: {brief(finding.reason)}"
    allowed = rule.tolerance.of(1.0)
    if finding.verdict == "worse" and finding.increase > allowed:
        return "worse", f"{relative(finding.increase)}; {_allowed(rule)}"
    visible = finding.smallest_visible
    if visible is not None and finding.verdict != "better" and visible > allowed:
        seen = f"an increase of {rule.tolerance} would not have been seen, only one of"
        return "unclear", f"measured too imprecisely: {seen} {100 * visible:.2g} %"
    return "passed", "worse within tolerance" if finding.verdict == "worse" else finding.verdict


def code(judgements: Iterable[Judgement]) -> int:
    """Return the exit code of a gate: that of its blocking rules."""
    outcomes = {each.outcome for each in judgements if each.rule.tier == "blocking"}
    if "worse" in outcomes:
        return WORSE
    return PASSED if outcomes == {"passed"} else UNCLEAR


def sentence(judgements: Sequence[Judgement]) -> str:
    """Return the outcome of a gate in one sentence."""
    blocking = [each for each in judgements if each.rule.tier == "blocking"]
    worse, unclear, passed = (
        [each for each in blocking if each.outcome == outcome]
        for outcome in ("worse", "unclear", "passed")
    )
    also = f"; {_cells(unclear)} could not be judged" if unclear else ""
    if worse:
        return f"Gate failed: {_cells(worse)} {_is_are(worse)} worse than allowed: {_first(worse)}{also}."
    if unclear:
        return f"Gate: nothing can be concluded: {_cells(unclear)} could not be judged: {_first(unclear)}."
    if not passed:
        return "Gate: nothing can be concluded: nothing was measured."
    return f"Gate passed: {_cells(passed)}, none worse than allowed ({_counts(passed)})."


def _cells(judgements: Iterable[Judgement]) -> str:
    cells = {each.cell for each in judgements}
    return several(len(cells), "cell") if cells != {""} else "a rule"


def _is_are(judgements: Iterable[Judgement]) -> str:
    return "is" if len({each.cell for each in judgements}) == 1 else "are"


def _first(judgements: Sequence[Judgement]) -> str:
    first = judgements[0]
    where = f"{first.cell}, " if first.cell else ""
    return f"{where}{name_of(first.name)}: {first.text}"


def _counts(judgements: Iterable[Judgement]) -> str:
    """Return how many cells have which verdict, for each metric and cost."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for each in judgements:
        counts[each.name][each.text] += 1
    return "; ".join(
        f"{name_of(name)}: {', '.join(f'{n:,} {text}' for text, n in some.items())}"
        for name, some in counts.items()
    )


MOST_NAMED = 3
"""Cells that a line names."""


def lines(judgements: Sequence[Judgement]) -> list[str]:
    """Return lines on what did not pass, and on all of informative rules; equal ones are joined.

    A missing cell has one line, whatever rules it has. One blocking rule in one cell is in
    the sentence already.
    """
    cells: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    missing: set[str] = set()
    for tier in TIERS:
        of_tier = [each for each in judgements if each.rule.tier == tier]
        for each in sorted(of_tier, key=lambda each: OUTCOMES.index(each.outcome)):
            if (each.outcome == "passed" and tier != "informative") or each.cell in missing:
                continue
            if each.text.startswith("missing"):
                missing.add(each.cell)
            cells[tier, name_of(each.name), each.text].append(each.cell)
    blocking = [some for (tier, _, _), some in cells.items() if tier == "blocking"]
    if len(blocking) == 1 and len(blocking[0]) == 1:
        cells = {where: some for where, some in cells.items() if where[0] != "blocking"}
    return [f"{tier}: {_listed(some)}{name}: {text}" for (tier, name, text), some in cells.items()]


def _listed(cells: Sequence[str]) -> str:
    named = [*cells[:MOST_NAMED]]
    more = [f"and {len(cells) - MOST_NAMED} more cells"] if len(cells) > MOST_NAMED else []
    return f"{', '.join([*named, *more])}: " if named != [""] else ""


def as_json(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Return the outcome of a gate as plain data."""
    return {
        "exit_code": code(judgements),
        "judgements": [
            {
                "name": each.name,
                "tier": each.rule.tier,
                "cell": each.cell or None,
                "outcome": each.outcome,
                "text": each.text,
            }
            for each in judgements
        ],
    }


def with_tolerances(comparison: Comparison, judgements: Iterable[Judgement]) -> Comparison:
    """Return a comparison in which losses that all rules allow are within tolerance."""
    outcomes: dict[tuple[str, str], set[str]] = defaultdict(set)
    for each in judgements:
        outcomes[each.name, each.cell].add(each.text if each.outcome == "passed" else "")
    allowed = {where for where, texts in outcomes.items() if texts == {"worse within tolerance"}}
    found: Mapping[str, list[Finding]] = {
        name: [
            replace(each, verdict="worse within tolerance")
            if (name, each.cell) in allowed
            else each
            for each in some
        ]
        for name, some in comparison.findings.items()
    }
    return replace(comparison, findings=dict(found))


def policy_line(policy: Policy, source: str) -> str:
    """Return a line that names a policy and its rules."""
    return f"Policy ({source}): {'; '.join(_in_words(name, rule) for name, rule in policy)}"


def _in_words(name: str, rule: Rule) -> str:
    kind = "increase" if name in COSTS else "loss"
    where = "" if rule.cells == "*" else f" in {rule.cells}"
    seen = "" if rule.must_see is None else f", {rule.resolution} must be visible"
    return f"{rule.tier}: {name_of(name)} {kind} > {rule.tolerance}{where}{seen}"
