"""Makes this example: `uv run train.py` (any machine, half a minute)."""

# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "mlflow==3.17.0", "numpy==2.4.6", "pandas==3.1.1", "protobuf==6.33.6", "scikit-learn==1.9.1", "skops==0.16.0",
# ]
# ///

import os
import shutil
from pathlib import Path

os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///:memory:"

import mlflow
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).parent
COLUMNS = ["alcohol", "malic_acid", "color_intensity", "hue", "proline"]
wine = load_wine(as_frame=True)
rows, names = wine.data[COLUMNS], wine.target_names[wine.target]
model = make_pipeline(make_column_transformer((StandardScaler(), COLUMNS)), LogisticRegression()).fit(rows, names)
shutil.rmtree(HERE / "model", ignore_errors=True)
signature = infer_signature(rows, model.predict(rows))
mlflow.sklearn.save_model(model, str(HERE / "model"), signature=signature, input_example=rows[::60])
