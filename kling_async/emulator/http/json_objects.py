"""JSON that may be anything, as strangers send it."""

from __future__ import annotations

import json
from typing import Any, cast

__all__ = ["json_object"]


def json_object(raw: bytes) -> dict[str, Any] | None:
    """Return the JSON object in ``raw``, None if there is none."""
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
