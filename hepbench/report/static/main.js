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
  place.redraw = () => place.replaceChildren(drawBars(table, rows, Math.max(240, place.clientWidth)));
  return place;
}

function drawBars(table, rows, width) {
  const each = 22;
  const more = table.rows.length - rows.length;
  const height = rows.length * each + 24 + (more ? 16 : 0);
  const title = mainColumn.title;
  const svg = canvas(width, height, `${title}: ${rows.map((row) => `${row.name} ${row.texts[CONTENT.main]}`).join("; ")}`);
  const names = Math.min(width * 0.56, 8 + 7.7 * Math.max(...rows.map((row) => row.name.length)));
  const low = rows.map((row) => row.values[CONTENT.main] - (row.stderr || 0));
  const high = rows.map((row) => row.values[CONTENT.main] + (row.stderr || 0));
  const x = scale(rangeOf([...low, ...high]), [names + 8, width - 8], false, 46);
  x.ticks.forEach((tick) => svg.append(line(x(tick), 0, x(tick), rows.length * each, { class: "rule" }),
    label(short(tick), x(tick), rows.length * each + 14, "middle", { class: "tick" })));
  rows.forEach((row, i) => {
    const y = i * each + each / 2;
    const at = row.values[CONTENT.main];
    const kind = { class: `bar ${groupClass(row)}` };
    const most = Math.floor(names / (row.best ? 7.7 : 7));
    const text = shortened(row.name, most);
    const drawn = svgElement("g", kind, line(x(at - (row.stderr || 0)), y, x(at + (row.stderr || 0)), y, { "stroke-width": 2, opacity: 0.55 }),
      row.spread ? line(x(Math.max(x.low, at - row.spread)), y, x(Math.min(x.high, at + row.spread)), y, { "stroke-width": 5, opacity: 0.35 }) : "",
      svgElement("circle", { cx: x(at), cy: y, r: 4 }));
    drawn.addEventListener("pointermove", (event) => showTip([fullName(row), mainText(row), row.group ? `group ${row.group}` : "not compared"], event.clientX, event.clientY));
    drawn.addEventListener("pointerleave", hideTip);
    svg.append(label(text, names, y + 4, "end", { class: row.best ? "named" : "tick" }), drawn);
  });
  if (more) svg.append(label(`and ${plural(more, "more row")}`, names, height - 3, "end", { class: "tick" }));
  return svg;
}

function tableSection() {
  return element("section", { id: "table" }, element("h2", { text: "Table" }), TOOLS, STATUS,
    element("div", { class: "scroll rows", tabindex: 0, role: "group", "aria-label": "Table of results" },
      element("table", {}, element("caption", { class: "aside", text: `Results of ${CONTENT.title}, sorted within each dataset. Headings sort; names open a row.` }),
        element("thead", {}, HEAD), BODY)), PAGER);
}

const READING = [
  ["\u00b1test \u00b1seeds", "Each value is the mean over seeds. The first error is that of the test sample: how much the value would change with another test sample of this size. The second is the standard deviation over seeds: how much it changes from one training to the next; a dash stands for one seed. In a sentence, 0.914(10)(1) is 0.914 \u00b10.010 \u00b10.001. \u2265 marks a 95 % lower limit."],
  ["group", CONTENT.groups],
  ["\u2605", "Not significantly worse than the best row. Where all rows tie there is no star."],
  ["\u2020", "Not comparable with the other rows of its dataset: its notes say in what it differs. It is not ranked."],
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

/** Print all pages of the table, up to a limit, and the page's parts that can be folded. */
function followPrinting() {
  let before = null;
  window.addEventListener("beforeprint", () => {
    before = { size: state.size, page: state.page };
    Object.assign(state, { size: MOST_PRINTED, page: 0 });
    renderTable();
    document.querySelectorAll("#reading details, #origin details").forEach((each) => { each.open = true; });
  });
  window.addEventListener("afterprint", () => {
    if (before) Object.assign(state, before);
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
