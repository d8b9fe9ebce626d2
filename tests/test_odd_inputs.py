r"""Odd and hostile inputs, a row each: an exit code, one line, no traceback, modest memory.

``python tests/test_odd_inputs.py`` prints the table with what each row took: seconds, and memory of its
largest process.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conftest import TESTS, Workbench
from needs import needs_linux

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = needs_linux("/dev/full", found=Path("/dev/full").exists())

HANG_SECONDS = 120

MOST_MB = 500

LONGEST_LINE = 2000

SUITE = """
name = "two"
cost = false
[[run]]
datasets = ["toy"]
models = ["line"]
methods = ["fit"]
"""


def suite(*lines: str, **changed: str) -> str:
    """Return a suite of one cell with lines at its top, and with other values in TOML."""
    text = SUITE
    for name, value in changed.items():
        text = re.sub(rf"(?m)^{name} = .*$", lambda _, new=f"{name} = {value}": new, text)
    return "\n".join([*lines, text])


def plugin(source: str) -> dict[str, str]:
    """Return the files of a plugin ``odd``."""
    return {
        "site/odd.py": source,
        "site/odd-0.1.dist-info/entry_points.txt": "[hepbench]\nodd = odd\n",
        "site/odd-0.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: odd\nVersion: 0.1\n",
    }


def hook(kind: str, spec: str) -> dict[str, str]:
    """Return the files of a plugin with one spec."""
    lines = [f"from hepbench import {kind}, hookimpl", "@hookimpl"]
    lines += [f"def hepbench_{kind.lower()}s():", f"    return [{kind}({spec})]"]
    return plugin("\n".join(lines))


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


DONE = "1 done"

LONG = "n" * 5000

AGAIN = "hepbench run two.toml --fresh --quiet"

UNTIL_IT_WORKS = "until ls cache/tmp/*/log; do sleep .05; done >/dev/null 2>&1"

DEEP = {"deep.json": "[" * 100_000}

PRINTS = "import os\nos.write(1, b'printed by odd')\nprint()"

RED = r"\x1b[31m"

# fmt: off
STREAMS = [
    Row("closed stdout", "hepbench list >&-", "stdout is closed"),
    Row("closed stdout of a run", f"{AGAIN} >&-", "stdout is closed"),
    Row("full stdout", "hepbench list >/dev/full", "stdout: No space left on device"),
    Row("full stdout of a help", "hepbench --help >/dev/full", "stdout: No space left on device"),
    Row("full stdout of a run", f"{AGAIN} >/dev/full", "stdout: No space left on device"),
    Row("closed stderr", "hepbench lits 2>&-"),
    Row("full stderr", "hepbench lits 2>/dev/full"),
    Row("closed stderr of a run", "hepbench run two.toml --fresh 2>&-", "", 0, DONE),
    Row("full stderr of a run", "hepbench run two.toml --fresh 2>/dev/full", "", 0, DONE),
    Row("closed stdin", "hepbench list <&-", "", 0, "datasets"),
    Row("stdout read by head", "hepbench list | head -1", "", 0, "datasets"),
    Row("stdout read by nobody", "(sleep .5; hepbench table) | true", "", 0),
    Row("help read by nobody", "(sleep .5; hepbench --help) | true", "", 0),
    Row("progress read by nobody", "{ hepbench run two.toml --fresh 2>&1 1>&3 | true; } 3>&1", "", 0, DONE),
    Row("plugin prints at import, JSON", "hepbench list --json | python -m json.tool", "printed by odd", 0, '"odd"', plugin(PRINTS)),
    Row("plugin prints at import, run", f"{AGAIN} --json | python -m json.tool", "printed by odd", 0, '"two"', plugin(PRINTS)),
]

ENVIRONMENT = [
    Row("ascii output", "PYTHONIOENCODING=ascii hepbench table", "", 0, "toy"),
    Row("ascii locale", "PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 LC_ALL=C hepbench table", "", 0, "toy"),
    Row("terminal of one column", "COLUMNS=1 hepbench --help", "", 0, "Commands"),
    Row("odd terminal", "COLUMNS=x LINES=-1 TERM=x hepbench table", "", 0, "toy"),
    Row("warnings as errors", f"PYTHONWARNINGS=error {AGAIN}", "", 0, DONE),
    Row("no home", "env -u HOME hepbench list models", "", 0, "line"),
    Row("home in a device", "HEPBENCH_CACHE= HOME=/dev/null hepbench plan two.toml", "", 0, "line"),
    Row("home in a device, run", f"HEPBENCH_CACHE= HOME=/dev/null {AGAIN}", "HEPBENCH_CACHE"),
    Row("cache that is a file", f"HEPBENCH_CACHE=two.toml {AGAIN}", "HEPBENCH_CACHE"),
    Row("cache that is no Unicode", f"HEPBENCH_CACHE=$'\\xff' {AGAIN}", "HEPBENCH_CACHE"),
    Row("data folder that is a file", "HEPBENCH_DATA=two.toml hepbench plan two.toml", "no such folder"),
    Row("TMPDIR of 99 characters", f"mkdir {'t' * 99}; TMPDIR=$PWD/{'t' * 99} {AGAIN}", "", 0, DONE),
    Row("TMPDIR that is missing", f"TMPDIR=/nowhere {AGAIN}", "", 0, DONE),
    Row("TMPDIR that is no Unicode", f"mkdir $'\\xff'; TMPDIR=$PWD/$'\\xff' {AGAIN}", "", 0, DONE),
    Row("current folder no Unicode", "mkdir $'\\xff'; cd $'\\xff'; hepbench run ../two.toml --fresh --quiet", "", 0, DONE),
    Row("58 MB of data", f"export OPENBLAS_NUM_THREADS=1; ulimit -d 58500; {AGAIN}", "out of memory; 'ulimit -a'"),
    Row("500 MB of data", f"ulimit -d 500000; {AGAIN}", "", 0, DONE),
    Row("300 MB of addresses", f"ulimit -v 300000; {AGAIN}", "", 0, DONE),
    Row("12 open files", f"ulimit -n 12; {AGAIN}", "Too many open files; 'ulimit -a'"),
    Row("files of one kB", f"ulimit -f 1; {AGAIN}", "File too large"),
]

SIGNALS = [
    Row(kind, f"{before}hepbench run slow.toml --quiet & {UNTIL_IT_WORKS}; kill -{name} $!; wait $!", says, code, out,
        {"slow.toml": suite(models=f'["line[does=sleep{seconds}]"]')})
    for kind, before, name, says, code, out, seconds in [
        ("SIGTERM", "", "TERM", "terminated (SIGTERM); finished stages are kept", 143, "", 99),
        ("SIGHUP", "", "HUP", "hung up (SIGHUP); finished stages are kept", 129, "", 99),
        ("SIGHUP under nohup", "trap '' HUP; ", "HUP", "", 0, DONE, 1),
    ]
]

SUITES = [
    Row(kind, "hepbench run s.toml", says, files={"s.toml": content})
    for kind, content, says in [
        ("suite no Unicode", b"name = '\xff\xfe'", "s.toml: 'utf-8' codec can't decode"),
        ("NUL in a suite", suite(name='"a\0b"'), r"s.toml:2: Illegal character '\x00'"),
        ("NUL in its name", suite(name='"a\\u0000b"'), r"s.toml:2: name at $.name is 'a\x00b'"),
        ("NUL in a dataset", suite(datasets='["a\\u0000b"]'), r"no dataset named 'a\x00b'"),
        ("escape in TOML", "\x1b[31m = 1", "s.toml:1: Invalid statement"),
        ("100,000 nested arrays", suite(datasets="[" * 100_000), "nested too deeply"),
        ("300 nested arrays", suite() + "set = { 'model.slope' = " + "[" * 300 + "]" * 300 + "}", "nested too deeply"),
        ("5,000 nested tables", suite(datasets="{a=" * 5000 + "1" + "}" * 5000), "nested too deeply"),
        ("20,000 parts of a key", suite() + "set." + "a." * 20_000 + "a = 1", "20,002 parts"),
        ("20,000 quoted parts", suite() + "set." + "'a' . " * 20_000 + "a = 1", "20,002 parts"),
        ("20,000 parts of a table", suite() + "[" + "a." * 20_000 + "a]", "20,001 parts"),
        ("20,000 open quotes", suite() + "a = '" + r"\"" * 20_000, "s.toml: "),
        ("number of 5,000 digits", suite("seeds = " + "9" * 5000), "4300 digits"),
        ("number of 4,000 digits", suite("seeds = " + "9" * 4000), "seeds at $.seeds"),
        ("10^9 seeds", suite("seeds = 1_000_000_000"), "seeds at $.seeds is 1,000,000,000; at most"),
        ("seed of 10^30", suite(f"seeds = [{10**30}]"), "seeds at $.seeds"),
        ("split seed of 10^30", suite(f"split_seed = {10**30}"), "split_seed at $.split_seed"),
        ("-0 seeds", suite("seeds = -0"), "seeds at $.seeds must be"),
        ("10^9 cells in lists", suite(**{n: str(["x"] * 1000) for n in ("datasets", "models", "methods")}), "1,000,000,000 cells"),
        ("10^9 cells in braces", suite(models=f'["line[{",".join(["a={" + "1," * 999 + "1}"] * 3)}]"]'), "1,000,000,000 cells"),
        ("10^9 cells with fractions", suite(models=str(["x"] * 1000), methods=str(["x"] * 1000)) + f"label_fractions = {[0.5] * 1000}", "1,000,000,000 cells"),
        *(
            (f"published {value}", suite() + f"[[published]]\ncell = 'x'\nsource = 'x'\nmetrics = {{ auc = {value} }}", "$.published[0]")
            for value in ("nan", "inf", "1e400")
        ),
        ("fraction nan", suite() + "label_fractions = [nan]", "toy[label_fraction] is nan"),
        ("date as a parameter", suite() + "set = { 'model.slope' = 1979-05-27 }", "line[slope] is"),
        ("name of 5,000", suite(name=f'"{LONG}"'), "name at $.name"),
        ("key of 5,000", suite(f"{LONG} = 1"), "no key named"),
        ("parameter of 5,000", suite(models=f'["line[{LONG}=1]"]'), "no parameter named"),
    ]
]

MORE_SUITES = [
    Row("byte order mark", "hepbench plan s.toml", "", 0, "line", {"s.toml": b"\xef\xbb\xbf" + SUITE.encode()}),
    Row("escape in a summary", "hepbench plan s.toml", "", 0, RED, {"s.toml": suite('summary = "\\u001b[31m"')}),
    Row("escape in a parameter", "hepbench plan s.toml", "", 0, RED, {"s.toml": suite() + "set = { 'model.does' = \"\\u001b[31m\" }"}),
    Row("escape in a failed cell", "hepbench run s.toml", RED, 1, RED, {"s.toml": suite() + "set = { 'model.does' = \"\\u001b[31m\" }"}),
    Row("1,000 datasets, none chosen", "hepbench plan s.toml -d x", "and 980 more", files={"s.toml": suite(datasets=str([f"toy[n={i}]" for i in range(100, 1100)]))}),
    Row("folder as a suite", "hepbench run ./site", "suite site: Is a directory"),
    Row("FIFO as a suite", "mkfifo f.toml; hepbench run f.toml", "suite f.toml: not a regular file"),
    Row("endless suite", "hepbench run /dev/zero", "suite /dev/zero: not a regular file"),
    Row("suite of 3 GB", "truncate -s 3G s.toml; hepbench run s.toml", "suite s.toml: the file has 3,221,225,472 bytes"),
    Row("suite's path no Unicode", "cp two.toml $'\\xff.toml'; hepbench run $'./\\xff.toml' --fresh --quiet", "", 0, DONE),
]

OPTIONS = [
    Row(kind, f"hepbench {line}", says)
    for kind, line, says in [
        ("verb of 5,000", LONG, "No such command"),
        ("verb with an escape", "$'\\e[31m'", RED),
        ("verb no Unicode", "$'\\xff'", "No such command"),
        ("suite of 5,000", f"run {LONG}", "no suite named"),
        ("suite's path of 5,000", f"run ./{LONG}.toml", "File name too long"),
        ("dataset of 5,000", f"run two.toml -d {LONG}", "matches no dataset"),
        ("setting of 5,000", f"run two.toml --set model.{LONG}=1", "no parameter"),
        ("run's name of 5,000", f"run two.toml --name {LONG}", "--name"),
        ("cell of 5,000", f"why {LONG}", "no cell named"),
        ("column of 5,000", f"table --columns {LONG}", "no column named"),
        ("results of 5,000", f"table {LONG}", "File name too long"),
        ("results of 5,000, run", f"run two.toml --results {LONG} --fresh", "File name too long"),
        ("--set nested", f"plan two.toml --set model.slope={'[' * 9000}", "line[slope] is"),
        ("--set 5,000 digits", f"plan two.toml --set model.slope={'9' * 5000}", "line[slope] is"),
        ("--set 400 digits", f"plan two.toml --set model.slope={'9' * 400}", "line[slope] is"),
        ("--set 400 digits, a count", f"plan two.toml --set dataset.n_train={'9' * 400}", "toy[n_train] is"),
        ("--set 1e400", "plan two.toml --set model.slope=1e400", "line[slope] is inf; a finite number"),
        ("--set nan", "plan two.toml --set model.slope=nan", "line[slope] is nan; a finite number"),
        ("--set no Unicode", "plan two.toml --set $'model.does=\\xff'", "line[does] is a text"),
        ("--data no Unicode", "run two.toml --data $'\\xff'", "--data"),
        ("--seeds 10^9", "plan two.toml --seeds 1000000000", "1,000,000,000 cells"),
        ("--seeds of 5,000 digits", f"plan two.toml --seeds {'9' * 5000}", "'--seeds'"),
        ("--seeds -1", "plan two.toml --seeds -1", "--seeds is -1"),
        ("--jobs 0", "run two.toml --jobs 0", "--jobs is 0"),
        ("--jobs 10^9", "run two.toml --jobs 1000000000", "--jobs is 1000000000"),
        ("--threads 10^9", "run two.toml --threads 1000000000", "--threads is 1000000000"),
        ("--timeout nan", "run two.toml --timeout nan", "--timeout is nan"),
        ("--memory nan", "run two.toml --memory nan", "--memory is nan"),
        ("--memory 1e400", "run two.toml --memory 1e400", "--memory is inf"),
    ]
]

MORE_OPTIONS = [
    Row("--set -0", "hepbench plan two.toml --set model.slope=-0", "", 0, "slope=0"),
    Row("--set two lines", "hepbench plan two.toml --set $'model.does=1\\n[x]'", "", 0, "does=1\n[x]"),
    Row("--set 5,000 letters", f"hepbench plan two.toml --set model.does={LONG}", "", 0, LONG),
    Row("--memory of one byte", f"{AGAIN} --memory 1e-9", "", 1, "out of memory"),
    Row("results no Unicode", "hepbench run two.toml --results $'\\xff' --quiet --json | python -m json.tool", "", 0, "two"),
    Row("plugin's name of 5,000", "hepbench list", "", 0, "not loaded: suite name", hook("Suite", f"name='{LONG}', path='x:y'")),
    Row("plugin's summary with an escape", "hepbench list; hepbench list --json; hepbench show metric odd", "", 0, RED,
        hook("Metric", "name='odd', summary='\\x1b[31m', compute='x:y', higher_is_better=True")),
]


def record(change: str) -> str:
    """Return a line that changes the record with a command, its checksum removed."""
    return f"for r in results/two/*.json; do sed -i '/^ \"checksum\"/d' $r; {change}; done"


ESCAPED = record('sed -i \'s/"dataset": "toy"/"dataset": "\\\\u001b[31m"/\' $r')

SIGNS = record('sed -i \'s#"dataset": "toy"#"dataset": "\\\\u001b$x$ {}_^~%"#\' $r')

RESULTS = [
    Row("record that is a folder", record("rm $r; mkdir $r") + "; hepbench table", "Is a directory"),
    Row("record that is a folder, run", record("rm $r; mkdir $r") + "; hepbench run two.toml", "Is a directory"),
    Row("record that is a FIFO", record("rm $r; mkfifo $r") + "; hepbench table", "not a regular file"),
    Row("record without an end", record("ln -sf /dev/zero $r") + "; hepbench table", "not a regular file"),
    Row("record that links nowhere", record("ln -sf nowhere $r") + "; hepbench table", "is missing"),
    Row("record of nested arrays", record("cp deep.json $r") + "; hepbench table", "not a record", files=DEEP),
    Row("nested parameter in a record", record('sed -i "s/\\"slope\\": 1.0/\\"slope\\": $(cat deep.json)/" $r') + "; hepbench table", "nested too deeply", files={"deep.json": "[" * 3000 + "]" * 3000}),
    Row("1e400 in a record", record("sed -i '0,/\"value\": [0-9.]*/s//\"value\": 1e400/' $r") + "; hepbench table", "out of range"),
    Row("NUL in a record's path", record("sed -i 's/predictions.*npz/x\\\\u0000y/' $r") + "; hepbench verify", "outside of its folder"),
    Row("escape in a record", f"{ESCAPED}; for f in plain github latex csv json html; do hepbench table --format $f || exit 9; done", "", 0, "[31m"),
    Row("escape in a record, verify", f"{ESCAPED}; hepbench verify", "", 1, RED),
    Row("escape in a record, why", f"{ESCAPED}; hepbench why x", RED),
    Row("predictions that are a FIFO", "for p in results/two/predictions/*; do rm $p; mkfifo $p; done; hepbench verify", "", 1, "not a regular file"),
    Row("FIFO as results", "mkfifo f; hepbench table f", "no results in f"),
    Row("FIFO as results, run", "mkfifo f; hepbench run two.toml --results f", "cannot write f"),
    Row("/dev/zero as results", "hepbench table /dev/zero", "no results in /dev/zero"),
    Row("read-only results", "hepbench run two.toml --results /sys/x", "cannot write /sys/x"),
    Row("file for a suite's results", f"rm -r results/two; touch results/two; {AGAIN}", "cannot write results/two"),
    Row("pack onto a FIFO", "mkfifo f; hepbench pack -o f", "cannot write f: it is not a regular file"),
    Row("figure with an escape", f"{SIGNS}; hepbench plot roc -o x.svg && python -c 'import xml.dom.minidom as m; print(m.parse(\"x.svg\"))'", "", 0, "x.svg\n<xml"),
]

REBUILT = [
    Row(kind, f"rm -r results; for s in cache/stages/*/*; do {line}; done; hepbench run two.toml --quiet", "", 0, DONE, DEEP)
    for kind, line in [
        ("manifests that are folders", "rm $s/manifest.json; mkdir $s/manifest.json"),
        ("manifests that are FIFOs", "rm $s/manifest.json; mkfifo $s/manifest.json"),
        ("manifests of nested arrays", "cp deep.json $s/manifest.json"),
        ("stages that are files", "rm -r $s; touch $s"),
        ("stages that are FIFOs", "rm -r $s; mkfifo $s"),
        ("scores that are FIFOs", "find $s -name scores.npz -exec rm {} ';' -exec mkfifo {} ';'"),
    ]
]

CACHE = [
    Row("stages in a file", f"rm -r cache/stages; touch cache/stages; {AGAIN}", "HEPBENCH_CACHE"),
    Row("claims in a file", f"rm -r cache/claims; touch cache/claims; {AGAIN}", "HEPBENCH_CACHE"),
    Row("scratch in a file", f"rm -r cache/tmp; touch cache/tmp; {AGAIN}", "HEPBENCH_CACHE"),
    Row("claims that are folders", f"for s in cache/stages/*/*; do mkdir cache/claims/${{s##*/}}.lock; done; {AGAIN}", "Is a directory"),
    Row("claims that are FIFOs", f"for s in cache/stages/*/*; do mkfifo cache/claims/${{s##*/}}.lock; done; {AGAIN}", "", 0, DONE),
    *(
        Row(kind, f"rm cache/digests.json; {line}; {AGAIN}", "", 0, DONE, {**DEEP, "digits.json": '{"x": ' + "9" * 5000 + "}"})
        for kind, line in [
            ("digests that are a folder", "mkdir cache/digests.json"),
            ("digests that are a FIFO", "mkfifo cache/digests.json"),
            ("digests of nested arrays", "cp deep.json cache/digests.json"),
            ("digests of 5,000 digits", "cp digits.json cache/digests.json"),
            ("digests that are numbers", "echo '{\"/x\": 1, \"/y\": [], \"/z\": [null, null]}' >cache/digests.json"),
        ]
    ),
]
# fmt: on

ROWS = [
    *(*STREAMS, *ENVIRONMENT, *SIGNALS, *SUITES, *MORE_SUITES, *OPTIONS, *MORE_OPTIONS),
    *(*RESULTS, *REBUILT, *CACHE),
]

# a process keeps the peak memory of the one that forked it: this one is small
MEASURE = """
import os, resource, subprocess, sys, time
began = time.monotonic()
code = subprocess.run(sys.argv[2:]).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
os.write(int(sys.argv[1]), f"{code} {time.monotonic() - began} {peak}".encode())
"""

# but for line breaks, those of CSV too
CONTROL = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)")


class Outcome(NamedTuple):
    """What a row did."""

    code: int
    out: str
    err: str
    seconds: float
    megabytes: float


def prepared(folder: Path) -> Path:
    """Prepare a folder where ``two.toml`` has been run, with the command ``hepbench``."""
    folder.mkdir(exist_ok=True)
    bench = Workbench(folder)
    bench.plugin(TESTS / "plugins" / "toys.py")
    bench.write("two.toml", SUITE)
    command = bench.write("bin/hepbench", f'#!/bin/sh\nexec {sys.executable} -P -m hepbench "$@"\n')
    command.chmod(0o755)
    (folder / "bin/python").symlink_to(sys.executable)
    assert bench("run", "two.toml").code == 0
    return folder


def carried_out(row: Row, bench: Workbench) -> Outcome:
    """Carry out a row."""
    for name, content in row.files.items():
        path = bench.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    variables = dict(bench.variables())
    variables["PATH"] = f"{bench.folder / 'bin'}:{variables['PATH']}"
    read, write = os.pipe()
    measured = [sys.executable, "-S", "-E", "-c", MEASURE, str(write)]
    process = subprocess.Popen(
        [*measured, "bash", "-o", "pipefail", "-c", row.line],
        cwd=bench.folder, env=variables, pass_fds=[write], start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(write)
    try:
        out, err = process.communicate(timeout=HANG_SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        with os.fdopen(read) as report:
            measures = report.read().split()
    code, seconds, megabytes = map(float, measures)
    return Outcome(int(code), out.decode(), err.decode(), seconds, megabytes)


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Path:
    """Return a folder where a suite of one cell has been run."""
    return prepared(tmp_path_factory.mktemp("odd"))


def faults(row: Row, found: Outcome) -> list[str]:
    """Return what is not as it should be."""
    checks = {
        f"exit code {found.code}": found.code == row.code,
        "more or less than one line": len(found.err.splitlines()) == bool(row.says),
        "another line": row.says in found.err,
        "a long line": len(found.err) < LONGEST_LINE,
        "another output": row.out in found.out if row.out else not found.out,
        "control characters": not CONTROL.search(found.out + found.err),
        f"{found.megabytes:.0f} MB": found.megabytes < MOST_MB,
    }
    return [name for name, fine in checks.items() if not fine]


def test_there_are_many_odd_inputs():
    """Each has a name of its own."""
    assert len({row.kind for row in ROWS}) == len(ROWS) > 60


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_an_odd_input_ends_as_the_table_says(row, origin, tmp_path):
    """Exit code and one line are those of the row, no control character is sent, memory is modest."""
    folder = tmp_path / "bench"
    shutil.copytree(origin, folder, symlinks=True)
    found = carried_out(row, Workbench(folder))
    assert not faults(row, found), (found.code, found.out[-2000:], found.err[-2000:])


def show(chosen: list[str]) -> None:
    """Print the table, or the rows whose kinds hold one of some words."""
    with tempfile.TemporaryDirectory() as place:
        origin = prepared(Path(place, "origin"))
        print("| input | exit | s | MB | one line |\n|---|--:|--:|--:|---|")
        for row in ROWS:
            if chosen and not any(word in row.kind for word in chosen):
                continue
            folder = Path(place, "bench")
            shutil.copytree(origin, folder, symlinks=True)
            found = carried_out(row, Workbench(folder))
            shutil.rmtree(folder)
            line = found.err.replace(place, "").strip().replace("|", r"\|")
            line = line if len(line) <= 110 else f"{line[:107]}..."
            print(
                f"| {row.kind} | {found.code} | {found.seconds:.1f} | {found.megabytes:.0f} | {line} |"
            )
            for fault in faults(row, found):
                print(f"WRONG: {fault}: {found.out[-300:]!r} {found.err[-1000:]!r}")


if __name__ == "__main__":
    show(sys.argv[1:])
