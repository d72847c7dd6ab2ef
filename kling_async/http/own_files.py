"""Tell which result files lie on a gateway's own host, where its key may be needed to read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from yarl import URL

from kling_async.wire.hosts import is_vendors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.wire.dialects.dialect import Translator

__all__ = ["OwnFiles"]


class Bearer(Protocol):
    """Gives the bearer token (`kling_async.http.auth.Signer`)."""

    def token(self, now: float, /) -> str:
        """Return the token to send; ``now`` is wall time, seconds since 1970."""
        ...


class OwnFiles:
    """Files of a gateway's own: below the origin (scheme, host and port) of the base URL, not the vendor's.

    The user named that host, so it may be private, and gets the key that it has with every request anyway;
    no other host ever gets it.

    Args:
        base_url: Address of the API.
        signer: Provides the bearer token.
        dialects: Tells whether the server is a gateway.
    """

    def __init__(self, base_url: str, signer: Bearer, dialects: Translator) -> None:
        self.base = URL(f"{base_url}/")
        """What addresses without a host are relative to."""
        self._signer = signer
        self._dialects = dialects
        self._elsewhere = not is_vendors(base_url)

    def covers(self, url: URL) -> bool:
        """Tell whether an address is of the gateway's own host."""
        if not (self._elsewhere or self._dialects.gateway) or not url.absolute:
            return False
        return url.scheme in ("http", "https") and url.origin() == self.base.origin()

    def headers(self, now: float) -> Mapping[str, str]:
        """Return what shows the key; ``now`` is wall time, seconds since 1970."""
        return {"Authorization": f"Bearer {self._signer.token(now)}"}
