"""The closure of paddle2onnx with PaddlePaddle, as uv resolved it, without what only folds its graphs afterwards.

paddle2onnx 2.1 is built against onnx 1.17, older than what the other converters have.
"""

PINS = (
    "anyio==4.16.0",
    "certifi==2026.10.18",
    "h11==0.16.0",
    "httpcore==1.0.9",
    "httpx==0.28.1",
    "idna==3.20",
    "networkx==3.6.1",
    "numpy==2.4.6",
    "onnx==1.17.0",
    "opt-einsum==3.3.0",
    "packaging==26.3",
    "paddle2onnx==2.1.0",
    "paddlepaddle==3.3.1",
    "pillow==13.0.0",
    "protobuf==7.36.2",
    "safetensors==0.8.0",
    "setuptools==84.2.1",
    "typing-extensions==4.16.0",
)
