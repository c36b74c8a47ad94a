"""The network whose weights are in weights.safetensors; the converter calls it to have a model to put them into."""

import torch
from torch import nn


class Digits(nn.Module):
    """Probabilities of the ten digits; ``width`` is the number of hidden units."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.hidden = nn.Linear(8 * 16, width)
        self.classes = nn.Linear(width, 10)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"probabilities": self.classes(self.hidden(self.features(image)).tanh()).softmax(dim=1)}
