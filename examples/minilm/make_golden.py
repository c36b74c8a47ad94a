# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy==2.4.6", "sentence-transformers==6.2.0", "torch==2.13.0", "transformers==5.23.0"]
# ///
"""Writes golden/sentences.npz: texts with what sentence-transformers itself makes of them.

    uv run examples/minilm/make_golden.py

Two of them mean the same and one does not: the script stops where the model does not see that.
"""

import os
from pathlib import Path

import numpy as np

os.environ["HF_HUB_OFFLINE"] = "1"

from sentence_transformers import SentenceTransformer

HERE = Path(__file__).resolve().parent
TEXTS = (
    "How do I get to the airport by train?",
    "Which railway line takes me to the airport?",
    "The cake needs forty minutes in the oven.",
    "",
    "Grüße aus Köln, 你好, здравствуйте 👋",
    "word " * 600,
)

vectors = SentenceTransformer(str(HERE), device="cpu").encode(list(TEXTS), batch_size=len(TEXTS))
same, other = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
if same < 0.6 or other > 0.2:
    raise SystemExit(f"the model does not know what is alike: {same:.2f}, {other:.2f}")
texts = np.array([text.encode() for text in TEXTS])
np.savez(HERE / "golden" / "sentences.npz", **{"input:text": texts, "output:embedding": vectors.astype(np.float32)})
print(f"{vectors.shape}: alike {same:.3f}, not alike {other:.3f}")
