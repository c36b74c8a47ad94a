"""What onnxruntime complains of, in words for those who sent a request."""

from __future__ import annotations

import re

_CUDA_FAILURE = re.compile(r"CUDA failure \d+: [^;]+")
_NOISE = re.compile(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : |\S*/\S+\.(?:cc|h|cpp):\d+ ")
_AT_NODE = re.compile(r".*?while running (\w+) node\. Name:'([^']*)' Status Message: (.*)", re.DOTALL)
_LONGEST = 500
_LONGEST_NAME = 200


def plain(error: BaseException) -> str:
    """onnxruntime's message without its codes and its source lines; where it fails at a node, that comes last."""
    text = str(error)
    if found := _CUDA_FAILURE.search(text):
        return found[0].strip()
    node = ""
    while at := _AT_NODE.fullmatch(text):  # a node of a subgraph fails within the node that has it
        kind, name, text = at.groups()
        node = f" (at {kind} {name[:_LONGEST_NAME]})" if name else f" (at {kind})"
    return " ".join(_NOISE.sub("", text).split())[: _LONGEST - len(node)] + node
