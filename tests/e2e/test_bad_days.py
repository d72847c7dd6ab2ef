"""Bad input and bad days, one row each: a named error, nothing lost, nothing paid in vain."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import (
    AuthenticationError,
    Client,
    ConfigurationError,
    KlingError,
    OutOfUnits,
    RequestInvalid,
    Retry,
    TaskFailed,
    TransportError,
    v1,
)
from kling_async.testing import emulator
from tests.support import client_of, clip, pair, png, settle, still, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kling_async import TaskRequest

pytestmark = pytest.mark.anyio


def big(tmp: Path) -> TaskRequest[Any]:
    file = tmp / "big.png"
    file.write_bytes(png() + b"\0" * (10 * 1024 * 1024))
    return still(image=file)


def text(tmp: Path) -> TaskRequest[Any]:
    file = tmp / "notes.png"
    file.write_text("not a picture")
    return still(image=file)


BAD_INPUT: list[tuple[str, Callable[[Path], TaskRequest[Any]], str]] = [
    ("empty prompt", lambda _: clip(" "), "prompt: must not be empty"),
    ("prompt too long", lambda _: clip("x" * 2501), "prompt: has 2501 characters; at most 2500"),
    ("file missing", lambda tmp: still(image=tmp / "none.png"), "image: cannot read .*No such file"),
    ("not an image", text, "image: is not a readable image; use JPEG or PNG"),
    ("image too small", lambda _: still(image=png(299, 400)), "image: is 299 x 400 px; .* at least 300 px"),
    ("image too long", lambda _: still(image=png(300, 800)), "image: is 300 x 800 px; width / height"),
    ("image too large", big, r"image: has 10\.0 MB; at most 10 MB"),
    ("too many images", lambda _: still(n=10), "n: 10 is too large; at most 9"),
    (
        "shots that do not add up",
        lambda _: _shots(),
        "multi_prompt: the shots last 4 s together; duration is 5 s",
    ),
    (
        "a model without sound",
        lambda _: clip(model_name="kling-v2-5-turbo", sound=True),
        "sound: .* has no sound",
    ),
]


def _shots() -> v1.TextToVideo:
    shots = tuple(v1.Shot(index=i, prompt="x", duration=2) for i in (1, 2))
    return v1.TextToVideo(multi_shot=True, shot_type="customize", multi_prompt=shots, duration=5)


@pytest.mark.parametrize(
    ("request_of", "says"), [row[1:] for row in BAD_INPUT], ids=[row[0] for row in BAD_INPUT]
)
async def test_bad_input_is_refused_before_anything_is_sent(
    request_of: Callable[[Path], TaskRequest[Any]], says: str, tmp_path: Path
) -> None:
    """The error names field and fix, the server hears nothing, and the client goes on."""
    async with pair() as (emu, client):
        with pytest.raises(RequestInvalid, match=says):
            await client.submit(request_of(tmp_path))
        assert emu.ledger.rows == []
        assert (await client.run(clip())).videos


async def test_all_wrong_fields_at_once() -> None:
    """One error names them all, the file among them only if all else is right."""
    async with pair() as (_, client):
        with pytest.raises(RequestInvalid) as caught:
            await client.submit(clip("x" * 2501, duration=99, negative_prompt="y" * 2501))
        assert [p.field for p in caught.value.problems] == ["prompt", "duration", "negative_prompt"]


async def test_weight_over_the_limit() -> None:
    """A set of 9 on an account of 4 is refused as soon as the limit is known."""
    async with pair({"image": 4}, client={"limits": {"image": 4}}) as (emu, client):
        with pytest.raises(RequestInvalid, match="takes 9 image slots; this account has 4 in all"):
            await client.submit(still(n=9))
        assert emu.ledger.rows == []


@pytest.mark.parametrize(
    "environment", [{}, {"KLING_ACCESS_KEY": "a"}, {"KLING_API_KEY": "k", "KLING_SECRET_KEY": "s"}]
)
async def test_no_half_or_doubled_key(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Construction fails and names the variable to set."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="KLING_"):
        Client()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"api_key": "no-such-key"}, 1002),
        ({"api_key": None, "access_key": "no-such", "secret_key": "s" * 32}, None),
        ({"api_key": None, "access_key": "emulator-access", "secret_key": "w" * 32}, None),
    ],
    ids=["wrong or of the other region", "wrong access key", "wrong secret key"],
)
async def test_a_wrong_key(options: dict[str, Any], code: int | None) -> None:
    """The error says what it looks like; nothing is created and nothing more is sent."""
    async with emulator(slots={"video": 5}) as emu, client_of(emu, **options) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.run(clip())
        assert code is None or caught.value.code == code
        assert caught.value.hint and caught.value.request_id and not emu.ledger.created
        if code == 1002:
            assert "region" in str(caught.value)


async def test_a_server_that_is_down_at_the_start_and_comes_back() -> None:
    """Submits wait for the server a while and go through when it is back in time."""
    async with pair() as (emu, client):
        await emu.stop()
        run = asyncio.create_task(client.run(clip()))
        await asyncio.sleep(10)
        await emu.start()
        assert (await run).videos and len(emu.ledger.created) == 1


async def test_a_server_that_stays_down() -> None:
    """After about a minute a TransportError says that nothing was sent."""
    async with pair() as (emu, client):
        await emu.stop()
        started = asyncio.get_running_loop().time()
        with pytest.raises(TransportError, match=r"cannot connect to 127\.0\.0\.1") as caught:
            await client.run(clip())
        assert not caught.value.sent
        assert 20 < asyncio.get_running_loop().time() - started < 120


async def test_an_outage_while_tasks_run() -> None:
    """The server is gone for minutes while ten wait: every wait ends with its result."""
    async with pair({"video": 10}, seconds=60, client={"limits": {"video": 10}}) as (emu, client):
        runs = [asyncio.create_task(client.run(clip())) for _ in range(10)]
        await until(lambda: len(emu.ledger.created) == 10)
        await emu.stop()
        await asyncio.sleep(200)
        await emu.start()
        assert all(videos.videos for videos in await asyncio.gather(*runs))
        assert len(emu.ledger.created) == 10


async def test_moderation_in_the_end() -> None:
    """The task fails with the vendor's reason, and the next one is not affected."""
    async with pair() as (_, client):
        with pytest.raises(TaskFailed, match="failed"):
            await client.run(clip("emulator:fail"))
        assert (await client.run(clip())).videos


