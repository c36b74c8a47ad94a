"""python make_sklearn_models.py DIR: the scikit-learn models that tests convert, each in a directory of its own."""

import pickle
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import skops.io
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

out = Path(sys.argv[1])
random = np.random.default_rng(0)
flowers, kinds = load_iris(return_X_y=True)
patients, progress = load_diabetes(return_X_y=True)
people = pd.DataFrame(
    {
        "age": random.integers(18, 80, 200).astype(float),
        "income": random.normal(30_000, 8_000, 200),
        "city": random.choice(["Paris", "Oslo", "Rome"], 200),
        "plan": random.choice(["a", "b"], 200),
        "unused": random.normal(size=200),
    }
)
stays = np.where((people["age"] > 40) ^ (people["city"] == "Oslo"), "yes", "no")
reviews = ["good movie", "bad movie", "very good film", "awful film", "nice and good", "bad and awful"] * 4


def mixed(final, numbers, **encoder):
    columns = [("n", numbers, ["age", "income"]), ("t", OneHotEncoder(**encoder), ["city", "plan"])]
    return Pipeline([("columns", ColumnTransformer(columns)), ("model", final)])


def twice(values):
    return values * 2


far = flowers * 300 + 4000
heights = people.assign(age=people["age"] + 4000)[["age", "income", "city", "plan"]]
trees = RandomForestRegressor(20, random_state=0)
some = [("a", LogisticRegression(max_iter=500)), ("b", RandomForestClassifier(5, random_state=0))]
imputed = make_pipeline(SimpleImputer(), StandardScaler())
MODELS = {
    "mixed-forest.joblib": mixed(
        RandomForestClassifier(20, max_depth=5, random_state=0), StandardScaler(), handle_unknown="ignore"
    ).fit(people, stays),
    "mixed-boosted.pkl": mixed(GradientBoostingClassifier(n_estimators=10, random_state=0), StandardScaler()).fit(
        people, stays
    ),
    "mixed-imputed.skops": mixed(LogisticRegression(), imputed).fit(people, stays),
    "forest.joblib": RandomForestClassifier(20, random_state=0).fit(flowers, kinds),
    "scaled-forest.joblib": make_pipeline(StandardScaler(), RandomForestRegressor(20, random_state=0)).fit(
        patients, progress
    ),
    "histogram.joblib": HistGradientBoostingClassifier(max_iter=10).fit(flowers, kinds),
    "svc.pkl": make_pipeline(StandardScaler(), SVC()).fit(flowers, kinds),
    "linear-svc.pkl": LinearSVC().fit(flowers, kinds),
    "kmeans.joblib": KMeans(3, n_init=3, random_state=0).fit(flowers),
    "pca.joblib": make_pipeline(StandardScaler(), PCA(2)).fit(flowers),
    "text.joblib": make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(reviews, [1, 0, 1, 0, 1, 0] * 4),
    "voting.joblib": VotingClassifier(some, voting="soft").fit(flowers, kinds),
    "stacking.joblib": StackingClassifier(some).fit(flowers, kinds),
    "searched.joblib": GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.1, 1]}).fit(flowers, kinds),
    "outliers.joblib": IsolationForest(n_estimators=10, random_state=0).fit(flowers),
    "far-forest.joblib": clone(trees).fit(far, far[:, 0]),
    "far-scaled.joblib": make_pipeline(StandardScaler(), clone(trees)).fit(far, far[:, 0]),
    "far-columns.joblib": mixed(clone(trees), "passthrough").fit(heights, heights["age"] ** 2),
    "own-code.joblib": make_pipeline(FunctionTransformer(twice), LogisticRegression()).fit(flowers, kinds),
}
for name, model in MODELS.items():
    stem, _, kind = name.rpartition(".")
    (out / stem).mkdir(parents=True, exist_ok=True)
    path = out / stem / f"model.{kind}"
    if kind == "skops":
        skops.io.dump(model, path)
    elif kind == "pkl":
        path.write_bytes(pickle.dumps(model))
    else:
        joblib.dump(model, path, compress=("zlib", 3) if stem in ("forest", "pca") else 0)
