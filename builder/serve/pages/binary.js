// Triton's binary tensor extension, for the datatypes that JSON cannot carry: FP16 and BF16.

const HEADER = "Inference-Header-Content-Length";
export const isHalf = ({ datatype }) => datatype === "FP16" || datatype === "BF16";

const WRITE = {
  FP16: (view, at, value) => view.setFloat16(at, value, true),
  BF16: (view, at, value) => {
    // the upper half of FP32, rounded to even
    view.setFloat32(at, value, true);
    const bits = view.getUint32(at, true);
    view.setUint16(at, (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16, true);
  },
};
const READ = {
  FP16: (view, at) => view.getFloat16(at, true),
  BF16: (view, at) => {
    const whole = new DataView(new ArrayBuffer(4));
    whole.setUint16(2, view.getUint16(at, true), true);
    return whole.getFloat32(0, true);
  },
};

// What fetch sends for these inputs; outputs of half precision are asked for in binary.
export function binaryRequest(inputs, outputs) {
  const halves = inputs.filter(isHalf);
  const size = 2 * halves.reduce((count, { data }) => count + data.length, 0);
  const view = new DataView(new ArrayBuffer(size + 2)); // BF16 is written by way of four bytes
  let at = 0;
  for (const { datatype, data } of halves)
    for (const value of data) {
      WRITE[datatype](view, at, Number(value));
      at += 2;
    }
  const entry = ({ data, ...more }) => ({ ...more, parameters: { binary_data_size: 2 * data.length } });
  const head = new TextEncoder().encode(
    JSON.stringify({
      inputs: inputs.map((input) => (isHalf(input) ? entry(input) : input)),
      outputs: outputs.map((output) => ({ name: output.name, parameters: { binary_data: isHalf(output) } })),
    }),
  );
  const headers = { "Content-Type": "application/octet-stream", [HEADER]: String(head.length) };
  return { body: new Blob([head, view.buffer.slice(0, size)]), headers };
}

// The text of an answer, and `fill`, which puts the values that came behind it into its outputs.
export async function answerText(response) {
  const length = Number(response.headers.get(HEADER));
  if (!length) return { text: await response.text(), fill: () => {} };
  const bytes = await response.arrayBuffer();
  const view = new DataView(bytes, length);
  const fill = (outputs) => {
    let at = 0;
    for (const output of outputs) {
      const size = output.parameters?.binary_data_size;
      if (size && READ[output.datatype])
        output.data = Array.from({ length: size / 2 }, (_, index) => READ[output.datatype](view, at + 2 * index));
      at += size || 0;
    }
  };
  return { text: new TextDecoder().decode(bytes.slice(0, length)), fill };
}
