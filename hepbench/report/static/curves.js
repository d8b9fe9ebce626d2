// Figures with a panel for each chosen row: training and score distributions.

// distributions of more classes than this are lines alone
const FILLED = 4;

const QUANTITIES = { loss: "loss", auc: "AUC", accuracy: "accuracy" };

function trainingFigure(chosen) {
  const rows = chosen.filter((row) => row.curves?.steps);
  const known = Object.keys(QUANTITIES).filter((name) =>
    rows.some((row) =>
      row.curves.steps.some((step) => step.lines.some((l) => l.quantity === name)),
    ),
  );
  if (!known.length) return null;
  if (!known.includes(shown.quantity)) [shown.quantity] = known;
  const caption =
    "Each training step of the chosen rows. Dashed: training batches as they were trained on; " +
    "solid: the whole validation part; mean and standard deviation over seeds. Circles: the " +
    "epoch of each seed whose weights were kept.";
  const made = figure(
    "Training",
    caption,
    (width) => drawTraining(rows, width),
    choice(
      "Show",
      known.map((name) => [name, QUANTITIES[name]]),
      shown.quantity,
      (name) => {
        shown.quantity = name;
        made.redraw();
      },
    ),
  );
  made.classList.add("wide", "panelled");
  return made;
}

/** Return a panel for each step that has the quantity; rows share a step that they train alike. */
function drawTraining(rows, width) {
  const panels = new Map();
  for (const row of rows)
    for (const step of row.curves.steps) {
      const lines = step.lines.filter((each) => each.quantity === shown.quantity);
      const key = JSON.stringify([step.name, lines]);
      if (!lines.length) continue;
      if (panels.has(key)) panels.get(key).rows.push(row);
      else panels.set(key, { step, lines, rows: [row] });
    }
  if (!panels.size) return [element("p", { text: "The chosen rows did not record it." })];
  return [
    element(
      "div",
      { class: "panels" },
      [...panels.values()].map((panel) => drawPanel(panel, panelWidth(width))),
    ),
  ];
}

function panelWidth(width) {
  const across = Math.max(1, Math.floor((width + 14) / 300));
  return Math.floor((width - 14 * (across - 1)) / across);
}

function drawPanel({ step, lines, rows }, width) {
  const height = 200;
  const [row] = rows;
  const more = rows.length > 1 ? ` and ${rows.length - 1} more` : "";
  const svg = canvas(
    width,
    height,
    `${QUANTITIES[shown.quantity]} of ${step.name}, ${fullName(row)}${more}`,
  );
  const box = { left: 56, right: width - 8, top: 6, bottom: height - 40 };
  const epochs = lines.flatMap((each) => each.epochs);
  const values = lines.flatMap((each) => [
    ...each.mean,
    ...(each.kept || []).map(([, value]) => value),
  ]);
  const logarithmic =
    shown.quantity === "loss" &&
    Math.min(...values) > 0 &&
    Math.max(...values) > 10 * Math.min(...values);
  const x = scale(
    [Math.min(...epochs), Math.max(Math.max(...epochs), Math.min(...epochs) + 1)],
    [box.left + 6, box.right - 6],
  );
  const y = scale(rangeOf(values, { logarithmic, room: 0.1 }), [box.bottom, box.top], logarithmic);
  x.ticks = x.ticks.filter(Number.isInteger);
  const inside = axes(svg, {
    x,
    y,
    box,
    xLabel: step.time + (step.reported ? ", as the estimator reports" : ""),
  });
  for (const each of lines) {
    const at = (i, error) => [
      x(each.epochs[i]),
      y(Math.max(each.mean[i] + error, logarithmic ? y.low / 10 : -Infinity)),
    ];
    const along = (sign) => each.mean.map((_, i) => at(i, sign * (each.spread?.[i] || 0)));
    if (each.spread?.length) inside.append(band(along(1), along(-1), colour(row), 0.15));
    inside.append(
      curve(along(0), {
        stroke: colour(row),
        dash: each.part === "train" ? "5 3" : "",
        width: 1.7,
      }),
    );
    if (each.mean.length === 1)
      inside.append(
        svgElement("circle", {
          cx: along(0)[0][0],
          cy: along(0)[0][1],
          r: 2.5,
          style: { fill: colour(row) },
        }),
      );
    for (const [epoch, value] of each.kept || [])
      inside.append(
        svgElement("circle", {
          cx: x(epoch),
          cy: y(value),
          r: 4,
          class: "kept",
          style: { stroke: colour(row) },
        }),
      );
  }
  return element(
    "div",
    { class: "panel", style: { width: `${width}px` } },
    element("h4", {}, element("b", { text: step.name }), ` ${row.name}${more}`),
    svg,
  );
}

