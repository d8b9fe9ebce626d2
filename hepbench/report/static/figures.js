// The figures of one dataset: its chosen rows in colour, others in grey.

const shown = { table: largestTable(), cost: "flops", quantity: "loss" };
const FIGURES = element("div", { class: "figures" });
const LEGEND = element("div", { class: "legend" });
const MOST_POINTS = 2000;

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
    table.rows.filter((row) => row.curves).slice(0, 6).forEach((row) => state.chosen.set(row, freeSlot(t)));
  });
}

/** Draw all figures of a dataset. */
function renderFigures(table) {
  shown.table = table;
  const chosen = chosenRows(table).sort((a, b) => a.rank - b.rank);
  renderLegend(chosen);
  const made = [rocFigure(chosen), costFigure(), ...dependenceFigures(), trainingFigure(chosen), scoreFigure(chosen)];
  FIGURES.replaceChildren(...made.filter(Boolean));
  redrawFigures();
}

/** Put figures side by side where there is room, and draw them; the last of an odd number is wide. */
function redrawFigures() {
  const narrow = [...FIGURES.children].filter((each) => !each.classList.contains("panelled"));
  const room = Math.max(1, Math.floor(FIGURES.clientWidth / 480));
  const across = Math.min(room, Math.max(narrow.length, 1));
  const even = narrow.length % across === 0;
  FIGURES.style.setProperty("--across", even ? across : Math.min(2, across));
  narrow.forEach((each, i) => each.classList.toggle("wide", !even && i === narrow.length - 1 && narrow.length % 2 === 1));
  for (const each of FIGURES.children) each.redraw();
}

function renderLegend(chosen) {
  const names = CONTENT.tables.map((table, i) => [i, table.name]);
  LEGEND.replaceChildren(
    names.length > 1 ? choice("Dataset", names, shown.table, (index) => renderFigures(Number(index))) : "",
    element("ul", { class: "chips", "aria-label": "Rows in the figures" }, chosen.map((row) => element("li", {},
      swatch(row), element("a", { href: `#row-${row.id}`, text: row.name, title: fullName(row), on: { click: (e) => { e.preventDefault(); reveal(row); } } }),
      button("\u00d7", () => choose(row, false), { "aria-label": `Take ${fullName(row)} out of the figures` })))),
    element("p", { class: "hint", text: "The boxes in the table choose the rows. Colours are the same in all figures." }));
}

function swatch(row) {
  return sample(look(state.chosen.get(row)));
}

/** Return a short piece of a curve, for a legend. */
function sample({ stroke, dash }) {
  const svg = svgElement("svg", { width: 26, height: 10, "aria-hidden": "true" });
  svg.append(curve([[1, 5], [25, 5]], { stroke, dash, width: 3 }));
  return svg;
}

/** Return the text of the main value of a row. */
function mainText(row) {
  return `${mainColumn.title} ${row.texts[CONTENT.main] || DASH}`;
}

function rocFigure(chosen) {
  const rows = chosen.filter((row) => row.curves?.roc);
  if (!rows.length) return null;
  const caption = "Background rejection (1 / background efficiency) against signal efficiency, mean over seeds. "
    + "Bands: standard deviation over seeds; for one seed, error of the test sample. Drawn where at least ten "
    + `background examples pass. Below: ratio to the first row, ${rows[0].name}. Dotted: chance.`;
  return figure("ROC curves", caption, (width) => drawRoc(rows, width));
}

function points(roc) {
  return roc.rejection.map((each, i) => ({
    x: CONTENT.efficiencies[roc.start + i], y: each, error: (roc.spread.length ? roc.spread : roc.stderr)[i],
  }));
}

