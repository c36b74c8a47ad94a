"""Models of Keras, TensorFlow and TensorFlow Lite for the tests: ``python make_tensorflow_models.py DIRECTORY``.

Runs inside the converters' environment. With ``large`` after the directory it makes those that take their time
(ResNet50, MobileNetV2).
"""

import os
import sys
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}

import keras
import numpy as np
import tensorflow as tf
import tf_keras

ROOT = Path(sys.argv[1])
CANARY = ROOT / "canary"
layers, old = keras.layers, tf_keras.layers
random = np.random.default_rng(0)
images = random.random((64, 28, 28, 1), dtype=np.float32)


def place(name: str) -> Path:
    (ROOT / name).mkdir(parents=True)
    return ROOT / name


def keras_models() -> keras.Model:
    """The CNN of Keras's tutorial on MNIST comes back."""
    cnn = keras.Sequential([
        keras.Input((28, 28, 1), name="image"), layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2), layers.Flatten(), layers.Dropout(0.5),
        layers.Dense(10, activation="softmax", name="classes"),
    ])  # fmt: skip
    cnn.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    cnn.fit(images, random.integers(0, 10, 64), batch_size=32, verbose=0)
    cnn.save(place("cnn-keras") / "model.keras")
    cnn.save(place("cnn-h5") / "model.h5")
    cnn.save_weights(place("weights") / "model.weights.h5")
    numbers, words = keras.Input((8,), name="numbers"), keras.Input((5,), dtype="int32", name="words")
    mean = layers.GlobalAveragePooling1D()(layers.Embedding(20, 6)(words))
    joined = layers.Concatenate()([layers.Dense(6, activation="relu")(numbers), mean])
    outputs = {"score": layers.Dense(1, activation="sigmoid")(joined), "kind": layers.Dense(3)(joined)}
    keras.Model([numbers, words], outputs).save(place("two-inputs") / "model.keras")
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    hidden = layers.Embedding(50, 16)(tokens)
    attended = layers.MultiHeadAttention(2, 8)(hidden, hidden)
    hidden = layers.LayerNormalization()(layers.Add()([hidden, attended]))
    pooled = layers.GlobalAveragePooling1D()(hidden)
    answer = layers.Dense(2, activation="softmax", name="answer")(pooled)
    keras.Model(tokens, answer).save(place("attention") / "model.keras")
    steps = [keras.Input((None, 8), name="steps"), layers.LSTM(16, return_sequences=True)]
    steps += [layers.Bidirectional(layers.GRU(8)), layers.Dense(3, name="answer")]
    keras.Sequential(steps).save(place("lstm") / "model.keras")
    pixels = keras.Input((32, 32, 3), name="image")
    hidden = layers.BatchNormalization()(layers.Conv2D(8, 7, strides=2, padding="same")(pixels))
    for _ in range(2):
        inner = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(hidden)))
        hidden = layers.Add()([hidden, layers.DepthwiseConv2D(3, padding="same")(inner)])
    answer = layers.GlobalAveragePooling2D(name="answer")(hidden)
    keras.Model(pixels, answer).save(place("residual") / "model.keras")
    return cnn


def keras_2_models() -> None:
    """Files that Keras 3 cannot read."""
    model = tf_keras.Sequential([tf_keras.Input((6, 4), name="steps"), old.LSTM(8), old.Dense(2, name="scores")])
    model.compile(tf_keras.optimizers.legacy.Adam(), "mse")
    model.fit(np.zeros((4, 6, 4)), np.zeros((4, 2)), verbose=0)
    model.save(place("keras-2-h5") / "model.h5")
    model.save(place("keras-2") / "model.keras")
    model.save(ROOT / "keras-2-saved")
    from tensorflow.core.protobuf import saved_model_pb2

    path = ROOT / "keras-2-saved" / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for node in saved.meta_graphs[0].object_graph_def.nodes:
        if node.slot_variables:
            node.user_object.identifier = "an_optimizer_that_is_gone"  # as in files of 2022
    path.write_bytes(saved.SerializeToString(deterministic=True))


