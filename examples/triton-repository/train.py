"""Makes this example: `uv run train.py` (any machine, seconds; torch of the CPU is enough)."""

# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy==2.4.6", "scikit-learn==1.9.1", "torch==2.13.0"]
# ///

from pathlib import Path

import torch
from sklearn.datasets import load_digits

HERE = Path(__file__).parent
torch.manual_seed(0)
digits = load_digits()
pixels = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
labels = torch.from_numpy(digits.target)
net = torch.nn.Sequential(
    *(torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)),
    *(torch.nn.Flatten(), torch.nn.Linear(128, 10), torch.nn.Softmax(1)),
)
optimiser = torch.optim.Adam(net.parameters(), 0.02)
for _ in range(60):
    optimiser.zero_grad()
    torch.nn.functional.nll_loss(net(pixels).log(), labels).backward()
    optimiser.step()
torch.jit.script(net.eval()).save(HERE / "digits" / "1" / "model.pt")
