// The page: header, verdicts, table, figures, how to read it, where it comes from.

const MOST_BARS = 8;

function header() {
  const links = [["verdict", "Verdict"], ["table", "Table"], ["figures", "Figures"], ["reading", "How to read"], ["origin", "Origin"]];
  return element("header", { class: "top" },
    element("div", { class: "bar" },
      element("nav", { "aria-label": "Parts of the page" }, links.map(([id, text]) => element("a", { href: `#${id}`, text }))),
      themeButton()),
    element("h1", { text: CONTENT.title }),
    element("p", { class: "meta" }, `${CONTENT.counts} from `, element("code", { text: CONTENT.results }), `, written ${CONTENT.made} by hepbench ${CONTENT.version}`),
    verification(),
    CONTENT.warnings.map((text) => element("p", { class: "warning", text })));
}

function verification() {
  const found = CONTENT.verification;
  if (!found) return element("p", { class: "badge neutral" }, element("b", { text: "Not verified. " }), `hepbench verify ${CONTENT.results} computes every metric again from the stored predictions.`);
  const last = found.lines[found.lines.length - 1];
  const summary = [element("b", { text: found.good ? "Verified" : "Verification found differences" }), ` ${found.when}: ${last}`];
  if (found.lines.length === 1) return element("p", { class: `badge ${found.good ? "good" : "bad"}` }, summary);
  return element("details", { class: `badge ${found.good ? "good" : "bad"}` }, element("summary", {}, summary),
    element("ul", {}, found.lines.slice(0, -1).map((text) => element("li", { text }))));
}

const THEMES = { "": "Colours: as the system", light: "Colours: light", dark: "Colours: dark" };

function themeButton() {
  const names = Object.keys(THEMES);
  const made = button(THEMES[""], () => {
    const next = names[(names.indexOf(document.documentElement.dataset.theme || "") + 1) % names.length];
    document.documentElement.dataset.theme = next;
    made.textContent = THEMES[next];
  }, { class: "small theme" });
  return made;
}

function verdicts() {
  return element("section", { id: "verdict" }, element("h2", { text: "Verdict" }),
    element("div", { class: `cards${CONTENT.tables.length === 1 ? " single" : ""}` }, CONTENT.tables.map(card)));
}

function card(table, index) {
  return element("article", { class: "card" },
    element("h3", {}, breakable(table.name)),
    element("p", { class: "said", text: table.verdict }),
    bars(table),
    element("p", { class: "sub" }, table.subtitle, ...table.remarks.flatMap((text) => [element("br"), text])),
    CONTENT.tables.length > 1 ? button("Show its rows and figures", () => {
      showTable(index);
      document.getElementById("table").scrollIntoView();
    }, { class: "small" }) : null);
}

/** Return the main value of the best rows as points with their errors, one below the other. */
function bars(table) {
  const rows = table.rows.filter((row) => row.values[CONTENT.main] !== null && !row.apart).slice(0, MOST_BARS);
  if (rows.length < 2) return element("div");
  const place = element("div", { class: "bars" });
  place.redraw = () => place.replaceChildren(...drawBars(table, rows, Math.max(240, place.clientWidth)));
  return place;
}

/** Draw the rows of `bars`: names beside the points where all of them fit, else above. */
function drawBars(table, rows, width) {
  const longest = 8 + 7.7 * Math.max(...rows.map((row) => row.name.length));
  const above = longest > width * 0.5;
  const each = above ? 36 : 22;
  const [left, bottom] = [above ? 14 : longest + 8, rows.length * each];
  const more = table.rows.length - rows.length;
  const svg = canvas(width, bottom + 22, `${mainColumn.title}: ${rows.map((row) => `${row.name} ${row.texts[CONTENT.main]}`).join("; ")}`);
  const ends = rows.flatMap((row) => [-1, 1].map((sign) => row.values[CONTENT.main] + sign * (row.stderr || 0)));
  const x = scale(rangeOf(ends), [left, width - 8], false, 46);
  x.ticks.forEach((tick) => svg.append(line(x(tick), 0, x(tick), bottom, { class: "rule" }),
    label(short(tick), x(tick), bottom + 14, "middle", { class: "tick" })));
  rows.forEach((row, i) => {
    const [nameX, nameY] = above ? [0, i * each + 13] : [longest, i * each + 15];
    const name = shortened(row.name, Math.floor(width / (row.best ? 7.6 : 6.7)));
    svg.append(label(name, nameX, nameY, above ? "start" : "end", { class: row.best ? "named" : "tick" }),
      bar(row, x, i * each + (above ? 25 : 11)));
  });
  return more ? [svg, element("p", { class: "sub", text: `and ${plural(more, "more row")}` })] : [svg];
}

/** Return the point of a row with its errors: thin of the test sample, thick over seeds. */
function bar(row, x, y) {
  const at = row.values[CONTENT.main];
  const [low, high] = [x(at - (row.stderr || 0)), x(at + (row.stderr || 0))];
  const seeds = [at - (row.spread || 0), at + (row.spread || 0)].map((each) => x(Math.min(x.high, Math.max(x.low, each))));
  const made = svgElement("g", { class: `point ${groupClass(row)}` },
    line(low, y, high, y, { "stroke-width": 2, opacity: 0.55 }),
    line(seeds[0], y, seeds[1], y, { "stroke-width": 5, opacity: 0.35 }),
    svgElement("circle", { cx: x(at), cy: y, r: 4 }));
  const lines = [fullName(row), mainText(row), row.group ? `group ${row.group}` : "not compared"];
  made.addEventListener("pointermove", (event) => showTip(lines, event.clientX, event.clientY));
  made.addEventListener("pointerleave", hideTip);
  return made;
}

