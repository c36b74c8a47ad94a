"""Directories of Hugging Face transformers (config.json, safetensors, tokenizer) to ONNX.

The class is the first of ``architectures``, the dims are named, and what sentence-transformers adds behind the
transformer (pooling, normalisation) is part of the graph. Where the tokenizer says how text becomes tokens, or the
image processor how pixels do, ``interface.json`` says it to the server, and the plain answers here are those of
transformers' own tokenizer or processor.
"""

import functools
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import hf_export
import hf_interface
import hf_ports
import hf_sentence
import hf_source
import numpy as np
import torch_common
from worker_io import Arrays, main


@functools.cache
def load(source: hf_source.Source) -> hf_export.Named:
    model = hf_source.model_of(source)
    head = hf_sentence.Head(source.root) if hf_sentence.parts(source.root) else None
    return hf_export.Named(model, hf_ports.inputs_of(model), head).eval()


def convert(request: dict[str, Any]) -> dict[str, Any]:
    source, output = hf_source.source_of(request), Path(request["output"])
    named = load(source)
    ports = hf_ports.inputs_of(named.model)
    left = ports[0].name == "input_ids" and hf_interface.pads_left(source)
    examples = hf_ports.Examples(named.model, ports, hf_interface.pixel_range(source), left)
    probes = [examples.of(sizes, 0) for sizes in hf_ports.PROBES]
    answers = tuple(hf_export.answered(named, probe) for probe in probes)
    outputs = hf_ports.output_dims(tuple({n: a.shape for n, a in answer.items()} for answer in answers), ports)
    cases = _cases(examples, answers[0], request["dims"])

    def write(proto: Any) -> Path:
        for old in output.glob("model.onnx*"):
            old.unlink()
        torch_common.write(proto, request, {})
        return output / "model.onnx"

    form = hf_export.Form(ports, outputs, probes[0])
    exporter = hf_export.export(named, form, write, list(cases.values()))
    _keep(cases, output / "cases")
    if ports[0].datatype == "INT64":
        _keep_values(cases["batch-2"], output)
    interface = hf_interface.describe(source, named.model, ports, outputs, output)
    if interface:
        text = json.dumps(interface, indent=2, ensure_ascii=False, sort_keys=True)
        (output / "interface.json").write_text(text + "\n", encoding="utf-8")
    return {"architecture": type(named.model).__name__, "exporter": exporter, "outputs": list(outputs)}


def _cases(examples: hf_ports.Examples, answer: Arrays, bounds: dict[str, Any]) -> dict[str, Arrays]:
    tokens = hf_ports.PROBES[0]["batch"] * hf_ports.PROBES[0]["sequence"]
    per_token = max(1, sum(array.size for array in answer.values()) // tokens)
    sizes = hf_ports.case_sizes(examples.model, examples.ports, per_token, bounds)
    return {name: examples.of(own, number + 1) for number, (name, own) in enumerate(sizes.items())}


def _keep(cases: dict[str, Arrays], directory: Path) -> None:
    """Inputs for golden cases, as the directory of a user would hold them."""
    directory.mkdir()
    for name, inputs in cases.items():
        with zipfile.ZipFile(directory / f"{name}.npz", "w", zipfile.ZIP_STORED) as archive:
            for tensor, value in inputs.items():
                content = io.BytesIO()
                np.lib.format.write_array(content, np.ascontiguousarray(value), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"input:{tensor}.npy"), content.getvalue())


def _keep_values(inputs: Arrays, output: Path) -> None:
    """Ids and masks have their own values: nobody is to make zeros or large numbers of them."""
    values = {name: sorted(set(array.ravel().tolist())) for name, array in inputs.items()}
    (output / "samples.json").write_text(json.dumps(values, sort_keys=True) + "\n", encoding="utf-8")


def answer(request: dict[str, Any], inputs: Arrays) -> Arrays:
    source = hf_source.source_of(request)
    named = load(source)
    if request.get("interface") == "plain":
        return hf_interface.answer(source, named, inputs)
    return hf_export.answered(named, inputs)


if __name__ == "__main__":
    main(convert, answer, ("torch", "transformers", "tokenizers", "onnxscript", "onnx"))
