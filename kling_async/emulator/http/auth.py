"""Authentication: an API key, or a JWT signed with the secret key.

Tokens are checked here by hand (RFC 7519, HS256 only) and not with the library that the client signs them
with, so that both sides cannot share a mistake.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any, Final

from kling_async.emulator.http.json_body import parse_object
from kling_async.emulator.judging.refusals import Refusal

__all__ = ["Keys"]


_NO_PAIRS: Final = "Authentication error. The current API does not support AK/SK"


@dataclass(frozen=True, slots=True)
class Keys:
    """The account's credentials; None for those that it does not have."""

    api_key: str | None = field(default=None, repr=False)
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)

    def check(self, header: str | None, wall: float, *, pairs: bool = True) -> None:
        """Check an Authorization header.

        Args:
            header: Value of the header, None if it is missing.
            wall: The server's wall time in seconds since 1970.
            pairs: Whether a JWT of the key pair is accepted; the second generation of the API takes only the
                API key.

        Raises:
            Refusal: The header does not authenticate (1000 to 1004).
        """
        if not header or not header.strip():
            raise Refusal(1001)
        scheme, _, token = header.partition(" ")
        if scheme != "Bearer" or not token:
            raise Refusal(1002, "Authorization is invalid: Bearer and one token expected")
        if self.api_key is not None and hmac.compare_digest(token.encode(), self.api_key.encode()):
            return
        if token.count(".") != 2:
            # observed: the second generation takes every unknown key for a signed token
            raise Refusal(1002, "api key not found" if pairs else _NO_PAIRS)
        if not pairs or self.access_key is None or self.secret_key is None:
            raise Refusal(1002, _NO_PAIRS)
        self._check_claims(_claims(token, self.secret_key, self.access_key), wall)

    @staticmethod
    def _check_claims(claims: dict[str, Any], wall: float) -> None:
        expires, begins = claims.get("exp"), claims.get("nbf", 0)
        if not isinstance(expires, int | float) or not isinstance(begins, int | float):
            raise Refusal(1000, "Authentication failed: exp and nbf must be numbers")
        if begins > wall:
            raise Refusal(1003, "Authorization is not valid yet")
        if expires <= wall:
            raise Refusal(1004, "Authorization has expired")


def _claims(token: str, secret_key: str, access_key: str) -> dict[str, Any]:
    """Return the claims of a token, or refuse one that this key pair did not sign."""
    signed, _, signature = token.rpartition(".")
    head, _, claims = signed.partition(".")
    header, payload = parse_object(_decoded(head)) or {}, parse_object(_decoded(claims)) or {}
    if header.get("alg") != "HS256":
        raise Refusal(1000, "Authentication failed: alg must be HS256")
    if payload.get("iss") != access_key:
        raise Refusal(1002, "access key not found")
    expected = hmac.digest(secret_key.encode(), signed.encode(), hashlib.sha256)
    if not hmac.compare_digest(_decoded(signature), expected):
        raise Refusal(1000, "Authentication failed")
    return payload


def _decoded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        return b""
