"""Which converter turns a format into ONNX: a worker and the environment that it runs in. One entry for each format.

The requirements are the whole closure as uv resolved it, so that a conversion is the same tomorrow; what the table of
facts says works together is pinned, the rest is what those ask for. CPU builds only.
"""

from __future__ import annotations

from dataclasses import dataclass

from builder.convert.envs import EnvironmentSpec

_ONNX = (
    "ml-dtypes==0.6.0",
    "numpy==2.4.6",
    "onnx==1.23.2",
    "packaging==26.3",
    "protobuf==6.33.6",
    "typing-extensions==4.16.0",
)
_TREES = (
    *_ONNX,
    "joblib==1.6.0",
    "narwhals==2.29.0",
    "onnxmltools==1.16.0",
    "scikit-learn==1.9.1",
    "scipy==1.17.1",
    "skl2onnx==1.20.0",
    "threadpoolctl==3.8.0",
)
_PANDAS = ("pandas==3.1.1", "python-dateutil==4.0.0", "six==1.17.0", "tzdata==2026.6")


@dataclass(frozen=True, kw_only=True, slots=True)
class Converter:
    """``framework`` names it for people; ``worker`` is a file of builder/convert/workers; ``revision`` is bumped by
    hand when the worker would write other bytes."""

    framework: str
    worker: str
    environment: EnvironmentSpec
    revision: int = 1


CONVERTERS: dict[str, Converter] = {
    "xgboost": Converter(
        framework="XGBoost",
        worker="xgboost_worker",
        environment=EnvironmentSpec(name="xgboost", requirements=(*_TREES, "xgboost-cpu==3.2.0")),
    ),
    "lightgbm": Converter(
        framework="LightGBM",
        worker="lightgbm_worker",
        environment=EnvironmentSpec(name="lightgbm", requirements=(*_TREES, "lightgbm==4.7.0")),
    ),
    "catboost": Converter(
        framework="CatBoost",
        worker="catboost_worker",
        environment=EnvironmentSpec(
            name="catboost",
            requirements=(*_ONNX, "catboost==1.2.10", *_PANDAS, "scipy==1.17.1", "graphviz==0.21"),
        ),
    ),
}
"""By the name of the format (builder/formats)."""
