"""The environment for a version of scikit-learn: pickles want the version that wrote them.

Measured: 1.9.1 and 1.5.2 with numpy 2, 1.4.2 with numpy 1.26. A version between that has no wheels is uv's refusal;
older ones have none for the Python of today together with an exporter that knows them.
"""

from __future__ import annotations

from collections.abc import Mapping

from packaging.version import InvalidVersion, Version

from builder.convert.envs import EnvironmentSpec
from builder.errors import UnsupportedModel

DEFAULT = "1.9.1"
_OLDEST, _NUMPY2, _NEWEST = Version("1.3"), Version("1.5"), Version("1.10")
_SHARED = (
    "cloudpickle==3.1.2",
    "joblib==1.6.0",
    "narwhals==2.29.0",
    "onnx==1.23.2",
    "packaging==26.3",
    "prettytable==3.18.0",
    "protobuf==6.33.6",
    "python-dateutil==4.0.0",
    "six==1.17.0",
    "skl2onnx==1.20.0",
    "skops==0.16.0",
    "threadpoolctl==3.8.0",
    "typing-extensions==4.16.0",
    "tzdata==2026.6",
    "wcwidth==0.9.4",
)
_NEW = ("ml-dtypes==0.6.0", "numpy==2.4.6", "pandas==3.1.1", "scipy==1.17.1")
_OLD = ("ml-dtypes==0.5.4", "numpy==1.26.4", "pandas==2.2.3", "pytz==2025.2", "scipy==1.13.1")


class ScikitLearnVersion(UnsupportedModel):
    code = "scikit-learn-version"
    message = "the model was saved by scikit-learn {version}; {oldest} to {newest} can be converted"
    hint = "load it with that version, fit it again with scikit-learn {newest}, and save that"


def sklearn_environment(versions: Mapping[str, str]) -> EnvironmentSpec:
    """For the version in ``versions["scikit-learn"]``, the newest where it says none. Raises ScikitLearnVersion."""
    text = versions.get("scikit-learn", DEFAULT)
    try:
        version = Version(text)
    except InvalidVersion:
        version = Version("0")
    if not _OLDEST <= version < _NEWEST:
        raise ScikitLearnVersion(version=text, oldest=_OLDEST, newest=DEFAULT)
    rest = _NEW if version >= _NUMPY2 else _OLD
    requirements = (*_SHARED, *rest, f"scikit-learn=={version}")
    return EnvironmentSpec(name="sklearn", requirements=requirements, megabytes=394)
