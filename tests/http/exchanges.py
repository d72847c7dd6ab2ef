"""Provide a transport to small servers, and the answers that most tests send."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from kling_async import Timeouts
from kling_async.events import Hooks
from kling_async.http.auth import ApiKey
from kling_async.http.sessions import Sessions
from kling_async.http.transport import Transport
from kling_async.runtime.loop import LoopScope
from kling_async.wire.dialects.translate import Dialects
from tests.wiretap import raw, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from kling_async.core.verdict import ExchangeOutcome
    from kling_async.http.auth import Signer

KEY: Final = "sk-9f8e7d6c5b4a39281706f5e4d3c2b1a0"
LIMITS: Final = Timeouts()


@asynccontextmanager
async def sending(
    port: int,
    *,
    signer: Signer | None = None,
    headers: Mapping[str, str] | None = None,
    scheme: str = "http",
    dialect: str = "auto",
    **options: Any,
) -> AsyncIterator[Transport]:
    scope = LoopScope(lambda: 1_790_000_000.0)
    sessions = Sessions(scope, **options)
    try:
        hooks = Hooks(None, scope.time)
        base_url = f"{scheme}://127.0.0.1:{port}"
        signs = signer or ApiKey(KEY)
        yield Transport(sessions, signs, base_url, Dialects(dialect), headers, hooks=hooks)
    finally:
        await sessions.close()


async def outcome_of(answer: bytes, method: str = "GET", **options: Any) -> ExchangeOutcome:
    """Send one request to a server with that answer; return the outcome."""
    async with serving(answer) as wire, sending(wire.port) as transport:
        return await transport.exchange(method, "/x", timeouts=LIMITS, **options)


OK: Final = raw({"code": 0, "message": "SUCCEED", "request_id": "r-1", "data": {"task_id": "77"}})
HTML: Final = b"<html><head><title>502 Bad Gateway</title></head></html>"
FORM: Final = "the answer is not of the API's form"
CUT_OFF: Final = "the connection was cut before the whole answer came"
