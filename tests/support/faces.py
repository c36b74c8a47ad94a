"""A face as a build writes it."""

from __future__ import annotations

from builder.model.face import Face, FaceModel, FaceParity
from builder.model.parameters import Parameters
from builder.model.signature import Datatype, Signature, TensorSpec

FACE_MODEL = FaceModel(
    name="digits",
    version="1.0.0",
    format="keras",
    signature=Signature(
        inputs=(TensorSpec(name="image", datatype=Datatype.FP32, shape=("batch", 8, 8)),),
        outputs=(TensorSpec(name="scores", datatype=Datatype.FP32, shape=("batch", 10)),),
    ),
    parity=FaceParity(cases=4, edges=3, absolute=1e-5, relative=1e-4),
    frameworks={"keras": "3.9.0", "tensorflow": "2.19.0"},
    parameters=Parameters(count=12_345, precision=("float32",)),
)
FACE = Face(
    name="digits",
    version="1.0.0",
    description='Reads "digits": $5 of 10',
    licence="Apache-2.0",
    models=(FACE_MODEL,),
    server="http",
    target="cpu",
    platform="linux/amd64",
    ports=(8080,),
    base_name="cpu",
    base_digest="sha256:" + "a" * 64,
    lock_digest="sha256:" + "b" * 64,
    wheels={"numpy": "2.2.0", "onnxruntime": "1.31.1"},
    packages={"libc6": "2.41-12", "zlib1g": "1:1.3"},
)
