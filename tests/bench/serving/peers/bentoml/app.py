"""A BentoML service with an API for each of the three models.

    bentoml serve app:Graph

The graph is in MODEL. One intra-op thread, as every server of the bench; one worker, which is BentoML's default.
"""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(traffic={"timeout": 60})
class Graph:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])

    @bentoml.api
    def mlp(self, x: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"x": x.astype(np.float32)})[0]

    @bentoml.api
    def cnn(self, image: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"image": image.astype(np.float32)})[0]

    @bentoml.api
    def minilm(self, input_ids: np.ndarray, attention_mask: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        return self.session.run(None, {name: value.astype(np.int64) for name, value in feeds.items()})[0]
