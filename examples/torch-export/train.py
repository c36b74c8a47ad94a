# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["numpy==2.4.6", "scikit-learn==1.9.1", "torch==2.13.0"]
# ///
"""Trains a small network on scikit-learn's digits, exports it with torch.export, and writes model.pt2 and golden/.

    uv run examples/torch-export/train.py

makes an environment of its own (add `--find-links DIR` where DIR has a CPU wheel of torch; PyPI's brings CUDA). Nothing
of this is needed to build the image.
"""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

HERE = Path(__file__).resolve().parent


class Digits(nn.Module):
    """Probabilities of the ten digits, and the features that they are computed from."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Dropout(0.2), nn.Linear(8 * 16, 16), nn.Tanh(),
        )  # fmt: skip
        self.classes = nn.Linear(16, 10)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.features(image)
        return {"probabilities": self.classes(features).softmax(dim=1), "features": features}


def main() -> None:
    torch.manual_seed(3)
    torch.set_num_threads(1)
    digits = load_digits()
    images = torch.from_numpy((digits.images / 16).astype(np.float32))[:, None]
    labels = torch.from_numpy(digits.target)
    model = Digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(15):
        for rows in torch.randperm(1500).split(64):
            optimizer.zero_grad()
            probabilities = model(images[rows])["probabilities"]
            nn.functional.nll_loss(probabilities.clamp_min(1e-9).log(), labels[rows]).backward()
            optimizer.step()
    model.eval()  # before the export: a program keeps the mode it was exported in
    sizes = {"image": {0: torch.export.Dim("batch")}}
    program = torch.export.export(model, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=sizes)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # the paths of this machine
    torch.export.save(program, HERE / "model.pt2")
    with torch.no_grad():
        answers = model(images)
    right = int((answers["probabilities"][1500:].argmax(1) == labels[1500:]).sum())
    print(f"{right} of {len(labels) - 1500} held-out images right")
    outputs = {f"output:{name}": tensor[1500:1507].numpy() for name, tensor in answers.items()}
    np.savez(HERE / "golden" / "held-out.npz", **{"input:image": images[1500:1507].numpy()}, **outputs)


if __name__ == "__main__":
    main()
