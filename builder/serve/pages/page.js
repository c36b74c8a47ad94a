// The page at /: one model at a time. What it is, a form that asks it, the programs that do the same, what it does now.

import { send } from "./answers.js";
import { binaryRequest, isHalf } from "./binary.js";
import { inputForm } from "./inputs.js";
import { livePanel, watch } from "./live.js";
import { infer, isLong, programs } from "./programs.js";
import { ask, byId, element, literal, parsed, programTabs, readable, tensorOf, tensorList } from "./shared.js";

let showFigures = () => {};
let reading = [];

// Models by name, from the OpenAPI document.
function modelsOf(described) {
  return described.tags.map((tag) => {
    const { requestBody, responses } = described.paths[`/v2/models/${tag.name}/infer`].post;
    const { schema, example } = requestBody.content["application/json"];
    const tensors = (part, name) => part.properties[name].items.anyOf.map(tensorOf);
    const answer = responses["200"].content["application/json"].schema;
    const inputs = tensors(schema, "inputs");
    if (tag["x-model"].takes === "image") inputs[0].files = "image files";
    return {
      ...tag["x-model"],
      name: tag.name,
      description: tag.description,
      example,
      inputs,
      outputs: tensors(answer, "outputs"),
    };
  });
}

function facts(model, parent) {
  const list = element("dl", parent, undefined, "facts");
  const fact = (name, value, more = "") => {
    if (!value) return;
    const box = element("div", list);
    box.title = more;
    element("dt", box, name);
    element("dd", box, value);
  };
  const { verified } = model;
  fact("version", model.version);
  fact("licence", model.licence);
  const { device = "", reason = "" } = model.device;
  const provider = model.provider.replace("ExecutionProvider", "");
  fact(reason ? "runs on the CPU instead" : "runs on", [device || provider, model.runtime].join(", "), reason || provider);
  if (verified) {
    const versions = Object.entries(verified.versions);
    const [, own] = versions.find(([name]) => name === verified.source.toLowerCase()) || [];
    fact(
      "made from",
      [verified.source, own].filter(Boolean).join(" "),
      versions.map((each) => each.join(" ")).join(", "),
    );
    const [absolute, relative] = [verified.absolute, verified.relative].map((value) => value.toExponential());
    fact(
      "verified",
      `${verified.cases} golden case${verified.cases === 1 ? "" : "s"}, within ${absolute} + ${relative} × value`,
    );
  }
}

const isBinary = (model) => [...model.inputs, ...model.outputs].some(isHalf);

// The request that the form says: what programs write down, and what fetch sends.
function asRequest(model, { text, file, blob, value, written }) {
  const outputs = model.outputs.map(({ name }) => name);
  const request = { model: model.name, url: infer(model.name), outputs, text, file, value };
  const options = (body, type) => ({ method: "POST", body, headers: { "Content-Type": type } });
  if (file) return { ...request, inputs: [{ ...model.inputs[0], shape: [1] }], options: options(blob, file.type) };
  request.inputs = value.inputs;
  if (text !== undefined) return { ...request, options: options(text, "text/plain; charset=utf-8") };
  request.body = written ?? readable(value);
  if (isBinary(model))
    return { ...request, options: { method: "POST", ...binaryRequest(value.inputs, model.outputs) } };
  return { ...request, options: options(request.body, "application/json") };
}

// What long programs read: the request, or the example's file, saved beside them.
function saver() {
  const link = element("a");
  link.hidden = true;
  return [
    link,
    (request) => {
      const name = request?.file ? request.file.name : "request.json";
      link.hidden = !request || !(request.file || isLong(request));
      if (link.hidden) return;
      URL.revokeObjectURL(link.href);
      Object.assign(link, {
        download: name,
        textContent: `Save ${name}`,
        href: URL.createObjectURL(new Blob([request.file ? request.options.body : request.body])),
      });
    },
  ];
}

