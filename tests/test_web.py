"""web.py: one client for the life of an application, in FastAPI, Starlette and Litestar by themselves."""

from __future__ import annotations

import asyncio
import inspect
import logging
import subprocess
import sys
import typing
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, WebSocket
from litestar import Litestar, asgi
from litestar import Request as LitestarRequest
from litestar import get as litestar_get
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import kling_async
from kling_async import Client, ClientClosed, ConfigurationError, Task, get_client, lifespan, web
from kling_async.webhooks import CallbackReceiver
from tests.support import clip, pair, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

    from kling_async.testing import Emulator
    from kling_async.web import Lifespan

pytestmark = pytest.mark.anyio

Kling = Annotated[Client, Depends(get_client)]


def fastapi_app(span: Lifespan) -> FastAPI:
    app = FastAPI(lifespan=span)

    @app.get("/")
    async def show(client: Kling) -> dict[str, Any]:
        return {"client": repr(client), "tasks": len(client.tasks())}

    return app


def starlette_app(span: Lifespan) -> Starlette:
    async def show(request: Request) -> JSONResponse:
        client = request.app.state.kling_client
        assert await get_client(request) is client
        return JSONResponse({"client": repr(client), "tasks": len(client.tasks())})

    return Starlette(routes=[Route("/", show)], lifespan=span)


def litestar_app(span: Lifespan) -> Litestar:
    @litestar_get("/")
    async def show(request: LitestarRequest[Any, Any, Any]) -> dict[str, Any]:
        client = request.app.state.kling_client
        return {"client": repr(client), "tasks": len(client.tasks())}

    return Litestar([show], lifespan=[span], logging_config=None)


APPS: dict[str, Callable[[Lifespan], Any]] = {
    "FastAPI": fastapi_app,
    "Starlette": starlette_app,
    "Litestar": litestar_app,
}


