"use strict";

// The page is built from text nodes and attributes alone: nothing in the results becomes markup.

const CONTENT = JSON.parse(document.getElementById("content").textContent);
const SVG = "http://www.w3.org/2000/svg";
const DASH = "\u2013";

/** Return an element; `settings` are attributes, `text`, `class`, `on` (listeners), `style`. */
function element(name, settings = {}, ...children) {
  return furnished(document.createElement(name), settings, children);
}

function svgElement(name, settings = {}, ...children) {
  return furnished(document.createElementNS(SVG, name), settings, children);
}

function furnished(made, settings, children) {
  for (const [name, value] of Object.entries(settings)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name === "on") Object.entries(value).forEach((each) => made.addEventListener(...each));
    else if (name === "style")
      Object.entries(value).forEach((each) => made.style.setProperty(...each));
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

function button(text, act, settings = {}) {
  return element("button", { type: "button", text, on: { click: act }, ...settings });
}

/** Return a select with options [value, text]. */
function choice(label, options, value, act) {
  const made = options.map(([each, text]) =>
    element("option", { value: each, text, selected: String(each) === String(value) }),
  );
  const select = element("select", { on: { change: () => act(select.value) } }, made);
  return element("label", { class: "choice" }, element("span", { text: label }), select);
}

/** Return text nodes with places where a long name may break. */
function breakable(name) {
  return name
    .split(/(?<=[+,[\]/])/)
    .flatMap((part) => [part, element("wbr")])
    .slice(0, -1);
}

function plural(n, what) {
  return `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
}

/** Return a number for an axis or a tooltip, with few digits. */
function short(value) {
  if (value === null || value === undefined) return DASH;
  const size = Math.abs(value);
  if (size >= 1e15) return value.toExponential(1);
  for (const [limit, letter] of [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ])
    if (size >= limit) return `${Number((value / limit).toPrecision(3))}${letter}`;
  if (size !== 0 && size < 1e-4) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

/** Return a text of at most `most` characters; the middle of a longer one is left out. */
function shortened(text, most) {
  if (text.length <= most) return text;
  const head = Math.floor((most - 1) / 3);
  return `${text.slice(0, head)}\u2026${text.slice(text.length - (most - 1 - head))}`;
}

function fullName(row) {
  return [row.model, row.chain, row.more].filter(Boolean).join(" ");
}

function download(name, kind, text) {
  const address = URL.createObjectURL(new Blob([text], { type: kind }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** Copy a text, and say so on the button that asked. */
async function copy(text, asked) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = element("textarea", { class: "aside" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = asked.textContent;
  asked.textContent = "Copied";
  setTimeout(() => {
    asked.textContent = before;
  }, 1500);
}
