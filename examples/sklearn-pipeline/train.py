"""Makes pipeline.joblib: will a customer stay? Numbers and text in one table, invented here. Needs scikit-learn 1.9."""

from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

random = np.random.default_rng(7)
ROWS = 500
table = pd.DataFrame(
    {
        "age": random.integers(18, 80, ROWS).astype(float),
        "income": random.normal(30_000, 8_000, ROWS).round(2),
        "city": random.choice(["Berlin", "Paris", "Rome"], ROWS),
        "plan": random.choice(["basic", "family", "business"], ROWS),
    }
)
stays = np.where((table["age"] > 40) ^ (table["city"] == "Rome") ^ (table["plan"] == "basic"), "stays", "leaves")
columns = ColumnTransformer(
    [
        ("numbers", StandardScaler(), ["age", "income"]),
        ("texts", OneHotEncoder(handle_unknown="ignore"), ["city", "plan"]),
    ]
)
forest = RandomForestClassifier(n_estimators=10, max_depth=6, random_state=7)
model = Pipeline([("columns", columns), ("forest", forest)]).fit(table, stays)
joblib.dump(model, Path(__file__).with_name("pipeline.joblib"), compress=3)
