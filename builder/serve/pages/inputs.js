// A form for a model by its signature: a text, a file, fields or rows of a table, tensors; always JSON too.
//
// A mode is {name, build}; build(parent, changed) makes its fields and returns a function that reads them: {value} (the JSON
// request), {text} or {file, blob}; it throws an Error with a sentence for people.

import { choice, element, inWords, parsed, product, readable } from "./shared.js";

const MOST_FIELDS = 32;
const MOST_COLUMNS = 128;
const isFree = (dim) => typeof dim !== "number";
const isNumber = (text) => /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text);

function valueOf(text, datatype, where) {
  if (datatype === "BYTES") return text;
  const word = text.trim();
  if (datatype === "BOOL" && /^(true|false|yes|no|1|0)$/i.test(word)) return /^(true|yes|1)$/i.test(word);
  if (datatype === "BOOL") throw new Error(`${where} is “${word}”: it must be true or false.`);
  if (!word) throw new Error(`${where} is empty.`);
  if (!isNumber(word)) throw new Error(`${where} is “${word}”, which is not a number.`);
  return /^[-+]?\d+$/.test(word) && !Number.isSafeInteger(Number(word)) ? BigInt(word.replace("+", "")) : Number(word);
}

const text = (value) => (value === undefined ? "" : String(value));

function field(parent, label, value, changed) {
  const box = element("label", parent, undefined, "field");
  element("span", box, label);
  const input = element("input", box);
  Object.assign(input, { type: "text", value: text(value), spellcheck: false, autocomplete: "off" });
  input.addEventListener("input", changed);
  return input;
}

function area(parent, label, value, changed) {
  const made = element("textarea", parent);
  Object.assign(made, { value, spellcheck: false });
  made.setAttribute("aria-label", label);
  made.addEventListener("input", changed);
  return made;
}

// The text box of a model that takes text.
function textMode({ inputs: [input], example }) {
  const build = (parent, changed) => {
    const box = area(parent, input.name, text(example?.inputs[0].data[0]).trim(), changed);
    Object.assign(box, { className: "prose", placeholder: "Type or paste a text", spellcheck: true });
    return () => ({ text: box.value });
  };
  return { name: "Text", build };
}

function shownFile(blob, canvas, about) {
  about.textContent = `${blob.name}, ${blob.size < 10240 ? `${blob.size} bytes` : `${Math.round(blob.size / 1024)} KiB`}`;
  canvas.hidden = true;
  createImageBitmap(blob).then((image) => {
    const scale = Math.min(1, 480 / Math.max(image.width, image.height));
    Object.assign(canvas, { width: Math.ceil(image.width * scale), height: Math.ceil(image.height * scale), hidden: false });
    canvas.classList.toggle("pixels", image.width < 64);
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    about.textContent += `, ${image.width} × ${image.height}`;
  }, () => { /* what this browser cannot show, the model may still read */ });
}

const TYPES = { "iVBORw": "png", "/9j/": "jpeg", "UklGR": "webp", "R0lGOD": "gif", "Qk": "bmp" };

// The golden case's file, where the server shows one.
function exampleFile(example) {
  const coded = example?.inputs[0].parameters?.content_type === "base64" ? example.inputs[0].data[0] : "";
  const type = Object.entries(TYPES).find(([start]) => coded.startsWith(start))?.[1];
  return type && new File([Uint8Array.from(atob(coded), (each) => each.charCodeAt(0))], `example.${type}`, { type: `image/${type}` });
}

