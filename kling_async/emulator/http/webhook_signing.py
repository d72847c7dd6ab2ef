"""Signing of callbacks by the Standard Webhooks scheme.

Written from the vendor's description, apart from the code that the client verifies with, so that both sides
cannot share a mistake.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FORGER", "WebhookSigner"]

PREFIX: Final = "whsec_"


@dataclass(frozen=True, slots=True)
class WebhookSigner:
    """The webhook secrets of the account; with none, callbacks are not signed."""

    keys: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, secrets: str | Sequence[str] | None) -> WebhookSigner:
        """Return the signer with secrets as the console shows them, the newest last.

        Raises:
            ValueError: A secret is not ``whsec_`` and Base64.
        """
        texts = (secrets,) if isinstance(secrets, str) else secrets or ()
        return cls(tuple(_key(text) for text in texts))

    def headers(self, webhook_id: str, seconds: int, body: bytes) -> dict[str, str]:
        """Return the three headers of a callback sent at ``seconds``, one signature for each secret."""
        if not self.keys:
            return {}
        signed = b".".join((webhook_id.encode(), str(seconds).encode(), body))
        macs = (hmac.new(key, signed, hashlib.sha256).digest() for key in self.keys)
        return {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": " ".join("v1," + base64.b64encode(mac).decode() for mac in macs),
        }


def _key(text: str) -> bytes:
    head, _, tail = text.partition(PREFIX)
    try:
        key = b"" if head else base64.b64decode(tail, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("a webhook secret is whsec_ and Base64; this one is not")
    return key


FORGER: Final = WebhookSigner((b"the key of somebody else, 32 bytes",))
"""Signs the callbacks that scripted faults forge."""
