// The figures of one dataset: its chosen rows in colour, others in grey.

const shown = { table: largestTable(), cost: "flops", quantity: "loss" };
const FIGURES = element("div", { class: "figures" });
const LEGEND = element("div", { class: "legend" });

const mainColumn = CONTENT.columns[CONTENT.main];
const columnIndex = new Map(CONTENT.columns.map((column, i) => [column.name, i]));

/** Return the dataset with most rows, whose figures are drawn first. */
function largestTable() {
  const sizes = CONTENT.tables.map((table) => table.rows.length);
  return Math.max(0, sizes.indexOf(Math.max(...sizes)));
}

function colour(row) {
  return look(state.chosen.get(row)).stroke;
}

/** Choose the best rows of each dataset that have curves, until the reader chooses others. */
function chooseFirst() {
  CONTENT.tables.forEach((table, t) => {
    table.rows
      .filter((row) => row.curves)
      .slice(0, 6)
      .forEach((row) => state.chosen.set(row, freeSlot(t)));
  });
}

/** Draw all figures of a dataset. */
function renderFigures(table) {
  shown.table = table;
  const chosen = chosenRows(table).sort((a, b) => a.rank - b.rank);
  renderLegend(chosen);
  const made = [
    rocFigure(chosen),
    costFigure(),
    ...dependenceFigures(),
    trainingFigure(chosen),
    scoreFigure(chosen),
  ];
  FIGURES.replaceChildren(...made.filter(Boolean));
  redrawFigures();
}

/** Put figures side by side where there is room, and draw them; an odd last one is wide. */
function redrawFigures() {
  const narrow = [...FIGURES.children].filter((each) => !each.classList.contains("panelled"));
  const room = Math.max(1, Math.floor(FIGURES.clientWidth / 480));
  const across = Math.min(room, Math.max(narrow.length, 1));
  const even = narrow.length % across === 0;
  FIGURES.style.setProperty("--across", even ? across : Math.min(2, across));
  narrow.forEach((each, i) =>
    each.classList.toggle("wide", !even && i === narrow.length - 1 && narrow.length % 2 === 1),
  );
  for (const each of FIGURES.children) each.redraw();
}

function renderLegend(chosen) {
  const names = CONTENT.tables.map((table, i) => [i, table.name]);
  LEGEND.replaceChildren(
    names.length > 1
      ? choice("Dataset", names, shown.table, (index) => renderFigures(Number(index)))
      : "",
    element(
      "ul",
      { class: "chips", "aria-label": "Rows in the figures" },
      chosen.map((row) =>
        element(
          "li",
          {},
          swatch(row),
          element("a", {
            href: `#row-${row.id}`,
            text: row.name,
            title: fullName(row),
            on: {
              click: (e) => {
                e.preventDefault();
                reveal(row);
              },
            },
          }),
          button("\u00d7", () => choose(row, false), {
            "aria-label": `Take ${fullName(row)} out of the figures`,
          }),
        ),
      ),
    ),
    element("p", {
      class: "hint",
      text: "The boxes in the table choose the rows. Colours are the same in all figures.",
    }),
  );
}

function swatch(row) {
  return sample(look(state.chosen.get(row)));
}

/** Return a short piece of a curve, for a legend. */
function sample({ stroke, dash }) {
  const svg = svgElement("svg", { width: 26, height: 10, "aria-hidden": "true" });
  svg.append(
    curve(
      [
        [1, 5],
        [25, 5],
      ],
      { stroke, dash, width: 3 },
    ),
  );
  return svg;
}

/** Return the value of a row that ranks it. */
function mainValue(row) {
  return row.values[CONTENT.main];
}

/** Return the text of the main value of a row. */
function mainText(row) {
  return `${mainColumn.title} ${row.texts[CONTENT.main] || DASH}`;
}
