"""Says in plain words, with dotted paths, where a value breaks a JSON Schema (draft 2020-12) that ships with mbuild."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from builder.model.problems import Problem, suggestion
from builder.resources import schema_file

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping",
    "array": "a list",
    "boolean": "true or false",
}


def check_schema(value: object, schema: str) -> tuple[Problem, ...]:
    """All problems of ``value`` under ``builder/schemas/SCHEMA.schema.json``, sorted by path."""
    return tuple(sorted(problem for error in _validator(schema).iter_errors(value) for problem in _explain(error)))


@cache
def _validator(schema: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # late: it loads slowly, and many a model has no model.yaml

    return Draft202012Validator(json.loads(schema_file(schema).read_bytes()))


def _explain(error: Any) -> Iterator[Problem]:
    where = _dotted(error)
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        for key in sorted(error.instance.keys() - known.keys()):
            yield Problem(f"{where}.{key}".lstrip("."), f"there is no such key{suggestion(key, known)}")
        return
    if "propertyNames" in error.absolute_schema_path and error.validator == "enum":
        yield Problem(
            where, f"no key {error.instance!r} belongs here{suggestion(error.instance, error.validator_value)}"
        )
        return
    if "propertyNames" in error.absolute_schema_path:
        yield Problem(
            where, f"the key {error.instance!r} is malformed: lower-case letters, digits and . _ - / between them"
        )
        return
    text = _TEXTS.get(error.validator, _own_words)(error)
    yield Problem(where, text)


def _dotted(error: Any) -> str:
    text = ""
    for part in error.absolute_path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _own_words(error: Any) -> str:
    return str(error.message)


def _wrong_type(error: Any) -> str:
    allowed = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
    wanted = " or ".join(_TYPES.get(kind, str(kind)) for kind in allowed)
    quotes = isinstance(error.instance, int | float | bool) and error.validator_value == "string"
    return f"{_shown(error.instance)} is not {wanted}" + ("; put it in quotes" if quotes else "")


def _malformed(error: Any) -> str:
    wanted = error.schema.get("$comment")
    return f"{_shown(error.instance)} is not {wanted}" if wanted else error.message


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return re.sub(r"(?s)(.{57}).{3,}", r"\1...", text)


_TEXTS: dict[str, Callable[[Any], str]] = {
    "type": _wrong_type,
    "pattern": _malformed,
    "minimum": lambda error: f"{_shown(error.instance)} is less than the minimum, {error.validator_value}",
    "maximum": lambda error: f"{_shown(error.instance)} is more than the maximum, {error.validator_value}",
    "maxLength": lambda error: f"it has {len(error.instance)} characters; at most {error.validator_value} are allowed",
    "minLength": lambda error: "it is empty",
    "minItems": lambda error: "the list is empty",
}


def is_nan_free(value: Any) -> bool:
    """Whether no number in ``value`` is NaN or infinite (YAML can write both, JSON Schema's ranges let NaN pass)."""
    if isinstance(value, dict):
        return all(is_nan_free(item) for item in value.values())
    if isinstance(value, list):
        return all(is_nan_free(item) for item in value)
    return not isinstance(value, float) or abs(value) <= 1.7976931348623157e308
