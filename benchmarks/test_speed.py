"""Time planning, tables and splits, which work in one process on what is in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import Dataset, Input, Method, Metric, Model, Sample
from hepbench.conformance.suites import SampleEnvironment
from hepbench.data import splits
from hepbench.evaluation import paired
from hepbench.evaluation.comparison_cache import Comparison
from hepbench.planning import plan as planning
from hepbench.planning.matrix import Choice
from hepbench.planning.suite_file import Matrix, SuiteFile
from hepbench.registry import builtin
from hepbench.registry.plugins import Plugin, Registry
from hepbench.specs.parameters import defaults
from hepbench.storage import keys
from hepbench.storage.costs import Cost
from hepbench.storage.records import DataSummary, Provenance, Record, Value
from hepbench.tables.document import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench.planning.plan import Plan

DATASET = Dataset(
    name="toy",
    summary="two numbers",
    classes=("background", "signal"),
    inputs={"table": Input(shape=(2,))},
    sample=Sample("toys:sample"),
    params={"n": 100},
    read_params=frozenset({"n"}),
)
MODEL = Model(
    name="line",
    summary="one of them",
    inputs=("table",),
    build="toys:line",
    offers=frozenset({"estimate"}),
    params={"slope": 1.0, "learning_rate": 0.1, "depth": 3, "width": 128, "dropout": 0.0},
)
METHOD = Method(name="fit", summary="fits", run="toys:fit", needs=frozenset({"estimate"}))
SUITE = SuiteFile(
    name="thousand",
    seeds=10,
    run=[
        Matrix(
            datasets=[f"toy[n={n}]" for n in range(100, 110)],
            models=[f"line[slope={i}]" for i in range(10)],
            methods=["fit"],
        )
    ],
)


def thousand_cells() -> Plan:
    """Return a plan of 10 datasets, 10 models and 10 seeds."""
    specs = (DATASET, MODEL, METHOD, *builtin.hepbench_metrics())
    registry = Registry([Plugin("toys", "toys", "toys", "0.1", specs=specs)])
    return planning.make(SUITE, registry, SampleEnvironment(), Choice())


def records(n: int) -> list[Record]:
    """Return records of 4 datasets, n / 20 models and 5 seeds, with all built-in metrics."""
    rng = np.random.default_rng(1)
    return [
        Record(
            suite="thousand",
            dataset=f"toy-{i % 4}",
            model=f"line-{i // 20}",
            method="fit",
            chain="fit",
            preset="quick",
            seed=i // 4 % 5,
            params={"dataset": defaults(DATASET.params), "model": defaults(MODEL.params)},
            key=f"{i:024x}",
            status="ok",
            metrics=_values(rng),
            metrics_train=_values(rng),
            cost=Cost(parameters=1000 + i, train_seconds=float(rng.random())),
            data=DataSummary(
                source="file", fingerprint=f"f{i % 4}", split_hash=f"s{i % 4}", n_test=1000
            ),
            provenance=Provenance(finished=f"2026-01-01T00:00:{i:06}"),
        )
        for i in range(n)
    ]


def _values(rng: np.random.Generator) -> dict[str, Value]:
    names = (metric.name for metric in builtin.hepbench_metrics())
    return {name: Value(float(rng.random()), 0.01) for name in names}


def directions() -> dict[str, Any]:
    """Return direction and comparability of the built-in metrics."""
    specs: list[Metric] = builtin.hepbench_metrics()
    return {metric.name: (metric.higher_is_better, metric.same) for metric in specs}


def nothing_marked(
    rows: Sequence[Sequence[Record]],  # noqa: ARG001
    metric: str,  # noqa: ARG001
    pairs: Sequence[tuple[int, int]] = (),
) -> Comparison:
    """Return at once: there are no predictions."""
    return Comparison([], [], [None] * len(pairs))


def test_plan_of_a_thousand_cells(paced):
    """The plan has 1,000 stages of methods and of costs, and 10 preparations of 3 stages each."""
    made = paced(thousand_cells)
    assert (len(made.cells), len(made.stages)) == (1000, 2030)


def test_hash_of_a_methods_key(paced):
    """Each stage of a plan needs one such hash, and that of a method is among the largest."""
    stage = next(s for s in thousand_cells().stages.values() if s.kind == "method")
    key = paced(lambda: keys.key([stage.kind, stage.parts, stage.parents]))
    assert key == stage.key


def test_table_of_a_thousand_records(paced):
    """It turns records in memory into plain text."""
    made = records(1000)
    text = paced(lambda: table(made, metrics=directions(), compare=nothing_marked))
    assert sum(line.startswith("line-") for line in text.splitlines()) == 200


def test_comparison_of_thirty_rows(paced):
    """It compares 30 rows of 5 seeds on 100,000 examples: AUCs, covariance, and which are best."""
    rng = np.random.default_rng(1)
    labels = np.arange(100_000) % 2
    shared = labels + rng.normal(size=len(labels))
    signal = np.float32(shared + 0.3 * rng.normal(size=(30, 5, len(labels))))
    scores = np.stack([-signal, signal], axis=-1)

    def compare() -> list[int]:
        means = paired.auc_means(scores, labels, None)
        return paired.not_worse(means, higher_is_better=True)

    assert paced(compare, kernel="arrays", rounds=5)


def test_split_of_a_million_examples(paced):
    """The split is stratified, by the hash of ids."""
    ids = np.arange(1_000_000)
    labels = np.random.default_rng(1).integers(0, 2, len(ids))
    parts = paced(
        lambda: splits.divide(labels, ids, fractions=(0.6, 0.2, 0.2), seed=0), kernel="arrays"
    )
    assert sum(map(len, parts.values())) == len(ids)
