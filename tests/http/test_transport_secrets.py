"""Test http/transport.py: no failure of the wire carries a secret into an error or its traceback."""

from __future__ import annotations

import base64
import pickle
import random
import re
import socket
import traceback
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import jwt
import pytest

from kling_async import Client, Retry, v1
from kling_async.errors import BadResponse, KlingError, RequestRejected
from kling_async.redaction import redact
from tests.support import clip
from tests.wiretap import CUT, HANG, code, free_port, raw, server_tls, serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

KEY: Final = "sk-9f8e7d6c5b4a39281706f5e4d3c2b1a0"
TOKEN: Final = jwt.encode({"iss": "a", "exp": 1_790_000_000, "nbf": 0}, "s" * 32, algorithm="HS256")
PICTURE: Final = base64.b64encode(random.Random(1).randbytes(600)).decode()
SIGNED: Final = "https://cdn.example/a.mp4?x-sign=5ecre7&expires=9"

# --- texts of the server's ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "secret", "kept"),
    [
        pytest.param(f"see {SIGNED} now", "5ecre7", "see https://cdn.example/a.mp4?... now", id="address"),
        pytest.param(f'"{SIGNED}"', "5ecre7", '"https://cdn.example/a.mp4?..."', id="in quotes"),
        pytest.param(f"<a href='{SIGNED}'>", "5ecre7", "<a href='https://cdn.example/a.mp4?...'>", id="HTML"),
        pytest.param(f"Bearer {TOKEN}!", TOKEN[:40], "Bearer ...!", id="token"),
        pytest.param(f'{{"image": "{PICTURE}"}}', PICTURE[:40], '{"image": "..."}', id="Base64"),
        pytest.param("an ordinary text, 12 words", "?...", "an ordinary text, 12 words", id="ordinary"),
        pytest.param(
            r'"https:\/\/cdn.example\/a.mp4?x-sign=5ecre7"', "5ecre7", r'"https:\/\/cdn.example\/a.mp4?..."',
            id="escaped slashes",
        ),
    ],
)  # fmt: skip
def test_signed_queries_tokens_and_base64_are_removed(text: str, secret: str, kept: str) -> None:
    """Redaction keeps enough of a text to recognise it."""
    assert secret not in kept
    assert redact(text) == kept


async def error_of(answer: bytes, **options: Any) -> KlingError:
    """Send one request to a server with that answer; return the error."""
    async with serving(answer) as wire:
        options = {"base_url": f"http://127.0.0.1:{wire.port}", "api_key": KEY, **options}
        async with Client(retry=Retry(max_tries=1), **options) as client:
            with pytest.raises(KlingError) as caught:
                await client.request("GET", "/x")
    return caught.value