function scoreFigure(chosen) {
  const rows = chosen.filter((row) => row.curves?.scores);
  if (!rows.length) return null;
  const { classes } = CONTENT.tables[shown.table];
  const two = classes.length === 2;
  const filled = classes.length <= FILLED;
  const trained = rows.some((row) => row.curves.scores.train.length);
  const drawn = two ? "signal score" : "score of the true class";
  const caption =
    `Distributions of the ${drawn} by class, each of area 1, mean over seeds. ` +
    (filled
      ? `Filled: test examples${trained ? "; dots: training examples" : ""}.`
      : "Test examples.");
  const made = figure("Scores", caption, (width) => [
    classLegend(rows),
    element(
      "div",
      { class: "panels" },
      rows.map((row) => drawScores(row, panelWidth(width))),
    ),
  ]);
  made.classList.add("wide", "panelled");
  return made;
}

function className(i) {
  return CONTENT.tables[shown.table].classes[i] || `class ${i}`;
}

/** Return the colour of a class: apart from those of rows, if there are few classes. */
function classColour(i, count) {
  return count > 6 ? `var(--c${i % COLOURS})` : `var(--k${i})`;
}

function classLegend(rows) {
  const count = Math.max(...rows.map((row) => row.curves.scores.test.length));
  return element(
    "ul",
    { class: "chips plain" },
    [...Array(count).keys()].map((i) =>
      element(
        "li",
        {},
        element("span", { class: "square", style: { background: classColour(i, count) } }),
        className(i),
      ),
    ),
  );
}

function drawScores(row, width) {
  const height = 170;
  const { test, train } = row.curves.scores;
  const svg = canvas(
    width,
    height,
    `Scores of ${fullName(row)} by class: ${test.map((_, i) => className(i)).join(", ")}`,
  );
  const box = { left: 44, right: width - 8, top: 6, bottom: height - 40 };
  const heights = test.flat().filter((each) => each > 0);
  const median = [...heights].sort((a, b) => a - b)[Math.floor(heights.length / 2)] || 1;
  const logarithmic = Math.max(...heights) > 30 * median;
  const x = scale([0, 1], [box.left, box.right]);
  const y = scale(
    logarithmic
      ? [Math.min(...heights) / 2, Math.max(...heights) * 2]
      : [0, Math.max(1e-9, ...heights) * 1.08],
    [box.bottom, box.top],
    logarithmic,
  );
  const inside = axes(svg, { x, y, box, xLabel: "score" });
  const floor = (each) => (logarithmic ? Math.max(each, y.low / 2) : each);
  test.forEach((density, i) => {
    const edges = density.flatMap((each, bin) =>
      [bin, bin + 1].map((n) => [x(n / density.length), y(floor(each))]),
    );
    const stroke = classColour(i, test.length);
    inside.append(curve(edges, { stroke, width: 1.4 }));
    if (test.length > FILLED) return;
    const floorLine = edges.map(([px]) => [px, box.bottom]);
    inside.append(band(edges, floorLine, stroke, 0.25));
    (train[i] || []).forEach((each, bin, all) => {
      if (each > 0)
        inside.append(
          svgElement("circle", {
            cx: x((bin + 0.5) / all.length),
            cy: y(each),
            r: 2.2,
            style: { fill: stroke },
          }),
        );
    });
  });
  return element(
    "div",
    { class: "panel", style: { width: `${width}px` } },
    element("h4", {}, swatch(row), ` ${row.name}`),
    svg,
  );
}