function fileMode({ inputs: [input], example }) {
  const build = (parent, changed) => {
    const zone = element("label", parent, undefined, "drop");
    const picker = element("input", zone, undefined, "unseen");
    Object.assign(picker, { type: "file", accept: "image/*" });
    picker.setAttribute("aria-label", `${input.name}: choose an image`);
    const canvas = element("canvas", zone);
    canvas.hidden = true;
    element("span", zone, "Choose an image, drop it here, or paste it");
    const about = element("small", zone);
    let blob;
    const take = (file) => {
      if (!file) return;
      blob = file;
      shownFile(file, canvas, about);
      changed();
    };
    picker.addEventListener("change", () => take(picker.files[0]));
    for (const kind of ["dragenter", "dragover", "dragleave", "drop"])
      zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.toggle("over", ["dragenter", "dragover"].includes(kind)); });
    zone.addEventListener("drop", (event) => take(event.dataTransfer.files[0]));
    document.onpaste = (event) => { if (zone.isConnected && !zone.closest("[hidden]")) take(event.clipboardData.files[0]); };
    take(exampleFile(example));
    return () => {
      if (!blob) throw new Error("Choose an image first.");
      return { file: { name: blob.name, type: blob.type.startsWith("image/") ? blob.type : "image/*" }, blob };
    };
  };
  return { name: "Image", build };
}

// The inputs as one table, where they are one: columns, how wide each tensor is, whether rows are free.
function tableOf({ inputs }) {
  const free = new Set(inputs.map(({ shape }) => (isFree(shape[0]) ? shape[0] : "")));
  const batched = !free.has("");
  const fits = ({ shape }) => shape.length <= 2 && !shape.slice(1).some(isFree) && (batched || (shape.length < 2 || shape[0] === 1));
  if (free.size !== 1 || !inputs.every(fits)) return null;
  const columns = inputs.flatMap((tensor) => {
    const width = product(batched ? tensor.shape.slice(1) : tensor.shape);
    return Array.from({ length: width }, (_, index) => ({ tensor, index, width, label: width === 1 ? tensor.name : `${tensor.name} ${index}` }));
  });
  return columns.length && columns.length <= MOST_COLUMNS ? { columns, batched } : null;
}

function exampleRows({ columns, batched }, example) {
  const found = new Map((example?.inputs || []).map((entry) => [entry.name, entry]));
  const count = batched ? found.get(columns[0].tensor.name)?.shape[0] || 1 : 1;
  const zero = ({ datatype }) => ({ BYTES: "", BOOL: false })[datatype] ?? 0;
  return Array.from({ length: count }, (_, row) =>
    columns.map(({ tensor, index, width }) => text(found.get(tensor.name)?.data[row * width + index] ?? zero(tensor))));
}

function tableRequest({ columns, batched }, inputs, rows) {
  const typed = rows.map((row, number) => columns.map(({ tensor, label }, index) =>
    valueOf(text(row[index]), tensor.datatype, rows.length > 1 ? `${label} of row ${number + 1}` : label)));
  return {
    inputs: inputs.map((tensor) => ({
      name: tensor.name, datatype: tensor.datatype,
      shape: batched ? [rows.length, ...tensor.shape.slice(1)] : tensor.shape,
      data: typed.flatMap((row) => row.filter((_, index) => columns[index].tensor === tensor)),
    })),
  };
}

// Cells of comma, semicolon or tab separated text; quotes as spreadsheets write them.
function cells(written) {
  const separator = ["\t", ";", ","].find((each) => written.includes(each)) || ",";
  const rows = [[""]];
  let quoted = false;
  for (let at = 0; at < written.length; at += 1) {
    const row = rows.at(-1);
    const each = written[at];
    if (each === '"' && quoted && written[at + 1] === '"') { row[row.length - 1] += each; at += 1; }
    else if (each === '"' && (quoted || !row.at(-1).trim())) quoted = !quoted;
    else if (each === separator && !quoted) row.push("");
    else if (each === "\n" && !quoted) rows.push([""]);
    else row[row.length - 1] += each;
  }
  return rows.map((row) => row.map((cell) => cell.trim())).filter((row) => row.some(Boolean));
}

