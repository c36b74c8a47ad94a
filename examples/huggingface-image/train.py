# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["numpy==2.4.6", "pillow==13.0.0", "scikit-learn==1.9.1", "torch==2.13.0", "transformers==5.23.0"]
# ///
"""Trains a tiny vision transformer on scikit-learn's digits, as images of 16x16, and saves it here.

    uv run examples/huggingface-image/train.py

makes an environment of its own (add `--find-links DIR` where DIR has a CPU wheel of torch; PyPI's brings CUDA). Nothing
of this is needed to build the image.
"""

from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from sklearn.datasets import load_digits

HERE = Path(__file__).resolve().parent


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    digits = load_digits()
    images = [Image.fromarray((image * 255 / 16).astype(np.uint8)).convert("RGB") for image in digits.images]
    processor = transformers.ViTImageProcessor(size={"height": 16, "width": 16})
    pixels = torch.from_numpy(np.array(processor(images, return_tensors="np")["pixel_values"]))
    labels = torch.from_numpy(digits.target)
    config = transformers.ViTConfig(
        image_size=16, patch_size=4, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64,
        id2label={number: str(number) for number in range(10)}, label2id={str(number): number for number in range(10)},
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    slower = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.94)
    for _ in range(50):
        for rows in torch.randperm(1500).split(64):
            optimizer.zero_grad()
            model(pixel_values=pixels[rows], labels=labels[rows]).loss.backward()
            optimizer.step()
        slower.step()
    model.eval()
    with torch.no_grad():
        right = int((model(pixel_values=pixels[1500:]).logits.argmax(1) == labels[1500:]).sum())
    print(f"{right} of {len(labels) - 1500} held-out images right")
    model.save_pretrained(HERE)
    processor.save_pretrained(HERE)


if __name__ == "__main__":
    main()
