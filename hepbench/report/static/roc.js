// ROC curves with a panel of ratios, and the values at a pointer or the arrow keys.

function rocFigure(chosen) {
  const rows = chosen.filter((row) => row.curves?.roc);
  if (!rows.length) return null;
  const caption =
    "Background rejection (1 / background efficiency) against signal efficiency, mean over " +
    "seeds. Bands: standard deviation over seeds; for one seed, error of the test sample. Drawn " +
    "where at least ten background examples pass. Below: ratio to the first row, " +
    `${rows[0].name}. Dotted: chance.`;
  return figure("ROC curves", caption, (width) => drawRoc(rows, width));
}

function points(roc) {
  return roc.rejection.map((each, i) => ({
    x: CONTENT.efficiencies[roc.start + i],
    y: each,
    error: (roc.spread.length ? roc.spread : roc.stderr)[i],
  }));
}

function drawRoc(rows, width) {
  const height = Math.min(520, Math.max(380, width * 0.8));
  const names = rows.map((row) => row.name).join("; ");
  const svg = canvas(width, height, `ROC curves of ${names}. Arrow keys show the rejections.`);
  const curves = rows.map((row) => points(row.curves.roc));
  const at = curves.map((each) => new Map(each.map((point) => [point.x, point])));
  const ratios = curves.map((each) =>
    each.filter(({ x }) => at[0].has(x)).map(({ x, y }) => [x, y / at[0].get(x).y]),
  );
  const [left, right, split, bottom] = [66, width - 14, height * 0.7, height - 44];
  const x = scale([0, 1], [left, right]);
  drawRejections(svg, rows, curves, x, { left, right, top: 10, bottom: split });
  drawRatios(svg, rows, ratios, x, { left, right, top: split + 16, bottom });
  const bar = line(left, 10, left, bottom, { class: "crosshair", visibility: "hidden" });
  svg.append(bar);
  followPointer(svg, x, (efficiency, px) => {
    const nearest = CONTENT.efficiencies.reduce((a, b) =>
      Math.abs(b - efficiency) < Math.abs(a - efficiency) ? b : a,
    );
    bar.setAttribute("visibility", px === null ? "hidden" : "visible");
    bar.setAttribute("x1", x(nearest));
    bar.setAttribute("x2", x(nearest));
    return [
      `at ${Math.round(nearest * 100)} % signal efficiency`,
      ...rows.map((row, i) => tipLine(row, at[i].get(nearest))),
    ];
  });
  return svg;
}

function drawRejections(svg, rows, curves, x, box) {
  const top = curves.flat().reduce((most, point) => Math.max(most, point.y), 2);
  const y = scale([1, top * 1.3], [box.bottom, box.top], true);
  const inside = axes(svg, { x, y, box, yLabel: "background rejection", xTicks: false });
  const chance = [...Array(50).keys()].map((i) => [x((i + 1) / 50), y(50 / (i + 1))]);
  inside.append(curve(chance, { stroke: "var(--muted)", dash: "1 3", width: 1.2 }));
  rows.forEach((row, i) => {
    const edge = (sign) => curves[i].map((p) => [x(p.x), y(Math.max(1, p.y + sign * p.error))]);
    inside.append(band(edge(1), edge(-1), look(state.chosen.get(row)).stroke));
    inside.append(curve(edge(0), look(state.chosen.get(row))));
  });
}

function drawRatios(svg, rows, ratios, x, box) {
  const y = scale(ratioRange(ratios), [box.bottom, box.top]);
  const inside = axes(svg, { x, y, box, xLabel: "signal efficiency", yLabel: "ratio" });
  rows.forEach((row, i) => {
    const places = ratios[i].map(([efficiency, ratio]) => [x(efficiency), y(ratio)]);
    inside.append(curve(places, look(state.chosen.get(row))));
  });
}

/** Return the range of ratios, without the first tenth of each curve, where few examples pass. */
function ratioRange(ratios) {
  const values = ratios.flatMap((each) =>
    each.slice(Math.floor(each.length / 10)).map(([, ratio]) => ratio),
  );
  const [low, high] = rangeOf([1, ...values], { room: 0.1 });
  return [Math.max(0, low), Math.max(high, low + 0.04)];
}

function tipLine(row, point) {
  const text = point
    ? `${short(point.y)} \u00b1${short(point.error)}`
    : "too few background examples";
  return element("div", {}, swatch(row), ` ${row.name}: `, element("b", { text }));
}

/** Call `describe` with what the pointer or the arrow keys point at, and show the lines it returns. */
function followPointer(svg, x, describe) {
  let at = 0.5;
  const show = (px, clientX, clientY) => {
    const span = x(x.high) - x(x.low) || 1;
    at = Math.min(1, Math.max(0, (px - x(x.low)) / span));
    showTip(describe(x.low + at * (x.high - x.low), px), clientX, clientY);
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    show(
      (event.clientX - box.left) * (svg.viewBox.baseVal.width / box.width),
      event.clientX,
      event.clientY,
    );
  });
  const leave = () => {
    describe(x.low, null);
    hideTip();
  };
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
