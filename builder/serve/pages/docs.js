// The page at /docs: every path of the OpenAPI document, each of which can be asked from here.

import { send } from "./answers.js";
import { isHalf } from "./binary.js";
import { watch } from "./live.js";
import { infer, programs } from "./programs.js";
import { ask, byId, element, isFree, parsed, product, programTabs, readable, tensorOf, tensorList } from "./shared.js";

// Where the document has no example because it would be long: zeros in the declared shape, 1 for dynamic dims.
function zeros(tensors) {
  const inputs = tensors.map(({ name, datatype, shape }) => {
    const sizes = shape.map((dim) => (isFree(dim) ? 1 : dim));
    return {
      name,
      datatype,
      shape: sizes,
      data: new Array(product(sizes)).fill({ BOOL: false, BYTES: "text" }[datatype] ?? 0),
    };
  });
  return { inputs };
}

function sender(label, path, method, body, parent) {
  const button = element("button", element("div", parent, undefined, "row"), label, body ? "main" : undefined);
  const answer = element("div", parent, undefined, "answer");
  button.addEventListener("click", async () => {
    button.disabled = true;
    const headers = body ? { "Content-Type": "application/json" } : {};
    await send(path.slice(1), { method, body: body?.(), headers }, answer);
    button.disabled = false;
  });
}

function model(path, described, parent) {
  const section = element("section", parent);
  const title = element("h2", section);
  element("span", title, "POST ", "method");
  element("code", title, path);
  const content = described.requestBody.content["application/json"];
  const inputs = content.schema.properties.inputs.items.anyOf.map(tensorOf);
  const outputs =
    described.responses["200"].content["application/json"].schema.properties.outputs.items.anyOf.map(tensorOf);
  const pair = element("div", section, undefined, "pair");
  tensorList("inputs", inputs, element("div", pair));
  tensorList("outputs", outputs, element("div", pair));
  const isBinary = inputs.some(isHalf);
  if (isBinary) element("p", section, "FP16 and BF16 have no JSON form: send them in binary, as tritonclient does.");
  const request = (body) => {
    const value = parsed(body);
    return {
      model: described.tags[0],
      url: infer(described.tags[0]),
      outputs: outputs.map(({ name }) => name),
      body,
      value,
      inputs: value.inputs,
    };
  };
  const example = readable(content.example || zeros(inputs));
  if (isBinary) return void programTabs(section, { tritonclient: programs.tritonclient })(request(example));
  element("h3", section, "Try it");
  const input = element("textarea", section, undefined);
  Object.assign(input, { value: example, spellcheck: false });
  input.setAttribute("aria-label", `Request body for ${path}`);
  sender("Send", path, "POST", () => input.value, section);
  element("h3", section, "The same from a program");
  const show = programTabs(section, programs);
  const changed = () => {
    try {
      show(request(input.value));
    } catch {
      show();
    }
  };
  input.addEventListener("input", changed);
  changed();
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
  const response = await ask("openapi.json");
  const described = parsed(await response.text());
  if (!response.ok) throw new Error(described.error);
  const main = byId("main");
  document.title = `${described.info.title} · API`;
  main.replaceChildren();
  const about = element("section", main, undefined, "about");
  element("h1", about, "API");
  element("p", about, "Open Inference Protocol v2, as Triton speaks it. Each path can be asked from here.", "lead");
  const paths = Object.entries(described.paths);
  for (const [path, { post }] of paths) if (post) model(path, post, main);
  const section = element("section", main);
  element("h2", section, "Everything else");
  for (const [path, { get }] of paths) if (get) other(path, "get", get, section);
}

byId("host").textContent = location.host;
watch(() => {});
show().catch((error) => {
  byId("note").textContent = `This server cannot be described yet: ${error.message}`;
});
