# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#     "catboost==1.2.10", "h5py", "joblib", "keras==3.15.1", "lightgbm==4.7.0", "safetensors", "scikit-learn==1.9.1",
#     "skops", "torch==2.13.0", "xgboost-cpu==3.2.0",
# ]
# ///
"""Writes the files of this folder with the frameworks that they belong to, as small as they can be. Large ones are cut
to their head, which is all that builder/formats/known.py reads of what is no zip archive."""

import os
import pickle
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import catboost
import joblib
import keras
import lightgbm
import numpy as np
import safetensors.torch
import skops.io
import torch
import xgboost
from sklearn.linear_model import LogisticRegression

HERE = Path(__file__).resolve().parent
HEAD = 4096


def main() -> None:
    torch.manual_seed(0)
    os.chdir(HERE)
    module = torch.nn.Linear(2, 1).eval()
    torch.save(module.state_dict(), "state_dict.pt")
    torch.save(module.state_dict(), "legacy.pt", _use_new_zipfile_serialization=False)
    torch.jit.script(module).save("scripted.pt")
    exported = torch.export.export(module, (torch.zeros(2, 2),))
    for node in exported.graph.nodes:
        node.meta.pop("stack_trace", None)  # the paths of this machine
    torch.export.save(exported, "exported.pt2")
    safetensors.torch.save_file(module.state_dict(), "weights.safetensors")

    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.save("network.keras")
    network.save("network.h5")

    rows, labels = np.random.default_rng(0).random((40, 2)), np.arange(40) % 2
    classifier = LogisticRegression().fit(rows, labels)
    Path("classifier.pkl").write_bytes(pickle.dumps(classifier))
    joblib.dump(classifier, "classifier.joblib")
    joblib.dump(classifier, "compressed.joblib", compress=3)
    skops.io.dump(classifier, "classifier.skops")

    booster = xgboost.train({"max_depth": 1}, xgboost.DMatrix(rows, labels), 1)
    booster.save_model("booster.json")
    booster.save_model("booster.ubj")
    parameters = {"verbose": -1, "num_leaves": 2, "min_data_in_leaf": 1}
    lightgbm.train(parameters, lightgbm.Dataset(rows, labels), 1).save_model("booster.txt")
    trees = catboost.CatBoostClassifier(iterations=1, depth=1, verbose=False, allow_writing_files=False)
    trees.fit(rows, labels).save_model("trees.cbm")

    for name in ("network.h5", "booster.json", "booster.ubj", "booster.txt", "trees.cbm"):
        Path(name).write_bytes(Path(name).read_bytes()[:HEAD])


if __name__ == "__main__":
    main()
