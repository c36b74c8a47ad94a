// Fields of forms, and the values that are typed into them.

import { element } from "./shared.js";

const isNumber = (text) => /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text);

export function valueOf(text, datatype, where) {
  if (datatype === "BYTES") return text;
  const word = text.trim();
  if (datatype === "BOOL" && /^(true|false|yes|no|1|0)$/i.test(word)) return /^(true|yes|1)$/i.test(word);
  if (datatype === "BOOL") throw new Error(`${where} is “${word}”: it must be true or false.`);
  if (!word) throw new Error(`${where} is empty.`);
  if (!isNumber(word)) throw new Error(`${where} is “${word}”, which is not a number.`);
  return /^[-+]?\d+$/.test(word) && !Number.isSafeInteger(Number(word)) ? BigInt(word.replace("+", "")) : Number(word);
}

export const text = (value) => (value === undefined ? "" : String(value));

export function field(parent, label, value, changed) {
  const box = element("label", parent, undefined, "field");
  element("span", box, label);
  const input = element("input", box);
  Object.assign(input, { type: "text", value: text(value), spellcheck: false, autocomplete: "off" });
  input.addEventListener("input", changed);
  return input;
}

export function area(parent, label, value, changed) {
  const made = element("textarea", parent);
  Object.assign(made, { value, spellcheck: false });
  made.setAttribute("aria-label", label);
  made.addEventListener("input", changed);
  return made;
}