function tryIt(model, column) {
  const parent = element("section", column);
  element("h2", parent, "Try it");
  const form = element("form", parent);
  const fields = element("div", form);
  const problem = element("p", form, "", "error");
  problem.setAttribute("role", "alert");
  const row = element("div", form, undefined, "row");
  const button = element("button", row, "Send", "main");
  element("small", row, "Ctrl + Enter", "hint");
  const answer = element("div", parent, undefined, "answer");
  const written = element("section", column);
  element("h2", written, "The same from a program");
  const [link, offer] = saver();
  const { tritonclient } = programs;
  const show = programTabs(written, isBinary(model) ? { tritonclient } : programs, link);
  let request;
  const look = () => {
    let found = "";
    try {
      request = asRequest(model, read());
    } catch (error) {
      request = undefined;
      found = error.message;
    }
    show(request);
    offer(request);
    return found;
  };
  const changed = () => {
    problem.textContent = look();
  };
  const read = inputForm(model, fields, changed);
  look(); // what is still missing is no mistake yet
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    changed();
    if (!request || button.disabled) return;
    button.disabled = true;
    const texts =
      request.text === undefined ? (request.inputs.length === 1 ? request.inputs[0].data || [] : []) : [request.text];
    await send(`v2/models/${encodeURIComponent(model.name)}/infer`, request.options, answer, {
      labels: model.labels,
      texts,
    });
    changed();
    button.disabled = false;
  });
}

function show(model) {
  document.title = `${model.name} · mbuild`;
  const main = byId("main");
  main.replaceChildren();
  const about = element("section", main, undefined, "about");
  element("h1", about, model.name);
  if (model.description) element("p", about, model.description, "lead");
  facts(model, about);
  const columns = element("div", main, undefined, "columns");
  const left = element("div", columns);
  const aside = element("aside", columns);
  tryIt(model, left);
  const now = element("section", aside);
  element("h2", now, "Now");
  showFigures = livePanel(model.name, now);
  if (reading.length) showFigures(...reading);
  const tensors = element("section", aside);
  element("h2", tensors, "Tensors");
  tensorList("inputs", model.inputs, tensors);
  tensorList("outputs", model.outputs, tensors);
}

// The models that are offered, and the one that is shown, as text: what has not changed is left as the reader has it.
let models = [];
let shown = "";

function choose() {
  const model = models.find(({ name }) => encodeURIComponent(name) === location.hash.slice(1)) || models[0];
  byId("model").value = model.name;
  if (shown !== literal(model)) show(model);
  shown = literal(model);
}

function offerModels(found) {
  const select = byId("model");
  models = found;
  select.parentElement.hidden = models.length < 2;
  select.replaceChildren();
  for (const { name } of models) element("option", select, name);
  choose();
}

// Models may still be loading, or be gone: asks again until there are some.
async function describe() {
  for (;;) {
    let problem;
    try {
      const response = await ask("openapi.json");
      const described = parsed(await response.text());
      if (response.ok && described.tags.length) return void offerModels(modelsOf(described));
      problem = response.ok ? "This server has no model to show." : `Not yet: ${described.error}.`;
    } catch (error) {
      problem = `This server cannot be described: ${error.message}`;
    }
    if (note.textContent !== problem) note.textContent = problem;
    if (!note.isConnected) byId("main").replaceChildren(note);
    shown = "";
    await new Promise((resolve) => {
      setTimeout(resolve, 1000);
    });
  }
}

// Which models the figures are of: others than before are described anew.
const namesIn = (text) => [...text.matchAll(/^nv_inference_request_success\{(.*)\}/gm)].map(([, each]) => each).join();
const note = byId("note");
let describing = describe();

byId("host").textContent = location.host;
byId("model").addEventListener("change", ({ target }) => {
  location.hash = encodeURIComponent(target.value);
});
addEventListener("hashchange", () => {
  if (models.length) choose();
});
watch((...latest) => {
  const [text] = latest;
  if (text === null) return;
  if (reading.length && namesIn(text) !== namesIn(reading[0])) describing = describing.then(describe);
  reading = latest;
  showFigures(...reading);
});
