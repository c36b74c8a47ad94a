// A form for a model by its signature: a text, a file, fields or rows of a table, tensors; always JSON too.
//
// A mode is {name, build}; build(parent, changed) makes its fields and returns a function that reads them: {value} (the
// JSON request), {text} or {file, blob}; it throws an Error with a sentence for people.

import { isHalf } from "./binary.js";
import { area, text } from "./fields.js";
import { choice, element, parsed, readable } from "./shared.js";
import { tableModes, tableOf } from "./table.js";
import { tensorsMode } from "./tensors.js";

const LARGEST_CODED = 2 ** 18;

// The text box of a model that takes text.
function textMode({ inputs: [input], example }) {
  const build = (parent, changed) => {
    const box = area(parent, input.name, text(example?.inputs[0].data[0]).trim(), changed);
    Object.assign(box, { className: "prose", placeholder: "Type or paste a text", spellcheck: true });
    return () => ({ text: box.value, value: asJson(input, box.value) });
  };
  return { name: "Text", build };
}

function shownFile(blob, canvas, about) {
  const size = blob.size < 10240 ? `${blob.size} bytes` : `${Math.round(blob.size / 1024)} KiB`;
  about.textContent = `${blob.name}, ${size}`;
  canvas.hidden = true;
  createImageBitmap(blob).then(
    (image) => {
      const scale = Math.min(1, 480 / Math.max(image.width, image.height));
      Object.assign(canvas, {
        width: Math.ceil(image.width * scale),
        height: Math.ceil(image.height * scale),
        hidden: false,
      });
      canvas.classList.toggle("pixels", image.width < 64);
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      about.textContent += `, ${image.width} × ${image.height}`;
    },
    () => {
      /* what this browser cannot show, the model may still read */
    },
  );
}

const TYPES = { iVBORw: "png", "/9j/": "jpeg", UklGR: "webp", R0lGOD: "gif", Qk: "bmp" };

const BASE64 = { parameters: { content_type: "base64" } };
const isFile = (example) => example?.inputs[0].parameters?.content_type === "base64";

// The golden case's file, where the server shows one.
function exampleFile(example) {
  if (!isFile(example)) return undefined;
  const [coded] = example.inputs[0].data;
  const type = Object.entries(TYPES).find(([start]) => coded.startsWith(start))?.[1];
  const bytes = Uint8Array.from(atob(coded), (each) => each.charCodeAt(0));
  return new File([bytes], `example.${type || "bin"}`, { type: type ? `image/${type}` : "" });
}

const asJson = ({ name }, data, more = {}) => ({
  inputs: [{ name, datatype: "BYTES", shape: [1], ...more, data: [data] }],
});

function fileMode({ inputs: [input], takes, example }) {
  const what = takes === "image" ? "image" : "file";
  const build = (parent, changed) => {
    const zone = element("label", parent, undefined, "drop");
    const picker = element("input", zone, undefined, "unseen");
    Object.assign(picker, { type: "file", accept: takes === "image" ? "image/*" : "" });
    picker.setAttribute("aria-label", `${input.name}: choose a file`);
    const canvas = element("canvas", zone);
    canvas.hidden = true;
    element(
      "span",
      zone,
      takes === "image" ? "Choose an image, drop it here, or paste it" : "Choose a file, or drop it here",
    );
    const about = element("small", zone);
    let blob;
    let coded;
    const take = (file) => {
      if (!file) return;
      [blob, coded] = [file, undefined];
      shownFile(file, canvas, about);
      const reader = new FileReader();
      reader.addEventListener("load", () => {
        if (blob === file) coded = reader.result.split(",")[1];
      });
      if (file.size < LARGEST_CODED) reader.readAsDataURL(file);
    };
    const taken = (file) => {
      take(file);
      changed();
    };
    picker.addEventListener("change", () => taken(picker.files[0]));
    for (const kind of ["dragenter", "dragover", "dragleave", "drop"])
      zone.addEventListener(kind, (event) => {
        event.preventDefault();
        zone.classList.toggle("over", ["dragenter", "dragover"].includes(kind));
        if (kind === "drop") taken(event.dataTransfer.files[0]);
      });
    document.onpaste = (event) => {
      if (zone.isConnected && event.clipboardData.files.length) taken(event.clipboardData.files[0]);
    };
    take(exampleFile(example));
    return () => {
      if (!blob) throw new Error(`Choose ${what === "image" ? "an image" : "a file"} first.`);
      // As the whole body: what is no image goes as text/plain, which stands for any bytes here.
      const type = blob.type.startsWith("image/") ? blob.type : takes === "image" ? "image/*" : "text/plain";
      return { file: { name: blob.name, type }, blob, value: coded && asJson(input, coded, BASE64) };
    };
  };
  return { name: what === "image" ? "Image" : "File", build };
}

function jsonMode(latest) {
  const build = (parent, changed) => {
    const box = area(parent, "The request as JSON", readable(latest()), changed);
    return () => {
      try {
        return { value: parsed(box.value), written: box.value };
      } catch (error) {
        throw new Error(`This is not JSON: ${error.message}`);
      }
    };
  };
  return { name: "JSON", build };
}

function modesOf(model) {
  if (model.takes === "image" || (model.takes === "text" && isFile(model.example))) return [fileMode(model)];
  if (model.takes === "text") return [textMode(model)];
  const table = tableOf(model);
  return table ? tableModes(model, table) : [tensorsMode(model)];
}

// The form of a model; the returned function reads what it says now.
export function inputForm(model, parent, changed) {
  let value = model.example || { inputs: [] };
  const modes = modesOf(model);
  if (![...model.inputs, ...model.outputs].some(isHalf)) modes.push(jsonMode(() => value));
  const place = element("div");
  let read;
  const use = (name) => {
    place.replaceChildren();
    read = modes.find((mode) => mode.name === name).build(place, changed);
  };
  if (modes.length > 1)
    choice(
      parent,
      "Input as",
      modes.map(({ name }) => name),
      (name) => {
        use(name);
        changed();
      },
    );
  parent.append(place);
  use(modes[0].name);
  return () => {
    const found = read();
    value = found.value || value;
    return { ...found, value };
  };
}
