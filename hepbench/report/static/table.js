// The table: filter, order, pages, columns, and rows that open.

const PAGE_SIZES = [50, 200, 500];
const MOST_CHOSEN = 12;
const MOST_PRINTED = 1000;

const ROWS = CONTENT.tables.flatMap((table, t) =>
  table.rows.map((row, rank) =>
    Object.assign(row, {
      table: t,
      rank,
      words: [table.name, row.model, row.chain, row.more || "", ...(row.notes || [])]
        .join(" ")
        .toLowerCase(),
    }),
  ),
);

const state = {
  table: CONTENT.tables.length === 1 ? 0 : -1,
  words: "",
  order: null,
  page: 0,
  size: PAGE_SIZES[0],
  columns: new Set(
    CONTENT.columns.flatMap((column, i) =>
      column.shown && column.shown <= (window.innerWidth > 1400 ? 2 : 1) ? [i] : [],
    ),
  ),
  open: new Set(),
  chosen: new Map(),
};

/** Return the rows that pass the filter, in their order: dataset by dataset. */
function selectedRows() {
  const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  const found = ROWS.filter(
    (row) =>
      (state.table < 0 || row.table === state.table) &&
      words.every((word) => row.words.includes(word)),
  );
  return state.order ? sorted(found, state.order) : found;
}

/** Return the value of a row that an order compares; null sorts last. */
function orderValue(key, row) {
  if (key === "name")
    return (row.alphabetic ??= fullName(row)
      .toLowerCase()
      .replace(/\d+/g, (digits) => digits.padStart(9, "0")));
  if (key === "group") return row.group || null;
  return key === "notes" ? (row.notes || []).length : row.values[key];
}

/** Sort rows within their datasets; those without a value come last, equal ones as ranked. */
function sorted(rows, { key, sign }) {
  for (const row of rows) row.order = orderValue(key, row);
  return rows.sort((a, b) => {
    if (a.table !== b.table) return a.table - b.table;
    if (a.order === b.order) return a.rank - b.rank;
    if (a.order === null || b.order === null) return a.order === null ? 1 : -1;
    return a.order < b.order ? -sign : sign;
  });
}

function changeOrder(key) {
  const first = ["name", "group"].includes(key) ? 1 : CONTENT.columns[key]?.better === -1 ? 1 : -1;
  const cost = CONTENT.columns[key]?.kind === "cost" ? 1 : first;
  const sign = state.order?.key === key ? -state.order.sign : cost;
  // the third time, rows are as they were ranked
  state.order = state.order?.key === key && state.order.sign !== cost ? null : { key, sign };
  state.page = 0;
  renderTable();
}

const BODY = element("tbody");
const HEAD = element("tr");
const STATUS = element("p", { class: "status", role: "status", "aria-live": "polite" });
const PAGER = element("nav", { class: "pager", "aria-label": "Pages of the table" });

function renderTable() {
  const rows = selectedRows();
  state.page = Math.min(state.page, Math.max(0, Math.ceil(rows.length / state.size) - 1));
  const first = state.page * state.size;
  renderHead();
  renderBody(rows.slice(first, first + state.size));
  const datasets = new Set(rows.map((row) => row.table)).size;
  STATUS.textContent =
    rows.length === ROWS.length
      ? plural(rows.length, "row")
      : `${rows.length.toLocaleString("en")} of ${plural(ROWS.length, "row")}`;
  if (datasets > 1) STATUS.textContent += ` on ${plural(datasets, "dataset")}`;
  renderPager(rows.length, first);
  return rows;
}

function renderHead() {
  const columns = [...state.columns].sort((a, b) => a - b);
  HEAD.replaceChildren(
    element(
      "th",
      { scope: "col", class: "pick" },
      element("span", { class: "aside", text: "In figures" }),
    ),
    heading("name", "model, chain", "how the row was made"),
    heading("group", "group", "letter of the group that the paired tests form; see How to read"),
    ...columns.map((i) => heading(i, CONTENT.columns[i].title, CONTENT.columns[i].about, "number")),
    heading("notes", "notes", "what to know before these numbers are used"),
  );
}

function heading(key, title, about, kind = "") {
  const sorted =
    state.order?.key === key ? (state.order.sign > 0 ? "ascending" : "descending") : "none";
  const arrow = { ascending: " \u25b2", descending: " \u25bc", none: "" }[sorted];
  return element(
    "th",
    { scope: "col", class: kind || null, "aria-sort": sorted, title: about },
    button(title + arrow, () => changeOrder(key), { "data-key": key }),
  );
}

