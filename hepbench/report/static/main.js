// The page: header, verdicts, table, figures, how to read it, where it comes from.

function header() {
  const links = [
    ["verdict", "Verdict"],
    ["table", "Table"],
    ["figures", "Figures"],
    ["reading", "How to read"],
    ["origin", "Origin"],
  ];
  return element(
    "header",
    { class: "top" },
    element(
      "div",
      { class: "bar" },
      element(
        "nav",
        { "aria-label": "Parts of the page" },
        links.map(([id, text]) => element("a", { href: `#${id}`, text })),
      ),
      themeButton(),
    ),
    element("h1", { text: CONTENT.title }),
    element(
      "p",
      { class: "meta" },
      `${CONTENT.counts} from `,
      element("code", { text: CONTENT.results }),
      `, written ${CONTENT.made} by hepbench ${CONTENT.version}`,
    ),
    verification(),
    CONTENT.warnings.map((text) => element("p", { class: "warning", text })),
  );
}

function verification() {
  const found = CONTENT.verification;
  if (!found)
    return element(
      "p",
      { class: "badge neutral" },
      element("b", { text: "Not verified. " }),
      `hepbench verify ${CONTENT.results} computes every metric again from the stored predictions.`,
    );
  const last = found.lines[found.lines.length - 1];
  const summary = [
    element("b", { text: found.good ? "Verified" : "Verification found differences" }),
    ` ${found.when}: ${last}`,
  ];
  if (found.lines.length === 1)
    return element("p", { class: `badge ${found.good ? "good" : "bad"}` }, summary);
  return element(
    "details",
    { class: `badge ${found.good ? "good" : "bad"}` },
    element("summary", {}, summary),
    element(
      "ul",
      {},
      found.lines.slice(0, -1).map((text) => element("li", { text })),
    ),
  );
}

const THEMES = { "": "Colours: as the system", light: "Colours: light", dark: "Colours: dark" };

function themeButton() {
  const names = Object.keys(THEMES);
  const made = button(
    THEMES[""],
    () => {
      const next =
        names[(names.indexOf(document.documentElement.dataset.theme || "") + 1) % names.length];
      document.documentElement.dataset.theme = next;
      made.textContent = THEMES[next];
    },
    { class: "small theme" },
  );
  return made;
}

function tableSection() {
  return element(
    "section",
    { id: "table" },
    element("h2", { text: "Table" }),
    element(
      "p",
      { class: "hint" },
      "Values: mean \u00b1test sample \u00b1seeds. \u2605 not significantly worse than the best " +
        "row of its dataset; letters: rows that the paired tests cannot tell apart; \u2020 not " +
        "comparable with the rows above; ? doubtful, see the notes. ",
      element("a", { href: "#reading", text: "How to read it" }),
    ),
    TOOLS,
    STATUS,
    element(
      "div",
      { class: "scroll rows", tabindex: 0, role: "group", "aria-label": "Table of results" },
      element(
        "table",
        {},
        element("caption", {
          class: "aside",
          text: "Results. Rows are sorted within a dataset; headings sort, names open a row.",
        }),
        element("thead", {}, HEAD),
        BODY,
      ),
    ),
    PAGER,
    PRINTED,
  );
}

const READING = [
  [
    "\u00b1test \u00b1seeds",
    "Each value is the mean over seeds. The first error is that of the test sample: how " +
      "much the value would change with another test sample of this size. The second is the " +
      "standard deviation over seeds: how much it changes from one training to the next; a " +
      "dash stands for one seed. In a sentence, 0.914(10)(1) is 0.914 \u00b10.010 " +
      "\u00b10.001. \u2265 marks a 95 % lower limit.",
  ],
  ["group", CONTENT.groups],
  ["\u2605", "Not significantly worse than the best row. Where all rows tie there is no star."],
  [
    "\u2020",
    "Not comparable with the other rows of its dataset: its notes say in what it differs. " +
      "It is not ranked.",
  ],
  [
    "0.24 ms?",
    "A latency that was measured beside other work, or that was not steady; the notes say " +
      "which.",
  ],
  [
    "notes",
    "Warnings that were recorded with the numbers, and where published values come from. " +
      "Open a row to read them.",
  ],
  [
    "order",
    "Rows are sorted within a dataset, never across datasets: their values cannot be " +
      "compared. The third click on a heading restores the ranking.",
  ],
];

function reading() {
  const columns = CONTENT.columns.filter((column) => !/^(train|validation)_/.test(column.name));
  return element(
    "section",
    { id: "reading" },
    element("h2", { text: "How to read it" }),
    element(
      "dl",
      { class: "wide" },
      READING.map(([name, text]) => [element("dt", { text: name }), element("dd", { text })]),
    ),
    element(
      "details",
      {},
      element("summary", { text: "Columns" }),
      element(
        "dl",
        { class: "wide" },
        columns.map((column) => [
          element("dt", { text: column.title }),
          element("dd", { text: column.about }),
        ]),
      ),
    ),
  );
}

function origin() {
  return element(
    "section",
    { id: "origin" },
    element("h2", { text: "Where it comes from" }),
    element(
      "div",
      { class: "columns" },
      CONTENT.environment.map((each) => listed({ ...each, title: `Environment of ${each.title}` })),
    ),
    CONTENT.suites.map(suite),
  );
}

function suite({ name, path, text }) {
  if (!path) return element("p", { class: "warning", text: `Suite ${name}: ${text}` });
  const made = button("Copy", () => copy(text, made), { class: "small" });
  return element(
    "details",
    {},
    element("summary", { text: `Suite file of ${name}, as it is now` }),
    element(
      "p",
      { class: "sub" },
      element("code", { text: path }),
      " ",
      made,
      " ",
      button("Download", () => download(`${name}.toml`, "application/toml", text), {
        class: "small",
      }),
    ),
    element("pre", { text, tabindex: 0 }),
  );
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

function start() {
  chooseFirst();
  document.body.append(
    header(),
    element("main", {}, verdicts(), tableSection(), figureSection(), reading(), origin()),
    TIP,
  );
  renderTools();
  renderTable();
  followWidth();
  followPrinting();
  window.addEventListener("hashchange", followAddress);
  window.addEventListener("scroll", hideTip, { passive: true });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hideTip();
  });
  document.querySelectorAll(".bars").forEach((each) => each.redraw());
  // the table is readable before the figures are drawn
  setTimeout(() => {
    renderFigures(shown.table);
    followAddress();
    document.documentElement.dataset.ready = "true";
  });
}

start();
