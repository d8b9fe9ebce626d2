// Error against cost, with its Pareto front; rows that differ in one parameter.

const COST_TITLES = {
  flops: "FLOPs of one example",
  latency: "latency of one example (ms)",
  parameters: "parameters",
  nonzero_parameters: "non-zero parameters",
  train_seconds: "training time (s)",
};

/** Return what the vertical axis shows of a value: 1 - value where 1 is the best. */
function errorAxis(rows) {
  const values = rows.map((row) => row.values[CONTENT.main]).filter((each) => each !== null);
  const complement = mainColumn.better > 0 && values.every((each) => each >= 0 && each <= 1);
  return {
    of: (each) => (complement ? 1 - each : each),
    lower: complement || mainColumn.better < 0,
    label: complement ? `1 \u2212 ${mainColumn.title}` : mainColumn.title,
  };
}

function costFigure() {
  const costs = Object.keys(COST_TITLES).filter(
    (name) =>
      columnIndex.has(name) &&
      CONTENT.tables[shown.table].rows.some((row) => row.values[columnIndex.get(name)] !== null),
  );
  const rows = CONTENT.tables[shown.table].rows
    .filter((row) => row.values[CONTENT.main] !== null)
    .slice(0, MOST_POINTS);
  if (!costs.length || !rows.length) return null;
  if (!costs.includes(shown.cost)) [shown.cost] = costs;
  const caption = element("span");
  const made = figure(
    "Error against cost",
    caption,
    (width) => drawCost(rows, width, caption),
    choice(
      "Cost",
      costs.map((name) => [name, COST_TITLES[name]]),
      shown.cost,
      (name) => {
        shown.cost = name;
        made.redraw();
      },
    ),
  );
  return made;
}

function drawCost(rows, width, caption) {
  const place = columnIndex.get(shown.cost);
  const height = Math.min(520, Math.max(360, width * 0.8));
  const svg = canvas(
    width,
    height,
    `${mainColumn.title} against ${COST_TITLES[shown.cost]}, a point for each row`,
  );
  const error = errorAxis(rows);
  const counted = rows.filter((row) => row.values[place] > 0);
  const others = rows.filter((row) => !(row.values[place] > 0));
  const margin = others.length ? 70 : 0;
  const [left, right, top, bottom] = [62 + margin, width - 14, 10, height - 44];
  const xs = counted.map((row) => row.values[place]);
  const ys = rows.map((row) => error.of(row.values[CONTENT.main]));
  const logarithmic = Math.max(...xs) > 10 * Math.min(...xs);
  const x = scale(rangeOf(xs, { logarithmic, room: 0.08 }), [left, right], logarithmic);
  const high = Math.min(...ys) > 0 && Math.max(...ys) > 3 * Math.min(...ys);
  const y = scale(rangeOf(ys, { logarithmic: high, room: 0.08 }), [bottom, top], high);
  const inside = axes(svg, {
    x,
    y,
    box: { left, right, top, bottom, outer: left - margin },
    xLabel: COST_TITLES[shown.cost],
    yLabel: error.label,
  });
  const machines = new Set(counted.map((row) => row.machine));
  const compared = shown.cost !== "latency" || machines.size === 1;
  const front = compared
    ? paretoFront(
        counted.filter((row) => !row.apart),
        place,
        error,
      )
    : [];
  if (front.length > 1)
    inside.append(
      steps(front.map((row) => [x(row.values[place]), y(error.of(row.values[CONTENT.main]))])),
    );
  if (margin) drawMargin(svg, { left: left - margin, right: left - 12, top, bottom });
  const marks = svgElement("g");
  svg.append(marks);
  const places = new Map();
  for (const row of [...rows].reverse()) {
    const at = [
      row.values[place] > 0 ? x(row.values[place]) : left - margin / 2 - 6,
      y(error.of(row.values[CONTENT.main])),
    ];
    places.set(row, at);
    marks.append(mark(row, at, place, rows.length <= 60));
  }
  nameFront(svg, front, places, [left, right]);
  caption.textContent =
    "A point for each row of the dataset; its name appears when it is pointed at, and a click opens it in the table. " +
    (front.length > 1 ? "Line: no row is better at a lower cost (Pareto front). " : "") +
    (compared ? "" : "Latencies of several machines are not compared: there is no front. ") +
    (others.length
      ? `At the left margin: ${plural(others.length, "row")} without this cost. `
      : "") +
    (rows.length === MOST_POINTS ? `The best ${MOST_POINTS.toLocaleString("en")} rows. ` : "");
  return svg;
}

function paretoFront(rows, place, error) {
  const sign = error.lower ? 1 : -1;
  const key = (row) => sign * error.of(row.values[CONTENT.main]);
  const front = [];
  for (const row of [...rows].sort((a, b) => a.values[place] - b.values[place] || key(a) - key(b)))
    if (!front.length || key(row) < key(front[front.length - 1])) front.push(row);
  return front;
}

function steps(places) {
  const path = places.flatMap(([px, py], i) =>
    i
      ? [
          [px, places[i - 1][1]],
          [px, py],
        ]
      : [[px, py]],
  );
  return curve(path, { stroke: "var(--muted)", dash: "5 3", width: 1.2 });
}

