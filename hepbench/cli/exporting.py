"""The verb ``export``: the ONNX graph of a cell, and how to score with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.cli import changes, tabulating
from hepbench.specs.errors import ResultsError, UsageError
from hepbench.storage.results import Results

if TYPE_CHECKING:
    from pathlib import Path

    from hepbench.sharing.onnx_files import Exported


def export(*, cell: str, results: Path, out: Path) -> str:
    """Write the ONNX graph of a recorded cell, and return how to score with it.

    Raises:
        UsageError: no record has this name, or the name of the file does not end in ``.onnx``.
        ResultsError: see ``onnx_files.export``.
    """
    from hepbench.running.session import cache_folder
    from hepbench.sharing import onnx_files
    from hepbench.storage.stage_cache import StageCache

    if out.suffix != ".onnx":
        msg = f"-o {out}: the name of an ONNX file ends in .onnx"
        raise UsageError(msg)
    opened = Results(results)
    record = changes.last_record(cell, tabulating.recorded(opened, None))
    if record.status != "ok":
        msg = f"{record.cell} failed, so it has no graph; 'hepbench table' shows why"
        raise ResultsError(msg)
    exported = onnx_files.export(opened, record, StageCache(cache_folder()), out)
    size = f"{out.stat().st_size / 1e3:,.0f} kB"
    return "\n".join(
        [f"{out}: {record.cell}, {size}", *_described(exported), "", *_code(exported, out)]
    )


def _described(exported: Exported) -> list[str]:
    inputs = [
        f"input   {name}: {kind} ({', '.join(['N', *map(str, shape)])}), as the dataset has it"
        for name, (kind, shape) in exported.inputs.items()
    ]
    output = "logits (N, classes)" if exported.is_network else "scores (N, classes)"
    checked = f"{exported.examples:,} test examples, largest difference of a score"
    return [*inputs, f"output  {output}", f"checked {checked} {exported.difference:.1g}"]


def _code(exported: Exported, out: Path) -> list[str]:
    inputs = ", ".join(f'"{name}": {name}' for name in exported.inputs)
    lines = [
        "import numpy as np",
        "import onnxruntime",
        f"graph = onnxruntime.InferenceSession({str(out)!r})",
    ]
    if not exported.is_network:
        return [*lines[1:], f"scores = graph.run(None, {{{inputs}}})[0]"]
    return [
        *lines,
        f"logits = graph.run(None, {{{inputs}}})[0]",
        "odds = np.exp(logits - logits.max(1, keepdims=True))",
        "scores = odds / odds.sum(1, keepdims=True)",
    ]
