// ROC curves with a panel of ratios, and what a pointer or the arrow keys tell of them.

function rocFigure(chosen) {
  const rows = chosen.filter((row) => row.curves?.roc);
  if (!rows.length) return null;
  const caption =
    "Background rejection (1 / background efficiency) against signal efficiency, mean over seeds. " +
    "Bands: standard deviation over seeds; for one seed, error of the test sample. Drawn where at least ten " +
    `background examples pass. Below: ratio to the first row, ${rows[0].name}. Dotted: chance.`;
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
  const svg = canvas(width, height, `ROC curves of ${rows.map((row) => row.name).join("; ")}`);
  const [left, right] = [62, width - 14];
  const split = height * 0.7;
  const curves = rows.map((row) => points(row.curves.roc));
  const top = curves.flat().reduce((most, point) => Math.max(most, point.y), 2);
  const x = scale([0, 1], [left, right]);
  const y = scale([1, top * 1.3], [split, 10], true);
  const above = axes(svg, {
    x,
    y,
    box: { left, right, top: 10, bottom: split },
    yLabel: "background rejection",
    xTicks: false,
  });
  const chance = [...Array(50).keys()].map((i) => [x((i + 1) / 50), y(50 / (i + 1))]);
  above.append(curve(chance, { stroke: "var(--muted)", dash: "1 3", width: 1.2 }));
  const at = curves.map((each) => new Map(each.map((point) => [point.x, point])));
  const ratios = curves.map((each) =>
    each
      .filter((point) => at[0].has(point.x))
      .map((point) => [point.x, point.y / at[0].get(point.x).y]),
  );
  const z = scale(ratioRange(ratios), [height - 44, split + 16]);
  const below = axes(svg, {
    x,
    y: z,
    box: { left, right, top: split + 16, bottom: height - 44 },
    xLabel: "signal efficiency",
    yLabel: "ratio",
  });
  rows.forEach((row, i) => {
    const { dash } = look(state.chosen.get(row));
    const edge = (sign) => curves[i].map((p) => [x(p.x), y(Math.max(1, p.y + sign * p.error))]);
    above.append(
      band(edge(1), edge(-1), colour(row)),
      curve(
        curves[i].map((p) => [x(p.x), y(p.y)]),
        { stroke: colour(row), dash },
      ),
    );
    below.append(
      curve(
        ratios[i].map(([e, r]) => [x(e), z(r)]),
        { stroke: colour(row), dash },
      ),
    );
  });
  const bar = line(left, 10, left, height - 44, { class: "crosshair", visibility: "hidden" });
  svg.append(bar);
  followPointer(svg, x, (efficiency, px) => {
    const nearest = CONTENT.efficiencies.reduce((a, b) =>
      Math.abs(b - efficiency) < Math.abs(a - efficiency) ? b : a,
    );
    bar.setAttribute("visibility", px === null ? "hidden" : "visible");
    bar.setAttribute("x1", x(nearest));
    bar.setAttribute("x2", x(nearest));
    const lines = rows.map((row, i) => [row, at[i].get(nearest)]);
    return [
      `at ${Math.round(nearest * 100)} % signal efficiency`,
      ...lines.map(([row, p]) =>
        tipLine(row, p ? `${short(p.y)} \u00b1${short(p.error)}` : "too few background examples"),
      ),
    ];
  });
  return svg;
}

/** Return the range of ratios, without the first tenth of each curve, where few examples pass. */
function ratioRange(ratios) {
  const values = ratios.flatMap((each) =>
    each.slice(Math.floor(each.length / 10)).map(([, ratio]) => ratio),
  );
  const [low, high] = rangeOf([1, ...values], { room: 0.1 });
  return [Math.max(0, low), Math.max(high, low + 0.04)];
}

function tipLine(row, text) {
  return element(
    "div",
    {},
    state.chosen.has(row) ? swatch(row) : null,
    ` ${row.name}: `,
    element("b", { text }),
  );
}

/** Call `tell` with what the pointer or the arrow keys point at, and show the lines it returns. */
function followPointer(svg, x, tell) {
  let at = 0.5;
  const show = (px, clientX, clientY) => {
    const span = x(x.high) - x(x.low) || 1;
    at = Math.min(1, Math.max(0, (px - x(x.low)) / span));
    showTip(tell(x.low + at * (x.high - x.low), px), clientX, clientY);
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
    tell(x.low, null);
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
