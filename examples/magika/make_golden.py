# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy==2.4.6", "onnxruntime==1.31.1"]
# ///
"""Writes golden/samples.npz: small files of known kinds, with the scores that onnxruntime gives them.

    uv run examples/magika/make_golden.py

The kinds are the known-good check: a sample whose best score is not its kind stops the script. The binary samples are
made by Python's own writers (zlib, gzip, wave), the texts are written out below.
"""

import gzip
import io
import json
import struct
import wave
import zlib
from pathlib import Path

import numpy as np
import onnxruntime
from ask import features, labels

HERE = Path(__file__).resolve().parent

PYTHON = b'''"""Word counts."""
import sys
from collections import Counter


def count(path: str) -> Counter[str]:
    with open(path, encoding="utf-8") as lines:
        return Counter(word for line in lines for word in line.split())


if __name__ == "__main__":
    for word, times in count(sys.argv[1]).most_common(10):
        print(f"{times:6d} {word}")
'''

C = b"""#include <stdio.h>
#include <stdlib.h>

static int compare(const void *left, const void *right) {
    return *(const int *)left - *(const int *)right;
}

int main(int argc, char **argv) {
    int *numbers = malloc(sizeof(int) * argc);
    for (int i = 1; i < argc; i++) numbers[i - 1] = atoi(argv[i]);
    qsort(numbers, argc - 1, sizeof(int), compare);
    for (int i = 0; i < argc - 1; i++) printf("%d\\n", numbers[i]);
    free(numbers);
    return 0;
}
"""

SHELL = b"""#!/bin/sh
set -eu
for file in "$@"; do
    if [ -f "$file" ]; then
        cp -- "$file" "$file.bak" && echo "saved $file"
    fi
done
"""


def png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes((x * y) % 256 for x in range(64)) for y in range(64))
    header = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def wav() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(np.round(9000 * np.sin(np.arange(4000) * 0.35)).astype("<i2").tobytes())
    return out.getvalue()


def samples() -> dict[str, bytes]:
    records = [{"id": number, "name": f"item {number}", "tags": ["a", "b"], "price": 1.5} for number in range(20)]
    return {
        "python": PYTHON,
        "c": C,
        "shell": SHELL,
        "json": json.dumps(records, indent=1).encode(),
        "png": png(),
        "wav": wav(),
        "gzip": gzip.compress(PYTHON * 20, mtime=0),
    }


def main() -> None:
    inputs = np.array([features(content) for content in samples().values()], dtype=np.int32)
    session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"bytes": inputs})
    names = labels()
    for kind, row in zip(samples(), scores, strict=True):
        best = names[int(row.argmax())]
        print(f"{kind}: {best} {row.max():.4f}")
        if best != kind:
            raise SystemExit(f"the sample {kind} was taken for {best}")
    np.savez_compressed(HERE / "golden" / "samples.npz", **{"input:bytes": inputs, "output:target_label": scores})


if __name__ == "__main__":
    main()
