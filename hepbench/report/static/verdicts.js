// The verdict on each dataset, with its best rows as points.

const MOST_BARS = 8;

function verdicts() {
  return element(
    "section",
    { id: "verdict" },
    element("h2", { text: "Verdict" }),
    element("p", {
      class: "hint",
      text:
        `Points: ${mainColumn.title}, mean over seeds. Thin: error of the test sample; thick: ` +
        "standard deviation over seeds. Bold: not significantly worse than the best row.",
    }),
    element(
      "div",
      { class: `cards${CONTENT.tables.length === 1 ? " single" : ""}` },
      CONTENT.tables.map(card),
    ),
  );
}

function card(table, index) {
  return element(
    "article",
    { class: "card" },
    element("h3", {}, breakable(table.name)),
    element("p", { class: "said", text: table.verdict }),
    element(
      "ul",
      { class: "findings" },
      table.findings.map((text) => element("li", { text })),
    ),
    bars(table),
    element(
      "p",
      { class: "sub" },
      table.subtitle,
      ...table.remarks.flatMap((text) => [element("br"), text]),
    ),
    CONTENT.tables.length > 1
      ? button(
          "Show its rows and figures",
          () => {
            showTable(index);
            document.getElementById("table").scrollIntoView();
          },
          { class: "small" },
        )
      : null,
  );
}

/** Return the main value of the best rows as points with their errors, one below the other. */
function bars(table) {
  const rows = table.rows
    .filter((row) => mainValue(row) !== null && !row.apart)
    .slice(0, MOST_BARS);
  if (rows.length < 2) return element("div");
  const place = element("div", { class: "bars" });
  place.redraw = () =>
    place.replaceChildren(...drawBars(table, rows, Math.max(240, place.clientWidth)));
  return place;
}

/** Draw the rows of `bars`: names beside the points where all of them fit, else above. */
function drawBars(table, rows, width) {
  const longest = 8 + 7.7 * Math.max(...rows.map((row) => row.name.length));
  const above = longest > width * 0.5;
  const each = above ? 36 : 22;
  const [left, bottom] = [above ? 14 : longest + 8, rows.length * each];
  const more = table.rows.length - rows.length;
  const said = rows.map((row) => `${row.name} ${row.texts[CONTENT.main]}`).join("; ");
  const svg = canvas(width, bottom + 22, `${mainColumn.title}: ${said}`);
  const ends = rows.flatMap((row) =>
    [-1, 1].map((sign) => mainValue(row) + sign * (row.stderr || 0)),
  );
  const x = scale(rangeOf(ends), [left, width - 8], false, 46);
  x.ticks.forEach((tick) =>
    svg.append(
      line(x(tick), 0, x(tick), bottom, { class: "rule" }),
      label(short(tick), x(tick), bottom + 14, "middle", { class: "tick" }),
    ),
  );
  rows.forEach((row, i) => {
    const [nameX, nameY] = above ? [0, i * each + 13] : [longest, i * each + 15];
    const name = shortened(row.name, Math.floor(width / (row.best ? 7.6 : 6.7)));
    svg.append(
      label(name, nameX, nameY, above ? "start" : "end", { class: row.best ? "named" : "tick" }),
      bar(row, x, i * each + (above ? 25 : 11)),
    );
  });
  return more
    ? [svg, element("p", { class: "sub", text: `and ${plural(more, "more row")}` })]
    : [svg];
}

/** Return the point of a row with its errors: thin of the test sample, thick over seeds. */
function bar(row, x, y) {
  const at = mainValue(row);
  const [low, high] = [x(at - (row.stderr || 0)), x(at + (row.stderr || 0))];
  const seeds = [at - (row.spread || 0), at + (row.spread || 0)].map((each) =>
    x(Math.min(x.high, Math.max(x.low, each))),
  );
  const made = svgElement(
    "g",
    { class: `point ${groupClass(row)}` },
    line(low, y, high, y, { "stroke-width": 2, opacity: 0.55 }),
    line(seeds[0], y, seeds[1], y, { "stroke-width": 5, opacity: 0.35 }),
    svgElement("circle", { cx: x(at), cy: y, r: 4 }),
  );
  const lines = [fullName(row), mainText(row), row.group ? `group ${row.group}` : "not compared"];
  made.addEventListener("pointermove", (event) => showTip(lines, event.clientX, event.clientY));
  made.addEventListener("pointerleave", hideTip);
  return made;
}
