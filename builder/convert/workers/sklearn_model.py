"""What a fitted scikit-learn model takes and gives: its columns and their kinds, its outputs, its known values.

Stands beside sklearn_worker and is imported by it; needs scikit-learn and nothing of mbuild.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline
from worker_io import Failure

TEXT, NUMBER = "text", "number"
_VECTORIZERS = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer")
_ENCODERS = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")
_EXACT = (*_ENCODERS, "ColumnTransformer", "Pipeline", "FeatureUnion", "SimpleImputer", "FunctionTransformer", "str")
_TREES = ("Tree", "Forest", "GradientBoosting", "Bagging", "AdaBoost")
_SAMPLES = 12


@dataclass
class Column:
    """A column of the table: ``values`` are some that the model was fitted with, where it remembers them;
    ``is_continuous`` where any number between them would do as well."""

    kind: str = NUMBER
    values: list[Any] = field(default_factory=list)
    is_continuous: bool = False


def final_estimator(model: Any) -> Any:
    return final_estimator(model.steps[-1][1]) if isinstance(model, Pipeline) else model


def first_step(model: Any) -> Any:
    while isinstance(model, Pipeline):
        model = model.steps[0][1]
    return model


def parts(model: Any) -> Iterator[Any]:
    """The model and every estimator inside it."""
    yield model
    inner: list[Any] = []
    if isinstance(model, Pipeline):
        inner = [step for _, step in model.steps]
    elif isinstance(model, ColumnTransformer):
        inner = [step for _, step, _ in fitted_transformers(model)]
    elif isinstance(model, FeatureUnion):
        inner = [step for _, step in model.transformer_list]
    for name in ("estimators_", "estimator_", "estimator", "final_estimator_", "calibrated_classifiers_"):
        found = getattr(model, name, None)
        inner += _flat(found)
    for step in inner:
        if hasattr(step, "get_params") or hasattr(step, "estimator"):
            yield from parts(step)


def _flat(found: Any) -> list[Any]:
    """Forests are sequences themselves, so numpy's ravel would take them apart."""
    if isinstance(found, np.ndarray):
        return list(found.ravel())
    if isinstance(found, list | tuple):
        return [each for item in found for each in _flat(item)]
    return [] if found is None else [found]


def fitted_transformers(model: Any) -> list[tuple[str, Any, Any]]:
    return [entry for entry in model.transformers_ if not isinstance(entry[1], str) or entry[1] == "passthrough"]


def wants_double(model: Any) -> bool:
    """Whether numbers are computed with before a tree looks at them: in FP32 they would fall on other sides of its
    splits than in the FP64 of scikit-learn."""
    if not isinstance(model, Pipeline) or not is_tree(model):
        return False
    before = [part for _, step in model.steps[:-1] for part in parts(step)]
    if any("Imputer" in type(part).__name__ for part in before):
        return False  # onnxruntime has no Imputer of FP64
    return any(type(part).__name__ not in (*_EXACT, *_VECTORIZERS) for part in before)


def is_tree(model: Any) -> bool:
    return any(word in type(part).__name__ for part in parts(final_estimator(model)) for word in _TREES)


def takes_text(model: Any) -> bool:
    first = first_step(model)
    if isinstance(first, FeatureUnion):
        return all(takes_text(step) for _, step in first.transformer_list)
    return type(first).__name__ in _VECTORIZERS


def columns_of(model: Any) -> dict[str, Column] | None:
    """The named columns that the model looks at, in the order of its table; None where it takes one matrix."""
    first, names = first_step(model), getattr(model, "feature_names_in_", None)
    if not isinstance(first, ColumnTransformer) or names is None:
        return None
    found: dict[str, Column] = {}
    for _, step, chosen in fitted_transformers(first):
        for place, name in enumerate(_chosen(chosen, list(names))):
            column = found.setdefault(name, Column())
            _learn(column, step, place)
    return {name: found[name] for name in names if name in found}


def _chosen(chosen: Any, names: list[str]) -> list[str]:
    """The names that a ColumnTransformer's selection stands for."""
    if isinstance(chosen, str):
        return [chosen]
    if isinstance(chosen, slice):
        if isinstance(chosen.start, str) or isinstance(chosen.stop, str):
            start = names.index(chosen.start) if chosen.start is not None else 0
            stop = names.index(chosen.stop) + 1 if chosen.stop is not None else len(names)
            return names[start:stop]
        return names[chosen]
    items = [chosen] if isinstance(chosen, int) else list(chosen)
    if items and all(isinstance(item, bool | np.bool_) for item in items):
        return [name for name, taken in zip(names, items, strict=True) if taken]
    return [item if isinstance(item, str) else names[int(item)] for item in items]


