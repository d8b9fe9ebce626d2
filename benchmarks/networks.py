"""Run every network with most methods on 300 examples, and write the page ``docs/networks.md``.

    .venv/bin/python benchmarks/networks.py           # run the suites, store the facts, write the page
    .venv/bin/python benchmarks/networks.py --page    # write the page from the stored facts
    .venv/bin/python benchmarks/networks.py --only NAME NAME     # run some, keep what is stored of others

Two suites are run as a user runs them, by ``hepbench run``: ``networks-cost`` has the chains whose
operations are compared, ``networks`` the others, without the costs, which take most of the time. Then
every stored network is loaded from the cache: its scores of the test examples are compared with the
recorded ones, and it is exported to ONNX. The facts are stored in ``benchmarks/networks.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from tabulate import tabulate

from hepbench.planning.input_shapes import shapes_of
from hepbench.planning.matrix import Choice
from hepbench.registry.plugins import installed
from hepbench.running.session import LocalOptions, open_session
from hepbench.specs.errors import ExportError
from hepbench.storage.results import Results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hepbench.planning.plan import Plan
    from hepbench.plots.trained_networks import TrainedNetwork
    from hepbench.storage.records import Record

HERE = Path(__file__).parent
FACTS, PAGE = HERE / "networks.json", HERE.parent / "docs" / "networks.md"

NETWORKS = {
    "electron-photon": ("resnet15", "cnn", "dual-cnn", "vit", "timm"),
    "quark-gluon[size=64,points=32,k=8]": (
        *("multi-input-cnn", "gaussian-vae"),
        *("gcn", "gat", "gin", "graphsage", "pyg"),
    ),
    "boosted-jets[size=64]": ("mae-vit", "conv-vae", "sparse-ae"),
    "higgs": ("transformer-ae", "mlp"),
    "top-tagging[particles=32,features=kinematic,k=7]": (
        *("deepsets", "particlenet", "particle-transformer"),
    ),
}
"""The networks, by the dataset that they are run on."""

COLUMNS = {
    "pretrain": ("pretrain+linear-probe",),
    "svm": ("pretrain+svm", "fresh+svm"),
    "linear-probe": ("pretrain+linear-probe", "fresh+linear-probe"),
    "finetune": ("pretrain+finetune",),
    "joint": ("joint",),
}
"""The chains that show a method; the first one that fits a network is shown."""

UNSTRUCTURED, ITERATIVE, STRUCTURED = (
    f"scratch+prune-{name}" for name in ("unstructured", "iterative", "structured")
)

RATIO = 0.5

SUITES = {
    "networks": (
        *dict.fromkeys(chain for chains in COLUMNS.values() for chain in chains),
        f"{UNSTRUCTURED}[ratio={RATIO}]",
        f"{ITERATIVE}[ratio={RATIO}]",
    ),
    "networks-cost": ("scratch", f"{STRUCTURED}[ratio={RATIO}]"),
}
"""The chains of each suite."""

EXAMPLES = {"n_train": 300, "n_validation": 100, "n_test": 100}

TRAINING = {"epochs": 1, "min_steps": 1, "batch_size": 32}

UNTRAINED = {"fresh", "svm", "linear-probe", "prune-unstructured"}
"""Steps of chains that have no epochs."""


class CellFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of one cell, from its record and from its stored network.

    Attributes:
        parameters, nonzero, macs, warnings, error: as recorded.
        difference: largest difference of the scores of a test example, as recorded and by the
            network that was built again from its stored recipe and weights.
        exporter: ``older`` or ``newer``, the one that exported the network to ONNX.
        export_error: why neither could.
    """

    parameters: int | None = None
    nonzero: int | None = None
    macs: int | None = None
    warnings: list[str] = []
    error: str = ""
    difference: float | None = None
    exporter: str = ""
    export_error: str = ""


class NetworkFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one network: cells by chain, and why other chains do not fit it."""

    dataset: str
    shapes: dict[str, list[int]]
    cells: dict[str, CellFacts]
    misfits: dict[str, str]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the page is written from: minutes that it took, suite files, networks by name."""

    minutes: int
    suites: dict[str, str]
    networks: dict[str, NetworkFacts]


