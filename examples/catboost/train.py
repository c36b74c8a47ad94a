"""Makes this example: `uv run train.py` (any machine, a second)."""

# /// script
# requires-python = ">=3.11"
# dependencies = ["catboost==1.2.10", "scikit-learn==1.9.1", "numpy==2.4.6"]
# ///

from pathlib import Path

import catboost
import numpy as np
from sklearn.datasets import load_iris

HERE = Path(__file__).parent
flowers = load_iris()
rows, species = flowers.data.astype(np.float32), flowers.target_names[flowers.target]
model = catboost.CatBoostClassifier(
    iterations=12, depth=3, random_seed=0, thread_count=1, verbose=False, allow_writing_files=False
)
model.fit(rows, species)
model.save_model(str(HERE / "model.cbm"))

asked = rows[::15].copy()
np.savez(HERE / "golden" / "flowers.npz", **{"input:features": asked})
