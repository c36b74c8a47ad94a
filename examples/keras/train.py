# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["scikit-learn==1.9.1", "tensorflow-cpu==2.21.0"]
# ///
"""Trains a small network on scikit-learn's digits with Keras and writes model.keras and golden/.

    uv run examples/keras/train.py

makes an environment of its own. Nothing of this is needed to build the image.
"""

from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

HERE = Path(__file__).resolve().parent
layers = keras.layers


def main() -> None:
    keras.utils.set_random_seed(3)
    digits = load_digits()
    images, labels = (digits.images[..., None] / 16).astype(np.float32), digits.target
    model = keras.Sequential([
        keras.Input((8, 8, 1), name="image"), layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.BatchNormalization(), layers.MaxPooling2D(2), layers.Flatten(), layers.Dropout(0.2),
        layers.Dense(16, activation="tanh"), layers.Dense(10, activation="softmax", name="probabilities"),
    ])  # fmt: skip
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images[:1500], labels[:1500], epochs=30, batch_size=64, verbose=0)
    model.save(HERE / "model.keras")
    answers = model.predict(images[1500:], verbose=0)
    print(f"{(answers.argmax(1) == labels[1500:]).sum()} of {len(answers)} held-out images right")
    held_out = {"input:image": images[1500:1507], "output:probabilities": answers[:7]}
    np.savez(HERE / "golden" / "held-out.npz", **held_out)


if __name__ == "__main__":
    main()