function drawRoc(rows, width) {
  const height = Math.min(520, Math.max(380, width * 0.8));
  const svg = canvas(width, height, `ROC curves of ${rows.map((row) => row.name).join("; ")}`);
  const [left, right] = [62, width - 14];
  const split = height * 0.7;
  const curves = rows.map((row) => points(row.curves.roc));
  const top = curves.flat().reduce((most, point) => Math.max(most, point.y), 2);
  const x = scale([0, 1], [left, right]);
  const y = scale([1, top * 1.3], [split, 10], true);
  const above = axes(svg, { x, y, box: { left, right, top: 10, bottom: split }, yLabel: "background rejection", xTicks: false });
  const chance = [...Array(50).keys()].map((i) => [x((i + 1) / 50), y(50 / (i + 1))]);
  above.append(curve(chance, { stroke: "var(--muted)", dash: "1 3", width: 1.2 }));
  const at = curves.map((each) => new Map(each.map((point) => [point.x, point])));
  const ratios = curves.map((each) => each.filter((point) => at[0].has(point.x)).map((point) => [point.x, point.y / at[0].get(point.x).y]));
  const z = scale(ratioRange(ratios), [height - 44, split + 16]);
  const below = axes(svg, { x, y: z, box: { left, right, top: split + 16, bottom: height - 44 }, xLabel: "signal efficiency", yLabel: "ratio" });
  rows.forEach((row, i) => {
    const { dash } = look(state.chosen.get(row));
    const edge = (sign) => curves[i].map((p) => [x(p.x), y(Math.max(1, p.y + sign * p.error))]);
    above.append(band(edge(1), edge(-1), colour(row)), curve(curves[i].map((p) => [x(p.x), y(p.y)]), { stroke: colour(row), dash }));
    below.append(curve(ratios[i].map(([e, r]) => [x(e), z(r)]), { stroke: colour(row), dash }));
  });
  const bar = line(left, 10, left, height - 44, { class: "crosshair", visibility: "hidden" });
  svg.append(bar);
  followPointer(svg, x, (efficiency, px) => {
    const nearest = CONTENT.efficiencies.reduce((a, b) => (Math.abs(b - efficiency) < Math.abs(a - efficiency) ? b : a));
    bar.setAttribute("visibility", px === null ? "hidden" : "visible");
    bar.setAttribute("x1", x(nearest));
    bar.setAttribute("x2", x(nearest));
    const lines = rows.map((row, i) => [row, at[i].get(nearest)]);
    return [`at ${Math.round(nearest * 100)} % signal efficiency`, ...lines.map(([row, p]) =>
      tipLine(row, p ? `${short(p.y)} \u00b1${short(p.error)}` : "too few background examples"))];
  });
  return svg;
}

/** Return the range of ratios, without the first tenth of each curve, where few examples pass. */
function ratioRange(ratios) {
  const values = ratios.flatMap((each) => each.slice(Math.floor(each.length / 10)).map(([, ratio]) => ratio));
  const [low, high] = rangeOf([1, ...values], { room: 0.1 });
  return [Math.max(0, low), Math.max(high, low + 0.04)];
}

function tipLine(row, text) {
  return element("div", {}, state.chosen.has(row) ? swatch(row) : null, ` ${row.name}: `, element("b", { text }));
}

/** Call `tell` with what the pointer or the arrow keys point at, and show the lines it returns. */
function followPointer(svg, x, tell) {
  let at = 0.5;
  const show = (px, clientX, clientY) => {
    const span = (x(x.high) - x(x.low)) || 1;
    at = Math.min(1, Math.max(0, (px - x(x.low)) / span));
    showTip(tell(x.low + at * (x.high - x.low), px), clientX, clientY);
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    show((event.clientX - box.left) * (svg.viewBox.baseVal.width / box.width), event.clientX, event.clientY);
  });
  const leave = () => { tell(x.low, null); hideTip(); };
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.setAttribute("tabindex", 0);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (!step) return;
    event.preventDefault();
    const box = svg.getBoundingClientRect();
    const px = x(x.low) + (at + step) * (x(x.high) - x(x.low));
    show(px, box.left + px * (box.width / svg.viewBox.baseVal.width), box.top + 40);
  });
}

