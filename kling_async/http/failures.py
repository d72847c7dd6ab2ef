"""Turn exceptions of the HTTP library into values, so that none becomes the context of an error.

The repr of an aiohttp exception holds the headers of its request, the Authorization header among them, and a
logger prints the context of every error (``raise ... from None`` only hides it from the default traceback).
An error that is raised after the ``except`` block has ended has no context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import aiohttp

from kling_async.core.verdict import Broken

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["WIRE_ERRORS", "broken_by", "value_or_error"]

T = TypeVar("T")
E = TypeVar("E", bound=Exception)

# aiohttp raises a bare RuntimeError for a session or stream that is closed while a request uses it
WIRE_ERRORS: Final = (aiohttp.ClientError, OSError, RuntimeError)
"""Raised by an exchange that fails; TimeoutError is an OSError."""


async def value_or_error(work: Awaitable[T], kinds: type[E] | tuple[type[E], ...]) -> T | E:
    """Await work; return its value, or the exception of one of ``kinds`` that it raised."""
    try:
        return await work
    except kinds as error:
        return error


def broken_by(error: Exception) -> Broken:  # noqa: PLR0911 - a table
    """Say in our words what an exception of the HTTP library means, and whether anything was sent."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Broken(False, f"cannot find the host {error.host}")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return Broken(False, f"no TLS connection to {error.host}; is its certificate to be trusted?")
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
            return Broken(True, "the connection was cut before the whole answer came")
        case aiohttp.ClientResponseError():
            return Broken(True, "the answer is not HTTP")
        case _:
            # counted as sent: to look a create up once too often is cheaper than to pay for it twice
            return Broken(True, "the exchange failed")
