"""Web frameworks: one client for the life of an ASGI application, and the client for its handlers.

::

    app = FastAPI(lifespan=kling_async.lifespan(grace=20))

    @app.post("/videos", status_code=202)
    async def create(request: v1.TextToVideo, client: Annotated[Client, Depends(get_client)]) -> dict:
        task = await client.enqueue(request)

Starlette and Litestar take the same `lifespan` (Litestar in a list); their handlers find the client as
``request.app.state.kling_client``. No framework is imported here.
"""

from __future__ import annotations

import inspect
import math
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypedDict

from kling_async.client import Client
from kling_async.errors import ConfigurationError

if TYPE_CHECKING:
    import random
    import ssl as ssl_module
    from collections.abc import AsyncGenerator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from typing import Unpack

    import aiohttp

    from kling_async.events import Event
    from kling_async.options import Polling, Retry, Timeouts
    from kling_async.wire.dialects.dialect import DialectName

__all__ = ["ClientOptions", "Lifespan", "get_client", "lifespan"]

_ATTRIBUTE: Final = "kling_client"
"""Name of the client in ``app.state``."""


class ClientOptions(TypedDict, total=False):
    """The keywords of `kling_async.Client`."""

    api_key: str | None
    access_key: str | None
    secret_key: str | None
    base_url: str | None
    limits: Mapping[str, int] | None
    polling: Polling
    retry: Retry
    timeouts: Timeouts
    queueing: bool
    max_queued: int
    slots: str | None
    label_limits: Mapping[str, int] | None
    max_units: float | Mapping[str, float] | None
    callback_url: str | None
    dialect: DialectName
    session: aiohttp.ClientSession | None
    proxy: str | None
    ssl: ssl_module.SSLContext | bool | None
    trust_env: bool
    headers: Mapping[str, str] | None
    max_task_life: float
    now: Callable[[], float]
    rng: random.Random | None
    on_event: Callable[[Event], object] | None


class Lifespan(Protocol):
    """Starts something with an application and ends it with it: what frameworks take as ``lifespan``."""

    def __call__(self, app: Any, /) -> AbstractAsyncContextManager[None]:
        """Return the context in which the application runs."""
        ...


def lifespan(*, grace: float = 10.0, **options: Unpack[ClientOptions]) -> Lifespan:
    """Return a lifespan for FastAPI, Starlette or Litestar: one client from start to shutdown.

    The client is ``app.state.kling_client``; `get_client` hands it to FastAPI's handlers. On shutdown nothing
    more is admitted, and what queues ends with `ClientClosed`; creates, waits and downloads get the grace
    time; then the client is closed, and a warning in the log names the tasks that run on.

    A server ends the lifespan only after its open connections have ended: give it a limit for those
    (``uvicorn --timeout-graceful-shutdown 5``), or one open event stream holds up the shutdown for ever.

    In a lifespan of your own: ``async with kling_async.lifespan()(app): ...``. An application has one client
    by this; for another account make one there, and put it in ``app.state`` under another name.

    Args:
        grace: Seconds that creates, waits and downloads get to end. 0: none.
        **options: As for `kling_async.Client`, which is made when the application starts.

    Raises:
        ConfigurationError: The grace is no number of seconds; at the start: the application has a client.
        TypeError: There is no such option.
    """
    if isinstance(grace, bool) or not isinstance(grace, int | float) or not 0 <= grace < math.inf:
        raise ConfigurationError(f"grace must be a finite number of seconds, 0 or more, not {grace!r}")
    inspect.signature(Client).bind(**options)  # a misspelt name fails here, not when the server starts

    @asynccontextmanager
    async def run(app: Any) -> AsyncGenerator[None]:
        known = getattr(app.state, _ATTRIBUTE, None)
        if isinstance(known, Client) and not known.callbacks.closed:
            raise ConfigurationError(
                "this application has a client already; make one for another account in your own lifespan"
            )
        client = Client(**options)
        setattr(app.state, _ATTRIBUTE, client)
        try:
            yield
        finally:
            await client.aclose(grace=grace)

    return run


class _ClientDependency:
    """Finds the client of the application that serves a request."""

    __name__ = "get_client"

    async def __call__(self, request: Any) -> Client:
        """Return the client that `lifespan` made for the application: ``Depends(get_client)`` of FastAPI.

        Args:
            request: A request or WebSocket; FastAPI passes it.

        Raises:
            ConfigurationError: The application was made without `lifespan`, or has not started.
        """
        client = getattr(request.app.state, _ATTRIBUTE, None)
        if not isinstance(client, Client):
            raise ConfigurationError(
                "this application has no client: give it lifespan=kling_async.lifespan(), and let it start;"
                " one that is mounted in another takes the client of that one by: inner.state = outer.state"
            )
        return client

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature, with the type by which FastAPI knows the request; for the same reason not a text."""
        starlette = sys.modules.get("starlette.requests")  # loaded wherever FastAPI asks
        kind = Any if starlette is None else starlette.HTTPConnection
        parameter = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=kind)
        return inspect.Signature([parameter], return_annotation=Client)


get_client: Final = _ClientDependency()
"""Dependency of FastAPI: ``Annotated[Client, Depends(kling_async.get_client)]``."""
