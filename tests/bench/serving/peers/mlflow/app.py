"""An MLflow python_function around a graph, logged from code (MLflow's "models from code").

    python app.py DIRECTORY
    mlflow models serve --env-manager local --model-uri DIRECTORY

The graph is in MODEL. One intra-op thread, as every server of the bench; one uvicorn worker, MLflow's default.
"""

import os
import sys

import mlflow
import numpy as np
import onnxruntime


class Graph(mlflow.pyfunc.PythonModel):
    def load_context(self, context) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
        self.types = {
            each.name: np.int64 if each.type == "tensor(int64)" else np.float32 for each in self.session.get_inputs()
        }
        self.outputs = [each.name for each in self.session.get_outputs()]

    def predict(self, context, model_input, params=None):
        feeds = {name: np.asarray(model_input[name], dtype=kind) for name, kind in self.types.items()}
        return dict(zip(self.outputs, self.session.run(None, feeds), strict=True))


if __name__ == "__main__":
    mlflow.pyfunc.save_model(sys.argv[1], python_model=__file__, pip_requirements=["onnxruntime"])
else:
    mlflow.models.set_model(Graph())
