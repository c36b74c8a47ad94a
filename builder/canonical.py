"""One spelling of a JSON value, so that equal values have equal bytes and equal keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping


def canonical_json(value: object) -> bytes:
    """UTF-8 JSON with sorted keys, no white space and no NaN (the bytes that digests are taken of)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def readable_json(value: object) -> bytes:
    """The same value for people and for diffs: two spaces, sorted keys, a newline at the end."""
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def content_key(value: Mapping[str, object]) -> str:
    """The SHA-256 (hex) of the canonical JSON of ``value``: the key of a cached step."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