function tableSection() {
  return element("section", { id: "table" }, element("h2", { text: "Table" }), TOOLS, STATUS,
    element("div", { class: "scroll rows", tabindex: 0, role: "group", "aria-label": "Table of results" },
      element("table", {}, element("caption", { class: "aside", text: `Results of ${CONTENT.title}, sorted within each dataset. Headings sort; names open a row.` }),
        element("thead", {}, HEAD), BODY)), PAGER, PRINTED);
}

const READING = [
  ["\u00b1test \u00b1seeds", "Each value is the mean over seeds. The first error is that of the test sample: how much the value would change with another test sample of this size. The second is the standard deviation over seeds: how much it changes from one training to the next; a dash stands for one seed. In a sentence, 0.914(10)(1) is 0.914 \u00b10.010 \u00b10.001. \u2265 marks a 95 % lower limit."],
  ["group", CONTENT.groups],
  ["\u2605", "Not significantly worse than the best row. Where all rows tie there is no star."],
  ["\u2020", "Not comparable with the other rows of its dataset: its notes say in what it differs. It is not ranked."],
  ["0.24 ms?", "A latency that was measured beside other work, or that was not steady; the notes say which."],
  ["notes", "Warnings that were recorded with the numbers, and where published values come from. Open a row to read them."],
  ["order", "Rows are sorted within a dataset, never across datasets: their values cannot be compared. The third click on a heading restores the ranking."],
];

function reading() {
  const columns = CONTENT.columns.filter((column) => !/^(train|validation)_/.test(column.name));
  return element("section", { id: "reading" }, element("h2", { text: "How to read it" }),
    element("dl", { class: "wide" }, READING.map(([name, text]) => [element("dt", { text: name }), element("dd", { text })])),
    element("details", {}, element("summary", { text: "Columns" }),
      element("dl", { class: "wide" }, columns.map((column) => [element("dt", { text: column.title }), element("dd", { text: column.about })]))));
}

function origin() {
  return element("section", { id: "origin" }, element("h2", { text: "Where it comes from" }),
    element("div", { class: "columns" }, CONTENT.environment.map((each) => listed({ ...each, title: `Environment of ${each.title}` }))),
    CONTENT.suites.map(suite));
}

function suite({ name, path, text }) {
  if (!path) return element("p", { class: "warning", text: `Suite ${name}: ${text}` });
  const made = button("Copy", () => copy(text, made), { class: "small" });
  return element("details", {}, element("summary", { text: `Suite file of ${name}, as it is now` }),
    element("p", { class: "sub" }, element("code", { text: path }), " ", made, " ",
      button("Download", () => download(`${name}.toml`, "application/toml", text), { class: "small" })),
    element("pre", { text, tabindex: 0 }));
}

function figureSection() {
  return element("section", { id: "figures" }, element("h2", { text: "Figures" }), LEGEND, FIGURES);
}

/** Draw again all that depends on the width of the page. */
function redraw() {
  document.querySelectorAll(".bars").forEach((each) => each.redraw());
  redrawFigures();
}

/** Draw again when the width has changed, not at every pixel of a change. */
function followWidth() {
  let [waiting, width] = [0, window.innerWidth];
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 120);
  });
}

const PRINTED = element("div", { class: "printed" });

/** Write the notes of all rows below the table, each once with the names of its rows. */
function printNotes() {
  const found = new Map();
  for (const row of selectedRows())
    for (const note of row.notes || []) found.set(note, [...(found.get(note) || []), `${CONTENT.tables[row.table].name} ${row.name}`]);
  const lines = [...found].slice(0, MOST_PRINTED).map(([note, names]) =>
    element("li", {}, `${note} `, element("small", { text: `(${names.slice(0, 8).join("; ")}${names.length > 8 ? "; \u2026" : ""})` })));
  PRINTED.replaceChildren(element("h3", { text: "Notes" }), element("ul", {}, lines));
}

/** Print all pages of the table, up to a limit, with notes, and the page's parts that can be folded. */
function followPrinting() {
  let before = null;
  window.addEventListener("beforeprint", () => {
    before = { size: state.size, page: state.page };
    Object.assign(state, { size: MOST_PRINTED, page: 0 });
    renderTable();
    printNotes();
    document.querySelectorAll("#reading details, #origin details").forEach((each) => { each.open = true; });
  });
  window.addEventListener("afterprint", () => {
    if (before) Object.assign(state, before);
    PRINTED.replaceChildren();
    renderTable();
  });
}

function start() {
  chooseFirst();
  document.body.append(header(), element("main", {}, verdicts(), tableSection(), figureSection(), reading(), origin()), TIP);
  renderTools();
  renderTable();
  followWidth();
  followPrinting();
  window.addEventListener("hashchange", followAddress);
  window.addEventListener("scroll", hideTip, { passive: true });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
  document.querySelectorAll(".bars").forEach((each) => each.redraw());
  // the table is readable before the figures are drawn
  setTimeout(() => {
    renderFigures(shown.table);
    followAddress();
    document.documentElement.dataset.ready = "true";
  });
}

start();
