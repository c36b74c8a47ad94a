# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["numpy==2.4.6", "scikit-learn==1.9.1", "torch==2.13.0"]
# ///
"""Trains a small network on scikit-learn's digits, scripts it, and writes model.pt and golden/.

    uv run examples/torchscript/train.py

makes an environment of its own (add `--find-links DIR` where DIR has a CPU wheel of torch; PyPI's brings CUDA). Nothing
of this is needed to build the image.
"""

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

HERE = Path(__file__).resolve().parent


class Digits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.2)
        self.classes = nn.Linear(8 * 16, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.norm(self.convolution(image)))
        hidden = self.dropout(torch.max_pool2d(hidden, 2).flatten(1))
        return self.classes(hidden).softmax(dim=1)


def save(model: torch.jit.ScriptModule) -> None:
    """Without the debug records, which have the paths of this machine."""
    content = io.BytesIO()
    torch.jit.save(model, content)
    with zipfile.ZipFile(content) as archive, zipfile.ZipFile(HERE / "model.pt", "w") as written:
        for member in archive.infolist():
            if not member.filename.endswith(".debug_pkl"):
                written.writestr(zipfile.ZipInfo(member.filename), archive.read(member))


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
            nn.functional.nll_loss(model(images[rows]).clamp_min(1e-9).log(), labels[rows]).backward()
            optimizer.step()
    model.eval()
    save(torch.jit.script(model))
    with torch.no_grad():
        answers = model(images)
    right = int((answers[1500:].argmax(1) == labels[1500:]).sum())
    print(f"{right} of {len(labels) - 1500} held-out images right")
    held_out = {"input:image": images[1500:1507].numpy(), "output:probabilities": answers[1500:1507].numpy()}
    np.savez(HERE / "golden" / "held-out.npz", **held_out)


if __name__ == "__main__":
    main()