// Rows of text in the columns' order, or by the names in a first line; JSON rows and records too.
function rowsOf(written, columns) {
  const labels = columns.map(({ label }) => label);
  if (/^\s*\[/.test(written)) {
    const rows = parsed(written);
    return rows.map((row) => (Array.isArray(row) ? row : labels.map((label) => row[label]))).map((row) => row.map(text));
  }
  const rows = cells(written);
  if (!rows.length) throw new Error("There is no row yet.");
  const order = labels.map((label) => rows[0].indexOf(label));
  if (!order.includes(-1)) return rows.slice(1).map((row) => order.map((index) => row[index]));
  const wrong = rows.findIndex((row) => row.length !== columns.length);
  if (wrong >= 0) throw new Error(`Row ${wrong + 1} has ${rows[wrong].length} values, the model takes ${columns.length}.`);
  return rows;
}

const cell = (value) => (/[",;\t\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

function tableModes(model, table) {
  const { columns } = table;
  let rows = exampleRows(table, model.example);
  const request = () => ({ value: tableRequest(table, model.inputs, rows) });
  const fields = {
    name: "Fields",
    build(parent, changed) {
      const box = element("div", parent, undefined, "fields");
      const made = columns.map(({ label, tensor }, index) => {
        const input = field(box, label, rows[0][index], () => { rows = [made.map((each) => each.value)]; changed(); });
        if (!["BYTES", "BOOL"].includes(tensor.datatype)) input.inputMode = "decimal";
        return input;
      });
      return () => { rows = [made.map((each) => each.value)]; return request(); };
    },
  };
  const many = {
    name: "Rows",
    build(parent, changed) {
      element("p", parent, `A row for each line: ${columns.length > 8 ? `${columns.length} values` : columns.map(({ label }) => label).join(", ")}. CSV with or without names, or JSON.`, "faint");
      const box = area(parent, "Rows", rows.map((row) => row.map(cell).join(", ")).join("\n"), changed);
      return () => { rows = rowsOf(box.value, columns); return request(); };
    },
  };
  return [...(columns.length <= MOST_FIELDS ? [fields] : []), ...(table.batched ? [many] : [])];
}

// Values of a picture's shape, as a picture: the first one, one or three channels.
function drawn(canvas, values, shape) {
  const [height, width] = shape.slice(-2);
  const channels = shape.length > 2 ? shape.at(-3) : 1;
  const size = height * width;
  canvas.hidden = shape.length < 2 || height < 4 || width < 4 || size > 2 ** 18 || ![1, 3].includes(channels) || values.length < size * channels;
  if (canvas.hidden) return;
  const numbers = values.slice(0, size * channels).map(Number);
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  Object.assign(canvas, { width, height });
  const paint = canvas.getContext("2d");
  const image = paint.createImageData(width, height);
  for (let at = 0; at < size; at += 1) {
    for (let colour = 0; colour < 3; colour += 1)
      image.data[4 * at + colour] = (255 * (numbers[at + size * Math.min(colour, channels - 1)] - low)) / (high - low || 1);
    image.data[4 * at + 3] = 255;
  }
  paint.putImageData(image, 0, 0);
}

const FILLS = {
  Zeros: (datatype) => ({ BYTES: "", BOOL: false })[datatype] ?? 0,
  Ones: (datatype) => ({ BYTES: "a", BOOL: true })[datatype] ?? 1,
  Random: (datatype) => ({ BYTES: "text", BOOL: Math.random() < 0.5 })[datatype] ?? (/^FP/.test(datatype) ? Number(Math.random().toFixed(4)) : Math.round(Math.random())),
};

function typedValues(written, { name, datatype }) {
  const items = /^\s*\[/.test(written) ? [parsed(written)].flat(Infinity) : null;
  if (items) return items;
  const words = datatype === "BYTES" ? written.split("\n") : written.split(/[\s,;]+/).filter(Boolean);
  return words.map((word, index) => valueOf(word, datatype, `Value ${index} of ${name}`));
}

// One tensor: sizes of its free dims, and its values typed or filled. Typed values say themselves how many rows they are.
function tensorFields(tensor, entry, parent, changed) {
  const box = element("fieldset", parent, undefined, "tensor");
  element("legend", box, tensor.name);
  element("p", box, `${tensor.datatype} [${tensor.shape.join(", ")}]: ${inWords(tensor)}`, "faint");
  const row = element("div", box, undefined, "row");
  const sizes = tensor.shape.map((dim, index) => isFree(dim) && field(row, dim, entry?.shape[index] ?? 1, () => { filled(); changed(); }));
  const label = element("label", row, undefined, "field");
  element("span", label, "values");
  const fill = element("select", label);
  for (const name of ["Typed", ...Object.keys(FILLS)]) element("option", fill, name);
  const wanted = () => tensor.shape.map((dim, index) => (sizes[index] ? Number(sizes[index].value) : dim));
  const line = isFree(tensor.shape.at(-1)) ? entry?.shape.at(-1) : tensor.shape.at(-1);
  const between = (index) => (tensor.datatype === "BYTES" ? "\n" : (index + 1) % line ? ", " : ",\n");
  const start = (entry?.data || []).map((value, index) => text(value) + between(index)).join("").replace(/,?\s$/, "");
  const typed = area(box, `${tensor.name}: values`, start, changed);
  const canvas = element("canvas", box, undefined, "pixels");
  let made = [];
  function filled() {
    const count = product(wanted());
    typed.hidden = fill.value !== "Typed";
    made = typed.hidden && count < 2 ** 22 ? Array.from({ length: count }, () => FILLS[fill.value](tensor.datatype)) : [];
  }
  fill.addEventListener("change", () => { filled(); changed(); });
  if (!start && product(wanted()) > 0) fill.value = "Zeros";
  filled();
  return () => {
    const shape = wanted();
    if (shape.some((dim) => !Number.isInteger(dim) || dim < 0)) throw new Error(`The sizes of ${tensor.name} must be whole numbers.`);
    const data = typed.hidden ? made : typedValues(typed.value, tensor);
    const rows = sizes.findIndex(Boolean);
    if (!typed.hidden && rows >= 0) {
      const each = product(shape.filter((_, index) => index !== rows));
      shape[rows] = data.length / each;
      if (!Number.isInteger(shape[rows])) throw new Error(`${tensor.name} has ${data.length} values, which is no multiple of ${each}.`);
      sizes[rows].value = shape[rows];
    }
    if (data.length !== product(shape)) throw new Error(`${tensor.name} has ${data.length} values, its shape [${shape.join(", ")}] takes ${product(shape)}.`);
    drawn(canvas, data, shape);
    return { name: tensor.name, datatype: tensor.datatype, shape, data };
  };
}

function tensorsMode({ inputs, example }) {
  const build = (parent, changed) => {
    const readers = inputs.map((tensor) => tensorFields(tensor, example?.inputs.find(({ name }) => name === tensor.name), parent, changed));
    return () => ({ value: { inputs: readers.map((read) => read()) } });
  };
  return { name: "Tensors", build };
}

function jsonMode(latest) {
  const build = (parent, changed) => {
    const box = area(parent, "The request as JSON", readable(latest()), changed);
    return () => {
      try { return { value: parsed(box.value), written: box.value }; } catch (error) { throw new Error(`This is not JSON: ${error.message}`); }
    };
  };
  return { name: "JSON", build };
}

function modesOf(model) {
  if (model.takes === "image" || (model.takes === "text" && exampleFile(model.example))) return [fileMode(model)];
  if (model.takes === "text") return [textMode(model)];
  const table = tableOf(model);
  return table ? tableModes(model, table) : [tensorsMode(model)];
}

// The form of a model; the returned function reads what it says now.
export function inputForm(model, parent, changed) {
  let value = model.example || { inputs: [] };
  const modes = [...modesOf(model), jsonMode(() => value)];
  const place = element("div", parent);
  let read;
  const use = (name) => {
    place.replaceChildren();
    read = modes.find((mode) => mode.name === name).build(place, () => { if (read) changed(); });
    changed();
  };
  const bar = choice(place, "Input as", modes.map(({ name }) => name), use);
  parent.before(bar);
  const first = modes[0].name;
  setTimeout(() => use(first));
  return () => {
    const found = read();
    if (found.text !== undefined) value = { inputs: [{ name: model.inputs[0].name, datatype: "BYTES", shape: [1], data: [found.text] }] };
    else if (found.value) value = found.value;
    return { ...found, value: found.value || value };
  };
}
