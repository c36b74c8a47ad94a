// What the pages share: elements, requests with the reader's key, exact numbers, tensors in words, programs to copy.

export function element(name, parent, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  if (parent) parent.append(made);
  return made;
}

export const byId = (id) => document.getElementById(id);

// The key stays in this tab: never in a link, a cookie or what is copied.
let key = "";
try {
  key = sessionStorage.getItem("mbuild-key") || "";
} catch {
  /* a browser that keeps nothing */
}
let question;
export const hasKey = () => Boolean(key);

function askForKey() {
  const form = byId("key");
  form.querySelector("output").textContent = key ? "This server does not take that key." : "This server wants a key.";
  form.hidden = false;
  const field = form.querySelector("input");
  field.focus();
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      key = field.value.trim();
      try {
        sessionStorage.setItem("mbuild-key", key);
      } catch {
        /* kept in memory */
      }
      form.hidden = true;
      question = undefined;
      resolve();
    };
  });
}

// fetch, that asks for a key where one is wanted and then goes on.
export async function ask(path, options = {}) {
  for (;;) {
    const sent = key;
    const headers = { ...options.headers, ...(sent && { Authorization: `Bearer ${sent}` }) };
    const response = await fetch(path, { ...options, headers });
    if (response.status !== 401) return response;
    if (sent === key) await (question ??= askForKey());
  }
}

// JSON as this server writes it: NaN and infinities as words, whole numbers beyond 2^53 kept whole.
export function parsed(text) {
  const exact = (_, value, from) =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(from?.source)
      ? BigInt(from.source)
      : value;
  try {
    return JSON.parse(text, exact);
  } catch (error) {
    const known = text.replace(/([:,[]\s*)(-?Infinity|NaN)(?=\s*[,\]}])/g, '$1"$2"');
    if (known === text) throw error;
    return JSON.parse(known, exact);
  }
}

// A value as JSON, or as Python writes it, on one line.
export function literal(value, python = false) {
  if (Array.isArray(value)) return `[${value.map((item) => literal(item, python)).join(", ")}]`;
  if (typeof value === "bigint") return String(value);
  if (value !== null && typeof value === "object")
    return `{${Object.entries(value)
      .map(([name, item]) => `${JSON.stringify(name)}: ${literal(item, python)}`)
      .join(", ")}}`;
  if (python && (value === null || typeof value === "boolean"))
    return { null: "None", true: "True", false: "False" }[value];
  return JSON.stringify(value);
}

// A request with a line for each tensor: JSON's own indentation would give each number a line.
export function readable(request, python = false) {
  const { inputs, ...more } = request;
  if (!Array.isArray(inputs)) return literal(request, python);
  const rest = Object.entries(more).map(([name, value]) => `, ${JSON.stringify(name)}: ${literal(value, python)}`);
  const indent = python ? "    " : "  ";
  return `{"inputs": [\n${inputs.map((entry) => indent + literal(entry, python)).join(",\n")}\n]${rest.join("")}}`;
}

// A tensor of the OpenAPI document; a dynamic dim is its name.
export function tensorOf({ properties: of }) {
  const shape = (of.shape.prefixItems || []).map((dim) => ("const" in dim ? dim.const : dim.title));
  return { name: of.name.const, datatype: of.datatype.const, shape };
}

export const isFree = (dim) => typeof dim !== "number";

// The least and the greatest of numbers, of which there may be more than a call takes arguments.
export function bounds(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return [low, high];
}

export const product = (dims) => dims.reduce((count, dim) => count * dim, 1);

const THINGS = { BOOL: "truth values", BYTES: "texts", FP: "decimal numbers", BF: "decimal numbers" };

export function inWords({ datatype, shape, files }) {
  const things = files || THINGS[/^(BOOL|BYTES|FP|BF)/.exec(datatype)?.[0]] || "whole numbers";
  const batched = isFree(shape[0] ?? 1);
  const rest = batched ? shape.slice(1) : shape;
  const one = rest.every((dim) => dim === 1);
  if (one) return batched ? `any number of ${things}` : `one ${things.slice(0, -1)}`;
  const free = rest.filter(isFree);
  if (batched && free.length && rest.length === 1) return `any number of rows of any length, of ${things}`;
  const each = `${rest.join(" × ")} ${things}${free.length ? `, ${free.join(" and ")} free` : ""}`;
  return batched ? `any number of rows of ${each}` : each;
}

export function tensorList(title, tensors, parent) {
  element("h3", parent, title);
  const list = element("ul", parent, undefined, "tensors");
  for (const tensor of tensors) {
    const item = element("li", list);
    element("b", item, tensor.name);
    element("code", item, `${tensor.datatype} [${tensor.shape.join(", ")}]`);
    element("small", item, inWords(tensor));
  }
}

// Radio buttons that look like one: keyboard and screen reader know them already.
export function choice(parent, legend, names, chosen) {
  const group = element("fieldset", parent, undefined, "choice");
  element("legend", group, legend, "unseen");
  const id = `choice-${document.querySelectorAll(".choice").length}-${legend}`;
  for (const name of names) {
    const label = element("label", group);
    const radio = element("input", label);
    Object.assign(radio, { type: "radio", name: id, value: name, checked: name === names[0] });
    radio.addEventListener("change", () => chosen(name));
    element("span", label, name);
  }
  return group;
}

// Programs by the names of their languages, each a function of the request; the returned function shows another one.
export function programTabs(parent, written, extra) {
  const row = element("div", parent, undefined, "row");
  const shown = element("pre", parent);
  shown.tabIndex = 0;
  let request;
  let language = Object.keys(written)[0];
  const show = () => {
    shown.textContent = request ? written[language](request) : "The request cannot be read yet.";
  };
  choice(row, "Language", Object.keys(written), (name) => {
    language = name;
    show();
  });
  const copy = element("button", row, "Copy", "copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(shown.textContent);
    } catch {
      // not by https nor on this machine: the old way
      getSelection().selectAllChildren(shown);
      document.execCommand("copy");
    }
    copy.textContent = "Copied";
    setTimeout(() => {
      copy.textContent = "Copy";
    }, 1500);
  });
  if (extra) row.append(extra);
  return (next) => {
    request = next;
    show();
  };
}
