"""Asks the packed model what kind a file is: python examples/magika/ask.py FILE [http://localhost:8000]

Standard library only. ``features`` is what Magika feeds its model (magika.py, _extract_features_from_seekable): the
first and the last 1024 bytes of the stripped first and last block, padded with 256.
"""

import json
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIDE, BLOCK, PADDING = 1024, 4096, 256


def features(content: bytes) -> list[int]:
    """2048 token ids, 0..256."""
    first, last = content[:BLOCK].lstrip()[:SIDE], content[-BLOCK:].rstrip()[-SIDE:]
    return [*first, *[PADDING] * (SIDE - len(first)), *[PADDING] * (SIDE - len(last)), *last]


def labels() -> list[str]:
    """The names of the model's 214 outputs, in order."""
    names: list[str] = json.loads((HERE / "config.min.json").read_bytes())["target_labels_space"]
    return names


def main() -> None:
    path, server = Path(sys.argv[1]), (sys.argv[2:] or ["http://localhost:8000"])[0]
    tensor = {"name": "bytes", "shape": [1, 2 * SIDE], "datatype": "INT32", "data": features(path.read_bytes())}
    request = urllib.request.Request(  # noqa: S310
        f"{server}/v2/models/magika/infer",
        data=json.dumps({"inputs": [tensor]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310
        scores = json.load(response)["outputs"][0]["data"]
    best = max(range(len(scores)), key=scores.__getitem__)
    print(f"{path}: {labels()[best]} ({scores[best]:.1%})")


if __name__ == "__main__":
    main()