function renderBody(rows) {
  let table = -1;
  BODY.replaceChildren(
    ...rows.flatMap((row) => {
      const lines = row.table === table ? [] : [tableLine(row.table)];
      table = row.table;
      lines.push(rowLine(row));
      if (state.open.has(row.id)) lines.push(detailLine(row));
      return lines;
    }),
  );
}

function tableLine(index) {
  const table = CONTENT.tables[index];
  return element(
    "tr",
    { class: "dataset" },
    element(
      "th",
      { colspan: state.columns.size + 4, scope: "rowgroup" },
      element(
        "div",
        {},
        element("strong", { text: table.name }),
        " ",
        element("span", { text: table.subtitle }),
      ),
    ),
  );
}

function rowLine(row) {
  const columns = [...state.columns].sort((a, b) => a - b);
  const open = state.open.has(row.id);
  const name = element(
    "button",
    {
      type: "button",
      class: "name",
      "aria-expanded": String(open),
      on: { click: () => toggle(row) },
    },
    element("b", {}, breakable(row.model), row.apart ? " \u2020" : null),
    element("span", {}, breakable(row.chain)),
    row.more ? element("i", { text: row.more }) : null,
  );
  return element(
    "tr",
    {
      id: `row-${row.id}`,
      class: [row.best ? "best" : "", open ? "open" : ""].join(" ").trim() || null,
    },
    element("td", { class: "pick" }, picker(row)),
    element("th", { scope: "row" }, name),
    element("td", {}, letter(row)),
    columns.map((i) => element("td", { class: "number" }, value(row.texts[i]))),
    element("td", {}, noteButton(row)),
  );
}

/** Return the box that puts a row into the figures, in the colour it has there. */
function picker(row) {
  const slot = state.chosen.get(row);
  const settings = { type: "checkbox", "aria-label": `Show ${fullName(row)} in the figures` };
  const box = element("input", { ...settings, on: { change: () => choose(row, box.checked) } });
  box.checked = slot !== undefined;
  if (slot !== undefined) box.style.setProperty("accent-color", look(slot).stroke);
  return box;
}

function letter(row) {
  if (!row.group) return element("span", { class: "none", text: row.best ? "\u2605" : DASH });
  const said = `group ${row.group}${row.best ? ", among the best" : ""}`;
  return element(
    "span",
    { class: `letter ${groupClass(row)}`, "aria-label": said, role: "img" },
    row.group,
    row.best ? element("span", { class: "star", text: "\u2605" }) : null,
  );
}

/** Return the class whose colour the group of a row has. */
function groupClass(row) {
  const place = "ABCDE".indexOf(row.group || "?");
  return `g${place < 0 ? 5 : place}`;
}

function noteButton(row) {
  if (!row.notes) return element("span", { class: "none", text: DASH });
  return button(plural(row.notes.length, "note"), () => toggle(row), {
    class: "small",
    title: row.notes.join("\n"),
  });
}

function detailLine(row) {
  return element(
    "tr",
    { class: "detail" },
    element("td", { colspan: state.columns.size + 4 }, details(row)),
  );
}

/** Open or close a row; its address then leads to it. */
function toggle(row) {
  const opened = !state.open.delete(row.id);
  if (opened) state.open.add(row.id);
  history.replaceState(null, "", opened ? `#row-${row.id}` : "#table");
  renderTable();
  document.querySelector(`#row-${CSS.escape(row.id)} .name`)?.focus({ preventScroll: true });
}

/** Show a row, whatever the filter and the page are. */
function reveal(row) {
  if (!selectedRows().includes(row))
    Object.assign(state, { words: "", table: state.table < 0 ? -1 : row.table });
  state.open.add(row.id);
  state.page = Math.floor(selectedRows().indexOf(row) / state.size);
  renderTools();
  renderTable();
  const place = document.getElementById(`row-${row.id}`);
  place?.scrollIntoView({ block: "start" });
  place?.querySelector(".name").focus({ preventScroll: true });
}

