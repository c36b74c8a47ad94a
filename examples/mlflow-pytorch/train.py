"""Makes this example: `uv run train.py` (any machine, half a minute; torch of the CPU is enough)."""

# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "mlflow==3.17.0", "numpy==2.4.6", "pandas==3.1.1", "protobuf==6.33.6", "scikit-learn==1.9.1", "torch==2.13.0",
# ]
# ///

import os
import shutil
from pathlib import Path
from typing import Any

os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///:memory:"

import mlflow
import torch
from sklearn.datasets import load_digits

HERE = Path(__file__).parent
torch.manual_seed(0)
digits = load_digits()
pixels = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
labels = torch.from_numpy(digits.target)
net = torch.nn.Sequential(
    *(torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)),
    *(torch.nn.Flatten(), torch.nn.Linear(128, 10)),
)
optimiser = torch.optim.Adam(net.parameters(), 0.02)
for _ in range(60):
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(net(pixels), labels).backward()
    optimiser.step()

save = torch.export.save


def without_paths(program: Any, *words: Any, **more: Any) -> None:
    """The paths of this machine do not belong into an example."""
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    save(program, *words, **more)


torch.export.save = without_paths
shutil.rmtree(HERE / "model", ignore_errors=True)
mlflow.pytorch.save_model(net.eval(), str(HERE / "model"), input_example=pixels[:2].numpy())
