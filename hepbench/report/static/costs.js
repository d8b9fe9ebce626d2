// Error against cost, with its Pareto front; rows that differ in one parameter.

const MOST_POINTS = 1000;

const COST_TITLES = {
  flops: "FLOPs of one example",
  latency: "latency of one example (ms)",
  latency_torch: "latency in torch (ms)",
  latency_python: "latency in Python (ms)",
  parameters: "parameters",
  nonzero_parameters: "non-zero parameters",
  train_seconds: "training time (s)",
};

/** Return what the vertical axis shows of a value: 1 - value where 1 is the best. */
function errorAxis(rows) {
  const within = rows.every((row) => mainValue(row) >= 0 && mainValue(row) <= 1);
  const complement = mainColumn.better > 0 && within;
  return {
    of: (row) => (complement ? 1 - mainValue(row) : mainValue(row)),
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
    .filter((row) => mainValue(row) !== null)
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
  const title = COST_TITLES[shown.cost];
  const height = Math.min(520, Math.max(360, width * 0.8));
  const name = `${mainColumn.title} against ${title}, a point for each row`;
  const svg = canvas(width, height, name, "group");
  const error = errorAxis(rows);
  const counted = rows.filter((row) => row.values[place] > 0);
  const others = rows.length - counted.length;
  const margin = others ? 70 : 0;
  const box = { left: 66 + margin, right: width - 14, top: 10, bottom: height - 44, outer: 66 };
  const x = fittingScale(
    counted.map((row) => row.values[place]),
    10,
    [box.left, box.right],
  );
  const y = fittingScale(rows.map(error.of), 3, [box.bottom, box.top]);
  const inside = axes(svg, { x, y, box, xLabel: title, yLabel: error.label });
  const middle = box.left - margin / 2 - 6;
  const at = (row) => [row.values[place] > 0 ? x(row.values[place]) : middle, y(error.of(row))];
  const compared =
    !shown.cost.startsWith("latency") || new Set(counted.map((row) => row.machine)).size === 1;
  const front = compared ? paretoFront(counted, place, error) : [];
  if (front.length > 1) inside.append(steps(front.map(at)));
  if (margin) drawMargin(svg, { ...box, left: box.left - margin, right: box.left - 12 });
  const reachable = rows.length <= 60;
  svg.append(...rows.map((row) => mark(row, at(row), place, reachable)).reverse());
  nameFront(svg, front, at, box);
  caption.textContent = costCaption({ front, compared, others, rows });
  return svg;
}

/** Return a scale that fits values; logarithmic if they differ by more than a factor. */
function fittingScale(values, factor, pixels) {
  const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, 0]);
  const logarithmic = low > 0 && high > factor * low;
  return scale(rangeOf(values, { logarithmic, room: 0.08 }), pixels, logarithmic);
}

function costCaption({ front, compared, others, rows }) {
  const said = [
    "A point for each row of the dataset: pointed at, it shows its name; a click opens the row.",
    front.length > 1 && "Line: no row is better at a lower cost (Pareto front).",
    !compared && "Latencies of several machines are not compared: there is no front.",
    others && `At the left margin: ${plural(others, "row")} without this cost.`,
    rows.length === MOST_POINTS && `The best ${MOST_POINTS.toLocaleString("en")} rows.`,
  ];
  return said.filter(Boolean).join(" ");
}

/** Return the rows than which no other is better at a lower cost, among those that are ranked. */
function paretoFront(rows, place, error) {
  const key = (row) => (error.lower ? 1 : -1) * error.of(row);
  const ranked = rows.filter((row) => !row.apart);
  const front = [];
  for (const row of ranked.sort((a, b) => a.values[place] - b.values[place] || key(a) - key(b)))
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
function nameFront(svg, front, at, { left, right }) {
  const taken = [];
  for (const row of front.slice(0, 12)) {
    const [px, py] = at(row);
    // of a long name, the last step of its chain
    const name = shortened(row.name.length > 34 ? row.name.split("+").at(-1) : row.name, 34);
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
      const caption =
        `${mainColumn.title} of rows that differ in one parameter only, mean over seeds. ` +
        "Bars: error of the test sample.";
      return figure(`${mainColumn.title} against ${each.parameter}`, caption, (width) =>
        drawDependence(each, width),
      );
    });
}

function drawDependence(dependence, width) {
  const height = Math.min(480, Math.max(340, width * 0.7));
  const name = `${mainColumn.title} against ${dependence.parameter}`;
  const svg = canvas(width, height, name, "group");
  const lines = dependence.lines.map(([, places]) => pointsOfLine(places));
  const all = lines.flat();
  const ends = all.flatMap(({ row }) =>
    [-1, 1].map((sign) => mainValue(row) + sign * (row.stderr || 0)),
  );
  const box = { left: 66, right: width - 14, top: 10, bottom: height - 44 };
  const x = fittingScale(
    all.map((each) => each.value),
    20,
    [box.left, box.right],
  );
  const y = scale(rangeOf(ends), [box.bottom, box.top]);
  axes(svg, { x, y, box, xLabel: dependence.parameter, yLabel: mainColumn.title });
  lines.forEach((each, i) => drawLine(svg, each, look(i), { x, y }));
  const names = dependence.lines.map(([text], i) =>
    element("li", {}, sample(look(i)), element("span", {}, breakable(text))),
  );
  return [svg, element("ul", { class: "chips plain" }, names)];
}

/** Return the rows of a line that have a value, each with the value of the parameter. */
function pointsOfLine(places) {
  return places
    .map(([table, rank, value]) => ({ value, row: CONTENT.tables[table].rows[rank] }))
    .filter(({ row }) => row && mainValue(row) !== null);
}

function drawLine(svg, places, { stroke, dash }, { x, y }) {
  const at = ({ value, row }) => [x(value), y(mainValue(row))];
  svg.append(curve(places.map(at), { stroke, dash }));
  for (const each of places) {
    const { row } = each;
    const [px, py] = at(each);
    const [low, high] = [-1, 1].map((sign) => y(mainValue(row) + sign * (row.stderr || 0)));
    svg.append(line(px, low, px, high, { style: { stroke }, "stroke-width": 1.2, opacity: 0.6 }));
    const dot = mark(row, [px, py], columnIndex.get(shown.cost) ?? CONTENT.main, true);
    dot.firstChild.style.setProperty("--mark", stroke);
    svg.append(dot);
  }
}
