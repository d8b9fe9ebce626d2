// What is shown of one row when it is opened.

/** Return the details of a row: notes, commands, values, seeds, and where it comes from. */
function details(row) {
  const sections = (row.sections || []).map((index) => CONTENT.sections[index]);
  return element(
    "div",
    { class: "details" },
    notesOf(row),
    commandsOf(row),
    element("div", { class: "first" }, valuesOf(row), seedsOf(row)),
    element("div", { class: "columns" }, costsOf(row), sections.map(listed)),
  );
}

function notesOf(row) {
  if (!row.notes) return null;
  const lines = row.notes.map((note) => element("li", { text: note }));
  return element(
    "section",
    { class: "notes" },
    element("h3", { text: "Notes" }),
    element("ul", {}, lines),
  );
}

function commandsOf(row) {
  const titles = ["Make it again", "Compare bit for bit"];
  return element(
    "section",
    { class: "commands" },
    row.commands.map((text, i) => {
      const made = button("Copy", () => copy(text, made), { class: "small" });
      return element(
        "div",
        {},
        element("h3", { text: titles[i] }, " ", made),
        element("pre", { text, tabindex: 0 }),
      );
    }),
  );
}

const PART_NAMES = { "": "test", train: "train", validation: "validation" };

/** Return a table of the metrics of all parts. */
function valuesOf(row) {
  const places = new Map(CONTENT.columns.map((column, i) => [column.name, i]));
  const metrics = CONTENT.columns.filter(
    (c) => c.kind === "metric" && !/^(train|validation)_/.test(c.name),
  );
  const lines = metrics.map((column) => {
    const cells = Object.keys(PART_NAMES).map((part) => {
      const place = places.get(part ? `${part}_${column.name}` : column.name);
      return element("td", {}, place === undefined ? DASH : value(row.texts[place]));
    });
    const known = cells.some((cell) => cell.textContent !== DASH);
    return known
      ? element(
          "tr",
          {},
          element("th", { scope: "row", text: column.title, title: column.about }),
          cells,
        )
      : null;
  });
  const head = Object.values(PART_NAMES).map((part) => element("th", { scope: "col", text: part }));
  const title = "Values \u00b1test \u00b1seeds";
  return titledTable(title, "Values", [element("td"), head], lines);
}

function costsOf(row) {
  const costs = CONTENT.columns
    .map((column, i) => [column, row.texts[i]])
    .filter(([c, text]) => c.kind === "cost" && text);
  return listed({ title: "Costs", items: costs.map(([column, text]) => [column.title, text]) });
}

function seedsOf(row) {
  const lines = row.seeds.map(([seed, status, number, key, time, error]) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", text: seed }),
      element("td", {
        class: status === "ok" ? "" : "bad",
        text: error ? `${status}: ${error}` : status,
      }),
      element("td", { text: number || DASH }),
      element("td", {}, element("code", { text: key })),
      element("td", { text: time.slice(0, 16).replace("T", " ") }),
    ),
  );
  const titles = ["seed", "status", CONTENT.columns[CONTENT.main].title, "key", "finished (UTC)"];
  const head = titles.map((text) => element("th", { scope: "col", text }));
  return titledTable("Seeds", "Seeds", head, lines);
}

/** Return a section with a table that scrolls sideways; `label` is read by screen readers. */
function titledTable(title, label, head, lines) {
  return element(
    "section",
    {},
    element("h3", { text: title }),
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "group", "aria-label": label },
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, head)),
        element("tbody", {}, lines),
      ),
    ),
  );
}

/** Return a titled list of names and texts. */
function listed(section) {
  if (!section.items.length) return null;
  return element(
    "section",
    {},
    element("h3", { text: section.title }),
    element(
      "dl",
      {},
      section.items.map(([name, text]) => [element("dt", { text: name }), element("dd", { text })]),
    ),
  );
}

/** Return a value with its errors in a lighter colour. */
function value(text) {
  if (!text) return [element("span", { class: "none", text: DASH })];
  const [, number, errors] = /^(\S+) ([\u00b1\u2013].*)$/.exec(text) || [];
  return number ? [number, element("small", { text: ` ${errors}` })] : [text];
}
