"""Callbacks as the vendor sends them, signed or not."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from kling_async.webhooks import sign
from tests.golden import golden

__all__ = ["BODY", "CALLBACKS", "NOW", "OTHER", "SECRET", "TOKEN", "encoded", "secret_of", "signed"]

CALLBACKS: Final[dict[str, Any]] = golden("callbacks")["callbacks"]
"""The vendor's callbacks by the names of the samples."""


def encoded(body: Any) -> bytes:
    """Encode a body as the vendor does: compact."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def secret_of(key: bytes) -> str:
    """Return the webhook secret for a key, as the console shows it."""
    return f"whsec_{base64.b64encode(key).decode()}"


NOW: Final = 1_790_000_000.0
SECRET: Final = secret_of(b"the vendor's key, of 32 bytes...")
OTHER: Final = secret_of(b"another key that nobody here uses")
TOKEN: Final = "path-token-0123456789"
BODY: Final = encoded(CALLBACKS["v1, captured in production 2025-12-12"]["body"])


def signed(body: bytes = BODY, *, secret: str = SECRET, id: str = "msg-1", at: float = NOW) -> dict[str, str]:  # noqa: A002
    """Sign a callback."""
    return sign(body, secret, id=id, timestamp=at)
