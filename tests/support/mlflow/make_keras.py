# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#     "mlflow==3.17.2", "keras==3.15.1", "numpy==2.4.6", "protobuf==6.33.6", "tensorflow-cpu==2.21.0",
# ]
# ///
"""Writes the directories of Keras and TensorFlow in this folder, which want an environment apart from make.py's."""

import os
import shutil
from pathlib import Path

os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///:memory:"

import keras
import mlflow
import numpy as np
import tensorflow as tf
from mlflow.models import infer_signature

HERE = Path(__file__).resolve().parent
ROWS = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)


class Product(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(np.arange(8, dtype=np.float32).reshape(4, 2))

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x @ self.weights}


def main() -> None:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3, activation="softmax", name="p")]
    net = keras.Sequential([keras.Input((4,), name="x"), *layers])
    signature = infer_signature(ROWS, net.predict(ROWS))
    mlflow.keras.save_model(net, place("keras"), signature=signature)
    mlflow.tensorflow.save_model(net, place("tensorflow-keras"), signature=signature, input_example=ROWS)
    mlflow.tensorflow.save_model(
        Product(), place("tensorflow-module"), signature=infer_signature(ROWS, np.zeros((2, 2), np.float32))
    )


def place(name: str) -> str:
    shutil.rmtree(HERE / name, ignore_errors=True)
    return str(HERE / name)


if __name__ == "__main__":
    main()