/** Open the row that the address of the page names. */
function followAddress() {
  const id = decodeURIComponent(location.hash).replace(/^#row-/, "");
  const row = location.hash.startsWith("#row-") && ROWS.find((each) => each.id === id);
  if (row) reveal(row);
}

function choose(row, wanted) {
  if (!wanted) state.chosen.delete(row);
  else if (chosenRows(row.table).length < MOST_CHOSEN) state.chosen.set(row, freeSlot(row.table));
  else STATUS.textContent = `At most ${MOST_CHOSEN} rows are in the figures; take one out first.`;
  renderFigures(row.table);
  renderBoxes();
}

function renderBoxes() {
  for (const row of ROWS) {
    const box = document.getElementById(`row-${row.id}`)?.querySelector(".pick");
    box?.replaceChildren(picker(row));
  }
}

function chosenRows(table) {
  return [...state.chosen.keys()].filter((row) => row.table === table);
}

function freeSlot(table) {
  const taken = new Set(chosenRows(table).map((row) => state.chosen.get(row)));
  return [...Array(MOST_CHOSEN).keys()].find((slot) => !taken.has(slot));
}

function renderPager(total, first) {
  const last = Math.min(first + state.size, total);
  const turn = (step) => () => {
    state.page += step;
    renderTable();
  };
  const sizes = PAGE_SIZES.filter((size, i) => i === 0 || total > PAGE_SIZES[i - 1]);
  PAGER.replaceChildren(
    ...(total <= PAGE_SIZES[0]
      ? []
      : [
          button("\u2190 Before", turn(-1), { disabled: first === 0 }),
          element("span", {
            text: `rows ${first + 1} to ${last} of ${total.toLocaleString("en")}`,
          }),
          button("Next \u2192", turn(1), { disabled: last === total }),
          choice(
            "rows on a page",
            sizes.map((size) => [size, size]),
            state.size,
            (size) => {
              Object.assign(state, { size: Number(size), page: 0 });
              renderTable();
            },
          ),
        ]),
  );
}

const TOOLS = element("div", { class: "tools" });

/** Build the tools above the table: datasets, filter, columns, download. */
function renderTools() {
  const filter = element("input", {
    type: "search",
    placeholder: "words that a row must have",
    value: state.words,
    on: {
      input: () => {
        Object.assign(state, { words: filter.value, page: 0 });
        renderTable();
      },
    },
  });
  const datasets = [[-1, "all"], ...CONTENT.tables.map((table, i) => [i, table.name])];
  TOOLS.replaceChildren(
    element("label", { class: "choice grow" }, element("span", { text: "Filter" }), filter),
    CONTENT.tables.length > 1
      ? choice("Dataset", datasets, state.table, (index) => showTable(Number(index)))
      : "",
    columnMenu(),
    button("Download CSV", () => download("rows.csv", "text/csv", csv(selectedRows()))),
  );
}

/** Show the rows of one dataset, or of all. */
function showTable(index) {
  Object.assign(state, { table: index, page: 0 });
  renderTools();
  renderTable();
  if (index >= 0) renderFigures(index);
}

function columnMenu() {
  const kinds = [
    ["metric", "Metrics"],
    ["cost", "Costs"],
    ["other", "Other"],
  ];
  const lists = kinds.map(([kind, title]) => {
    const boxes = CONTENT.columns.flatMap((column, i) =>
      column.kind === kind ? [columnBox(column, i)] : [],
    );
    return boxes.length ? element("fieldset", {}, element("legend", { text: title }), boxes) : null;
  });
  return element(
    "details",
    { class: "menu" },
    element("summary", { text: "Columns" }),
    element("div", {}, lists),
  );
}

function columnBox(column, i) {
  const box = element("input", {
    type: "checkbox",
    on: {
      change: () => {
        state.columns[box.checked ? "add" : "delete"](i);
        renderTable();
      },
    },
  });
  box.checked = state.columns.has(i);
  return element("label", { title: column.about }, box, " ", column.title);
}

/** Return rows as comma-separated values (RFC 4180), unrounded. */
function csv(rows) {
  const columns = CONTENT.columns.map((column) => column.name);
  const head = ["dataset", "model", "chain", "group", "best", "comparable", ...columns, "notes"];
  const lines = rows.map((row) => [
    CONTENT.tables[row.table].name,
    row.model,
    row.chain,
    row.group || "",
    Boolean(row.best),
    !row.apart,
    ...row.values.map((each) => each ?? ""),
    (row.notes || []).join("; "),
  ]);
  const field = (each) =>
    /[",\r\n]/.test(each) ? `"${String(each).replaceAll('"', '""')}"` : each;
  return [head, ...lines].map((each) => each.map(field).join(",")).join("\r\n");
}
