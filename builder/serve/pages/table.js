// The inputs of a model as one table: a field for each column, or rows as CSV or JSON.

import { area, field, text, valueOf } from "./fields.js";
import { element, isFree, parsed, product } from "./shared.js";

const MOST_FIELDS = 32;
const MOST_COLUMNS = 128;

// The inputs as one table, where they are one: columns, how wide each tensor is, whether rows are free.
export function tableOf({ inputs }) {
  const free = new Set(inputs.map(({ shape }) => (isFree(shape[0]) ? shape[0] : "")));
  const batched = !free.has("");
  const fits = ({ shape }) =>
    shape.length <= 2 && !shape.slice(1).some(isFree) && (batched || shape.length < 2 || shape[0] === 1);
  if (free.size !== 1 || !inputs.every(fits)) return null;
  const columns = inputs.flatMap((tensor) => {
    const width = product(batched ? tensor.shape.slice(1) : tensor.shape);
    return Array.from({ length: width }, (_, index) => ({
      tensor,
      index,
      width,
      label: width === 1 ? tensor.name : `${tensor.name} ${index}`,
    }));
  });
  return columns.length && columns.length <= MOST_COLUMNS ? { columns, batched } : null;
}

function exampleRows({ columns, batched }, example) {
  const found = new Map((example?.inputs || []).map((entry) => [entry.name, entry]));
  const count = batched ? found.get(columns[0].tensor.name)?.shape[0] || 1 : 1;
  const zero = ({ datatype }) => ({ BYTES: "", BOOL: false })[datatype] ?? 0;
  return Array.from({ length: count }, (_, row) =>
    columns.map(({ tensor, index, width }) => text(found.get(tensor.name)?.data[row * width + index] ?? zero(tensor))),
  );
}

function tableRequest({ columns, batched }, inputs, rows) {
  const typed = rows.map((row, number) =>
    columns.map(({ tensor, label }, index) =>
      valueOf(text(row[index]), tensor.datatype, rows.length > 1 ? `${label} of row ${number + 1}` : label),
    ),
  );
  return {
    inputs: inputs.map((tensor) => ({
      name: tensor.name,
      datatype: tensor.datatype,
      shape: batched ? [rows.length, ...tensor.shape.slice(1)] : tensor.shape,
      data: typed.flatMap((row) => row.filter((_, index) => columns[index].tensor === tensor)),
    })),
  };
}

// Cells of comma, semicolon or tab separated text; quotes as spreadsheets write them.
function cells(written) {
  const unquoted = written.replace(/"[^"]*"/g, "");
  const separator = ["\t", ";", ","].find((each) => unquoted.includes(each)) || ",";
  const rows = [[""]];
  let quoted = false;
  for (let at = 0; at < written.length; at += 1) {
    const row = rows.at(-1);
    const each = written[at];
    if (each === '"' && quoted && written[at + 1] === '"') {
      row[row.length - 1] += each;
      at += 1;
    } else if (each === '"' && (quoted || !row.at(-1).trim())) quoted = !quoted;
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
    return rows
      .map((row) => (Array.isArray(row) ? row : labels.map((label) => row[label])))
      .map((row) => row.map(text));
  }
  const rows = cells(written);
  if (!rows.length) throw new Error("There is no row yet.");
  const order = labels.map((label) => rows[0].indexOf(label));
  if (!order.includes(-1)) return rows.slice(1).map((row) => order.map((index) => row[index]));
  const wrong = rows.findIndex((row) => row.length !== columns.length);
  if (wrong >= 0)
    throw new Error(`Row ${wrong + 1} has ${rows[wrong].length} values, the model takes ${columns.length}.`);
  return rows;
}

const cell = (value) => (/[",;\t\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

export function tableModes(model, table) {
  const { columns } = table;
  let rows = exampleRows(table, model.example);
  const request = () => ({ value: tableRequest(table, model.inputs, rows) });
  const fields = {
    name: "Fields",
    build(parent, changed) {
      const box = element("div", parent, undefined, "fields");
      const made = columns.map(({ label, tensor }, index) => {
        const input = field(box, label, rows[0][index], () => {
          rows = [made.map((each) => each.value)];
          changed();
        });
        if (!["BYTES", "BOOL"].includes(tensor.datatype)) input.inputMode = "decimal";
        return input;
      });
      return () => {
        rows = [made.map((each) => each.value)];
        return request();
      };
    },
  };
  const many = {
    name: "Rows",
    build(parent, changed) {
      const names = columns.length > 8 ? `${columns.length} values` : columns.map(({ label }) => label).join(", ");
      element("p", parent, `A row for each line: ${names}. CSV with or without names, or JSON.`, "faint");
      const box = area(parent, "Rows", rows.map((row) => row.map(cell).join(", ")).join("\n"), changed);
      return () => {
        rows = rowsOf(box.value, columns);
        return request();
      };
    },
  };
  return [...(columns.length <= MOST_FIELDS ? [fields] : []), ...(table.batched ? [many] : [])];
}