def main() -> None:
    """Store the facts unless they are used as stored, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", action="store_true", help="run nothing, use networks.json")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run these networks alone")
    parser.add_argument("--folder", type=Path, help="keep suite files and results in this folder")
    given = parser.parse_args()
    if not given.page:
        with tempfile.TemporaryDirectory() as scratch:
            folder = given.folder or Path(scratch)
            run(folder, only=given.only)
            facts = recorded(folder)
            store(merged(stored_facts(), facts) if given.only else facts)
            rebuild(folder)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(stored_facts()))
    print(PAGE.read_text())


def stored_facts() -> Facts:
    """Return the facts of ``networks.json``."""
    return msgspec.json.decode(FACTS.read_bytes(), type=Facts)


def store(facts: Facts) -> None:
    """Write ``networks.json``."""
    FACTS.write_bytes(msgspec.json.format(msgspec.json.encode(facts), indent=1) + b"\n")


def merged(stored: Facts, new: Facts) -> Facts:
    """Return stored facts with those of some networks that were run again."""
    found = {**stored.networks, **new.networks}
    order = [name for names in NETWORKS.values() for name in names]
    networks = {name: found[name] for name in order if name in found}
    return msgspec.structs.replace(new, minutes=stored.minutes + new.minutes, networks=networks)


# --- run


def suite(name: str, *, only: Sequence[str] | None = None) -> str:
    """Return the text of a suite's file, for all networks or some."""
    chains = SUITES[name]
    steps = dict.fromkeys(s.partition("[")[0] for chain in chains for s in chain.split("+"))
    tables = {"dataset": EXAMPLES} | {step: TRAINING for step in steps if step not in UNTRAINED}
    if "prune-iterative" in tables:
        # one training after each of five steps of .1
        tables["prune-iterative"] = {**TRAINING, "rounds": 5}
    lines = [f'name = "{name}"', "seeds = 1", f"cost = {str(name == 'networks-cost').lower()}"]
    for table, values in tables.items():
        lines += ["", f"[presets.quick.{table}]", *(f"{n} = {v}" for n, v in values.items())]
    for dataset, models in NETWORKS.items():
        chosen = [model for model in models if only is None or model in only]
        if not chosen:
            continue
        named = {"datasets": [dataset], "models": chosen, "methods": chains}
        lines += ["", "[[run]]", *(f"{n} = {json.dumps(v)}" for n, v in named.items())]
    return "\n".join(lines) + "\n"


def run(folder: Path, *, only: Sequence[str] | None = None) -> None:
    """Run the suites in a folder, for all networks or some."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SUITES:
        (folder / f"{name}.toml").write_text(suite(name, only=only))
        command = ["run", f"{name}.toml", "--source", "sample", "--jobs", "1"]
        # a cell that failed is shown on the page
        subprocess.run([sys.executable, "-m", "hepbench", *command], cwd=folder, check=False)


def recorded(folder: Path) -> Facts:
    """Return what the records and plans of a folder say of every network."""
    results, misfits = Results(folder / "results"), planned_misfits(folder)
    networks = {}
    for name, cells in planned(folder).items():
        records = {chain: results.read(*place) for chain, place in cells.items()}
        networks[name] = NetworkFacts(
            dataset=records["scratch"].dataset.partition("[")[0],
            shapes=input_shapes(records["scratch"]),
            cells={chain: cell_facts(record) for chain, record in records.items()},
            misfits=misfits.get(name, {}),
        )
    suites = {name: suite(name) for name in SUITES}
    return Facts(minutes=minutes(results), suites=suites, networks=networks)


def input_shapes(record: Record) -> dict[str, list[int]]:
    """Return the shapes of one example of a network's inputs."""
    dataset = installed().entry("dataset", record.dataset.partition("[")[0]).spec
    inputs = installed().entry("model", record.model).spec.inputs
    shapes = shapes_of(dataset, inputs, record.params["dataset"])
    return {name: list(shapes[name]) for name in inputs}


def cell_facts(record: Record | None) -> CellFacts:
    """Return what the record of a cell says."""
    if record is None or record.error is not None:
        return CellFacts(error=record.error.message if record else "no record")
    return CellFacts(
        parameters=record.cost.parameters,
        nonzero=record.cost.nonzero_parameters,
        macs=record.cost.macs,
        warnings=[w for w in record.warnings if not w.startswith(("latency", "errors"))],
    )


def rebuild(folder: Path) -> None:
    """Load every stored network, score and export it; store the facts after each network."""
    from hepbench.training.networks import determinism

    determinism.make_deterministic(threads=1)
    facts, results = stored_facts(), Results(folder / "results")
    for name, cells in planned(folder).items():
        found = facts.networks[name].cells
        for chain, place in cells.items():
            record = results.read(*place)
            if record is not None and record.error is None:
                found[chain] = rebuilt_facts(found[chain], results, record)
        store(facts)


