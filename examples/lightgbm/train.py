"""Makes this example: `uv run train.py` (any machine, a second)."""

# /// script
# requires-python = ">=3.11"
# dependencies = ["lightgbm==4.7.0", "scikit-learn==1.9.1", "numpy==2.4.6"]
# ///

from pathlib import Path

import lightgbm
import numpy as np
from sklearn.datasets import load_diabetes

HERE = Path(__file__).parent
rows, progression = load_diabetes(return_X_y=True)
rows = rows.astype(np.float32)
parameters = {
    "objective": "regression",
    "num_leaves": 7,
    "num_threads": 1,
    "seed": 0,
    "deterministic": True,
    "verbose": -1,
}
lightgbm.train(parameters, lightgbm.Dataset(rows, label=progression), 30).save_model(HERE / "model.txt")

asked = rows[::50].copy()
asked[0, :2] = np.nan  # a row with missing values
np.savez(HERE / "golden" / "patients.npz", **{"input:features": asked})
