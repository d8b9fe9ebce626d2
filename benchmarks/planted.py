"""Show what ``make bench`` says of code that did not change, and of code with planted slow-downs.

    .venv/bin/python benchmarks/planted.py                      # all benchmarks
    .venv/bin/python benchmarks/planted.py -k 'network or table'

A copy of the code gets a line at the end of each module of PLANTED, which makes one of its functions
take FACTOR times as long. A baseline is measured first, then compared with the code as it is and with
the copy, as ``regressions.py`` does. The exit code is 0 if nothing is called slower as it is, and in the
copy all of PLANTED and nothing else.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import sys
import tempfile
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))
import regressions

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]

FACTOR = 1.5

PLANTED = {
    "scores_of_a_network[cnn]": ("plugins/hepbench_models/cnn.py", "CNN.encode"),
    "table_of_a_thousand_records": ("hepbench/tables/document.py", "table"),
}
"""The benchmark that must be named; the module, and the function in it that is slowed down."""

SLOWED = """

def _slowed(function):
    import time

    def call(*args, **kwargs):
        start = time.process_time()
        result = function(*args, **kwargs)
        end = start + {factor} * (time.process_time() - start)
        while time.process_time() < end:
            pass
        return result

    return call


{name} = _slowed({name})
"""


def main() -> int:
    """Print both comparisons; return 0 if they say what is true."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", dest="select", default="", help="as pytest's")
    select = parser.parse_args().select
    print("# the baseline is measured", flush=True)
    before = regressions.measured(select)
    with planted() as copy:
        as_it_is = said("as it is", before, ROOT, select)
        slowed = said(f"{' and '.join(PLANTED)}: {FACTOR} times slower", before, copy, select)
    named = set(re.findall(r"[:,] (\S+) \(", slowed))
    right = as_it_is == "no benchmark is slower" and named == set(PLANTED)
    print("\nas it should be" if right else "\nNOT as it should be")
    return int(not right)


def said(title: str, before: regressions.Ratios, source: Path, select: str) -> str:
    """Print what ``make bench`` says of the code in a folder, and return its last line."""
    print(f"\n# {title}", flush=True)
    with redirect_stdout(io.StringIO()) as text:
        regressions.report(
            lambda only: (before, regressions.measured(only, source)), select, "the baseline"
        )
    print(text.getvalue(), end="", flush=True)
    return text.getvalue().splitlines()[-1]


@contextmanager
def planted() -> Iterator[Path]:
    """Copy the code into a temporary folder, with all of PLANTED, while the block runs."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for package in ("hepbench", "plugins"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / package, copy / package, ignore=ignored)
        for module, name in PLANTED.values():
            with (copy / module).open("a") as file:
                file.write(SLOWED.format(name=name, factor=FACTOR))
        yield copy


if __name__ == "__main__":
    sys.exit(main())