@asynccontextmanager
async def started(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Start an application as a server does, by the messages of its lifespan, and end it so."""
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def take() -> dict[str, Any]:
        said = asyncio.ensure_future(outbox.get())
        await asyncio.wait([said, server], return_when=asyncio.FIRST_COMPLETED)
        return said.result()

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    server = asyncio.ensure_future(app(scope, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    assert (await take())["type"] == "lifespan.startup.complete"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as browser:
        yield browser
    await inbox.put({"type": "lifespan.shutdown"})
    assert (await take())["type"] == "lifespan.shutdown.complete"
    await server


def for_emulator(emu: Emulator, **options: Any) -> Lifespan:
    return lifespan(base_url=emu.url, api_key=emu.api_key, **options)


# --- the life of a client --------------------------------------------------------------------------


@pytest.mark.parametrize("name", APPS)
async def test_one_client_lives_as_long_as_the_application(name: str) -> None:
    """Each framework starts it, hands it to its handlers, and closes it; a second start makes another."""
    async with pair() as (emu, _):
        app = APPS[name](for_emulator(emu))
        clients = []
        for _ in range(2):
            async with started(app) as browser:
                clients.append(app.state.kling_client)
                await app.state.kling_client.submit(clip())
                answers = [(await browser.get("/")).json() for _ in range(2)]
                assert answers == [{"client": repr(clients[-1]), "tasks": 1}] * 2
            with pytest.raises(ClientClosed):
                await clients[-1].enqueue(clip())
        assert clients[0] is not clients[1]


@pytest.mark.parametrize("name", APPS)
async def test_a_shutdown_gives_waits_their_time(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The wait that ends in the grace has its result, the other one ClientClosed; the log names its task."""
    async with pair({"video": 2}) as (emu, _):
        caplog.set_level(logging.WARNING, "kling_async")
        app = APPS[name](for_emulator(emu, grace=100))
        async with started(app):
            client: Client = app.state.kling_client
            emu.set_duration(50)
            short = await client.submit(clip("short"))
            emu.set_duration(500)
            long = await client.submit(clip("long"))
            queued = await client.enqueue(clip("queued"))
            waits = [asyncio.ensure_future(task.wait()) for task in (short, long, queued)]
            await settle()
            began = asyncio.get_running_loop().time()
        assert 100 <= asyncio.get_running_loop().time() - began < 110
        ended, *closed = await asyncio.gather(*waits, return_exceptions=True)
        assert ended == short.result
        assert [type(end) for end in closed] == [ClientClosed] * 2 and len(emu.tasks) == 2
        assert "100 s of grace" in caplog.text and long.id in caplog.text


async def test_the_client_is_closed_however_the_application_ends() -> None:
    """An error of the application within a lifespan of the user's own passes, and the client is closed."""
    async with pair() as (emu, _):
        span = for_emulator(emu)

        @asynccontextmanager
        async def own(app: Starlette) -> AsyncIterator[None]:
            async with span(app):
                task = await app.state.kling_client.enqueue(clip())
                app.state.first = await task.accepted()
                yield

        app = Starlette(lifespan=own)

        async def serve() -> None:
            async with app.router.lifespan_context(app):
                assert isinstance(app.state.first, Task)
                raise LookupError

        with pytest.raises(LookupError):
            await serve()
        with pytest.raises(ClientClosed):
            await app.state.kling_client.enqueue(clip())


# --- get_client --------------------------------------------------------------------------------------


async def test_fastapi_passes_the_request_also_of_a_websocket_and_within_other_dependencies() -> None:
    """The dependency adds nothing to the API's own description, and works wherever FastAPI resolves one."""
    app = fastapi_app(lifespan(api_key="k", base_url="http://127.0.0.1:1", grace=0))

    @app.get("/deeper")
    async def show(name: Annotated[str, Depends(deeper)]) -> str:
        return name

    @app.websocket("/socket")
    async def talk(socket: WebSocket, client: Kling) -> None:
        await socket.accept()
        await socket.send_text(repr(client))
        await socket.close()

    assert app.openapi()["paths"]["/"]["get"].get("parameters") is None
    async with started(app) as browser:
        name = (await browser.get("/")).json()["client"]
        assert name.startswith("<Client http://127.0.0.1:1 ")
        assert (await browser.get("/deeper")).json() == name
        assert {"type": "websocket.send", "text": name} in await socket_messages(app, "/socket")


async def deeper(client: Kling) -> str:
    """A dependency that has the client as its own."""
    return repr(client)


async def socket_messages(app: Any, path: str) -> list[dict[str, Any]]:
    """What an application sends to a WebSocket that only connects."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": path, "headers": [], "query_string": b"", "subprotocols": []}
    await app(scope, receive, send)
    return sent


async def test_an_application_without_a_client_is_told_so() -> None:
    """Both an application without the lifespan and one that was not started get the same words."""
    bare = FastAPI()
    bare.add_api_route("/", unreached)
    for app in (bare, fastapi_app(lifespan(api_key="k"))):
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://app"
        ) as browser:
            with pytest.raises(ConfigurationError, match=r"lifespan=kling_async\.lifespan\(\)"):
                await browser.get("/")


async def unreached(client: Kling) -> None:
    raise AssertionError(client)


async def test_an_application_has_one_client() -> None:
    """A second lifespan would hide the client of the first from its handlers."""
    async with pair() as (emu, _):
        app = FastAPI()
        async with for_emulator(emu)(app):
            first = app.state.kling_client
            with pytest.raises(ConfigurationError, match="has a client already"):
                async with for_emulator(emu)(app):
                    pass
            assert app.state.kling_client is first and not first.callbacks.closed


# --- callbacks -----------------------------------------------------------------------------------------

RECEIVERS: dict[str, Callable[[Lifespan, CallbackReceiver], Any]] = {
    "FastAPI": lambda span, receiver: mounted(FastAPI(lifespan=span), receiver),
    "Starlette": lambda span, receiver: mounted(Starlette(lifespan=span), receiver),
    "Litestar": lambda span, receiver: Litestar(
        [asgi("/kling", is_mount=True, copy_scope=True)(receiver)], lifespan=[span], logging_config=None
    ),
}


def mounted(app: Any, receiver: CallbackReceiver) -> Any:
    """Mount a receiver, and return the application."""
    app.mount("/kling", receiver)
    return app


@pytest.mark.parametrize("name", RECEIVERS)
async def test_a_receiver_finds_the_client_of_its_application(name: str) -> None:
    """Made and mounted before any client: 503 until the start, then each start's own client is told."""
    receiver = CallbackReceiver(path_token="token")
    async with pair() as (emu, _):
        app = RECEIVERS[name](for_emulator(emu), receiver)
        for _ in range(2):
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as early:
                assert (await early.post("/kling/token", json=NEWS)).status_code == 503
            async with started(app) as browser:
                assert (await browser.post("/kling/token", json=NEWS)).status_code == 200
                assert (await browser.post("/kling/guess", json=NEWS)).status_code == 401
                assert app.state.kling_client.stats().callbacks == {"hint": 1, "path_token": 1}


NEWS = {"task_id": "1", "task_status": "processing"}


async def test_an_inner_application_takes_the_client_of_the_outer_one() -> None:
    """Lifespans of mounted applications do not run; the error names the line that is needed."""
    inner = FastAPI()

    @inner.get("/")
    async def show(client: Kling) -> str:
        return client.base_url

    async with pair() as (emu, _):
        outer = FastAPI(lifespan=for_emulator(emu))
        outer.mount("/api", inner)
        async with started(outer) as browser:
            with pytest.raises(ConfigurationError, match=r"inner\.state = outer\.state"):
                await browser.get("/api/")
            inner.state = outer.state
            assert (await browser.get("/api/")).json() == emu.url


# --- options -------------------------------------------------------------------------------------------


def test_its_options_are_those_of_the_client() -> None:
    """The typed keywords are the client's, each with the same annotation; ``grace`` comes besides."""
    wanted = {
        name: parameter.annotation
        for name, parameter in inspect.signature(Client).parameters.items()
        if name != "self"
    }
    spelt = {name: kind.__forward_arg__ for name, kind in inspect.get_annotations(web.ClientOptions).items()}
    assert spelt == wanted
    assert "grace" not in wanted


@pytest.mark.parametrize("grace", [-1, float("nan"), float("inf"), True, None, "10"])
def test_a_wrong_grace_is_refused_at_once(grace: Any) -> None:
    """The message repeats it."""
    with pytest.raises(ConfigurationError, match="grace must be a finite number of seconds"):
        lifespan(grace=grace)


def test_a_misspelt_option_is_refused_at_once() -> None:
    """The mistake shows where the application is made, not when the server starts."""
    wrong: dict[str, Any] = {"api_kee": "k"}
    with pytest.raises(TypeError, match="api_kee"):
        lifespan(**wrong)


async def test_wrong_values_are_refused_at_the_start() -> None:
    """A client that cannot be made keeps the application from starting."""
    app = FastAPI(lifespan=lifespan())  # no key in the environment
    with pytest.raises(ConfigurationError, match="KLING_API_KEY"):
        async with app.router.lifespan_context(app):
            raise AssertionError("started")


# --- imports -------------------------------------------------------------------------------------------


@pytest.mark.real
def test_no_framework_is_loaded() -> None:
    """A program without FastAPI, Starlette or Litestar uses this module, and can ask for signatures."""
    code = """
import inspect, sys
from kling_async import get_client, lifespan
lifespan(grace=1)
assert str(inspect.signature(get_client)).startswith("(request"), inspect.signature(get_client)
assert not {"fastapi", "starlette", "litestar", "pydantic"} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(kling_async.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_type_checkers_know_the_dependency_s_result() -> None:
    """What a tool reads from the signature is the client."""
    assert inspect.signature(get_client).return_annotation is Client
    assert typing.get_type_hints(web._ClientDependency.__call__)["return"] is Client
