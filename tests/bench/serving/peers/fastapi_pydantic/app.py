"""FastAPI as most services are written: a pydantic type for each request and answer, plain ``def`` endpoints.

    uvicorn app:app

The graph in MODEL is one of three; each has its endpoint. One intra-op thread, as every server of the bench.
"""

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
app = FastAPI()


class Flower(BaseModel):
    x: list[list[float]]


class Probabilities(BaseModel):
    p: list[list[float]]


class Picture(BaseModel):
    image: list[list[list[list[float]]]]


class Scores(BaseModel):
    logits: list[list[float]]


class Tokens(BaseModel):
    input_ids: list[list[int]]
    attention_mask: list[list[int]]
    token_type_ids: list[list[int]]


class Embedding(BaseModel):
    sentence_embedding: list[list[float]]


@app.post("/mlp")
def mlp(flower: Flower) -> Probabilities:
    (p,) = session.run(None, {"x": np.array(flower.x, dtype=np.float32)})
    return Probabilities(p=p.tolist())


@app.post("/cnn")
def cnn(picture: Picture) -> Scores:
    (logits,) = session.run(None, {"image": np.array(picture.image, dtype=np.float32)})
    return Scores(logits=logits.tolist())


@app.post("/minilm")
def minilm(tokens: Tokens) -> Embedding:
    feeds = {name: np.array(value, dtype=np.int64) for name, value in tokens.model_dump().items()}
    (embedding,) = session.run(None, feeds)
    return Embedding(sentence_embedding=embedding.tolist())
