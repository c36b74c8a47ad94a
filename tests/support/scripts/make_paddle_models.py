"""What the tests ask about PaddlePaddle: ``python make_paddle_models.py DIRECTORY [old]``, by the converter's own.

``old`` writes the programs of before Paddle 3, with FLAGS_enable_pir_api=0, which Paddle reads as it is imported.
"""

import sys
from pathlib import Path
from typing import Any

import paddle
from paddle import nn
from paddle.static import InputSpec


class Net(nn.Layer):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2D(1, 4, 3, padding=1), nn.BatchNorm2D(4)
        self.pool, self.drop, self.scores = nn.MaxPool2D(2), nn.Dropout(0.5), nn.Linear(64, 10)

    def forward(self, image: Any) -> Any:
        hidden = self.pool(nn.functional.relu(self.norm(self.convolution(image))))
        scores = self.scores(self.drop(hidden.flatten(1)))
        return nn.functional.softmax(scores), paddle.argmax(scores, axis=-1)


class Words(nn.Layer):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(512, 4)

    def forward(self, ids: Any, mask: Any) -> Any:
        return (self.table(ids) * mask.unsqueeze(-1)).sum(1)


def main(root: Path) -> None:
    paddle.seed(0)
    linear = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3))
    save(linear, root / "linear", [InputSpec([None, 4], "float32", "features")])
    save(Net(), root / "cnn", [InputSpec([None, 1, 8, 8], "float32", "image")])
    words = [InputSpec([None, None], "int64", "ids"), InputSpec([None, None], "float32", "mask")]
    save(Words(), root / "words", words)
    shapes = ("ids: {datatype: INT64, shape: [batch, words]}", "mask: {datatype: FP32, shape: [batch, words]}")
    (root / "words" / "model.yaml").write_text("inputs:\n" + "".join(f"  {line}\n" for line in shapes))
    (root / "weights").mkdir()
    paddle.save(linear.state_dict(), str(root / "weights" / "model.pdparams"))


def save(layer: Any, directory: Path, spec: list[InputSpec]) -> None:
    layer.eval()
    paddle.jit.save(layer, str(directory / "model"), input_spec=spec)


def old(root: Path) -> None:
    paddle.seed(0)
    paddle.enable_static()
    executor = paddle.static.Executor(paddle.CPUPlace())
    program, start = paddle.static.Program(), paddle.static.Program()
    with paddle.static.program_guard(program, start):
        features = paddle.static.data("features", [None, 4])
        scores = nn.functional.softmax(paddle.static.nn.fc(paddle.static.nn.fc(features, 8, activation="relu"), 3))
        executor.run(start)
        paddle.static.save_inference_model(str(root / "old" / "model"), [features], [scores], executor, program=program)
    calling = paddle.static.Program()
    with paddle.static.program_guard(calling):
        features = paddle.static.data("features", [2, 4])
        made = calling.current_block().create_var(name="made", shape=[2, 4], dtype="float32")
        called = paddle.static.py_func(lambda array: array, features, made)
        paddle.static.save_inference_model(
            str(root / "calls" / "model"), [features], [called], executor, program=calling
        )


if __name__ == "__main__":
    (old if sys.argv[2:] == ["old"] else main)(Path(sys.argv[1]))
