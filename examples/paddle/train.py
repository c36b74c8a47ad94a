"""Makes this example: `uv run train.py` (any machine, seconds)."""

# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "numpy==2.4.6", "packaging==26.3", "paddlepaddle==3.3.1", "scikit-learn==1.9.1", "setuptools==84.2.1",
# ]
# ///

from pathlib import Path

import numpy as np
import paddle
from paddle import nn
from sklearn.datasets import load_digits

HERE = Path(__file__).parent
digits = load_digits()
images = (digits.images[:, None] / 16).astype(np.float32)
paddle.seed(0)
net = nn.Sequential(
    nn.Conv2D(1, 8, 3, padding=1),
    nn.BatchNorm2D(8),
    nn.ReLU(),
    nn.MaxPool2D(2),
    nn.Flatten(),
    nn.Linear(128, 10),
)
optimiser = paddle.optimizer.Adam(0.02, parameters=net.parameters())
for _ in range(40):
    loss = nn.functional.cross_entropy(net(paddle.to_tensor(images)), paddle.to_tensor(digits.target))
    loss.backward()
    optimiser.step()
    optimiser.clear_grad()

served = nn.Sequential(net, nn.Softmax())
served.eval()
paddle.jit.save(served, str(HERE / "model"), input_spec=[paddle.static.InputSpec([None, 1, 8, 8], "float32", "image")])
(HERE / "golden").mkdir(exist_ok=True)
np.savez(HERE / "golden" / "digits.npz", **{"input:image": images[:5]})
print(f"{(served(paddle.to_tensor(images)).numpy().argmax(1) == digits.target).mean():.3f} of the digits are right")
