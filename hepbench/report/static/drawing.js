// Axes, lines and points of figures, as inline SVG.

const DASHES = ["", "7 3", "2 2.5", "7 3 2 3"];
const COLOURS = 10;

/** Return colour and dashes of the n-th curve. */
function look(n) {
  return {
    stroke: `var(--c${n % COLOURS})`,
    dash: DASHES[Math.floor(n / COLOURS) % DASHES.length],
  };
}

/** Return a function from values to pixels, with its range and ticks, about `each` pixels apart. */
function scale([low, high], [from, to], logarithmic = false, each = from > to ? 38 : 60) {
  const f = logarithmic ? Math.log10 : (v) => v;
  const span = f(high) - f(low) || 1;
  const place = (value) => from + ((f(value) - f(low)) / span) * (to - from);
  const room = Math.abs(to - from);
  return Object.assign(place, {
    low,
    high,
    logarithmic,
    ticks: logarithmic ? logarithmicTicks(low, high, room) : linearTicks(low, high, room / each),
  });
}

function linearTicks(low, high, fitting) {
  const most = Math.max(2, Math.floor(fitting));
  const rough = (high - low || 1) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) {
    ticks.push(Number((i * step).toPrecision(12)));
  }
  return ticks;
}

function logarithmicTicks(low, high, room) {
  const decades = Math.log10(high / low);
  const within = decades < 1.2 ? [1, 2, 3, 5, 7] : decades < 2.5 && room > 180 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil((decades * 34) / room));
  const ticks = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p += 1)
    for (const n of within)
      if (p % every === 0 && n * 10 ** p >= low * 0.999 && n * 10 ** p <= high * 1.001)
        ticks.push(Number(`${n}e${p}`));
  return ticks.length > 1 ? ticks : [low, high];
}

/** Return [low, high] around values, with some room; logarithmic ranges stay positive. */
function rangeOf(values, { logarithmic = false, room = 0.06 } = {}) {
  const known = values.filter((v) => Number.isFinite(v) && (!logarithmic || v > 0));
  if (!known.length) return logarithmic ? [0.1, 1] : [0, 1];
  let low = known.reduce((a, b) => Math.min(a, b));
  let high = known.reduce((a, b) => Math.max(a, b));
  if (logarithmic) {
    if (high < 1.2 * low) {
      low /= 1.3;
      high *= 1.3;
    }
    const factor = (high / low) ** room;
    return [low / factor, high * factor];
  }
  if (high === low) {
    low -= Math.abs(low) * 0.05 || 0.5;
    high += Math.abs(high) * 0.05 || 0.5;
  }
  return [low - room * (high - low), high + room * (high - low)];
}

/** Return an SVG with a name for screen readers; one with links in it has the role `group`. */
function canvas(width, height, name, role = "img") {
  return svgElement("svg", {
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role,
    "aria-label": name,
    class: "drawing",
  });
}

let clips = 0;

/** Draw grid, ticks and labels of axes into an SVG; return a group for what is inside. */
function axes(svg, { x, y, box, xLabel = "", yLabel = "", xTicks = true }) {
  const grid = svgElement("g", { class: "grid" });
  const outer = box.outer ?? box.left;
  const words = svgElement("g", { class: "ticks" });
  for (const tick of x.ticks) {
    grid.append(line(x(tick), box.top, x(tick), box.bottom));
    if (xTicks) words.append(label(short(tick), x(tick), box.bottom + 16, "middle"));
  }
  for (const tick of y.ticks) {
    grid.append(line(box.left, y(tick), box.right, y(tick)));
    words.append(label(short(tick), outer - 6, y(tick) + 4, "end"));
  }
  const frame = svgElement("rect", {
    class: "frame",
    x: box.left,
    y: box.top,
    width: box.right - box.left,
    height: box.bottom - box.top,
  });
  const titles = svgElement("g", { class: "axis" });
  if (xLabel) titles.append(label(xLabel, (box.left + box.right) / 2, box.bottom + 34, "middle"));
  if (yLabel) {
    const middle = (box.top + box.bottom) / 2;
    const turned = label(yLabel, 0, 0, "middle");
    turned.setAttribute("transform", `translate(${outer - 50} ${middle}) rotate(-90)`);
    titles.append(turned);
  }
  const clip = `clip-${(clips += 1)}`;
  const shape = svgElement("rect", {
    x: box.left,
    y: box.top - 1,
    width: box.right - box.left,
    height: box.bottom - box.top + 2,
  });
  const inside = svgElement("g", { "clip-path": `url(#${clip})` });
  svg.append(svgElement("clipPath", { id: clip }, shape), grid, frame, words, titles, inside);
  return inside;
}

function line(x1, y1, x2, y2, settings = {}) {
  return svgElement("line", { x1, y1, x2, y2, ...settings });
}

function label(text, x, y, anchor = "start", settings = {}) {
  return svgElement("text", { x, y, "text-anchor": anchor, text, ...settings });
}

/** Return the path through points, as SVG writes it. */
function pathThrough(points) {
  return points.map(([px, py], i) => `${i ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join("");
}

/** Return a curve through points. */
function curve(points, { stroke, dash = "", width = 1.8, ...settings }) {
  return svgElement("path", {
    d: pathThrough(points),
    fill: "none",
    "stroke-dasharray": dash || null,
    "stroke-width": width,
    "stroke-linejoin": "round",
    style: { stroke },
    ...settings,
  });
}

/** Return the area between two curves. */
function band(upper, lower, fill, opacity = 0.18) {
  const d = `${pathThrough([...upper, ...lower.slice().reverse()])}Z`;
  return svgElement("path", { d, opacity, stroke: "none", style: { fill } });
}

const TIP = element("div", { id: "tip", role: "status", "aria-live": "polite", hidden: true });

/** Show lines beside a place of the page; the first is a title. */
function showTip(lines, clientX, clientY) {
  TIP.replaceChildren(
    ...lines.map((each, i) =>
      each instanceof Node ? each : element(i ? "div" : "strong", { text: each }),
    ),
  );
  TIP.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = TIP;
  const left = clientX + 14 + width > window.innerWidth ? clientX - 14 - width : clientX + 14;
  const top = Math.min(clientY + 14, window.innerHeight - height - 8);
  TIP.style.left = `${Math.max(6, left)}px`;
  TIP.style.top = `${Math.max(6, top)}px`;
}

function hideTip() {
  TIP.hidden = true;
}

/** Return a figure: a title, a drawing that fits its width, and a caption. */
function figure(title, caption, draw, controls = []) {
  const place = element("div", { class: "place" });
  const made = element(
    "figure",
    {},
    element("div", { class: "head" }, element("h3", { text: title }), controls),
    place,
    element("figcaption", {}, caption),
  );
  made.redraw = () => {
    const width = Math.max(260, Math.floor(place.clientWidth));
    place.replaceChildren(...[draw(width)].flat());
  };
  return made;
}
