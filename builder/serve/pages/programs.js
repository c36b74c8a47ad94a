// A request as programs that send exactly it: curl, Python, tritonclient.
//
// A request is {model, url, outputs, inputs (tensors as JSON has them)} with one of: value and body (the JSON request
// and its text), text (the whole body), file {name, type}. A long body is read from request.json.

import { hasKey, literal, readable } from "./shared.js";

const LONGEST_INLINE = 2000;
const NUMPY = {
  BOOL: "np.bool_",
  FP16: "np.float16",
  BF16: "ml_dtypes.bfloat16",
  FP32: "np.float32",
  FP64: "np.float64",
  BYTES: "object",
};
const numpy = (datatype) => NUMPY[datatype] || `np.${datatype.toLowerCase()}`;
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const string = (text) => JSON.stringify(text);

export const isLong = (request) => request.body?.length > LONGEST_INLINE;
export const infer = (model) => {
  const url = new URL(`v2/models/${encodeURIComponent(model)}/infer`, document.baseURI);
  return url.origin + url.pathname;
};

function curl(request) {
  const lines = [`curl ${request.url}`];
  if (hasKey()) lines.push('-H "Authorization: Bearer $API_KEY"');
  if (request.file)
    lines.push(`-H 'Content-Type: ${request.file.type}'`, `--data-binary @${quoted(request.file.name)}`);
  else if (request.text !== undefined)
    lines.push("-H 'Content-Type: text/plain; charset=utf-8'", `--data-raw ${quoted(request.text)}`);
  else
    lines.push(
      "-H 'Content-Type: application/json'",
      isLong(request) ? "--data-binary @request.json" : `--data-raw ${quoted(request.body)}`,
    );
  return lines.join(" \\\n  ");
}

function python(request) {
  const imports = [isLong(request) && "json", hasKey() && "os"].filter(Boolean).map((name) => `import ${name}\n`);
  let [given, body, type] = ["", "json=request", ""];
  if (request.file) [body, type] = [`data=open(${string(request.file.name)}, "rb")`, request.file.type];
  else if (request.text !== undefined)
    [given, body, type] = [`text = ${string(request.text)}\n`, "data=text.encode()", "text/plain; charset=utf-8"];
  else if (isLong(request)) given = 'request = json.load(open("request.json"))\n';
  else given = `request = ${readable(request.value, true)}\n`;
  const headers = [
    type && `"Content-Type": ${string(type)}`,
    hasKey() && '"Authorization": "Bearer " + os.environ["API_KEY"]',
  ].filter(Boolean);
  const lines = headers.length ? `headers = {${headers.join(", ")}}\n` : "";
  const call = `requests.post(url, ${body}${lines && ", headers=headers"}, timeout=30)`;
  const start = `${imports.join("")}${imports.length ? "\n" : ""}import requests\n\nurl = ${string(request.url)}\n`;
  return `${start}${given}${lines}answer = ${call}\nprint(answer.json())`;
}

function values(entry, request, number) {
  if (request.file) return `np.array([open(${string(request.file.name)}, "rb").read()], object)`;
  const flat = [entry.data].flat(Infinity);
  const given = isLong(request) ? `request["inputs"][${number}]["data"]` : literal(flat, true);
  const made =
    entry.parameters?.content_type === "base64"
      ? `np.array([base64.b64decode(item) for item in ${given}], object)`
      : `np.array(${given}, ${numpy(entry.datatype)})`;
  return entry.shape.length === 1 && !isLong(request) ? made : `${made}.reshape(${literal(entry.shape)})`;
}

function tritonclient(request) {
  const { protocol, host } = new URL(request.url);
  const base = request.url.slice(request.url.indexOf(host), request.url.lastIndexOf("/v2/models/"));
  const coded = request.inputs.some((entry) => entry.parameters?.content_type === "base64") && !request.file;
  const lines = [coded && "import base64", isLong(request) && "import json", hasKey() && "import os"].filter(Boolean);
  if (lines.length) lines.push("");
  if (request.inputs.some(({ datatype }) => datatype === "BF16")) lines.push("import ml_dtypes");
  lines.push("import numpy as np", "import tritonclient.http as triton", "");
  lines.push(`client = triton.InferenceServerClient(${string(base)}${protocol === "https:" ? ", ssl=True" : ""})`);
  if (isLong(request)) lines.push('request = json.load(open("request.json"))');
  const names = request.inputs.map((entry, number) => {
    const name = request.inputs.length === 1 ? "tensor" : `tensor_${number}`;
    lines.push(`${name} = triton.InferInput(${string(entry.name)}, ${literal(entry.shape)}, "${entry.datatype}")`);
    lines.push(`${name}.set_data_from_numpy(${values(entry, request, number)})`);
    return name;
  });
  const key = hasKey() ? ', headers={"Authorization": "Bearer " + os.environ["API_KEY"]}' : "";
  lines.push(`answer = client.infer(${string(request.model)}, [${names.join(", ")}]${key})`);
  for (const name of request.outputs) lines.push(`print(answer.as_numpy(${string(name)}))`);
  return lines.join("\n");
}

export const programs = { curl, Python: python, tritonclient };