def rebuilt_facts(cell: CellFacts, results: Results, record: Record) -> CellFacts:
    """Return the facts of a cell with what its stored network shows."""
    from hepbench.evaluation import stored_predictions
    from hepbench.plots import trained_networks
    from hepbench.training.networks import scoring

    trained = trained_networks.load(results, record, most=sum(EXAMPLES.values()))
    scores = stored_predictions.of_record(results, record)["test"].scores
    again = scoring.scores(trained.network, trained.test.inputs)
    exporter, error = exported(trained)
    return msgspec.structs.replace(
        cell,
        difference=float(np.abs(again - scores).max()),
        exporter=exporter,
        export_error=error,
    )


def minutes(results: Results) -> int:
    """Return how long the runs of the suites took, each from its start to its last record."""
    ends: dict[str, str] = {}
    for name in SUITES:
        for record in results.suite_records(name):
            run = record.provenance
            ends[run.started] = max(ends.get(run.started, ""), run.finished)
    spans = [datetime.fromisoformat(end) - datetime.fromisoformat(n) for n, end in ends.items()]
    return math.ceil(sum(span.total_seconds() for span in spans) / 60)


def plans(folder: Path) -> list[Plan]:
    """Return the plans of the suites whose files are in a folder."""
    paths = [folder / f"{name}.toml" for name in SUITES]
    return [open_session(str(p), Choice(), LocalOptions(source="sample")).plan for p in paths]


def planned(folder: Path) -> dict[str, dict[str, tuple[str, str]]]:
    """Return suite and key of every planned cell, by network and chain."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for plan in plans(folder):
        for cell in plan.cells:
            _, name, chain = cell.combination.labels
            found.setdefault(name, {})[chain] = plan.suite.name, cell.key
    return found


def planned_misfits(folder: Path) -> dict[str, dict[str, str]]:
    """Return why chains do not fit, by network and chain, as ``hepbench plan`` says it."""
    found: dict[str, dict[str, str]] = {}
    for plan in plans(folder):
        for misfit in plan.misfits:
            _, name, chain = misfit.labels
            found.setdefault(name, {})[chain] = misfit.reason
    return found


def exported(trained: TrainedNetwork) -> tuple[str, str]:
    """Return the exporter that exported a network to ONNX, or '' and why none could."""
    import onnx
    import torch

    from hepbench.cost import export
    from hepbench.cost.preprocessed_network import PreprocessedNetwork
    from hepbench.training.networks import batches

    network, cpu = PreprocessedNetwork(trained.network), torch.device("cpu")
    inputs = {name: batches.dense(name, a, cpu) for name, a in trained.test.inputs.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        try:
            export.export(network, inputs, path)
        except ExportError as error:
            return "", str(error)
        opset = onnx.load(path).opset_import[0].version
    return {export.OPSET: "older", export.NEWER_OPSET: "newer"}[opset], ""


# --- page


class Footnotes:
    """Footnotes of a table, each text once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, texts: Iterable[str]) -> str:
        """Return the marks of some texts, to stand behind an entry."""
        numbers = []
        for text in texts:
            if text not in self.texts:
                self.texts.append(text)
            numbers.append(self.texts.index(text) + 1)
        return "".join(f" [{n}]" for n in sorted(set(numbers)))

    def lines(self) -> list[str]:
        """Return the footnotes as lines of Markdown."""
        return [f"{i}. {text}" for i, text in enumerate(self.texts, 1)]


HEADS = (
    *("network", "dataset", "input", "parameters", "MACs", *COLUMNS),
    *("prune-unstructured", "prune-iterative", "prune-structured", "ONNX", "rebuilt"),
)


def page(facts: Facts) -> str:
    """Return the page."""
    notes = Footnotes()
    rows = [row(name, found, notes) for name, found in facts.networks.items()]
    n_train, n_test = EXAMPLES["n_train"], EXAMPLES["n_test"]
    text = f"""# Which method runs on which network

Every network that comes with hepbench was trained with every method of the table that fits it, on {n_train}
examples of a bundled sample, for one epoch, with one seed. The page shows that each pair works, from training
to the exported graph; it does not show how well it classifies: {n_test} test examples are too few.
`.venv/bin/python benchmarks/networks.py` makes it again; the runs took {facts.minutes} minutes on two cores that also
did other work. Methods that come with hepbench and are not in the table: {", ".join(left_out())}.

- **MACs**: multiply-accumulates for scoring one example, without parts that scoring does not use.
- **yes**: the cell has a record without an error; **fresh**: on the encoder as drawn, since it cannot be
  pretrained; **-**: the method does not fit, with the reason that `hepbench plan` gives.
- **prune-unstructured**, **prune-iterative**: zeros among all parameters at ratio {short(RATIO)}, which counts
  weights alone, not biases and norms.
- **prune-structured**: MACs before and after at ratio {short(RATIO)}, and what is left of them.
- **ONNX**: the exporter, and how many of the network's cells it exported; each graph was compared with
  torch at another batch size.
- **rebuilt**: the largest difference between a recorded score of a test example and that of the network
  built again from its stored recipe and weights, in any of its cells that were loaded.

"""
    table = tabulate(rows, HEADS, tablefmt="github", disable_numparse=True)
    return "\n".join([text + table, "", *notes.lines(), ""])


