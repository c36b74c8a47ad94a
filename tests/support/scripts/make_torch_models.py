"""Writes model directories of PyTorch into the directory that is given: run with the Python of the converter."""

import io
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from torch import nn

NET = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.5))
        self.classes = nn.Linear(width, 3)

    def forward(self, image):
        features = self.features(image).mean((2, 3))
        return {"scores": self.classes(features).softmax(1), "features": features}


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, rows):
        if rows.sum() > 0:
            rows = rows * 2
        return self.linear(rows)
"""
IMAGE = "inputs:\n  image: {datatype: FP32, shape: [batch, 1, height, 8]}\ndims:\n  height: {min: 4, opt: 9, max: 32}\n"
ROWS = "inputs:\n  rows: {datatype: FP32, shape: [batch, 4]}\n"
names: dict = {}
exec(NET, names)
Net, Branching = names["Net"], names["Branching"]


class Answer(NamedTuple):
    last: torch.Tensor
    steps: torch.Tensor


class Recurrent(nn.Module):
    """Two inputs, a GRU, a branch that depends on the data, named outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 3)
        self.gru = nn.GRU(3, 4, batch_first=True)

    def forward(self, ids: torch.Tensor, scale: torch.Tensor) -> Answer:
        steps = self.gru(self.words(ids))[0]
        if scale.sum() > 0:
            steps = steps * scale
        return Answer(last=steps[:, -1], steps=steps)


def place(name: str, text: str = "") -> Path:
    directory = Path(sys.argv[1]) / name
    directory.mkdir(parents=True)
    if text:
        (directory / "model.yaml").write_text(text)
    return directory


class Canary:
    """A pickle that writes a file where it is loaded."""

    def __reduce__(self):
        return (Path.touch, (Path(sys.argv[1]) / "canary",))


def main() -> None:
    torch.manual_seed(0)
    net = Net().eval()
    state = net.state_dict()
    linear = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    ids = "inputs:\n  ids: {datatype: INT64, shape: [batch, words]}\n  scale: {datatype: FP32, shape: [1]}\n"
    torch.jit.script(Recurrent()).save(place("scripted", ids) / "model.pt")
    traced = torch.jit.trace(linear, torch.zeros(2, 4))
    traced.save(place("traced", ROWS.replace("rows", "input")) / "model.pt")
    torch.save(
        {"epoch": 3, "model": state}, place("state", f"module: {{file: net.py, class: Net}}\n{IMAGE}") / "model.pt"
    )
    arguments = "module: {file: net.py, class: Net, arguments: {width: 6}}\n"
    wide = {f"module.{name}": value for name, value in Net(6).eval().state_dict().items()}
    safetensors.torch.save_file(wide, place("safetensors", f"{arguments}{IMAGE}") / "model.safetensors")
    branching = place("branching", f"module: {{file: net.py, class: Branching}}\n{ROWS}")
    safetensors.torch.save_file(Branching().state_dict(), branching / "model.safetensors")
    torch.save(
        {"w": torch.zeros(2), "x": Canary()},
        place("pickle", f"module: {{file: net.py, class: Net}}\n{IMAGE}") / "model.pt",
    )
    for name in ("state", "safetensors", "branching", "pickle"):
        (Path(sys.argv[1]) / name / "net.py").write_text(NET)
    export(net)


def export(net: nn.Module) -> None:
    sizes = {"image": {0: torch.export.Dim("batch"), 2: torch.export.Dim("height", min=4, max=32)}}
    height = "dims:\n  image_2: {min: 4, opt: 9, max: 32}\n"
    for name, training in (("program", False), ("training", True)):
        exported = torch.export.export(net.train(training), (torch.zeros(2, 1, 9, 8),), dynamic_shapes=sizes)
        torch.export.save(exported, place(name, height) / "model.pt2")
    narrow = torch.export.export(nn.Linear(4, 2).bfloat16(), (torch.zeros(2, 4, dtype=torch.bfloat16),))
    torch.export.save(narrow, place("narrow", "") / "model.pt2")
    samples = place("samples", height) / "model.pt2"
    content = io.BytesIO()
    torch.save(((Canary(),), {}), content)
    with zipfile.ZipFile(Path(sys.argv[1]) / "program" / "model.pt2") as archive, zipfile.ZipFile(samples, "w") as new:
        for name in archive.namelist():
            new.writestr(name, content.getvalue() if "sample_inputs" in name else archive.read(name))


if __name__ == "__main__":
    main()
