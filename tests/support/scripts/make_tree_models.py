"""Boosted trees of every kind that the tests ask about: ``python make_tree_models.py FRAMEWORK DIRECTORY``.

Runs inside a converter's environment. Each model gets a directory with a golden case that has missing values.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 4)).astype(np.float32)
X[RANDOM.random(X.shape) < 0.1] = np.nan
NUMBER = np.nan_to_num(X[:, 0]) + np.nan_to_num(X[:, 1]) ** 2
BINARY, CLASS = (NUMBER > 1).astype(int), np.digitize(NUMBER, [0.5, 1.5])
GROUPS = np.repeat(np.arange(3), 100)
FAR = X * 300 + 5000


def xgboost(root: Path) -> None:
    import xgboost as xgb

    def add(name: str, label: Any, rounds: int = 6, file: str = "model.json", **more: Any) -> None:
        parameters = {"max_depth": 3, "nthread": 1, "seed": 0, "objective": name.replace("_", ":", 1), **more}
        ranked = GROUPS if name.startswith("rank") else None
        rows = xgb.DMatrix(X, label=label, qid=ranked, feature_names=list("abcd"))
        xgb.train(parameters, rows, rounds).save_model(place(root, name) / file)

    add("binary_logistic", BINARY, base_score=0.2)
    add("multi_softprob", CLASS, num_class=3, file="model.ubj")
    add("multi_softmax", CLASS, num_class=3)
    add("reg_squarederror", NUMBER, base_score=7.5)
    add("count_poisson", np.abs(NUMBER))
    add("rank_ndcg", BINARY)
    add("reg_logistic", BINARY)
    add("binary_hinge", BINARY)
    add("binary_logitraw", BINARY, booster="dart")
    parameters = {"objective": "reg:squarederror", "max_depth": 3, "nthread": 1}
    xgb.train(parameters, xgb.DMatrix(FAR, label=NUMBER), 6).save_model(place(root, "far") / "model.ubj")
    train, check = xgb.DMatrix(X[:200], label=BINARY[:200]), xgb.DMatrix(X[200:], label=RANDOM.integers(0, 2, 100))
    stopping = {"evals": [(check, "check")], "early_stopping_rounds": 5, "verbose_eval": False}
    booster = xgb.train({"objective": "binary:logistic", "max_depth": 4, "nthread": 1}, train, 40, **stopping)
    assert booster.best_iteration + 1 < booster.num_boosted_rounds()
    booster.set_attr(scikit_learn="{}")  # as XGBClassifier.save_model leaves it
    booster.save_model(place(root, "early") / "model.json")
    best = booster.predict(xgb.DMatrix(X[:7]), iteration_range=(0, booster.best_iteration + 1))
    np.save(root / "early.npy", np.stack([1 - best, best], axis=1))


def lightgbm(root: Path) -> None:
    import lightgbm as lgb

    def add(name: str, label: Any, objective: str = "", values: Any = X, **more: Any) -> None:
        fixed = {"verbose": -1, "num_leaves": 7, "num_threads": 1, "seed": 0, "deterministic": True}
        group = [100] * 3 if name == "lambdarank" else None
        rows = lgb.Dataset(values, label=label, group=group, feature_name=list("abcd"))
        booster = lgb.train({**fixed, "objective": objective or name, **more}, rows, 6)
        booster.save_model(place(root, name) / "model.txt")

    add("binary", BINARY)
    add("multiclass", CLASS, num_class=3)
    add("regression_l1", NUMBER)
    add("poisson", np.abs(NUMBER))
    add("lambdarank", BINARY)
    add("dart", BINARY, "binary", boosting="dart")
    add("far", NUMBER, "regression", FAR)
    add("cross_entropy", BINARY)
    add("multiclassova", CLASS, num_class=3)
    add("sigmoid", BINARY, "binary", sigmoid=2.0)
    add("linear", NUMBER, "regression", linear_tree=True)
    add("forest", BINARY, "binary", boosting="rf", bagging_freq=1, bagging_fraction=0.7)
    add("zero", NUMBER, "regression", zero_as_missing=True)


def catboost(root: Path) -> None:
    import catboost as cb

    def add(name: str, label: Any, rows: Any = X, **more: Any) -> None:
        parameters = {"iterations": 6, "depth": 3, "verbose": False, "thread_count": 1, "allow_writing_files": False}
        ranked = GROUPS if name == "YetiRank" else None
        pool = cb.Pool(rows, label, group_id=ranked, cat_features=more.pop("cat_features", None))
        model = cb.CatBoost({**parameters, "random_seed": 0, "loss_function": name, **more}).fit(pool)
        model.save_model(str(place(root, name) / "model.cbm"))

    add("Logloss", BINARY)
    add("MultiClass", np.array(["red", "green", "blue"])[CLASS])
    add("RMSE", NUMBER + 100)
    add("far", NUMBER, FAR, loss_function="RMSE")
    add("YetiRank", BINARY)
    add("MultiClassOneVsAll", CLASS)
    add("MultiRMSE", np.stack([NUMBER, -NUMBER], axis=1))
    words = RANDOM.choice(["a", "b", "c"], len(X))
    add("CrossEntropy", (words == "b").astype(int), [[word, 0.5] for word in words], cat_features=[0])


def place(root: Path, name: str) -> Path:
    directory = root / name
    (directory / "golden").mkdir(parents=True)
    np.savez(directory / "golden" / "missing.npz", **{"input:features": X[:7]})
    return directory


if __name__ == "__main__":
    {"xgboost": xgboost, "lightgbm": lightgbm, "catboost": catboost}[sys.argv[1]](Path(sys.argv[2]))