def left_out() -> list[str]:
    """Return the methods that come with hepbench and are in no chain of the suites, as code."""
    named = {step.partition("[")[0] for s in SUITES.values() for c in s for step in c.split("+")}
    entries = installed().entries("method")
    ours = {e.spec.name for e in entries if e.plugin.distribution == "hepbench-plugins"}
    return [f"`{name}`" for name in sorted(ours - named)]


def row(name: str, found: NetworkFacts, notes: Footnotes) -> list[str]:
    """Return the entries of a network."""
    dense = found.cells["scratch"]
    return [
        name,
        found.dataset,
        "; ".join(f"{i} {' x '.join(map(str, shape))}" for i, shape in found.shapes.items()),
        f"{dense.parameters or 0:,}",
        millions(dense.macs),
        *(method(name, found, chains, notes) for chains in COLUMNS.values()),
        sparsity(name, found, UNSTRUCTURED, notes),
        sparsity(name, found, ITERATIVE, notes),
        structured(name, found, notes),
        onnx_entry(name, found, notes),
        rebuilt(found),
    ]


def method(name: str, found: NetworkFacts, chains: tuple[str, ...], notes: Footnotes) -> str:
    """Return whether a method worked on a network, or why it does not fit."""
    reasons = [general(found.misfits[c], name) for c in chains if c in found.misfits]
    for chain in chains:
        if chain in found.cells:
            word = "fresh" if chain.startswith("fresh+") else "yes"
            return outcome(name, found.cells[chain], word, notes, reasons)
    return "-" + notes.mark(reasons)


def outcome(
    name: str, cell: CellFacts, word: str, notes: Footnotes, reasons: Iterable[str] = ()
) -> str:
    """Return a word for a cell, or that it failed, with marks for its errors and warnings."""
    texts = [*reasons, *(general(w, name) for w in [*cell.warnings, cell.error] if w)]
    return ("failed" if cell.error else word) + notes.mark(texts)


def general(text: str, name: str) -> str:
    """Return a message without the name of its network, so that equal ones become one footnote."""
    return re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "the network", text)


def sparsity(name: str, found: NetworkFacts, chain: str, notes: Footnotes) -> str:
    """Return the fraction of zero parameters after a pruning."""
    cell = found.cells[chain]
    zeros = 1 - (cell.nonzero or 0) / (cell.parameters or 1)
    return outcome(name, cell, f"{zeros:.3f}".lstrip("0"), notes)


def structured(name: str, found: NetworkFacts, notes: Footnotes) -> str:
    """Return the MACs before and after structured pruning."""
    before, cell = found.cells["scratch"].macs, found.cells[STRUCTURED]
    share = f"{(cell.macs or 0) / (before or 1):.0%}"
    return outcome(name, cell, f"{millions(before)} → {millions(cell.macs)} ({share})", notes)


def onnx_entry(name: str, found: NetworkFacts, notes: Footnotes) -> str:
    """Return which exporter exported how many of a network's cells, and why others failed."""
    used = [cell.exporter for cell in found.cells.values() if cell.exporter]
    words = [f"{which} {used.count(which)}" for which in sorted(set(used), reverse=True)]
    errors = {general(c.export_error, name) for c in found.cells.values() if c.export_error}
    tried = len(used) + sum(bool(c.export_error) for c in found.cells.values())
    if not tried:
        return "not loaded"
    return f"{', '.join(words) or 'none'} of {tried}" + notes.mark(sorted(errors))


def rebuilt(found: NetworkFacts) -> str:
    """Return the largest difference of scores after stored networks were rebuilt."""
    differences = [c.difference for c in found.cells.values() if c.difference is not None]
    if not differences:
        return "not loaded"
    loaded = f" ({len(differences)} of {len(found.cells)})"
    return (f"{max(differences):.0e}" if max(differences) else "equal") + loaded


def millions(macs: int | None) -> str:
    """Return a number of operations with three digits."""
    return "not counted" if macs is None else f"{macs / 1e6:.3g} M"


def short(fraction: float) -> str:
    """Return a fraction without a zero before the point."""
    return f"{fraction:g}".lstrip("0")


if __name__ == "__main__":
    main()
