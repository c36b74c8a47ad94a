"""What clients read about a model: its metadata (Open Inference Protocol v2) and its config (Triton's extension of it).

The config has every field of Triton's own document, in its order: clients and load generators read it by the letter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..device import CPU_PROVIDER

if TYPE_CHECKING:
    from ..models.inference import Served
    from ..models.plain import AnyModel
    from .tensors import Tensor

MOST_ROWS = 1024
"""``max_batch_size`` of a model with a batch dim that nothing bounds, as in the config.pbtxt that mbuild writes for
Triton: what a load generator may ask for. Here nothing is refused above it."""


def metadata(model: AnyModel) -> dict[str, Any]:
    signature = model.signature
    outputs = [_tensor(each) for each in signature.outputs]
    for output in outputs:
        if output["name"] in model.labels:
            output["parameters"] = {"labels": model.labels[output["name"]]}
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": model.platform,
        "inputs": [_tensor(each) for each in signature.inputs],
        "outputs": outputs,
        **({"parameters": model.device.said} if model.device.said else {}),
    }


def config(served: Served) -> dict[str, Any]:
    """Triton leaves a batch dim out of ``dims``; where there is none, shapes are whole and ``max_batch_size`` is 0."""
    model = served.model
    said = {**served.batching_said, **model.device.said}
    batched = 1 if model.signature.batched else 0
    return {
        "name": model.name,
        "platform": model.platform,
        "backend": model.backend,
        "runtime": "",
        "version_policy": {"specific": {"versions": [int(model.version)]}},
        "max_batch_size": (model.most_rows or MOST_ROWS) * batched,
        "input": [_input(each, batched) for each in model.signature.inputs],
        "output": [_output(each, batched) for each in model.signature.outputs],
        "batch_input": [],
        "batch_output": [],
        "optimization": {
            "priority": "PRIORITY_DEFAULT",
            "input_pinned_memory": {"enable": False},
            "output_pinned_memory": {"enable": False},
            "gather_kernel_buffer_threshold": 0,
            "eager_batching": False,
        },
        **(_dynamic_batching(served) if batched else {}),
        "instance_group": [_instances(model)],
        "default_model_filename": model.file,
        "cc_model_filenames": {},
        "metric_tags": {},
        "parameters": {name: {"string_value": value} for name, value in said.items()},
        "model_warmup": [],
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.protocol_shape}


def _type(tensor: Tensor) -> str:
    return "TYPE_STRING" if tensor.datatype == "BYTES" else f"TYPE_{tensor.datatype}"


def _input(tensor: Tensor, batched: int) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "data_type": _type(tensor),
        "format": "FORMAT_NONE",
        "dims": tensor.protocol_shape[batched:],
        "is_shape_tensor": False,
        "allow_ragged_batch": False,
        "optional": False,
        "is_non_linear_format_io": False,
    }


def _output(tensor: Tensor, batched: int) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "data_type": _type(tensor),
        "dims": tensor.protocol_shape[batched:],
        "label_filename": "",
        "is_shape_tensor": False,
        "is_non_linear_format_io": False,
    }


def _dynamic_batching(served: Served) -> dict[str, Any]:
    """Absent where requests are never put together, as in Triton's document."""
    batching = served.batching
    if batching is None:
        return {}
    return {
        "dynamic_batching": {
            "preferred_batch_size": list(batching.preferred),
            "max_queue_delay_microseconds": batching.delay_ns // 1000,
            "preserve_ordering": False,
            "priority_levels": 0,
            "default_priority_level": 0,
            "priority_queue_policy": {},
        }
    }


def _instances(model: AnyModel) -> dict[str, Any]:
    """One session, whichever number of threads runs it."""
    return {
        "name": model.name,
        "kind": "KIND_CPU" if model.provider == CPU_PROVIDER else "KIND_GPU",
        "count": 1,
        "gpus": [],
        "secondary_devices": [],
        "profile": [],
        "passive": False,
        "host_policy": "",
    }
