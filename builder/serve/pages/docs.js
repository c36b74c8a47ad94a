"use strict";

const LONGEST_INLINE = 1500;

function element(name, parent, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  if (parent) parent.append(made);
  return made;
}

function dims(tensor) {
  return (tensor.properties.shape.prefixItems || []).map((dim) => ("const" in dim ? dim.const : dim.title));
}

// Where the document has no example because it would be long: zeros in the declared shape, 1 for dynamic dims.
function zeros(tensors) {
  const entries = tensors.map((tensor) => {
    const of = tensor.properties;
    if (of.datatype.const === "FP16" || of.datatype.const === "BF16") return null;
    const shape = dims(tensor).map((dim) => (typeof dim === "number" ? dim : 1));
    const value = { BOOL: false, BYTES: "text" }[of.datatype.const] ?? 0;
    const data = new Array(shape.reduce((count, dim) => count * dim, 1)).fill(value);
    return { name: of.name.const, datatype: of.datatype.const, shape, data };
  });
  return entries.includes(null) ? null : { inputs: entries };
}

// One line for each tensor: JSON's own indentation would give each number a line.
function readable(request) {
  return `{"inputs": [\n${request.inputs.map((entry) => `  ${JSON.stringify(entry)}`).join(",\n")}\n]}`;
}

function tensorTable(title, tensors, parent) {
  const box = element("div", parent);
  element("h3", box, title);
  const table = element("table", box);
  const head = element("tr", table);
  for (const name of ["name", "datatype", "shape"]) element("th", head, name);
  for (const tensor of tensors) {
    const row = element("tr", table);
    element("code", element("td", row), tensor.properties.name.const);
    element("td", row, tensor.properties.datatype.const);
    element("code", element("td", row), `[${dims(tensor).join(", ")}]`);
  }
}

const NUMPY = { BOOL: "bool", FP16: "float16", FP32: "float32", FP64: "float64", BYTES: "object" };

function clientLines(model, inputs, outputs) {
  const lines = ["import numpy as np", "import tritonclient.http as triton", ""];
  lines.push(`client = triton.InferenceServerClient("${location.host}"${location.protocol === "https:" ? ", ssl=True" : ""})`);
  const names = inputs.map((tensor, number) => {
    const { name, datatype } = tensor.properties;
    const shape = dims(tensor).map((dim) => (typeof dim === "number" ? dim : 1)).join(", ");
    const numpy = NUMPY[datatype.const] || datatype.const.toLowerCase();
    const array = datatype.const === "BYTES" ? `np.full([${shape}], "text", object)` : `np.zeros([${shape}], np.${numpy}${numpy === "bool" ? "_" : ""})`;
    const variable = inputs.length === 1 ? "tensor" : `tensor_${number}`;
    lines.push(`${variable} = triton.InferInput(${JSON.stringify(name.const)}, [${shape}], "${datatype.const}")`);
    lines.push(`${variable}.set_data_from_numpy(${array})`);
    return variable;
  });
  lines.push(`answer = client.infer("${model}", [${names.join(", ")}])`);
  for (const tensor of outputs) lines.push(`print(answer.as_numpy(${JSON.stringify(tensor.properties.name.const)}))`);
  return lines.join("\n");
}

function sources(path, model, inputs, outputs) {
  const url = new URL(path.slice(1), location.href).href;
  const short = (body) => body.length <= LONGEST_INLINE;
  return {
    curl: (body) => `curl ${url} \\\n  -H 'Content-Type: application/json' \\\n  -d ${short(body) ? `'${body.replaceAll("'", "'\\''")}'` : "@request.json"}`,
    Python: (body) => {
      const given = short(body) ? `request = json.loads(r'''${body}''')` : 'request = json.load(open("request.json"))';
      return `import json\nimport requests\n\n${given}\nanswer = requests.post("${url}", json=request, timeout=30)\nprint(answer.status_code, answer.json())`;
    },
    tritonclient: () => clientLines(model, inputs, outputs),
  };
}

function codeTabs(parent, written, body) {
  const row = element("div", parent, undefined, "row");
  const shown = element("pre", parent);
  let chosen;
  const show = () => { shown.textContent = written[chosen](body()); };
  const buttons = Object.keys(written).map((name) => {
    const button = element("button", row, name);
    button.addEventListener("click", () => {
      chosen = name;
      for (const each of buttons) each.setAttribute("aria-selected", String(each === button));
      show();
    });
    return button;
  });
  const copy = element("button", row, "Copy");
  copy.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(shown.textContent); } catch { getSelection().selectAllChildren(shown); }
  });
  buttons[0].click();
  return show;
}

