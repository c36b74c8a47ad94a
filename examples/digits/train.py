# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#     "numpy==2.4.6",
#     "onnx==1.23.2",
#     "onnxscript==0.7.2",
#     "scikit-learn==1.9.1",
#     "torch==2.13.0",
# ]
# ///
"""Trains the model of this directory and writes model.onnx and golden/: the same bytes on every run of one machine.

    uv run examples/digits/train.py

makes an environment of its own for the packages above. PyPI's torch for Linux brings gigabytes of CUDA; a CPU wheel of
torch 2.13.0 is taken with `uv run --find-links DIR`, where DIR holds one (uv does not read pip's settings, which
`pip config get global.find-links` shows). Nothing of this is needed to build the image.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

HERE = Path(__file__).resolve().parent
SEED = 20
EPOCHS = 40
BATCH = 64


class Digits(nn.Module):
    """Two convolutions and two linear layers: [batch, 1, 8, 8] in 0..1 to the probabilities of 0..9."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(),
            nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.classes = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(48 * 16, 32), nn.ReLU(), nn.Linear(32, 10)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classes(self.features(image)).softmax(dim=1)


def split() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training images, held-out images (a fifth), and their digits."""
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[:, None]
    parts = train_test_split(images, digits.target, test_size=0.2, stratify=digits.target, random_state=SEED)
    train, held_out, train_digits, held_out_digits = (torch.from_numpy(part) for part in parts)
    return train, train_digits, held_out, held_out_digits


def train(model: Digits, images: torch.Tensor, digits: torch.Tensor) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    shuffle = torch.Generator().manual_seed(SEED)
    model.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images), generator=shuffle).split(BATCH):
            optimizer.zero_grad()
            nn.functional.nll_loss(model(images[rows]).clamp_min(1e-9).log(), digits[rows]).backward()
            optimizer.step()
        schedule.step()
    model.eval()


def export(model: Digits) -> None:
    program = torch.onnx.export(
        model, (torch.zeros(2, 1, 8, 8),), dynamo=True, opset_version=18, external_data=False,
        input_names=["image"], output_names=["probabilities"], dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
    )  # fmt: skip
    proto = program.model_proto
    # The exporter notes for every node where in the source it came from, with the paths of this machine.
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    del proto.metadata_props[:]
    onnx.checker.check_model(proto, full_check=True)
    (HERE / "model.onnx").write_bytes(proto.SerializeToString(deterministic=True))


def write_golden(model: Digits, images: torch.Tensor) -> None:
    """Held-out images with the answers of PyTorch: one readable pair for curl, and two batches."""
    with torch.no_grad():
        answers = model(images).numpy()
    golden = HERE / "golden"
    golden.mkdir(exist_ok=True)
    for name, rows in (("held-out-7", slice(1, 8)), ("held-out-64", slice(8, 72))):
        np.savez(golden / f"{name}.npz", **{"input:image": images[rows].numpy(), "output:probabilities": answers[rows]})
    request = {"inputs": [tensor("image", images[:1].numpy())]}
    response = {"outputs": [tensor("probabilities", answers[:1])]}
    (golden / "one.request.json").write_text(json.dumps(request) + "\n")
    (golden / "one.response.json").write_text(json.dumps(response) + "\n")


def tensor(name: str, array: np.ndarray) -> dict[str, object]:
    return {"name": name, "shape": list(array.shape), "datatype": "FP32", "data": array.tolist()}


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    images, digits, held_out, held_out_digits = split()
    model = Digits()
    train(model, images, digits)
    with torch.no_grad():
        right = int((model(held_out).argmax(dim=1) == held_out_digits).sum())
    export(model)
    write_golden(model, held_out)
    size = (HERE / "model.onnx").stat().st_size
    print(f"{right} of {len(held_out)} held-out images right ({right / len(held_out):.1%}); model.onnx: {size} bytes")
    print(f"golden/one: a {int(held_out_digits[0])}")


if __name__ == "__main__":
    main()