@pytest.mark.parametrize(
    ("body", "secret"),
    [
        pytest.param(f"<p>{SIGNED} {SIGNED}</p>", "5ecre7", id="signed address"),
        pytest.param(f"Authorization: Bearer {TOKEN}", TOKEN[:40], id="token"),
        pytest.param(f'{{"image":"{PICTURE}', PICTURE[:40], id="Base64"),
        pytest.param(
            f"GET /x HTTP/1.1 Bearer {KEY}", KEY, id="API key",
        ),
        pytest.param(
            f"unknown key {KEY}", KEY, id="API key alone",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["page", "message"])
async def test_echoed_texts_are_short_and_without_secrets(body: str, secret: str, form: str) -> None:
    """Unreadable pages and messages of the API are cut short and show nothing that was sent."""
    filler = "lorem ipsum " * 100
    if form == "page":
        error = await error_of(raw(f"{body} {filler}".encode(), 400))
        assert isinstance(error, BadResponse) and 0 < len(error.excerpt) <= 200
    else:
        error = await error_of(code(1201, 400, f"{body} {filler}"))
        assert isinstance(error, RequestRejected) and 0 < len(error.message) <= 500
    for text in (str(error), repr(error), pickle.dumps(error).decode("latin-1")):
        assert secret not in text


async def test_the_key_of_a_pair_never_shows() -> None:
    """The error of a refused token shows neither the token nor the keys of the pair."""
    secret_key = "k3y-" * 8
    error = await error_of(code(1002, 401), api_key=None, access_key="acce55", secret_key=secret_key)
    text = everything(error)
    assert "1002" in text
    assert all(word not in text for word in ("acce55", secret_key, "eyJ"))


# --- tracebacks --------------------------------------------------------------------------------

AIOHTTP_NAMES: Final = re.compile(
    "|".join(
        rf"\b{name}\b"
        for name, value in vars(aiohttp).items()
        if isinstance(value, type) and name not in ("ClientTimeout", "ClientSession", "Timeout")
    )
)


def family(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, its causes, its contexts, and the members of groups."""
    if error is not None:
        yield error
        yield from family(error.__cause__)
        yield from family(error.__context__)
        for member in getattr(error, "exceptions", ()):
            yield from family(member)


def everything(error: BaseException) -> str:
    """Return all texts of an error that a logger, a crash reporter or a pickle could show."""
    related = [f"{e!r} {e} {vars(e)}" for e in family(error)]
    return "\n".join([*traceback.format_exception(error), *related])


async def ask(client: Client) -> object:
    return await client.request("GET", "/x")


async def create(client: Client) -> object:
    return await client.submit(clip())


async def refresh(client: Client) -> object:
    return await client.attach(v1.TextToVideo, task_id="77").refresh()


def check(error: KlingError) -> None:
    text = everything(error)
    assert error.message and str(error) in text
    assert KEY not in text and "Authorization" not in text and "Bearer" not in text
    assert not AIOHTTP_NAMES.search(text)
    assert not any(type(e).__module__.startswith("aiohttp") for e in family(error))


@pytest.mark.parametrize("call", [ask, create, refresh])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(raw(b"<html>", 502), id="HTML"),
        pytest.param(raw(b'{"code":0,"da'), id="cut JSON"),
        pytest.param(raw(), id="nothing"),
        pytest.param(raw(b"", 302, Location="http://x/"), id="redirect"),
        pytest.param(raw({}), id="no code"),
        pytest.param(code(1002, 401), id="bad key"),
        pytest.param(code(1302, 429), id="too fast"),
        pytest.param(code(5000, 500), id="server error"),
        pytest.param(CUT, id="cut"),
        pytest.param(HANG, id="silence"),
        pytest.param(raw(b"no gzip", Content_Encoding="gzip"), id="bad compression"),
        pytest.param(b"this is not HTTP\r\n\r\n", id="not HTTP"),
        pytest.param(raw(b"x", X_Long="y" * 20_000), id="a header too long"),
    ],
)
async def test_no_error_shows_the_key_or_the_http_library(
    answer: bytes, call: Callable[[Client], Awaitable[object]]
) -> None:
    """A full traceback shows no key, no header and no exception of aiohttp."""
    async with serving(answer) as wire:
        client = Client(
            base_url=f"http://127.0.0.1:{wire.port}",
            api_key=KEY,
            retry=Retry(max_tries=1),
            limits={"video": 1},
        )
        async with client:
            with pytest.raises(KlingError) as caught:
                await call(client)
        assert wire.requests
    check(caught.value)


@pytest.mark.parametrize("call", [ask, create, refresh])
@pytest.mark.parametrize(
    "situation",
    [
        *("refused", "unknown host", "no connection in time", "no proxy", "proxy refuses"),
        "untrusted certificate",
        "proxy is none",
    ],
)
async def test_no_error_before_the_request_shows_them_either(
    situation: str,
    call: Callable[[Client], Awaitable[object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Errors of failed connections show no key and no exception of aiohttp either."""
    proxies = {"proxy refuses": raw(b"", 407), "proxy is none": b"this is not HTTP\r\n\r\n"}
    tls = server_tls(tmp_path) if situation == "untrusted certificate" else None
    async with serving(proxies.get(situation, HANG), tls=tls) as wire:
        nobody, wire_at = f"127.0.0.1:{free_port()}", f"127.0.0.1:{wire.port}"
        base_url, proxy = f"https://{wire_at}", None
        if situation == "refused":
            base_url = f"http://{nobody}"
        elif situation == "unknown host":
            base_url = "https://api.example"
            monkeypatch.setattr(socket, "getaddrinfo", _knows_nobody)
        elif situation == "no proxy":
            proxy = f"http://{nobody}"
        elif "proxy" in situation:
            proxy = f"http://{wire_at}"
        options: dict[str, Any] = {"base_url": base_url, "proxy": proxy, "api_key": KEY}
        async with Client(retry=Retry(max_tries=1), limits={"video": 1}, **options) as client:
            with pytest.raises(KlingError) as caught:
                await call(client)
    check(caught.value)


def _knows_nobody(*_: object, **__: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "no such name")