async def test_an_account_without_units_topped_up_later() -> None:
    """Submits fail at once; after a minute, or reopen(), the same client goes on."""
    async with pair() as (emu, client):
        emu.units["video"] = 0
        with pytest.raises(OutOfUnits, match="Account balance not enough"):
            await client.run(clip())
        emu.units["video"] = 100
        await asyncio.sleep(60)
        assert (await client.run(clip())).videos


@pytest.mark.parametrize(
    "url", ["http://api-singapore.klingai.com", "http://192.168.1.5:8080", "http://example.com/v1"]
)
async def test_plain_http_to_another_host(url: str) -> None:
    """Construction fails, since the key would be sent in clear."""
    with pytest.raises(ConfigurationError, match="https://"):
        Client(api_key="k", base_url=url)


async def test_attach_with_a_path() -> None:
    """An id that would lead to another endpoint is refused before a path is built."""
    async with pair() as (emu, client):
        with pytest.raises(RequestInvalid, match="task_id"):
            client.attach(v1.TextToVideo, task_id="../../account/costs")
        assert emu.ledger.rows == []


async def test_no_traceback_shows_a_secret() -> None:
    """The formatted chain of every error above has no key, no header and no class of the HTTP library."""
    async with pair(client={"retry": Retry(max_tries=1)}) as (emu, client):
        secret = str(emu.api_key)
        faults: list[dict[str, Any]] = [
            {"kind": k} for k in ("lost_after", "half_body", "html", "hang", "empty")
        ]
        errors: list[BaseException] = []
        for fault in [*faults, {"code": 1002}]:
            emu.fault("create", **fault)
            emu.fault("query", code=5000)  # so that its fate stays unknown
            client.account.reopen()
            try:
                await client.run(clip(), timeout=100)
            except KlingError as error:
                errors.append(error)
        emu.faults.clear()
        await emu.stop()
        try:
            await client.list(v1.TextToVideo)
        except TransportError as error:
            errors.append(error)
        assert len(errors) == 7
        for each in errors:
            whole = "".join(traceback.format_exception(each))
            assert secret not in whole and "Authorization" not in whole
            chain: BaseException | None = each
            while chain is not None:
                assert not type(chain).__module__.startswith("aiohttp")
                chain = chain.__cause__ or chain.__context__


async def test_nothing_is_left_of_a_bad_day() -> None:
    """After refusals, losses, cancellations the client closes and leaves no task of its own."""
    before = asyncio.all_tasks()
    async with pair({"video": 2}) as (emu, client):
        for kind in ("lost_before", "lost_after", "hang"):
            emu.fault("create", kind=kind)
        runs = [asyncio.create_task(client.run(clip())) for _ in range(8)]
        await settle()
        runs[7].cancel()
        await asyncio.gather(*runs, return_exceptions=True)
        for entry in client.unresolved():
            assert client.abandon(entry.external_task_id or "")
    assert asyncio.all_tasks() == before
