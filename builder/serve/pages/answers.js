// What a model answered, for people: labels with their shares, texts with what was found in them, bars, tables.

import { answerText } from "./binary.js";
import { ask, bounds, element, parsed, product } from "./shared.js";

const MOST_BARS = 40;
const MOST_RANKS = 10;
const MOST_ROWS = 20;
const MOST_POINTS = 500;

// Up to six digits, without the noise of the last bits.
function short(value) {
  const number = Number(value);
  if (typeof value === "bigint" || Number.isInteger(number) || !Number.isFinite(number)) return String(value);
  return Math.abs(number) >= 1e-4 && Math.abs(number) < 1e7
    ? String(Number(number.toPrecision(6)))
    : number.toExponential(2);
}
const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 2 : 1)} %`;

// `entries` are [label, value]; bars start at zero, to the left where a value is negative.
function bars(entries, parent, write = short) {
  const values = entries.map(([, value]) => Number(value)).map((value) => (Number.isFinite(value) ? value : 0));
  const low = Math.min(0, ...values);
  const span = Math.max(0, ...values) - low || 1;
  const table = element("table", parent, undefined, "bars");
  const top = Math.max(...values);
  entries.forEach(([label, value], index) => {
    const row = element(
      "tr",
      table,
      undefined,
      values[index] === top && values.some((each) => each < top) ? "top" : "",
    );
    element("th", row, label).scope = "row";
    const bar = element("i", element("td", row));
    bar.style.marginLeft = `${(100 * (Math.min(0, values[index]) - low)) / span}%`;
    bar.style.width = `${(100 * Math.abs(values[index])) / span}%`;
    element("td", row, write(value), "number");
  });
}

function ranking(values, names, parent) {
  const order = values.map((value, index) => [names[index], value]).sort((one, other) => other[1] - one[1]);
  const shares = values.every((value) => value >= 0 && value <= 1);
  bars(order.slice(0, MOST_RANKS), parent, shares ? percent : short);
  if (order.length > MOST_RANKS)
    element("p", parent, `and ${order.length - MOST_RANKS} more below ${short(order[MOST_RANKS - 1][1])}`, "faint");
}

// A line through values, as wide and high as its style says.
export function sparkline(parent, label) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "spark");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const [area, line] = ["area", "line"].map((name) => {
    const path = document.createElementNS(svg.namespaceURI, "path");
    path.setAttribute("class", name);
    svg.append(path);
    return path;
  });
  parent.append(svg);
  return (values, length = values.length, low = 0) => {
    const top = Math.max(...values, low + 1e-9);
    const x = (index) => (100 * (index + length - values.length)) / Math.max(1, length - 1);
    const points = values.map(
      (value, index) => `${x(index).toFixed(2)} ${(28.5 - (27 * (value - low)) / (top - low)).toFixed(2)}`,
    );
    line.setAttribute("d", points.length > 1 ? `M${points.join("L")}` : "");
    area.setAttribute("d", points.length > 1 ? `M${x(0)} 30L${points.join("L")}L100 30Z` : "");
  };
}

function vector(values, parent) {
  const numbers = values.map(Number);
  const [low, high] = bounds(numbers);
  const step = Math.ceil(numbers.length / MOST_POINTS);
  const range = `${values.length} values from ${short(low)} to ${short(high)}`;
  const points = numbers.filter((_, index) => index % step === 0);
  sparkline(parent, range)(points, points.length, low);
  const length = Math.sqrt(numbers.reduce((sum, value) => sum + value * value, 0));
  element("p", parent, `${range}, length ${short(length)}`, "faint");
  const [first, last] = [values.slice(0, 6), values.slice(-2)].map((part) => part.map(short).join(", "));
  element("code", parent, `[${first}, … ${last}]`);
}

function grid(values, width, parent) {
  const table = element("table", element("div", parent, undefined, "wide"), undefined, "grid");
  for (let at = 0; at < Math.min(values.length, width * MOST_ROWS); at += width) {
    const row = element("tr", table);
    element("th", row, String(at / width)).scope = "row";
    for (const value of values.slice(at, at + width)) element("td", row, short(value), "number");
  }
  const left = values.length / width - MOST_ROWS;
  if (left > 0) element("p", parent, `and ${left} more rows`, "faint");
}

// Where the answer says what lies at which character of the text that was sent.
function entities(found, text, parent) {
  if (text !== undefined) {
    const characters = Array.from(text);
    const shown = element("p", parent, undefined, "found");
    let at = 0;
    for (const { start, end, label } of found) {
      shown.append(characters.slice(at, start).join(""));
      const mark = element("mark", shown, characters.slice(start, end).join(""));
      mark.append(" ");
      element("small", mark, label);
      at = end;
    }
    shown.append(characters.slice(at).join(""));
  }
  if (found.length)
    bars(
      found.map((each) => [`${each.text} · ${each.label}`, each.score]),
      parent,
      percent,
    );
  else element("p", parent, "Nothing was found in this text.", "faint");
}

function asEntities(item) {
  try {
    const found = JSON.parse(item);
    return Array.isArray(found) && found.every((each) => Number.isInteger(each?.start) && each.label !== undefined)
      ? found
      : null;
  } catch {
    return null;
  }
}

function strings(items, texts, parent) {
  const list = items.length > 1 ? element("ol", parent) : undefined;
  if (list) list.start = 0; // as the rows of tables
  items.slice(0, MOST_ROWS).forEach((item, index) => {
    const place = list ? element("li", list) : parent;
    const found = item.startsWith("[") ? asEntities(item) : null;
    if (found) entities(found, texts[index], place);
    else element("p", place, item, !list && item.length < 60 ? "big" : "given");
  });
  if (items.length > MOST_ROWS) element("p", parent, `and ${items.length - MOST_ROWS} more`, "faint");
}

function output({ name, datatype, shape, data }, labels, texts, parent) {
  const box = element("section", parent, undefined, "output");
  const title = element("h3", box, name, "name");
  element("small", title, `${datatype} [${shape.join(", ")}]`);
  if (!Array.isArray(data)) return void element("p", box, "Sent in binary, which this page does not read.", "faint");
  const values = data.flat(Infinity);
  const rows = shape.length > 1 ? shape[0] : 1;
  const width = rows ? product(shape) / rows : 0;
  if (!values.length) return void element("p", box, "No values.", "faint");
  if (datatype === "BYTES") return void strings(values, texts, box);
  if (values.length === 1 && labels?.length !== 1) return void element("p", box, short(values[0]), "big");
  const named = labels?.length === width;
  if (!named && rows > 1 && shape.length === 2 && width <= 12) return void grid(values, width, box);
  for (let row = 0; row < Math.min(rows, 5); row += 1) {
    const part = values.slice(row * width, (row + 1) * width);
    if (rows > 1) element("h4", box, `row ${row}`);
    if (named) ranking(part, labels, box);
    else if (width <= MOST_BARS)
      bars(
        part.map((value, index) => [String(index), value]),
        box,
      );
    else vector(part, box);
  }
  if (rows > 5) element("p", box, `and ${rows - 5} more rows`, "faint");
}

// Sends, and shows what came back: `labels` by output, `texts` that were sent. A screen reader is told status and time.
export async function send(path, options, parent, { labels = {}, texts = [] } = {}) {
  parent.replaceChildren();
  const state = element("p", parent, "Waiting for the answer…", "state faint");
  state.setAttribute("role", "status");
  const started = performance.now();
  try {
    const response = await ask(path, options);
    const { text, fill } = await answerText(response);
    const took = performance.now() - started;
    state.textContent = `${response.status} ${response.statusText}`;
    state.className = `state ${response.ok ? "good" : "bad"}`;
    element("span", state, ` in ${took < 10 ? took.toFixed(1) : Math.round(took)} ms`, "faint");
    let value;
    try {
      value = parsed(text);
    } catch {
      /* not JSON: shown as it is */
    }
    if (typeof value?.error === "string") element("p", parent, value.error, "error");
    fill(value?.outputs || []);
    for (const each of value?.outputs || []) output(each, labels[each.name], texts, parent);
    if (!text || value?.error) return;
    const raw = value?.outputs ? element("details", parent) : parent;
    if (value?.outputs) element("summary", raw, "As it came");
    element("pre", raw, text.length < 20000 ? text : `${text.slice(0, 20000)} …`).tabIndex = 0;
  } catch (error) {
    state.textContent = "No answer";
    state.className = "state bad";
    element("p", parent, `The server cannot be reached (${error.message}).`, "error");
  }
}
