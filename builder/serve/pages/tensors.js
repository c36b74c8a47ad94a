// Inputs of any shape: sizes of their free dims, and values typed or filled, drawn where they have a picture's shape.

import { area, field, text, valueOf } from "./fields.js";
import { bounds, element, inWords, isFree, parsed, product } from "./shared.js";

// Values of a picture's shape, as a picture: the first one, one or three channels.
function drawn(canvas, values, shape) {
  const [height, width] = shape.slice(-2);
  const channels = shape.length > 2 ? shape.at(-3) : 1;
  const size = height * width;
  canvas.hidden =
    shape.length < 2 ||
    height < 4 ||
    width < 4 ||
    size > 2 ** 18 ||
    ![1, 3].includes(channels) ||
    values.length < size * channels;
  if (canvas.hidden) return;
  const numbers = values.slice(0, size * channels).map(Number);
  const [low, high] = bounds(numbers);
  Object.assign(canvas, { width, height });
  const paint = canvas.getContext("2d");
  const image = paint.createImageData(width, height);
  for (let at = 0; at < size; at += 1) {
    for (let colour = 0; colour < 3; colour += 1)
      image.data[4 * at + colour] =
        (255 * (numbers[at + size * Math.min(colour, channels - 1)] - low)) / (high - low || 1);
    image.data[4 * at + 3] = 255;
  }
  paint.putImageData(image, 0, 0);
}

const FEW = 64;
const FILLS = {
  Zeros: (datatype) => ({ BYTES: "", BOOL: false })[datatype] ?? 0,
  Ones: (datatype) => ({ BYTES: "a", BOOL: true })[datatype] ?? 1,
  Random: (datatype) =>
    ({ BYTES: "text", BOOL: Math.random() < 0.5 })[datatype] ??
    (/^FP/.test(datatype) ? Number(Math.random().toFixed(4)) : Math.round(Math.random())),
};

// Values, and the sizes of inner dims that their brackets or lines tell.
function typedValues(written, { name, datatype, shape }) {
  if (/^\s*\[/.test(written)) {
    const sizes = [];
    const value = parsed(written);
    for (let level = value; Array.isArray(level); [level] = level) sizes.push(level.length);
    return { data: value.flat(Infinity), sizes: sizes.length === shape.length ? sizes : [] };
  }
  const lines = written.split("\n").filter((line) => datatype === "BYTES" || line.trim());
  const words = lines.map((line) => (datatype === "BYTES" ? [line] : line.split(/[\s,;]+/).filter(Boolean)));
  const data = words.flat().map((word, index) => valueOf(word, datatype, `Value ${index} of ${name}`));
  const even = words.every((each) => each.length === words[0].length);
  return { data, sizes: even && words.length ? [...Array(shape.length - 1), words[0].length] : [] };
}

// One tensor: sizes of its free dims, and its values typed or filled. Typed ones say themselves how many rows they are.
function tensorFields(tensor, entry, parent, changed) {
  const box = element("fieldset", parent, undefined, "tensor");
  element("legend", box, tensor.name);
  element("p", box, `${tensor.datatype} [${tensor.shape.join(", ")}]: ${inWords(tensor)}`, "faint");
  const row = element("div", box, undefined, "row");
  const sizes = tensor.shape.map(
    (dim, index) =>
      isFree(dim) &&
      field(row, dim, entry?.shape[index] ?? 1, () => {
        filled();
        changed();
      }),
  );
  const label = element("label", row, undefined, "field");
  element("span", label, "values");
  const fill = element("select", label);
  for (const name of ["Typed", ...Object.keys(FILLS)]) element("option", fill, name);
  const wanted = () => tensor.shape.map((dim, index) => (sizes[index] ? Number(sizes[index].value) : dim));
  const line = isFree(tensor.shape.at(-1)) ? entry?.shape.at(-1) : tensor.shape.at(-1);
  const between = (index) => (tensor.datatype === "BYTES" ? "\n" : (index + 1) % line ? ", " : ",\n");
  const start = (entry?.data || [])
    .map((value, index) => text(value) + between(index))
    .join("")
    .replace(/,?\s$/, "");
  const typed = area(box, `${tensor.name}: values`, start, changed);
  const canvas = element("canvas", box, undefined, "pixels");
  let made = [];
  function filled() {
    const count = product(wanted());
    typed.hidden = fill.value !== "Typed";
    made =
      typed.hidden && count < 2 ** 22 ? Array.from({ length: count }, () => FILLS[fill.value](tensor.datatype)) : [];
  }
  fill.addEventListener("change", () => {
    filled();
    changed();
  });
  if (!start && product(wanted()) > 0) fill.value = "Zeros";
  filled();
  return () => {
    const shape = wanted();
    if (shape.some((dim) => !Number.isInteger(dim) || dim < 0))
      throw new Error(`The sizes of ${tensor.name} must be whole numbers.`);
    const { data, sizes: told } = typed.hidden ? { data: made, sizes: [] } : typedValues(typed.value, tensor);
    const [first, ...inner] = [...sizes.keys()].filter((index) => sizes[index]);
    if (!typed.hidden && first !== undefined) {
      for (const index of inner) shape[index] = told[index] ?? shape[index];
      const each = product(shape.filter((_, index) => index !== first));
      shape[first] = data.length / each;
      if (!Number.isInteger(shape[first]))
        throw new Error(`${tensor.name} has ${data.length} values, which is no multiple of ${each}.`);
      for (const index of [first, ...inner]) sizes[index].value = shape[index];
    }
    if (data.length !== product(shape))
      throw new Error(
        `${tensor.name} has ${data.length} values, its shape [${shape.join(", ")}] takes ${product(shape)}.`,
      );
    drawn(canvas, data, shape);
    return { name: tensor.name, datatype: tensor.datatype, shape, data };
  };
}

// What an example has for a tensor, or zeros where there is no example and they are few.
function startOf({ name, datatype, shape }, example) {
  const sizes = shape.map((dim) => (isFree(dim) ? 1 : dim));
  const count = product(sizes);
  const zeros =
    count <= FEW ? { shape: sizes, data: Array.from({ length: count }, () => FILLS.Zeros(datatype)) } : undefined;
  return example?.inputs.find((entry) => entry.name === name) || zeros;
}

export function tensorsMode({ inputs, example }) {
  const build = (parent, changed) => {
    const readers = inputs.map((tensor) => tensorFields(tensor, startOf(tensor, example), parent, changed));
    return () => ({ value: { inputs: readers.map((read) => read()) } });
  };
  return { name: "Tensors", build };
}
