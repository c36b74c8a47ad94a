"""mbuild's inference server: Open Inference Protocol v2 over HTTP/1.1 in front of onnxruntime, with nothing between.

Copied into images as ``mbuild_serve``: it imports the standard library, numpy, onnxruntime and orjson, nothing of
builder. It refuses to be ready before each model was loaded and has answered a warm-up run.
"""

VERSION = "0.1.0"
