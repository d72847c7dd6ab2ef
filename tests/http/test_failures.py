"""Test http/failures.py: exceptions of the HTTP library become values that no error has as its context."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
import pytest

from kling_async import TransportError
from kling_async.core.verdict import Broken
from kling_async.http.failures import broken_by, value_or_error

pytestmark = pytest.mark.anyio

ERRORS: Final = (aiohttp.ClientError, OSError, RuntimeError)


async def failing(error: BaseException) -> str:
    raise error


async def returning(value: str) -> str:
    return value


async def test_a_value_is_returned() -> None:
    """Work that succeeds gives its own value."""
    assert await value_or_error(returning("a"), ERRORS) == "a"


@pytest.mark.parametrize(
    "error",
    [aiohttp.ClientPayloadError(), aiohttp.InvalidURL("x"), TimeoutError(), OSError(), RuntimeError()],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_raised_afterwards_has_no_context(error: Exception) -> None:
    """The exception comes back as a value; an error that is raised then is not chained to it."""
    assert await value_or_error(failing(error), ERRORS) is error
    with pytest.raises(TransportError) as caught:
        await raise_after(error)
    assert caught.value.__context__ is None and caught.value.__cause__ is None


async def raise_after(error: Exception) -> None:
    failure = await value_or_error(failing(error), ERRORS)
    assert isinstance(failure, Exception)
    raise TransportError(broken_by(failure).reason, sent=True)


@pytest.mark.parametrize("error", [KeyError("a"), asyncio.CancelledError()], ids=["other", "cancelled"])
async def test_other_exceptions_are_raised(error: BaseException) -> None:
    """Mistakes and cancellation are no failures of the wire."""
    with pytest.raises(type(error)):
        await value_or_error(failing(error), ERRORS)


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ClientConnectionResetError(),
        aiohttp.ClientConnectionError(),
        OSError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_unforeseen_failures_count_as_sent(error: Exception) -> None:
    """An unknown exception counts as sent, and the reason holds no words of the library."""
    assert broken_by(error) == Broken(True, "the exchange failed")
