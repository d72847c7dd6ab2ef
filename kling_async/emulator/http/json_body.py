"""Parsing of JSON objects from untrusted bytes."""

from __future__ import annotations

import json
from typing import Any, cast

__all__ = ["parse_object"]


def parse_object(raw: bytes) -> dict[str, Any] | None:
    """Return the JSON object in ``raw``, None if ``raw`` is not JSON or not an object."""
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
