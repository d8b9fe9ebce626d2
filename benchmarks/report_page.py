"""Time the page of a report of many records in headless Chromium: to open it, to sort and to filter.

    .venv/bin/python benchmarks/report_page.py
    .venv/bin/python benchmarks/report_page.py --records 100000
    .venv/bin/python benchmarks/report_page.py --page report.html     # one that was written before

Targets for 10,000 records: open in 3 s, sort in .3 s. Wall times are those of the page itself until
it is painted; CPU times are those of its thread, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from costs import Place, many, multiply
from tabulate import tabulate

HERE = Path(__file__).parent

PAINTED = """
new Promise(done => {
  const began = performance.now();
  %s;
  document.body.offsetHeight;
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
})
"""

FILTER = (
    "const box = document.querySelector('input[type=search]'); box.value = 'line-3'; "
    "box.dispatchEvent(new Event('input'))"
)

ACTIONS = {
    "sort by name": "document.querySelector('thead [data-key=name]').click()",
    "sort by the main metric": "document.querySelector('thead [data-key=\"0\"]').click()",
    "500 rows on a page": "Object.assign(state, {size: 500}); renderTable()",
    "sort 500 rows on a page": "document.querySelector('thead [data-key=notes]').click()",
    "filter": FILTER,
}


def main() -> None:
    """Write a report unless one is given, open it, and print the times."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--records", type=int, default=10_000, metavar="N")
    parser.add_argument("--page", type=Path, metavar="FILE", help="a report")
    given = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} at the start")
    with tempfile.TemporaryDirectory(prefix="hepbench-report-") as folder:
        page = given.page or written(Path(folder), given.records)
        print(f"{page.stat().st_size / 1e6:.1f} MB")
        heads = ("what", "wall s", "CPU s")
        rows = [(what, f"{wall:.2f}", f"{cpu:.2f}") for what, wall, cpu in times(page)]
        print(tabulate(rows, heads, tablefmt="github", disable_numparse=True))


def written(folder: Path, number: int) -> Path:
    """Write a report of copies of a record, and print how long that took."""
    place = Place(folder)
    place.prepare()
    multiply(place, number=number)
    seconds = place.hepbench("report", many(number), "-o", "report.html")
    print(f"report of {number:,} records written in {seconds:.1f} s of CPU time")
    return folder / "report.html"


def times(page: Path) -> list[tuple[str, float, float]]:
    """Return name, wall and CPU seconds of opening a page and of what its reader does."""
    # the tests' driver of the browser
    sys.path.append(str(HERE.parent / "tests"))
    from browser import Browser

    with Browser() as browser:
        browser.call("Performance.enable", timeDomain="threadTicks")
        began = time.perf_counter()
        browser.open(page)
        found = [("open", time.perf_counter() - began, busy(browser))]
        for what, action in ACTIONS.items():
            before = busy(browser)
            wall = browser.run(PAINTED % action) / 1000
            found.append((what, wall, busy(browser) - before))
    return found


def busy(browser: Any) -> float:
    """Return the CPU seconds that the thread of a page has worked."""
    found = browser.call("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in found if each["name"] == "TaskDuration"))


if __name__ == "__main__":
    main()
