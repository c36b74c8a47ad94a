"""FastAPI as fast as it goes: async endpoint, orjson both ways, no pydantic, the model run on the event loop.

    uvicorn app:app

The graph is in MODEL. One intra-op thread, as every server of the bench.
"""

import os

import numpy as np
import onnxruntime
import orjson
from fastapi import FastAPI, Request, Response

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
types = {each.name: np.int64 if each.type == "tensor(int64)" else np.float32 for each in session.get_inputs()}
outputs = [each.name for each in session.get_outputs()]
app = FastAPI()


@app.post("/{model}")
async def predict(model: str, request: Request) -> Response:
    fields = orjson.loads(await request.body())
    answers = session.run(None, {name: np.array(fields[name], dtype=kind) for name, kind in types.items()})
    content = orjson.dumps(dict(zip(outputs, answers, strict=True)), option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, media_type="application/json")
