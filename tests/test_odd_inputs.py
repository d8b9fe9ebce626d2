"""Hostile and odd inputs, a row each: exit code, one line, no traceback, seconds, memory.

``python tests/test_odd_inputs.py`` prints the table, with what each row took.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conftest import TESTS, Workbench

if TYPE_CHECKING:
    from collections.abc import Mapping

HANG_SECONDS = 90

MOST_MB = 1000

SUITE = """
name = "two"
cost = false
[[run]]
datasets = ["toy"]
models = ["line"]
methods = ["fit"]
"""


def suite(*lines: str, **changed: str) -> str:
    """Return a suite of one cell with other values, and lines at its top."""
    text = SUITE
    for name, value in changed.items():
        text = re.sub(rf"(?m)^{name} = .*$", lambda _, new=f"{name} = {value}": new, text)
    return "\n".join([*lines, text])


def loud(text: str) -> str:
    """Return a plugin that writes to stdout when it is imported."""
    return f"import os\nos.write(1, {text!r}.encode())\n"


LONG = "n" * 5000

PUBLISHED = '[[published]]\ncell = "toy/line/fit"\nsource = "x"\nmetrics = { auc = %s }\n'


class Row(NamedTuple):
    """An odd input.

    Attributes:
        kind: what is odd.
        line: for bash, in a folder where ``two.toml`` has been run.
        says: what the one line on stderr says; empty: nothing is written there.
        code: exit code.
        out: what stdout holds; empty: nothing.
        files: contents of more files, by path.
    """

    kind: str
    line: str
    says: str = ""
    code: int = 2
    out: str = ""
    files: Mapping[str, str | bytes] = {}


ROWS = [
    # --- standard streams
    Row("closed stdout", "hepbench list >&-", "stdout is closed"),
    Row("closed stdout of a run", "hepbench run two.toml --fresh --quiet >&-", "stdout is closed"),
    Row("full stdout", "hepbench list >/dev/full", "stdout: No space left on device"),
    Row("full stdout of help", "hepbench --help >/dev/full", "stdout: No space left on device"),
    Row(
        "full stdout of a run",
        "hepbench run two.toml --fresh --quiet >/dev/full",
        "stdout: No space left on device",
    ),
    Row("closed stderr", "hepbench lits 2>&-"),
    Row("full stderr", "hepbench lits 2>/dev/full"),
    Row("closed stderr of a run", "hepbench run two.toml --fresh 2>&-", "", 0, "1 done"),
    Row("full stderr of a run", "hepbench run two.toml --fresh 2>/dev/full", "", 0, "1 done"),
    Row("reader of stdout has gone", "hepbench list | head -1", "", 0, "datasets"),
    Row("reader of stdout was never there", "(sleep .5; hepbench table) | true", "", 0),
    Row(
        "reader of progress has gone",
        "{ hepbench run two.toml --fresh 2>&1 1>&3 | true; } 3>&1",
        "", 0, "1 done",
    ),
    Row("closed stdin", "hepbench list <&-", "", 0, "datasets"),
    Row(
        "plugin that prints at import",
        "hepbench list --json | python -m json.tool",
        "printed by loud", 0, '"loud"',
        {"site/loud.py": loud("printed by loud\n"), "site/loud-0.1.dist-info/entry_points.txt": "[hepbench]\nloud = loud\n", "site/loud-0.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: loud\nVersion: 0.1\n"},
    ),
    # --- environment
    Row("ascii output", "PYTHONIOENCODING=ascii hepbench table", "", 0, "toy"),
    Row("ascii locale", "PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 LC_ALL=C hepbench table", "", 0, "toy"),
    Row("narrow terminal", "COLUMNS=1 hepbench --help", "", 0, "Commands"),
    Row("garbage as width", "COLUMNS=x LINES=-1 TERM=x hepbench table", "", 0, "toy"),
    Row("no home", "env -u HOME hepbench list models", "", 0, "line"),
    Row("home that is no folder", "HEPBENCH_CACHE= HOME=/dev/null hepbench plan two.toml", "", 0, "line"),
    Row("home that is no folder, run", "HEPBENCH_CACHE= HOME=/dev/null hepbench run two.toml --fresh --quiet", "HEPBENCH_CACHE"),
    Row("cache without a slash", "HEPBENCH_CACHE=x hepbench plan two.toml", "", 0, "line"),
    Row("cache that is a file", "HEPBENCH_CACHE=two.toml hepbench run two.toml --fresh --quiet", "two.toml"),
    Row("data folder that is a file", "HEPBENCH_DATA=two.toml hepbench plan two.toml", "no such folder"),
    Row("long TMPDIR", f"mkdir -p {'t' * 99}; TMPDIR=$PWD/{'t' * 99} hepbench run two.toml --fresh --quiet", "", 0, "1 done"),
    Row("missing TMPDIR", "TMPDIR=/nowhere hepbench run two.toml --fresh --quiet", "", 0, "1 done"),
    Row("little data memory", "ulimit -d 100000; hepbench run two.toml --fresh --quiet", "out of memory", 2),
    Row("data memory for one", "ulimit -d 500000; hepbench run two.toml --fresh --quiet", "", 0, "1 done"),
    Row("few open files", "ulimit -n 12; hepbench run two.toml --fresh --quiet", "Too many open files", 2),
    # --- suites
    Row("folder as suite", "hepbench run ./site", "Is a directory"),
    Row("FIFO as suite", "mkfifo f.toml; hepbench run f.toml", "not a regular file"),
    Row("endless suite", "hepbench run /dev/zero", "not a regular file"),
    Row("huge suite", "truncate -s 3G huge.toml; hepbench run huge.toml", "huge.toml"),
    Row("no Unicode", "hepbench run s.toml", "s.toml", files={"s.toml": b"name = '\xff\xfe'"}),
    Row("byte order mark", "hepbench plan s.toml", "", 0, "line", {"s.toml": b"\xef\xbb\xbf" + SUITE.encode()}),
    Row("NUL in a suite", "hepbench run s.toml", "s.toml", files={"s.toml": suite(name='"a\0b"')}),
    Row("NUL in a name", "hepbench run s.toml", "letters", files={"s.toml": suite(name='"a\\u0000b"')}),
    Row("NUL in a dataset", "hepbench run s.toml", r"a\x00b", files={"s.toml": suite(datasets='["a\\u0000b"]')}),
    Row("nested arrays", "hepbench run s.toml", "nested", files={"s.toml": suite(datasets="[" * 100_000)}),
    Row("nested tables", "hepbench run s.toml", "nested", files={"s.toml": suite(datasets="{a=" * 5000 + "1" + "}" * 5000)}),
    Row("500 nested arrays", "hepbench run s.toml", "nested", files={"s.toml": suite() + "set = { 'model.slope' = " + "[" * 300 + "]" * 300 + "}"}),
    Row("20,000 dotted parts", "hepbench run s.toml", "nested", files={"s.toml": suite() + "set." + "a." * 20_000 + "a = 1"}),
    Row("20,000 parts of a table", "hepbench run s.toml", "nested", files={"s.toml": suite() + "[" + "a." * 20_000 + "a]"}),
    Row("20,000 quoted parts", "hepbench run s.toml", "nested", files={"s.toml": suite() + "set." + "'a' . " * 20_000 + "a = 1"}),
    Row("5,000 digits", "hepbench run s.toml", "digits", files={"s.toml": suite("seeds = " + "9" * 5000)}),
    Row("4,000 digits", "hepbench run s.toml", "seeds", files={"s.toml": suite("seeds = " + "9" * 4000)}),
    Row("10^9 seeds", "hepbench run s.toml", "seeds", files={"s.toml": suite("seeds = 1_000_000_000")}),
    Row("a seed of 10^30", "hepbench run s.toml", "seeds", files={"s.toml": suite(f"seeds = [{10**30}]")}),
    Row("a split seed of 10^30", "hepbench run s.toml", "split_seed", files={"s.toml": suite(f"split_seed = {10**30}")}),
    Row("minus zero seeds", "hepbench run s.toml", "seeds", files={"s.toml": suite("seeds = -0")}),
    Row("10^9 cells in lists", "hepbench run s.toml", "1,000,000,000 cells", files={"s.toml": suite(**{n: str([f"{x}[a={i}]" for i in range(1000)]) for n, x in {"datasets": "toy", "models": "line", "methods": "fit"}.items()})}),
    Row("10^9 cells in braces", "hepbench run s.toml", "1,000,000,000", files={"s.toml": suite(models='["line[' + ",".join(f"p{j}={{{','.join(map(str, range(1000)))}}}" for j in range(3)) + ']"]')}),
    Row("10^9 fractions", "hepbench run s.toml", "cells", files={"s.toml": suite(methods=str(["fit"] * 1000), models=str(["line"] * 1000)) + f"label_fractions = {[0.5] * 1000}"}),
    Row("published nan", "hepbench run s.toml", "$.published[0]", files={"s.toml": suite() + PUBLISHED % "nan"}),
    Row("published inf", "hepbench run s.toml", "$.published[0]", files={"s.toml": suite() + PUBLISHED % "1e400"}),
    Row("fraction nan", "hepbench run s.toml", "label_fraction", files={"s.toml": suite() + "label_fractions = [nan]"}),
    Row("suite name of 5,000", "hepbench run s.toml", "name at $.name", files={"s.toml": suite(name=f'"{LONG}"')}),
    Row("key of 5,000", "hepbench run s.toml", "no key named", files={"s.toml": suite(f"{LONG} = 1")}),
    Row("date as a value", "hepbench run s.toml", "slope", files={"s.toml": suite() + "set = { 'model.slope' = 1979-05-27 }"}),
    Row("escape in a summary", "hepbench plan s.toml", "", 0, r"\x1b[31mred", {"s.toml": suite('summary = "\\u001b[31mred"')}),
    Row("escape in a TOML error", "hepbench run s.toml", "s.toml", files={"s.toml": "\x1b[31m = 1"}),
    Row("escape in a value", "hepbench plan s.toml", "", 0, r"\x1b[31m", {"s.toml": suite() + "set = { 'model.does' = \"\\u001b[31m\" }"}),
    Row("1,000 datasets, a wrong glob", "hepbench plan s.toml -d x", "more", files={"s.toml": suite(datasets=str([f"toy[n={i}]" for i in range(100, 1100)]))}),
    # --- options
    Row("suite of 5,000", f"hepbench run {LONG}", "no suite named"),
    Row("path of 5,000", f"hepbench run ./{LONG}.toml", "File name too long"),
    Row("dataset of 5,000", f"hepbench run two.toml -d {LONG}", "matches no dataset"),
    Row("parameter of 5,000", f"hepbench run two.toml --set model.{LONG}=1", "no parameter"),
    Row("parameter in brackets", "hepbench run s.toml", "no parameter", files={"s.toml": suite(models=f'["line[{LONG}=1]"]')}),
    Row("value of 5,000", f"hepbench plan two.toml --set model.does={LONG}", "", 0, LONG),
    Row("metric of 5,000", f"hepbench table --columns {LONG}", "no column"),
    Row("results of 5,000", f"hepbench table {LONG}", "no results in"),
    Row("results of 5,000, run", f"hepbench run two.toml --results {LONG}", "File name too long"),
    Row("run name of 5,000", f"hepbench run two.toml --name {LONG}", "--name"),
    Row("cell of 5,000", f"hepbench why {LONG}", "no cell named"),
    Row("verb of 5,000", f"hepbench {LONG}", "No such command"),
    Row("escape as verb", "hepbench $'\\e[31m'", r"\x1b[31m"),
    Row("no Unicode as verb", "hepbench $'\\xff'", "No such command"),
    Row("nested --set", f"hepbench plan two.toml --set model.slope={'[' * 9000}", "slope"),
    Row("5,000 digits in --set", f"hepbench plan two.toml --set model.slope={'9' * 5000}", "slope"),
    Row("400 digits in --set", f"hepbench plan two.toml --set model.slope={'9' * 400}", "slope"),
    Row("1e400 in --set", "hepbench plan two.toml --set model.slope=1e400", "finite"),
    Row("nan in --set", "hepbench plan two.toml --set model.slope=nan", "finite"),
    Row("-0 in --set", "hepbench plan two.toml --set model.slope=-0", "", 0, "slope=0"),
    Row("400 digits for a count", f"hepbench plan two.toml --set dataset.n_train={'9' * 400}", "n_train"),
    Row("two lines in --set", "hepbench plan two.toml --set $'model.does=1\\n[x]'", "", 0, "does=1\\n[x]"),
    Row("--seeds 10^9", "hepbench plan two.toml --seeds 1000000000", "cells"),
    Row("--seeds of 5,000 digits", f"hepbench plan two.toml --seeds {'9' * 5000}", "--seeds"),
    Row("--seeds -1", "hepbench plan two.toml --seeds -1", "--seeds"),
    Row("--jobs 0", "hepbench run two.toml --jobs 0", "--jobs"),
    Row("--jobs 10^9", "hepbench run two.toml --jobs 1000000000 --fresh", "--jobs"),
    Row("--threads 10^9", "hepbench run two.toml --threads 1000000000 --fresh", "--threads"),
    Row("--timeout nan", "hepbench run two.toml --timeout nan --fresh", "--timeout"),
    Row("--memory nan", "hepbench run two.toml --memory nan --fresh", "--memory"),
    Row("--memory 1e400", "hepbench run two.toml --memory 1e400 --fresh", "--memory"),
    Row("--memory of a byte", "hepbench run two.toml --memory 1e-9 --fresh --quiet", "", 1, "out of memory"),
    Row("--memory above all", "hepbench run two.toml --memory 9e5 --fresh --quiet", "", 0, "1 done"),
    Row("no Unicode in --set", "hepbench run two.toml --set $'model.does=\\xff'", "no Unicode"),
    Row("no Unicode in a suite's path", "cp two.toml $'\\xff.toml'; hepbench run $'./\\xff.toml' --quiet --fresh", "", 0, "1 done"),
    Row("no Unicode in a results path", "hepbench run two.toml --results $'\\xff' --quiet; hepbench table $'\\xff' > /dev/null", "", 0, "1 done"),
    Row("no Unicode in a results path, JSON", "hepbench run two.toml --results $'\\xff' --quiet --json | python -m json.tool", "", 0, "two"),
    Row("no Unicode in a cache path", "HEPBENCH_CACHE=$'\\xff' hepbench run two.toml --quiet --fresh", "HEPBENCH_CACHE"),
    Row("no Unicode in a data path", "mkdir $'\\xff'; hepbench run two.toml --quiet --data $'\\xff' --fresh", "--data"),
    Row("no Unicode in TMPDIR", "mkdir $'\\xff'; TMPDIR=$PWD/$'\\xff' hepbench run two.toml --quiet --fresh", "", 0, "1 done"),
    Row("no Unicode in the current folder", "mkdir $'\\xff'; cd $'\\xff'; hepbench run ../two.toml --quiet --fresh", "", 0, "1 done"),
    Row("files of one kB", "ulimit -f 1; hepbench run two.toml --quiet --fresh", "File too large", 2),
    Row("warnings that are errors", "PYTHONWARNINGS=error hepbench run two.toml --quiet --fresh", "", 0, "1 done"),
    Row("little stack", "ulimit -s 200; hepbench run two.toml --quiet --fresh", "", 0, "1 done"),
    # --- plugins
    Row("plugin with a name of 5,000", "hepbench list", "", 0, "not loaded", {"site/loud.py": f"from hepbench import Suite, hookimpl\n@hookimpl\ndef hepbench_suites():\n    return [Suite(name='{LONG}', path='x:y')]\n", "site/loud-0.1.dist-info/entry_points.txt": "[hepbench]\nloud = loud\n", "site/loud-0.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: loud\nVersion: 0.1\n"}),
    Row("escape in a plugin's summary", "hepbench list; hepbench list --json; hepbench show metric loud", "", 0, r"\x1b[31mred", {"site/loud.py": "from hepbench import Metric, hookimpl\n@hookimpl\ndef hepbench_metrics():\n    return [Metric(name='loud', summary='\\x1b[31mred', compute='x:y', higher_is_better=True)]\n", "site/loud-0.1.dist-info/entry_points.txt": "[hepbench]\nloud = loud\n", "site/loud-0.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: loud\nVersion: 0.1\n"}),
    # --- results
    Row("record that is a folder", "for r in results/two/*.json; do rm $r; mkdir $r; done; hepbench table", "Is a directory"),
    Row("record that is a folder, run", "for r in results/two/*.json; do rm $r; mkdir $r; done; hepbench run two.toml --quiet", "Is a directory"),
    Row("record that is a FIFO", "for r in results/two/*.json; do rm $r; mkfifo $r; done; hepbench table", "not a regular file"),
    Row("record that is endless", "for r in results/two/*.json; do ln -sf /dev/zero $r; done; hepbench table", "not a regular file"),
    Row("record that links to itself", "for r in results/two/*.json; do rm $r; ln -s $r $r; done; hepbench table", "skipped, as it is missing"),
    Row("nested record", "for r in results/two/*.json; do cp nested.json $r; done; hepbench table", "not a record", files={"nested.json": "[" * 100_000}),
    Row("nested params in a record", "for r in results/two/*.json; do sed -i '0,/\"slope\": 1.0/s//\"slope\": '$(cat nested.json)/ $r; done; hepbench table", "nested", files={"nested.json": "[" * 3000 + "]" * 3000}),
    Row("1e400 in a record", "sed -i '0,/\"value\": [0-9.]*/s//\"value\": 1e400/' results/two/*.json; hepbench table", "out of range"),
    Row("NUL in a path of a record", "sed -i 's/predictions.*npz/x\\\\u0000y/' results/two/*.json; hepbench verify", "not inside"),
    Row("escape in a record", "sed -i 's/\"dataset\": \"toy\"/\"dataset\": \"\\\\u001b[31m\"/' results/two/*.json; for f in plain github latex csv json html; do hepbench table --format $f || exit 9; done", "", 0, "[31m"),
    Row("escape in a figure", "sed -i 's/\"dataset\": \"toy\"/\"dataset\": \"\\\\u001b[$x$ _{=1]\"/' results/two/*.json; hepbench plot roc -o roc.svg && cat roc.svg && python -c 'import xml.dom.minidom as m; m.parse(\"roc.svg\")'", "", 0, "x1b"),
    Row("escape in a record, verify", "sed -i 's/\"dataset\": \"toy\"/\"dataset\": \"\\\\u001b[31m\"/' results/two/*.json; hepbench verify", "", 1, "[31m"),
    Row("escape in a record, why", "sed -i 's/\"dataset\": \"toy\"/\"dataset\": \"\\\\u001b[31m\"/' results/two/*.json; hepbench why x", r"\x1b[31m"),
    Row("FIFO as predictions", "for r in results/two/predictions/*; do rm $r; mkfifo $r; done; hepbench verify", "", 1, "not a regular file"),
    Row("FIFO as results", "mkfifo f; hepbench table f", "f"),
    Row("/dev/zero as results", "hepbench table /dev/zero", "/dev/zero"),
    Row("FIFO as results, run", "mkfifo f; hepbench run two.toml --results f", "f"),
    Row("read-only results", "hepbench run two.toml --results /sys/x", "cannot write"),
    Row("file in place of a suite's results", "rm -r results/two; touch results/two; hepbench run two.toml --quiet", "cannot write"),
    # --- cache
    Row("manifest that is a folder", "rm -r results; for m in cache/stages/*/*/manifest.json; do rm $m; mkdir $m; done; hepbench run two.toml --quiet", "", 0, "1 done"),
    Row("manifest that is a FIFO", "rm -r results; for m in cache/stages/*/*/manifest.json; do rm $m; mkfifo $m; done; hepbench run two.toml --quiet", "", 0, "1 done"),
    Row("nested manifest", "rm -r results; for m in cache/stages/*/*/manifest.json; do cp nested.json $m; done; hepbench run two.toml --quiet", "", 0, "1 done", {"nested.json": "[" * 100_000}),
    Row("stages that are files", "rm -r results; for s in cache/stages/*/*; do rm -r $s; touch $s; done; hepbench run two.toml --quiet", "", 0, "1 done"),
    Row("stages that are one file", "rm -r results cache/stages; touch cache/stages; hepbench run two.toml --quiet", "cache"),
    Row("claims that are folders", "for s in cache/stages/*/*; do mkdir -p cache/claims/${s##*/}.lock; done; hepbench run two.toml --fresh --quiet", "Is a directory"),
    Row("claims that are FIFOs", "for s in cache/stages/*/*; do mkfifo cache/claims/${s##*/}.lock; done; hepbench run two.toml --fresh --quiet", "", 0, "1 done"),
    Row("claims in a file", "rm -rf cache/claims; touch cache/claims; hepbench run two.toml --fresh --quiet", "cache"),
    Row("scratch that is a file", "rm -rf cache/tmp; touch cache/tmp; hepbench run two.toml --fresh --quiet", "cache"),
    Row("digests that are a folder", "rm cache/digests.json; mkdir cache/digests.json; hepbench run two.toml --fresh --quiet", "", 0, "1 done"),
    Row("digests that are a FIFO", "rm cache/digests.json; mkfifo cache/digests.json; hepbench run two.toml --fresh --quiet", "", 0, "1 done"),
    Row("nested digests", "cp nested.json cache/digests.json; hepbench run two.toml --fresh --quiet", "", 0, "1 done", {"nested.json": "[" * 100_000}),
    Row("other values in the digests", "sed -i 's/: \\[/: [0, [/g; s/\\],/]],/g' cache/digests.json; hepbench run two.toml --fresh --quiet", "", 0, "1 done"),
    Row("5,000 digits in the digests", "cp n.json cache/digests.json; hepbench run two.toml --fresh --quiet", "", 0, "1 done", {"n.json": '{"x": ' + "9" * 5000 + "}"}),
    # --- signals
    Row("SIGTERM", "hepbench run slow.toml --quiet & until ls cache/tmp/*/log 2>/dev/null; do sleep .05; done >/dev/null; kill -TERM $!; wait $!", "terminated", 143, files={"slow.toml": suite(models='["line[does=sleep50]"]')}),
    Row("SIGHUP", "hepbench run slow.toml --quiet & until ls cache/tmp/*/log 2>/dev/null; do sleep .05; done >/dev/null; kill -HUP $!; wait $!", "hung up", 129, files={"slow.toml": suite(models='["line[does=sleep50]"]')}),
    Row("SIGHUP under nohup", "trap '' HUP; hepbench run slow.toml --quiet & until ls cache/tmp/*/log 2>/dev/null; do sleep .05; done >/dev/null; kill -HUP $!; wait $!", "", 0, "1 done", files={"slow.toml": suite(models='["line[does=sleep1]"]')}),
]  # fmt: skip

MEASURE = """
import os, resource, subprocess, sys, time
began = time.monotonic()
code = subprocess.run(sys.argv[2:], pass_fds=()).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
os.write(int(sys.argv[1]), f"{code} {time.monotonic() - began} {used.ru_maxrss / 1024}".encode())
"""


class Outcome(NamedTuple):
    """What a row did."""

    code: int
    out: str
    err: str
    seconds: float
    megabytes: float


def prepared(folder: Path) -> Workbench:
    """Return a workbench where ``two.toml`` has been run, with a command ``hepbench``."""
    bench = Workbench(folder)
    bench.plugin(TESTS / "plugins" / "toys.py")
    bench.write("two.toml", SUITE)
    command = bench.write("bin/hepbench", f'#!/bin/sh\nexec {sys.executable} -P -m hepbench "$@"\n')
    command.chmod(0o755)
    (folder / "bin/python").symlink_to(sys.executable)
    assert bench("run", "two.toml").code == 0
    return bench


def carried_out(row: Row, bench: Workbench) -> Outcome:
    """Carry out a row in bash; its process is measured from one of little memory."""
    for name, content in row.files.items():
        path = bench.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    variables = {**bench.variables(), "TMPDIR": "/tmp"}
    variables["PATH"] = f"{bench.folder / 'bin'}:{variables['PATH']}"
    read, write = os.pipe()
    line = ["bash", "-o", "pipefail", "-c", row.line]
    process = subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", MEASURE, str(write), *line],
        cwd=bench.folder, env=variables, pass_fds=[write], start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(write)
    try:
        out, err = process.communicate(timeout=HANG_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    with os.fdopen(read) as report:
        code, seconds, megabytes = report.read().split()
    return Outcome(int(code), out.decode(), err.decode(), float(seconds), float(megabytes))


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Path:
    """Return a folder where a suite of one cell has been run."""
    return prepared(tmp_path_factory.mktemp("odd")).folder


def faults(row: Row, found: Outcome) -> list[str]:
    """Return what is not as the row says."""
    lines = found.err.splitlines()
    checks = {
        f"code {found.code}": found.code == row.code,
        f"{len(lines)} lines": len(lines) == bool(row.says),
        "says": row.says in found.err,
        "out": row.out in found.out if row.out else not found.out,
        "control": not re.search(r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f]", found.out + found.err),
        "long": len(found.err) < 2000,
        f"{found.megabytes:.0f} MB": found.megabytes < MOST_MB,
    }
    return [name for name, fine in checks.items() if not fine]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_an_odd_input_ends_in_one_line(row, origin, tmp_path):
    """Exit code and line are as the table says, and memory is modest."""
    folder = tmp_path / "bench"
    shutil.copytree(origin, folder, symlinks=True)
    found = carried_out(row, Workbench(folder))
    assert not faults(row, found), (found.code, found.out[-2000:], found.err[-2000:])


def show(kinds: list[str]) -> None:
    """Print the table."""
    for row in ROWS:
        if kinds and not any(kind in row.kind for kind in kinds):
            continue
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(ORIGIN, f"{folder}/bench", symlinks=True)
            try:
                found = carried_out(row, Workbench(Path(folder, "bench")))
            except subprocess.TimeoutExpired:
                print(f"HANG {row.kind}")
                continue
        wrong = faults(row, found)
        print(f"{row.kind:<36} {found.code:>3} {found.seconds:5.1f} {found.megabytes:5.0f}  {found.err.strip()[:150]!r}")
        if wrong:
            print(f"   WRONG {wrong} out={found.out[-150:]!r} err={found.err[-700:]!r}")


if __name__ == "__main__":
    ORIGIN = Path(tempfile.mkdtemp()) / "odd"
    ORIGIN.mkdir()
    prepared(ORIGIN)
    show(sys.argv[1:])