function drawMargin(svg, { left, right, top, bottom }) {
  svg.append(
    svgElement("rect", {
      class: "margin",
      x: left,
      y: top,
      width: right - left,
      height: bottom - top,
      rx: 4,
    }),
    label("none", (left + right) / 2, bottom + 16, "middle", { class: "tick" }),
  );
}

/** Return the mark of a row: a link to it, coloured if it is chosen. */
function mark(row, [px, py], place, reachable) {
  const chosen = state.chosen.has(row);
  const text = [
    fullName(row),
    mainText(row),
    `${COST_TITLES[shown.cost]}: ${row.texts[place] || "none"}`,
  ];
  const circle = svgElement("circle", {
    cx: px,
    cy: py,
    r: chosen ? 6 : 4.5,
    class: row.apart ? "mark apart" : "mark",
    style: { "--mark": chosen ? colour(row) : "var(--faint)" },
  });
  const tip = (event) => {
    const box = circle.getBoundingClientRect();
    showTip(
      [
        ...text,
        ...(row.group ? [`group ${row.group}`] : []),
        ...(row.notes ? [plural(row.notes.length, "note")] : []),
      ],
      event.clientX || box.right,
      event.clientY || box.bottom,
    );
  };
  return svgElement(
    "a",
    {
      href: `#row-${row.id}`,
      "aria-label": text.join(", "),
      tabindex: reachable ? 0 : -1,
      on: {
        pointerenter: tip,
        focus: tip,
        pointerleave: hideTip,
        blur: hideTip,
        click: (event) => {
          event.preventDefault();
          hideTip();
          reveal(row);
        },
      },
    },
    circle,
  );
}

/** Write the names of the rows on the front beside their points, where there is room. */
function nameFront(svg, front, places, [left, right]) {
  const taken = [];
  for (const row of front.slice(0, 12)) {
    const [px, py] = places.get(row);
    const name = shortened(row.name, 34);
    const width = name.length * 6.6;
    const end = px + 10 + width > right;
    const box = [end ? px - 10 - width : px + 10, py - 16, end ? px - 10 : px + 10 + width, py - 2];
    const free =
      box[0] > left &&
      taken.every((b) => box[2] < b[0] || b[2] < box[0] || box[3] < b[1] || b[3] < box[1]);
    if (!free) continue;
    taken.push(box);
    svg.append(
      label(name, end ? px - 9 : px + 9, py - 5, end ? "end" : "start", { class: "named" }),
    );
  }
}

function dependenceFigures() {
  return CONTENT.dependences
    .filter((each) => each.table === shown.table)
    .map((each) => {
      const caption = `${mainColumn.title} of rows that differ in one parameter only, mean over seeds. Bars: error of the test sample.`;
      return figure(`${mainColumn.title} against ${each.parameter}`, caption, (width) =>
        drawDependence(each, width),
      );
    });
}

function drawDependence(dependence, width) {
  const height = Math.min(480, Math.max(340, width * 0.7));
  const svg = canvas(width, height, `${mainColumn.title} against ${dependence.parameter}`);
  const lines = dependence.lines.map(([name, places]) => [
    name,
    places
      .map(([t, r, v]) => [v, CONTENT.tables[t].rows[r]])
      .filter(([, row]) => row?.values[CONTENT.main] != null),
  ]);
  const all = lines.flatMap(([, places]) => places);
  const xs = all.map(([v]) => v);
  const ys = all.flatMap(([, row]) =>
    [-1, 1].map((sign) => row.values[CONTENT.main] + sign * (row.stderr || 0)),
  );
  const logarithmic = Math.min(...xs) > 0 && Math.max(...xs) > 20 * Math.min(...xs);
  const bottom = height - 44;
  const box = { left: 62, right: width - 14, top: 10, bottom };
  const x = scale(rangeOf(xs, { logarithmic }), [box.left, box.right], logarithmic);
  const y = scale(rangeOf(ys), [bottom, 10]);
  axes(svg, { x, y, box, xLabel: dependence.parameter, yLabel: mainColumn.title });
  const place = columnIndex.get(shown.cost) ?? CONTENT.main;
  lines.forEach(([, places], i) => {
    const { stroke, dash } = look(i);
    svg.append(
      curve(
        places.map(([v, row]) => [x(v), y(row.values[CONTENT.main])]),
        { stroke, dash },
      ),
    );
    for (const [v, row] of places) {
      const [px, py] = [x(v), y(row.values[CONTENT.main])];
      if (row.stderr)
        svg.append(
          line(
            px,
            y(row.values[CONTENT.main] - row.stderr),
            px,
            y(row.values[CONTENT.main] + row.stderr),
            { style: { stroke }, "stroke-width": 1.2, opacity: 0.6 },
          ),
        );
      const dot = mark(row, [px, py], place, true);
      dot.firstChild.style.setProperty("--mark", stroke);
      svg.append(dot);
    }
  });
  const names = lines.map(([name], i) =>
    element("li", {}, sample(look(i)), element("span", {}, breakable(name))),
  );
  return [svg, element("ul", { class: "chips plain" }, names)];
}
