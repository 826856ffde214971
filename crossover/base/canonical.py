"""Canonical JSON, one spelling per value, and its SHA-256."""

import json
from typing import Any

from crossover.base.files import sha256_text


def canonical_json(value: Any) -> str:
    """JSON with one spelling per value: sorted keys, no spaces, shortest round-trip floats.

    Raises TypeError for anything without a deterministic form: sets, objects, NaN, infinities, non-string keys.
    """
    _require_text_keys([value])
    try:
        return _ENCODER.encode(value)
    except ValueError as error:
        raise TypeError(f"no canonical form: {error}") from None


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _require_text_keys(value: Any) -> None:
    """JSON turns other keys into text; whatever else has no form it refuses itself."""
    if isinstance(value, dict):
        if other := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"key {other[0]!r} is not a string")
        value = value.values()
    for item in value:
        if isinstance(item, (dict, list, tuple)):
            _require_text_keys(item)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, as 64 hex digits."""
    return sha256_text(canonical_json(value))
