"""Turn exceptions of the HTTP library into values, so that none becomes the context of an error.

The repr of an aiohttp exception holds the headers of its request, the Authorization header among them, and a
logger prints the context of every error (``raise ... from None`` only hides it from the default traceback).
An error that is raised after the ``except`` block has ended has no context.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

import aiohttp

from kling_async.core.verdict import Broken

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["CancelledUnsent", "broken_by", "value_or_error"]

T = TypeVar("T")
E = TypeVar("E", bound=Exception)


async def value_or_error(work: Awaitable[T], kinds: type[E] | tuple[type[E], ...]) -> T | E:
    """Await work; return its value, or the exception of one of ``kinds`` that it raised."""
    try:
        return await work
    except kinds as error:
        return error


class CancelledUnsent(asyncio.CancelledError):
    """Cancelled before the first byte of a request with a body: the server knows nothing of it."""


def broken_by(error: Exception, *, written: bool | None = None) -> Broken:
    """Say in our words what an exception of the HTTP library means, and whether anything was sent.

    Args:
        error: What the exchange raised.
        written: Whether a byte of the request's body was written (`TrackedBody.written`), which is known
            better than any exception tells; None for a request without a body.
    """
    broken = _by_class(error)
    if written is None or written is broken.sent:
        return broken
    if written:
        return broken._replace(sent=True)
    return Broken(False, _UNSENT.get(broken.reason) or f"{broken.reason} before anything was sent")


_CUT: Final = "the connection was cut before the whole answer came"
_FAILED: Final = "the exchange failed"
_NO_HTTP: Final = "the answer is not HTTP"
_UNSENT: Final = {
    _CUT: "the connection was cut before anything was sent",
    _NO_HTTP: "the proxy's answer is not HTTP",
}


def _by_class(error: Exception) -> Broken:  # noqa: PLR0911 - a table
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Broken(False, f"cannot find the host {error.host}")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            hopeless = isinstance(error, aiohttp.ClientConnectorCertificateError)
            reason = f"no TLS connection to {error.host}; is its certificate to be trusted?"
            return Broken(False, reason, hopeless)
        case aiohttp.ClientConnectorError():
            reason = error.os_error.strerror or type(error.os_error).__name__
            return Broken(False, f"cannot connect to {error.host}:{error.port}: {reason}")
        case aiohttp.ConnectionTimeoutError():
            return Broken(False, "no connection in time")
        case aiohttp.ClientHttpProxyError():
            return Broken(False, f"the proxy refused (HTTP {error.status})")
        case aiohttp.InvalidURL():
            return Broken(False, "the address of the API or of its proxy is not a URL")
        case aiohttp.ServerTimeoutError() | TimeoutError():
            return Broken(True, "no answer in time")
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | aiohttp.ClientOSError():
            return Broken(True, _CUT)
        case aiohttp.ClientResponseError():
            return Broken(True, _NO_HTTP)
        case _:
            # counted as sent: to look a create up once too often is cheaper than to pay for it twice
            known = isinstance(error, aiohttp.ClientError | OSError | RuntimeError)
            return Broken(True, _FAILED if known else f"{_FAILED} ({type(error).__name__})")