const COST_TITLES = {
  flops: "FLOPs of one example", latency: "latency of one example (ms)", parameters: "parameters",
  nonzero_parameters: "non-zero parameters", train_seconds: "training time (s)",
};

/** Return what the vertical axis shows of a value: 1 - value where 1 is the best. */
function errorAxis(rows) {
  const values = rows.map((row) => row.values[CONTENT.main]).filter((each) => each !== null);
  const complement = mainColumn.better > 0 && values.every((each) => each >= 0 && each <= 1);
  return {
    of: (each) => (complement ? 1 - each : each), lower: complement || mainColumn.better < 0,
    label: complement ? `1 \u2212 ${mainColumn.title}` : mainColumn.title,
  };
}

function costFigure() {
  const costs = Object.keys(COST_TITLES).filter((name) => columnIndex.has(name)
    && CONTENT.tables[shown.table].rows.some((row) => row.values[columnIndex.get(name)] !== null));
  const rows = CONTENT.tables[shown.table].rows.filter((row) => row.values[CONTENT.main] !== null).slice(0, MOST_POINTS);
  if (!costs.length || !rows.length) return null;
  if (!costs.includes(shown.cost)) [shown.cost] = costs;
  const caption = element("span");
  const made = figure("Error against cost", caption, (width) => drawCost(rows, width, caption), choice(
    "Cost", costs.map((name) => [name, COST_TITLES[name]]), shown.cost, (name) => { shown.cost = name; made.redraw(); }));
  return made;
}

function drawCost(rows, width, caption) {
  const place = columnIndex.get(shown.cost);
  const height = Math.min(520, Math.max(360, width * 0.8));
  const svg = canvas(width, height, `${mainColumn.title} against ${COST_TITLES[shown.cost]}, a point for each row`);
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
  const inside = axes(svg, { x, y, box: { left, right, top, bottom, outer: left - margin }, xLabel: COST_TITLES[shown.cost], yLabel: error.label });
  const machines = new Set(counted.map((row) => row.machine));
  const compared = shown.cost !== "latency" || machines.size === 1;
  const front = compared ? paretoFront(counted.filter((row) => !row.apart), place, error) : [];
  if (front.length > 1) inside.append(steps(front.map((row) => [x(row.values[place]), y(error.of(row.values[CONTENT.main]))])));
  if (margin) drawMargin(svg, { left: left - margin, right: left - 12, top, bottom });
  const marks = svgElement("g");
  svg.append(marks);
  const places = new Map();
  for (const row of [...rows].reverse()) {
    const at = [row.values[place] > 0 ? x(row.values[place]) : left - margin / 2 - 6, y(error.of(row.values[CONTENT.main]))];
    places.set(row, at);
    marks.append(mark(row, at, place, rows.length <= 60));
  }
  nameFront(svg, front, places, [left, right]);
  caption.textContent = "A point for each row of the dataset; its name appears when it is pointed at, and a click opens it in the table. "
    + (front.length > 1 ? "Line: no row is better at a lower cost (Pareto front). " : "")
    + (compared ? "" : "Latencies of several machines are not compared: there is no front. ")
    + (others.length ? `At the left margin: ${plural(others.length, "row")} without this cost. ` : "")
    + (rows.length === MOST_POINTS ? `The best ${MOST_POINTS.toLocaleString("en")} rows. ` : "");
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
  const path = places.flatMap(([px, py], i) => (i ? [[px, places[i - 1][1]], [px, py]] : [[px, py]]));
  return curve(path, { stroke: "var(--muted)", dash: "5 3", width: 1.2 });
}

function drawMargin(svg, { left, right, top, bottom }) {
  svg.append(svgElement("rect", { class: "margin", x: left, y: top, width: right - left, height: bottom - top, rx: 4 }),
    label("none", (left + right) / 2, bottom + 16, "middle", { class: "tick" }));
}

