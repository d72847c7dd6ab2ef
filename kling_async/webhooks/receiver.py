"""The receiver of a client's callbacks: they end its waits early, and settle its creates."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from kling_async.webhooks.app import CallbackApp
from kling_async.webhooks.gate import AcceptedCallback, CallbackGate, Trust

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.orchestrator.callback_intake import CallbackIntake
    from kling_async.webhooks.app import Receive, Scope, Send
    from kling_async.webhooks.gate import CallbackDecision

__all__ = ["CallbackReceiver", "HasCallbacks"]


_ATTRIBUTE: Final = "kling_client"
"""Name of the client in ``app.state``, where `kling_async.lifespan` puts it."""


class HasCallbacks(Protocol):
    """A client (`kling_async.Client`), as far as its callbacks go."""

    @property
    def callbacks(self) -> CallbackIntake:
        """Takes what callbacks tell."""
        ...


class CallbackReceiver(CallbackApp):
    """Receives the callbacks about a client's tasks: an ASGI application, and a handler for aiohttp.

        callbacks = CallbackReceiver(secret="whsec_...", path_token=TOKEN)
        app = FastAPI(lifespan=kling_async.lifespan(callback_url=f"https://host.example/kling/{TOKEN}"))
        app.mount("/kling", callbacks)                                # FastAPI, Starlette
        asgi("/kling", is_mount=True, copy_scope=True)(callbacks)     # Litestar: a route handler

        callbacks = CallbackReceiver(client, secret="whsec_...", path_token=TOKEN)
        app.router.add_post("/kling/{token}", callbacks.aiohttp)      # aiohttp

    A signed callback is believed: an end wakes those who wait, without a request, unless the result is not
    whole in it; a create whose answer has not come is accepted by it. An unsigned one with the right path
    token is a hint: one query confirms an end that it claims. Either moves a task forward only, and the first
    end stands. Forged, old, replayed, huge and malformed ones change nothing; ``client.stats().callbacks``
    counts all.

    The answer has no body: 200 if the callback is good, also about a task that nobody here knows; 401, 413 or
    400 if it was dropped, 405 if it is no POST, 503 once the client is closed: then it is neither read nor
    counted, and `Client.attach` finds the task later. The log shows ids and status, no more of a callback.

    Args:
        client: The client. It should live in the web server's loop: what comes in another is handed over.
            Default: that of the application in which this is mounted, if it has `kling_async.lifespan`; until
            it has started, callbacks are answered with 503.
        secret: The webhook secret of the console, ``whsec_...``; several during a rotation. None: no
            signature can be verified, every callback is a hint.
        path_token: The last segment of the callback address, a secret of yours, such as
            ``secrets.token_urlsafe(16)`` gives; two during a rotation. None: unsigned callbacks are dropped.

    Raises:
        ConfigurationError: Neither is given, or one is not of its form. The message repeats neither.
    """

    def __init__(
        self,
        client: HasCallbacks | None = None,
        *,
        secret: str | Iterable[str] | None = None,
        path_token: str | Iterable[str] | None = None,
    ) -> None:
        self._intake = None if client is None else client.callbacks
        self._looks_for_client = client is None
        gate = CallbackGate(secret=secret, path_token=path_token)
        super().__init__(gate, self._take, now=self._time)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, for the client of the application that is started now."""
        if self._looks_for_client:
            client = getattr(getattr(scope.get("app"), "state", None), _ATTRIBUTE, None)
            if client is not None:
                self._intake = client.callbacks
        await super().__call__(scope, receive, send)

    def _time(self) -> float:
        return time.time() if self._intake is None else self._intake.now()

    @property
    def closed(self) -> bool:
        """Whether there is no client, or it is closed: then callbacks are answered with 503, unread."""
        return self._intake is None or self._intake.closed

    async def _take(self, accepted: AcceptedCallback, /) -> None:
        record = accepted.callback.record
        if self._intake is None:
            return
        if accepted.trust is Trust.BELIEVED:
            self._intake.believe(record, sent=accepted.sent)
        else:
            self._intake.hint(record)

    async def _act(self, decision: CallbackDecision) -> None:
        outcome = decision.trust if isinstance(decision, AcceptedCallback) else decision.reason
        if self._intake is not None:
            self._intake.count(outcome.value)
        await super()._act(decision)