def saved_models(cnn: keras.Model) -> None:
    class Net(tf.Module):
        def __init__(self) -> None:
            self.weight = tf.Variable(tf.random.stateless_normal((4, 2), (0, 1)))

        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="features")])
        def scores(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"scores": tf.nn.softmax(features @ self.weight)}

        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="features")])
        def doubled(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"doubled": features * 2}

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="text")])
        def lengths(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"lengths": tf.strings.length(text)}

    class Ragged(tf.Module):
        @tf.function(input_signature=[tf.RaggedTensorSpec((None, None), tf.float32)])
        def sums(self, rows: tf.RaggedTensor) -> dict[str, tf.Tensor]:
            return {"sums": tf.reduce_sum(rows, axis=1)}

    class Evil(Net):
        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="features")])
        def scores(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
            tf.io.write_file(str(CANARY), "it ran")
            return {"scores": tf.ensure_shape(tf.py_function(lambda: 1.0, [], tf.float32), ()) + features}

    cnn.export(ROOT / "cnn-saved" / "1", verbose=False)
    net = Net()
    tf.saved_model.save(net, ROOT / "module", signatures={"serving_default": net.scores, "double": net.doubled})
    tf.saved_model.save(net, ROOT / "signatures", signatures={"scores": net.scores, "double": net.doubled})
    tf.saved_model.save(net, ROOT / "text", signatures={"serving_default": net.lengths})
    ragged = Ragged()
    tf.saved_model.save(ragged, ROOT / "ragged", signatures={"serving_default": ragged.sums})
    evil = Evil()
    tf.saved_model.save(evil, ROOT / "evil-saved", signatures={"serving_default": evil.scores})
    old_graph()


def old_graph() -> None:
    """As TensorFlow 1 saved it, with two inputs whose order is not that of their names."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        left, right = v1.placeholder(tf.float32, (None, 4), "b"), v1.placeholder(tf.float32, (None, 4), "a")
        weight = v1.get_variable("weight", (4, 3), initializer=v1.random_normal_initializer(seed=0), use_resource=False)
        scores = tf.nn.softmax((left - 2 * right) @ weight)
        session.run(v1.global_variables_initializer())
        inputs = {"first": left, "second": right}
        v1.saved_model.simple_save(session, str(ROOT / "tensorflow-1"), inputs, {"scores": scores})


def tflite_models(cnn: keras.Model) -> None:
    def write(name: str, converter: tf.lite.TFLiteConverter) -> None:
        (place(name) / "model.tflite").write_bytes(converter.convert())

    write("tflite-float", tf.lite.TFLiteConverter.from_keras_model(cnn))
    dynamic = tf.lite.TFLiteConverter.from_keras_model(cnn)
    dynamic.optimizations = [tf.lite.Optimize.DEFAULT]
    write("tflite-dynamic", dynamic)
    whole = tf.lite.TFLiteConverter.from_keras_model(cnn)
    whole.optimizations = [tf.lite.Optimize.DEFAULT]
    whole.representative_dataset = lambda: ([images[i : i + 1]] for i in range(20))
    whole.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    whole.inference_input_type = whole.inference_output_type = tf.int8
    write("tflite-int8", whole)

    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32, name="features")])
    def evil(features: tf.Tensor) -> tf.Tensor:
        tf.io.write_file(str(CANARY), "it ran")
        return features * 2

    flex = tf.lite.TFLiteConverter.from_concrete_functions([evil.get_concrete_function()])
    flex.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    write("evil-tflite", flex)


def evil_keras_models() -> None:
    code = f"lambda x: [__import__('os').system('touch {CANARY}'), x][1]"
    evil = keras.Sequential(
        [keras.Input((4,)), layers.Lambda(eval(code), output_shape=(4,), name="innocent"), layers.Dense(2)]
    )
    evil.save(place("evil-keras") / "model.keras")
    evil.save(place("evil-h5") / "model.h5")
    before = tf_keras.Sequential([tf_keras.Input((4,)), old.Lambda(eval(code), name="innocent"), old.Dense(2)])
    before.save(place("evil-keras-2") / "model.keras")
    before.save(place("evil-keras-2-h5") / "model.h5")

    @keras.saving.register_keras_serializable("shop")
    class Scale(layers.Layer):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            return x * 2

    keras.Sequential([keras.Input((4,)), Scale()]).save(place("custom") / "model.keras")
    CANARY.unlink(missing_ok=True)  # Keras calls the function while the model is made


def large() -> None:
    for name in ("ResNet50", "MobileNetV2"):
        model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=10)
        model.save(place(name.lower()) / "model.keras")
        model.save(place(f"{name.lower()}-h5") / "model.h5")


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    if sys.argv[2:] == ["large"]:
        large()
    else:
        network = keras_models()
        saved_models(network)
        tflite_models(network)
        keras_2_models()
        evil_keras_models()
