# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["numpy==2.4.6", "safetensors==0.8.0", "scikit-learn==1.9.1", "torch==2.13.0"]
# ///
"""Trains the network of net.py on scikit-learn's digits, and writes weights.safetensors and golden/.

    uv run examples/torch-state/train.py

makes an environment of its own (add `--find-links DIR` where DIR has a CPU wheel of torch; PyPI's brings CUDA). Nothing
of this is needed to build the image.
"""

from pathlib import Path

import numpy as np
import torch
from net import Digits
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn

HERE = Path(__file__).resolve().parent


def main() -> None:
    torch.manual_seed(3)
    torch.set_num_threads(1)
    digits = load_digits()
    images = torch.from_numpy((digits.images / 16).astype(np.float32))[:, None]
    labels = torch.from_numpy(digits.target)
    model = Digits(width=24)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(15):
        for rows in torch.randperm(1500).split(64):
            optimizer.zero_grad()
            probabilities = model(images[rows])["probabilities"]
            nn.functional.nll_loss(probabilities.clamp_min(1e-9).log(), labels[rows]).backward()
            optimizer.step()
    save_file(model.state_dict(), HERE / "weights.safetensors")
    with torch.no_grad():
        answers = model(images)["probabilities"]
    right = int((answers[1500:].argmax(1) == labels[1500:]).sum())
    print(f"{right} of {len(labels) - 1500} held-out images right")
    (HERE / "golden").mkdir(exist_ok=True)
    rows = {"input:image": images[1500:1507].numpy(), "output:probabilities": answers[1500:1507].numpy()}
    np.savez(HERE / "golden" / "held-out.npz", **rows)


if __name__ == "__main__":
    main()
