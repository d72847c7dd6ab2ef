"""Judge where result files may come from: an answer names their addresses, so these are not trusted."""

from __future__ import annotations

from typing import Final

from yarl import URL

from kling_async.wire.hosts import is_loopback, is_public

__all__ = ["address_of", "is_loopback", "is_public", "wrong_address"]

_NO_URL: Final = URL()


def address_of(text: str, *, base: URL = _NO_URL) -> URL:
    """Parse an address once, as aiohttp will use it: the host that is judged is the host connected to.

    Args:
        text: An absolute address, or a reference as redirects hold them.
        base: The address that a reference is relative to.

    Returns:
        A URL without scheme if the text is no address.
    """
    try:
        url = URL(text)
        return base.join(url) if base.absolute else url
    except ValueError:
        return _NO_URL


def wrong_address(url: URL, *, local: bool) -> str | None:
    """Return why files may not come from an address; None if they may.

    Args:
        url: Accepted if it is https to a public host.
        local: The API itself is on this machine: accept http and https to this machine too.
    """
    host = url.raw_host or ""
    if local and url.scheme in ("http", "https") and is_loopback(host):
        return None
    if url.scheme == "https" and is_public(host):
        return None
    if not url.scheme:
        return "the result's address is not a URL"
    return f"the result's address ({url.scheme}://{host}) is not public https"
