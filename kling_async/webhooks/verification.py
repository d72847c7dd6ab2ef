"""Verification of a callback at the time of this machine's clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kling_async.errors import WebhookError
from kling_async.webhooks.signatures import Signed, examine, keys_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.webhooks.signatures import Headers

__all__ = ["verify"]


def verify(
    headers: Headers,
    body: bytes | bytearray | memoryview,
    secret: str | Iterable[str],
    *,
    now: float | None = None,
) -> Signed:
    """Make sure that a callback comes from the vendor, by the Standard Webhooks scheme.

    Verify before parsing, and act only then. A callback may come more than once: the id that is returned is
    the same each time.

    Args:
        headers: Headers of the request: a mapping, or pairs as in ASGI; names in any case.
        body: Its body, the bytes as they came.
        secret: The webhook secret of the console, ``whsec_...``; several during a rotation.
        now: Wall time in seconds since 1970; None for this machine's clock.

    Returns:
        Id and time of the callback.

    Raises:
        WebhookError: A header is missing, the time is more than 300 s off, or no signature matches.
        ConfigurationError: A secret is not of the form ``whsec_...``.
        TypeError: The body is not bytes.
    """
    if not isinstance(body, bytes | bytearray | memoryview):
        raise TypeError("body must be the bytes of the request, before any decoding or parsing")
    keys = keys_of(secret)
    found = examine(headers, bytes(body), keys, time.time() if now is None else now)
    if not isinstance(found, Signed):
        raise WebhookError(found.text)
    return found