// Few numbers are easier to read as a table with bars.
function numbers(output, parent) {
  const { data } = output;
  if (!Array.isArray(data) || data.length < 2 || data.length > 40 || !data.every((item) => Number.isFinite(item))) return;
  element("h3", parent, `${output.name} ${output.datatype} [${output.shape.join(", ")}]`, "answer");
  const table = element("table", parent);
  const low = Math.min(0, ...data);
  const high = Math.max(...data, low + Number.EPSILON);
  data.forEach((value, index) => {
    const row = element("tr", table);
    element("td", row, String(index), "number faint");
    element("td", row, value.toPrecision(6), "number");
    const bar = element("meter", element("td", row));
    Object.assign(bar, { min: low, max: high, value });
    bar.setAttribute("aria-label", `${index}: ${value}`);
  });
}

async function send(path, method, body, answer) {
  answer.replaceChildren();
  const state = element("p", answer, "…", "faint");
  const started = performance.now();
  try {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    const response = await fetch(path.slice(1), { method, body, headers });
    const text = await response.text();
    state.textContent = `${response.status} ${response.statusText}, ${(performance.now() - started).toFixed(1)} ms`;
    state.className = response.ok ? "good" : "bad";
    try { for (const output of JSON.parse(text).outputs || []) numbers(output, answer); } catch { /* not JSON, or with NaN in it */ }
    if (text) element("pre", answer, text.length < 20000 ? text : `${text.slice(0, 20000)} …`);
  } catch (error) {
    state.textContent = String(error);
    state.className = "bad";
  }
}

function sender(label, path, method, body, parent) {
  const button = element("button", element("div", parent, undefined, "row"), label, body ? "main" : undefined);
  const answer = element("div", parent);
  answer.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    button.disabled = true;
    await send(path, method, body ? body() : undefined, answer);
    button.disabled = false;
  });
}

function model(path, described, parent) {
  const section = element("section", parent);
  const name = described.tags[0];
  const title = element("h2", section);
  element("span", title, "POST ", "method");
  element("code", title, path);
  const content = described.requestBody.content["application/json"];
  const inputs = content.schema.properties.inputs.items.anyOf;
  const outputs = described.responses["200"].content["application/json"].schema.properties.outputs.items.anyOf;
  const pair = element("div", section, undefined, "pair");
  tensorTable("Inputs", inputs, pair);
  tensorTable("Outputs", outputs, pair);
  const example = content.example || zeros(inputs);
  if (!example) {
    element("p", section, "These datatypes have no JSON form: send them in binary, as tritonclient does.");
    codeTabs(section, { tritonclient: () => clientLines(name, inputs, outputs) }, () => "");
    return;
  }
  element("h3", section, "Try it");
  const input = element("textarea", section, readable(example));
  input.setAttribute("aria-label", `Request body for ${path}`);
  input.spellcheck = false;
  sender("Send", path, "POST", () => input.value, section);
  element("h3", section, "The same from a program");
  const written = sources(path, name, inputs, outputs);
  const show = codeTabs(section, written, () => input.value);
  input.addEventListener("input", show);
}

function other(path, method, described, parent) {
  const box = element("details", parent);
  const summary = element("summary", box);
  element("span", summary, method.toUpperCase(), "method");
  element("code", summary, path);
  element("span", summary, described.summary, "faint");
  sender("Send", path, method.toUpperCase(), undefined, box);
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
  const paths = Object.entries(described.paths);
  for (const [path, { post }] of paths) if (post) model(path, post, parent);
  element("h2", parent, "Everything else");
  for (const [path, { get }] of paths) if (get) other(path, "get", get, parent);
}

async function showReady() {
  const state = document.getElementById("ready");
  const ready = await fetch("v2/health/ready").then((response) => response.ok, () => false);
  state.textContent = ready ? "● ready" : "● not ready";
  state.classList.add(ready ? "good" : "bad");
}

showReady();
show().catch((error) => {
  document.getElementById("operations").textContent = `This server cannot be described yet: ${error.message}`;
});
