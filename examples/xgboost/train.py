"""Makes this example: `uv run train.py` (any machine, a second)."""

# /// script
# requires-python = ">=3.11"
# dependencies = ["xgboost-cpu==3.2.0", "scikit-learn==1.9.1", "numpy==2.4.6"]
# ///

from pathlib import Path

import numpy as np
import xgboost
from sklearn.datasets import load_wine

HERE = Path(__file__).parent
rows, cultivar = load_wine(return_X_y=True)
rows = rows.astype(np.float32)
parameters = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3, "seed": 0, "nthread": 1}
xgboost.train(parameters, xgboost.DMatrix(rows, label=cultivar), 12).save_model(HERE / "model.ubj")

asked = rows[::20].copy()
asked[0, :4] = np.nan  # a row with missing values
np.savez(HERE / "golden" / "wines.npz", **{"input:features": asked})
