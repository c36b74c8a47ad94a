"use strict";

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

// Where the document has no example because it would be long: zeros in the declared shape, 1 for dynamic dims.
function zeros(schema) {
  const tensors = schema.properties.inputs.items.anyOf.map((tensor) => {
    const of = tensor.properties;
    if (of.datatype.const === "FP16" || of.datatype.const === "BF16") return null;
    const shape = (of.shape.prefixItems || []).map((dim) => ("const" in dim ? dim.const : 1));
    const value = { BOOL: false, BYTES: "text" }[of.datatype.const] ?? 0;
    const data = new Array(shape.reduce((count, dim) => count * dim, 1)).fill(value);
    return { name: of.name.const, datatype: of.datatype.const, shape, data };
  });
  return tensors.includes(null) ? null : { inputs: tensors };
}

function tensorTable(title, tensors, parent) {
  element("h3", title, parent);
  const table = element("table", undefined, parent);
  const head = element("tr", undefined, table);
  for (const name of ["name", "datatype", "shape"]) element("th", name, head);
  for (const { properties } of tensors) {
    const row = element("tr", undefined, table);
    const dims = (properties.shape.prefixItems || []).map((dim) => ("const" in dim ? dim.const : dim.title));
    element("code", properties.name.const, element("td", undefined, row));
    element("td", properties.datatype.const, row);
    element("td", `[${dims.join(", ")}]`, row);
  }
}

async function send(path, method, body, output) {
  output.className = "";
  output.textContent = "…";
  const started = performance.now();
  try {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    const response = await fetch(path.slice(1), { method, body, headers });
    const text = await response.text();
    const took = (performance.now() - started).toFixed(1);
    output.className = response.ok ? "" : "failed";
    let shown = text;
    try { shown = text.length < 20000 ? JSON.stringify(JSON.parse(text), null, 1) : text.slice(0, 20000) + " …"; } catch { /* not JSON, or with NaN in it: as it came */ }
    output.textContent = `${response.status} ${response.statusText}, ${took} ms\n${shown}`;
  } catch (error) {
    output.className = "failed";
    output.textContent = String(error);
  }
}

function operation(path, method, described, parent) {
  const section = element("section", undefined, parent);
  const title = element("h2", undefined, section);
  element("span", method.toUpperCase(), title).className = "method";
  element("code", path, title);
  element("p", described.description || described.summary, section);
  const content = described.requestBody && described.requestBody.content["application/json"];
  let input;
  if (content) {
    tensorTable("Inputs", content.schema.properties.inputs.items.anyOf, section);
    const answer = described.responses["200"].content["application/json"].schema;
    tensorTable("Outputs", answer.properties.outputs.items.anyOf, section);
    const example = content.example || zeros(content.schema);
    if (!example) {
      element("p", "These datatypes have no JSON form: send them with a client of the binary tensor extension.", section);
      return;
    }
    element("h3", "Try it", section);
    input = element("textarea", JSON.stringify(example), section);
    input.setAttribute("aria-label", `Request body for ${path}`);
    input.spellcheck = false;
  }
  const button = element("button", "Send", section);
  const output = element("pre", "", section);
  output.setAttribute("aria-live", "polite");
  button.addEventListener("click", () => send(path, method.toUpperCase(), input ? input.value : undefined, output));
}

async function show() {
  const parent = document.getElementById("operations");
  const response = await fetch("openapi.json");
  const described = await response.json();
  if (!response.ok) throw new Error(described.error);
  document.title = described.info.title;
  document.getElementById("title").textContent = described.info.title;
  document.getElementById("about").textContent = described.info.description;
  parent.replaceChildren();
  const entries = Object.entries(described.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, what]) => ({ path, method, what })));
  entries.sort((a, b) => (b.method === "post") - (a.method === "post"));
  for (const { path, method, what } of entries) operation(path, method, what, parent);
}

show().catch((error) => {
  document.getElementById("operations").textContent = `This server cannot be described yet: ${error.message}`;
});