def _learn(column: Column, step: Any, place: int) -> None:
    """What a transformer of the column says about it; ``place`` is the column's among those of the transformer."""
    for part in parts(step):
        kind = type(part).__name__
        if kind in _VECTORIZERS:
            column.kind, column.values = TEXT, sentences(part)
        elif kind in _ENCODERS and len(getattr(part, "categories_", ())) > place:
            _learn_categories(column, part, place)
        elif kind == "SimpleImputer" and getattr(part, "statistics_", np.zeros(1)).dtype.kind == "O":
            fills = part.statistics_
            column.kind = TEXT if place < len(fills) and isinstance(fills[place], str) else column.kind
        elif not column.values and (values := spread(part, place)):
            column.values, column.is_continuous = values, True


def _learn_categories(column: Column, encoder: Any, place: int) -> None:
    known = encoder.categories_[place].tolist()
    texts: list[Any] = [value for value in known if isinstance(value, str)]
    if known and not texts and encoder.categories_[place].dtype.kind in "Ob":
        raise Failure("unsupported", f"a column has categories that are neither text nor numbers: {known[:3]}")
    column.kind = TEXT if texts else NUMBER
    column.values = (texts or [value for value in known if value == value])[:_SAMPLES]
    if getattr(encoder, "handle_unknown", "error") != "error":
        column.values.append("mbuild-unknown" if texts else float(max(column.values, default=0)) + 1.0)


def spread(scaler: Any, place: int) -> list[float]:
    """Numbers like those that a scaler was fitted to; none of another estimator."""
    kind = type(scaler).__name__
    if kind == "MinMaxScaler":
        middle = (scaler.data_min_[place] + scaler.data_max_[place]) / 2
        width = scaler.data_range_[place] / 4
    elif kind in ("StandardScaler", "RobustScaler") and scaler.scale_ is not None:
        centre = scaler.mean_ if kind == "StandardScaler" else scaler.center_
        middle, width = centre[place] if centre is not None else 0.0, scaler.scale_[place]
    elif kind == "MaxAbsScaler":
        middle, width = 0.0, scaler.max_abs_[place] / 2
    else:
        return []
    return [float(np.float32(middle + step * width)) for step in (-2.0, -0.7, -0.1, 0.3, 1.1, 2.5)]


def passed_columns(model: Any) -> dict[str, int]:
    """The columns of a table that its last step sees as they are, with their places in what it sees."""
    first = first_step(model)
    if not isinstance(model, Pipeline) or len(model.steps) != 2 or not isinstance(first, ColumnTransformer):
        return {}
    names, found = list(model.feature_names_in_), dict[str, int]()
    for name, step, chosen in fitted_transformers(first):
        if step == "passthrough" or (type(step).__name__ == "FunctionTransformer" and step.func is None):
            begin = first.output_indices_[name].start
            found |= {column: begin + place for place, column in enumerate(_chosen(chosen, names))}
    return found


def sentences(vectorizer: Any) -> list[str]:
    words = sorted(getattr(vectorizer, "vocabulary_", {}))[:200]
    step = max(1, len(words) // _SAMPLES)
    return [*[" ".join(words[place : place + 1 + place % 3]) for place in range(0, len(words), step)][:_SAMPLES], ""]


def output_names(model: Any) -> tuple[str, ...]:
    """By the order in which skl2onnx gives them; those that are not named here are taken away."""
    final = final_estimator(model)
    kind = getattr(final, "_estimator_type", None)
    if is_classifier(model):
        return ("label", "probabilities") if hasattr(model, "predict_proba") else ("label",)
    if is_regressor(model):
        return ("prediction",)
    if hasattr(model, "predict_proba"):
        return ("label", "probabilities")
    if hasattr(model, "decision_function"):
        return ("label", "scores")
    if hasattr(model, "predict") and (kind == "clusterer" or hasattr(final, "cluster_centers_")):
        return ("label",)
    if hasattr(model, "transform"):
        return ("transformed",)
    raise Failure("unsupported", f"{type(final).__name__} has neither predict nor transform for new samples")


def answers(model: Any, table: Any) -> dict[str, Any]:
    """What the model itself gives for each of ``output_names``."""
    found: dict[str, Any] = {}
    for name in output_names(model):
        if name == "label":
            label = np.asarray(model.predict(table))
            found[name] = label.astype(np.int64) if label.dtype.kind in "biuf" else label.astype(str)
        elif name == "prediction":
            found[name] = _matrix(model.predict(table))
        elif name == "probabilities":
            found[name] = _matrix(model.predict_proba(table))
        elif name == "scores":
            found[name] = _matrix(model.decision_function(table))
        else:
            found[name] = _matrix(model.transform(table))
    return found


def _matrix(values: Any) -> Any:
    values = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
    return values.astype(np.float32).reshape(len(values), -1)
