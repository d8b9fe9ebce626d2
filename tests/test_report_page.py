"""The page of a report in a real browser: order, filter, rows, figures, and that nothing is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Browser
from click.testing import CliRunner
from made_records import seeds
from needs import needs_browser
from test_report import EVIL, content

from hepbench.cli.commands import cli
from hepbench.report import page

pytestmark = needs_browser()

BASELINE = Path(__file__).parents[1] / "results" / "baseline"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Return the path of the report of the quickstart."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    packed = str(BASELINE / "quickstart.zip")
    done = CliRunner().invoke(cli, ["report", packed, "-o", str(path), "--no-verify"])
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture(scope="module")
def chromium():
    """Yield one browser for all tests."""
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(chromium, report):
    """Return the browser with the report, as it is when it was opened."""
    chromium.resize(1300, 900)
    chromium.open(report)
    return chromium


def clean(browser, path):
    """Whether the page asked for nothing but itself, and complained of nothing."""
    return (browser.errors, browser.requests) == ([], [path.resolve().as_uri()])


def rows(browser):
    """The rows that the table shows: dataset and name of each."""
    return browser.run(
        "[...document.querySelectorAll('#table tbody tr[id]')].map((row) => row.id.slice(4))"
    )


def column(browser, name):
    """The values of a column, in the order of the rows that are shown; a list of each dataset."""
    return browser.run(
        f"""CONTENT.tables.map((table) => {{
            const place = CONTENT.columns.findIndex((each) => each.name === '{name}');
            return {rows(browser)}.map((id) => table.rows.find((row) => row.id === id))
              .filter(Boolean).map((row) => row.values[place]);
        }})"""
    )


def click(browser, selector):
    """Click the first element that a selector names."""
    browser.run(f"document.querySelector({selector!r}).click()")


def place_of(browser, name):
    """The number of a column, by which its heading is found."""
    return browser.run(f"CONTENT.columns.findIndex((each) => each.name === '{name}')")


def test_the_page_loads_nothing_and_complains_of_nothing(browser, report):
    """Its figures are drawn, all of them."""
    assert clean(browser, report)
    titles = "[...document.querySelectorAll('figure h3')].map((each) => each.textContent)"
    assert browser.run(titles) == ["ROC curves", "Error against cost", "Training", "Scores"]
    assert browser.run("document.querySelectorAll('figure svg').length") > 10
    empty = "[...document.querySelectorAll('figure svg')].filter((svg) => !svg.querySelector('path, circle'))"
    assert browser.run(f"{empty}.length") == 0
    # a number that could not be computed would be drawn nowhere
    assert "NaN" not in browser.run("document.querySelector('#figures').innerHTML")


def test_a_heading_sorts_within_each_dataset(browser):
    """First the better end, then the other, then the ranking; rows without a value come last."""
    before = rows(browser)
    heading = f"[data-key='{place_of(browser, 'flops')}']"
    click(browser, heading)
    for values in column(browser, "flops"):
        known = [value for value in values if value is not None]
        assert known == sorted(known)
        assert values == [*known, *[None] * (len(values) - len(known))]
    direction = f"document.querySelector({heading!r}).parentElement.getAttribute('aria-sort')"
    assert browser.run(direction) == "ascending"
    click(browser, heading)
    assert browser.run(direction) == "descending"
    for values in column(browser, "flops"):
        known = [value for value in values if value is not None]
        assert known == sorted(known, reverse=True)
    click(browser, heading)
    assert (rows(browser), browser.run(direction)) == (before, "none")
    click(browser, f"[data-key='{place_of(browser, 'auc')}']")
    for values in column(browser, "auc"):
        assert values == sorted(values, reverse=True)


def test_words_and_datasets_filter_rows(browser):
    """Every word must be in a row; the count says how many are left."""
    total = len(rows(browser))
    browser.run(
        """(() => {
            const filter = document.querySelector('input[type=search]');
            filter.value = 'SETS prune';
            filter.dispatchEvent(new Event('input'));
        })()"""
    )
    names = browser.run(
        "[...document.querySelectorAll('#table tbody .name')].map((name) => name.textContent)"
    )
    assert 0 < len(names) < total
    assert all("sets" in name and "prune" in name for name in names)
    status = "document.querySelector('.status').textContent"
    assert browser.run(status).startswith(f"{len(names)} of {total} rows")
    browser.run("showTable(1)")
    shown = browser.run("selectedRows().every((row) => row.table === 1)")
    assert shown


def test_columns_can_be_chosen(browser):
    """A box of the menu shows a column that was hidden."""
    title = "log loss"
    heads = "[...document.querySelectorAll('#table thead button')].map((each) => each.textContent)"
    assert title not in browser.run(heads)
    browser.run(
        f"""[...document.querySelectorAll('.menu label')]
            .find((each) => each.textContent.trim() === '{title}').querySelector('input').click()"""
    )
    assert title in browser.run(heads)
    widths = browser.run(
        "[...document.querySelectorAll('#table tbody tr[id]')].map((row) => row.children.length)"
    )
    assert set(widths) == {browser.run("document.querySelectorAll('#table thead th').length")}


def test_a_row_opens_with_the_keyboard_and_has_an_address(browser):
    """Its details hold notes, commands and parameters; the address opens it again."""
    name = "document.querySelector('#table .name')"
    browser.run(f"{name}.focus()")
    browser.press("Enter")
    assert browser.run(f"{name}.getAttribute('aria-expanded')") == "true"
    text = browser.run("document.querySelector('.details').textContent")
    for expected in ("hepbench run quickstart", "Parameters of dataset", "Seeds", "Environment"):
        assert expected in text
    first = rows(browser)[0]
    assert browser.run("location.hash") == f"#row-{first}"
    assert browser.run("document.activeElement.className") == "name"
    browser.press("Enter")
    assert browser.run(f"{name}.getAttribute('aria-expanded')") == "false"


def test_the_address_of_a_row_opens_it_wherever_it_is(chromium, report):
    """Also from another page, and after the page was opened."""
    chromium.open(report)
    last = rows(chromium)[-1]
    chromium.open(report, f"#row-{last}")
    open_ = "[...document.querySelectorAll('[aria-expanded=true]')].map((e) => e.closest('tr').id)"
    assert chromium.run(open_) == [f"row-{last}"]
    assert chromium.run("window.scrollY") > 0
    chromium.open(report, "#row-unknown")
    assert (chromium.run(open_), chromium.errors) == ([], [])


def test_every_link_leads_to_a_place_of_the_page(browser):
    """Parts of the page, and rows."""
    targets = browser.run(
        """[...document.querySelectorAll('a')].map((each) => each.getAttribute('href'))
            .filter((href) => !document.getElementById(href.slice(1))
                && !ROWS.some((row) => href === `#row-${row.id}`))"""
    )
    assert targets == []


def test_the_boxes_choose_the_rows_of_the_figures(browser):
    """A row that is taken out leaves all figures; another keeps its colour."""
    chips = "[...document.querySelectorAll('.legend .chips li')].map((each) => each.textContent)"
    colours = "[...document.querySelectorAll('.legend .chips path')].map((e) => e.style.stroke)"
    before, paints = browser.run(chips), browser.run(colours)
    count = "document.querySelector('figure svg').querySelectorAll('path').length"
    drawn = browser.run(count)
    shown = browser.run("shown.table")
    browser.run(
        f"renderBoxes(); chosenRows({shown}).sort((a, b) => a.rank - b.rank).slice(0, 1).forEach((row) => document.querySelector(`#row-${{CSS.escape(row.id)}} input`).click())"
    )
    assert (browser.run(chips), browser.run(colours)) == (before[1:], paints[1:])
    assert browser.run(count) < drawn


def test_at_most_a_dozen_rows_are_in_the_figures(chromium, tmp_path):
    """More would have the same colours; the page says so."""
    path = tmp_path / "report.html"
    page.write(content([r for i in range(20) for r in seeds(f"m{i:02}", 0.9 - i / 100)]), path)
    chromium.open(path)
    chromium.run("ROWS.forEach((row) => choose(row, true))")
    assert chromium.run("chosenRows(0).length") == 12
    assert "At most 12" in chromium.run("document.querySelector('.status').textContent")


def test_a_pointed_place_tells_its_row_or_values(browser):
    """In error against cost the row; in ROC curves the rejection of each, by keyboard too."""
    browser.run("document.querySelectorAll('figure')[1].scrollIntoView()")
    # a scroll, which hides what was told, is known one frame later
    browser.run("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")
    box = browser.run(
        """(() => { const box = document.querySelectorAll('figure')[1].querySelector('.mark')
            .getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"""
    )
    browser.move(*box)
    tip = "document.querySelector('#tip').textContent"
    browser.wait("!document.querySelector('#tip').hidden")
    assert "AUC" in browser.run(tip)
    browser.move(1, 1)
    browser.run("document.querySelector('figure svg').focus()")
    browser.press("ArrowRight")
    assert browser.run(tip).startswith("at 52 % signal efficiency")
    browser.press("Escape")
    assert browser.run("document.querySelector('#tip').hidden")


def test_everything_that_can_be_used_has_a_name(browser):
    """For screen readers: buttons, boxes, menus, links and drawings."""
    click(browser, "#table .name")
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "checkbox", "combobox", "link", "image", "searchbox", "graphics-document"}
    used = [n for n in nodes if n.get("role", {}).get("value") in roles and not n["ignored"]]
    assert len(used) > 50
    assert [n for n in used if not n.get("name", {}).get("value")] == []
    headings = browser.run("[...document.querySelectorAll('h1, h2')].map((e) => e.tagName)")
    assert headings[0] == "H1"
    assert set(headings[1:]) == {"H2"}


@pytest.mark.parametrize("width", [390, 1300, 1600])
@pytest.mark.parametrize("dark", [False, True])
def test_no_part_is_wider_than_the_window(chromium, report, width, dark):
    """Wide tables scroll inside their own frame; colours follow the system."""
    chromium.resize(width, 900, dark=dark)
    chromium.open(report)
    click(chromium, "#table .name")
    assert chromium.run("document.documentElement.scrollWidth") <= width
    outside = """[...document.querySelectorAll('h1, h2, h3, p, figure, .card, .chips li, pre')]
        .filter((each) => each.getBoundingClientRect().right > innerWidth + 1).length"""
    assert chromium.run(outside) == 0
    level = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    assert (chromium.run(level) < 128) is dark


def test_colours_can_be_chosen(browser):
    """Whatever the system has."""
    dark = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]) < 128"
    seen = []
    for _ in range(3):
        click(browser, ".theme")
        seen.append(
            (browser.run("document.querySelector('.theme').textContent"), browser.run(dark))
        )
    assert seen == [
        ("Colours: light", False),
        ("Colours: dark", True),
        ("Colours: as the system", False),
    ]


def test_the_page_prints_on_white_with_all_rows_and_notes(browser, tmp_path):
    """Without what paper cannot do."""
    browser.resize(1300, 900, dark=True)
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("getComputedStyle(document.querySelector('.tools')).display") == "none"
    browser.call("Emulation.setEmulatedMedia", media="")
    notes = "document.querySelectorAll('.printed li').length"
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.run(notes) > 0
    browser.run("window.dispatchEvent(new Event('afterprint'))")
    assert browser.run(notes) == 0
    browser.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_names_with_html_run_nothing(chromium, tmp_path):
    """They are shown letter by letter, in table, details and figures."""
    path = tmp_path / "evil.html"
    evil = [r for m in (EVIL, "b") for r in seeds(m, dataset=EVIL, suite=EVIL, chain=EVIL)]
    page.write(content(evil), path)
    chromium.open(path)
    click(chromium, "#table .name")
    assert chromium.run("document.querySelector('h1').textContent") == EVIL
    assert chromium.run("document.querySelector('.name b').textContent").strip() == EVIL
    assert chromium.run("document.querySelectorAll('img').length") == 0
    assert chromium.run("window.hit === undefined")
    assert clean(chromium, path)


TEN = """
import numpy as np
from hepbench import Dataset, Examples, Input, Sample, View, hookimpl

def sample():
    rng = np.random.default_rng(1)
    labels = rng.integers(10, size=2000)
    table = (labels[:, None] + rng.normal(size=(2000, 3))).astype(np.float32)
    yield "labelled", Examples(inputs={"table": table}, ids=np.arange(2000), labels=labels)

def view(inputs):
    return {"table": inputs["table"]}

@hookimpl
def hepbench_datasets():
    return [Dataset(name="ten", summary="ten classes", inputs={"table": Input(shape=(3,))},
                    classes=tuple(f"class {i}" for i in range(10)), sample=Sample("ten:sample"),
                    views={"table": View("ten:view")})]
"""

SUITE = """
name = "many-classes"
seeds = 2
cost = false
[[run]]
datasets = ["ten"]
models = ["logistic"]
methods = ["scratch"]
"""


def test_ten_classes_have_no_roc_curve_but_all_else(chromium, bench):
    """Scores are those of the true class, in ten colours; the AUC is that of pairs of classes."""
    bench.plugin(TEN, "ten")
    bench.write("many.toml", SUITE)
    assert bench("run", "many.toml", "--quiet").code == 0
    assert bench("report", "results").code == 0
    path = bench.folder / "report.html"
    chromium.open(path)
    titles = "[...document.querySelectorAll('figure h3')].map((each) => each.textContent)"
    assert chromium.run(titles) == ["Error against cost", "Training", "Scores"]
    colours = (
        "[...document.querySelectorAll('.chips .square')].map((each) => each.style.background)"
    )
    assert len(set(chromium.run(colours))) == 10
    assert clean(chromium, path)


def test_many_rows_are_shown_in_pages(chromium, tmp_path):
    """The page stays quick: it holds no more rows than are read, and no row is out of reach."""
    records = [r for i in range(130) for r in seeds(f"m{i:03}", 0.9 - i / 1000, n=1)]
    path = tmp_path / "many.html"
    page.write(content(records), path)
    chromium.open(path)
    assert len(rows(chromium)) == 50
    seen = rows(chromium)
    for _ in range(2):
        chromium.run("[...document.querySelectorAll('.pager button')].at(-1).click()")
        seen += rows(chromium)
    assert len(set(seen)) == len(seen) == 130
    assert chromium.run("[...document.querySelectorAll('.pager button')].at(-1).disabled")
    first = chromium.run("ROWS[0].id")
    chromium.run(f"location.hash = '#row-{first}'")
    chromium.wait(f"document.getElementById('row-{first}') !== null")


def test_the_file_of_comma_separated_values_has_every_row(browser):
    """Quoted where it must be, unrounded."""
    text = browser.run("csv(ROWS)")
    lines = text.split("\r\n")
    assert len(lines) == 1 + browser.run("ROWS.length")
    assert lines[0].startswith("dataset,model,chain,group,best,comparable,auc,")
    assert browser.run("String(ROWS[0].values[0])") in lines[1]