/** Return the mark of a row: a link to it, coloured if it is chosen. */
function mark(row, [px, py], place, reachable) {
  const chosen = state.chosen.has(row);
  const text = [fullName(row), mainText(row), `${COST_TITLES[shown.cost]}: ${row.texts[place] || "none"}`];
  const circle = svgElement("circle", {
    cx: px, cy: py, r: chosen ? 6 : 4.5, class: row.apart ? "mark apart" : "mark",
    style: { "--mark": chosen ? colour(row) : "var(--faint)" },
  });
  const tip = (event) => {
    const box = circle.getBoundingClientRect();
    showTip([...text, ...(row.group ? [`group ${row.group}`] : []), ...(row.notes ? [plural(row.notes.length, "note")] : [])],
      event.clientX || box.right, event.clientY || box.bottom);
  };
  return svgElement("a", {
    href: `#row-${row.id}`, "aria-label": text.join(", "), tabindex: reachable ? 0 : -1,
    on: { pointerenter: tip, focus: tip, pointerleave: hideTip, blur: hideTip,
      click: (event) => { event.preventDefault(); hideTip(); reveal(row); } },
  }, circle);
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
    const free = box[0] > left && taken.every((b) => box[2] < b[0] || b[2] < box[0] || box[3] < b[1] || b[3] < box[1]);
    if (!free) continue;
    taken.push(box);
    svg.append(label(name, end ? px - 9 : px + 9, py - 5, end ? "end" : "start", { class: "named" }));
  }
}

function dependenceFigures() {
  return CONTENT.dependences.filter((each) => each.table === shown.table).map((each) => {
    const caption = `${mainColumn.title} of rows that differ in one parameter only, mean over seeds. Bars: error of the test sample.`;
    return figure(`${mainColumn.title} against ${each.parameter}`, caption, (width) => drawDependence(each, width));
  });
}

function drawDependence(dependence, width) {
  const height = Math.min(480, Math.max(340, width * 0.7));
  const svg = canvas(width, height, `${mainColumn.title} against ${dependence.parameter}`);
  const lines = dependence.lines.map(([name, places]) => [name, places.map(([t, r, v]) => [v, CONTENT.tables[t].rows[r]]).filter(([, row]) => row?.values[CONTENT.main] != null)]);
  const all = lines.flatMap(([, places]) => places);
  const xs = all.map(([v]) => v);
  const ys = all.flatMap(([, row]) => [-1, 1].map((sign) => row.values[CONTENT.main] + sign * (row.stderr || 0)));
  const logarithmic = Math.min(...xs) > 0 && Math.max(...xs) > 20 * Math.min(...xs);
  const bottom = height - 44;
  const box = { left: 62, right: width - 14, top: 10, bottom };
  const x = scale(rangeOf(xs, { logarithmic }), [box.left, box.right], logarithmic);
  const y = scale(rangeOf(ys), [bottom, 10]);
  axes(svg, { x, y, box, xLabel: dependence.parameter, yLabel: mainColumn.title });
  const place = columnIndex.get(shown.cost) ?? CONTENT.main;
  lines.forEach(([, places], i) => {
    const { stroke, dash } = look(i);
    svg.append(curve(places.map(([v, row]) => [x(v), y(row.values[CONTENT.main])]), { stroke, dash }));
    for (const [v, row] of places) {
      const [px, py] = [x(v), y(row.values[CONTENT.main])];
      if (row.stderr) svg.append(line(px, y(row.values[CONTENT.main] - row.stderr), px, y(row.values[CONTENT.main] + row.stderr), { style: { stroke }, "stroke-width": 1.2, opacity: 0.6 }));
      const dot = mark(row, [px, py], place, true);
      dot.firstChild.style.setProperty("--mark", stroke);
      svg.append(dot);
    }
  });
  const names = lines.map(([name], i) => element("li", {}, sample(look(i)), element("span", {}, breakable(name))));
  return [svg, element("ul", { class: "chips plain" }, names)];
}
