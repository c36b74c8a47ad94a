"""A LitServe API around a graph.

    python app.py PORT

The graph is in MODEL. One intra-op thread, as every server of the bench; one worker on the CPU, LitServe's default.
"""

import os
import sys

import litserve
import numpy as np
import onnxruntime


class Graph(litserve.LitAPI):
    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
        self.types = {
            each.name: np.int64 if each.type == "tensor(int64)" else np.float32 for each in self.session.get_inputs()
        }
        self.outputs = [each.name for each in self.session.get_outputs()]

    def decode_request(self, request: dict) -> dict:
        return {name: np.array(request[name], dtype=kind) for name, kind in self.types.items()}

    def predict(self, feeds: dict) -> list:
        return self.session.run(None, feeds)

    def encode_response(self, answers: list) -> dict:
        return {name: answer.tolist() for name, answer in zip(self.outputs, answers, strict=True)}


if __name__ == "__main__":
    server = litserve.LitServer(Graph(), accelerator="cpu", timeout=60)
    server.run(port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False)
