# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["scikit-learn==1.9.1", "tensorflow-cpu==2.21.0"]
# ///
"""Trains a small network on scikit-learn's digits with plain TensorFlow and writes saved_model/ and golden/.

    uv run examples/tensorflow-savedmodel/train.py

makes an environment of its own. Nothing of this is needed to build the image.
"""

import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

HERE = Path(__file__).resolve().parent
IMAGES = [tf.TensorSpec((None, 8, 8), tf.float32, name="image")]


class Digits(tf.Module):
    """Two signatures: the probabilities of the ten digits, and the features that they are computed from."""

    def __init__(self) -> None:
        random = tf.random.Generator.from_seed(3)
        self.weights = [tf.Variable(random.normal(shape) / shape[0] ** 0.5) for shape in ((64, 32), (32, 10))]
        self.biases = [tf.Variable(tf.zeros(size)) for size in (32, 10)]

    def hidden(self, image: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(tf.reshape(image, (-1, 64)) @ self.weights[0] + self.biases[0])

    @tf.function(input_signature=IMAGES)
    def classify(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": tf.nn.softmax(self.hidden(image) @ self.weights[1] + self.biases[1])}

    @tf.function(input_signature=IMAGES)
    def features(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"features": self.hidden(image)}


def main() -> None:
    digits = load_digits()
    images, labels = (digits.images / 16).astype(np.float32), digits.target
    model = Digits()
    for _ in range(300):
        with tf.GradientTape() as tape:
            chosen = tf.gather(model.classify(images[:1500])["probabilities"], labels[:1500], batch_dims=1)
            loss = -tf.reduce_mean(tf.math.log(chosen + 1e-9))
        for variable, slope in zip(
            model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
        ):
            variable.assign_sub(1.0 * slope)
    shutil.rmtree(HERE / "saved_model", ignore_errors=True)
    functions = {"classify": model.classify, "features": model.features}
    tf.saved_model.save(model, HERE / "saved_model", signatures=functions)
    answers = model.classify(images[1500:])["probabilities"].numpy()
    print(f"{(answers.argmax(1) == labels[1500:]).sum()} of {len(answers)} held-out images right")
    held_out = {"input:image": images[1500:1507], "output:probabilities": answers[:7]}
    np.savez(HERE / "golden" / "held-out.npz", **held_out)


if __name__ == "__main__":
    main()
