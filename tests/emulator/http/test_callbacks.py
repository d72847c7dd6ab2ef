"""Callbacks of the emulator: their form, signatures and scripted faults, seen by a server of another make."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from kling_async.emulator.http.courier import _LoopbackResolver
from kling_async.testing import Fault, emulator
from tests.emulator.calls.test_answers import SLOTS, VARIANTS, made
from tests.emulator.facts import path
from tests.emulator.support import IMAGE, VIDEO, Caller, calling
from tests.golden import golden
from tests.support import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio

CAPTURED: Final = golden("callbacks")["callbacks"]["v1, captured in production 2025-12-12"]
SECRET: Final = f"whsec_{base64.b64encode(b'a key of the emulated account...').decode()}"
OTHER: Final = f"whsec_{base64.b64encode(b'another key of the same account').decode()}"
CHANGES: Final = ["submitted", "processing", "succeed"]


class Post(NamedTuple):
    """One request that the receiver got."""

    at: float
    headers: dict[str, str]
    body: bytes
    method: str

    @property
    def json(self) -> dict[str, Any]:
        """The body's object."""
        return dict(json.loads(self.body))

    @property
    def status(self) -> str:
        """Status of the task that it tells."""
        return str(self.json["task_status"])

    def genuine(self, secret: str = SECRET) -> bool:
        """Tell whether the package of the scheme's authors accepts the signature."""
        try:
            Webhook(secret).verify(self.body, self.headers, json_parse=False)
        except WebhookVerificationError:
            return False
        return True


class Receiver:
    """A server that keeps what is posted to it, and answers as told."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.url = ""
        self.seconds = 0.0
        self.answer: dict[str, Any] = {"status": 200}

    async def handle(self, request: web.Request) -> web.Response:
        """Keep a request, wait, answer."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        at = asyncio.get_running_loop().time()
        self.posts.append(Post(at, headers, await request.read(), request.method))
        await asyncio.sleep(self.seconds)
        return web.Response(**self.answer)

    @property
    def told(self) -> list[str]:
        """Statuses in the order in which they came."""
        return [post.status for post in self.posts]


@asynccontextmanager
async def receiving(host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """Run a receiver on loopback."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    port = runner.addresses[0][1]
    receiver.url = f"http://{f'[{host}]' if ':' in host else host}:{port}/kling/token"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@asynccontextmanager
async def playing(**options: Any) -> AsyncIterator[tuple[Emulator, Caller, Receiver]]:
    """Run an emulator whose tasks take 30 s, and a receiver."""
    async with receiving() as receiver, calling(**options) as (emu, call):
        emu.set_duration(30)
        yield emu, call, receiver


async def played(emu: Emulator) -> None:
    """Wait until all tasks have ended and all callbacks are answered."""
    await until(lambda: all(task.done for task in emu.tasks.values()))
    await emu.drain_callbacks()


# --- form --------------------------------------------------------------------------------------


async def test_each_change_is_posted_once() -> None:
    """All three statuses come at their time, in the form and with the headers seen in production."""
    async with playing() as (emu, call, receiver):
        start = asyncio.get_running_loop().time()
        task_id = (await call.video(callback_url=receiver.url)).data["task_id"]
        await played(emu)
        data = (await call("GET", f"{VIDEO}/{task_id}")).data
    assert receiver.told == CHANGES
    assert [post.at - start for post in receiver.posts] == pytest.approx([0, 1, 30])
    first, _, last = receiver.posts
    assert list(last.json) == list(CAPTURED["body"]) == list(first.json)
    assert list(last.json["task_result"]) == ["images", "videos", "audios"]
    assert first.json["task_result"] == {"images": [], "videos": [], "audios": []}
    assert last.json["task_result"] == {"images": [], "audios": [], **data["task_result"]}
    assert {post.method for post in receiver.posts} == {"POST"}
    for name in ("User-Agent", "Accept-Encoding", "Content-Type"):
        assert last.headers[name.lower()] == CAPTURED["headers"][name]
    assert not {"authorization", "webhook-signature", "cookie"} & set(last.headers)
    assert last.body == json.dumps(last.json, ensure_ascii=False, separators=(",", ":")).encode()
    assert last.json["task_info"] == {} and last.json["updated_at"] == data["updated_at"]


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
async def test_every_endpoint_calls_back(name: str, changes: dict[str, Any]) -> None:
    """The last callback has the query's result beside the three arrays, its external id, and no price."""
    async with receiving() as receiver, calling(slots=SLOTS) as (emu, call):
        task_id = await made(call, name, **changes, callback_url=receiver.url, external_task_id="ours")
        emu.finish(task_id)
        await emu.drain_callbacks()
        data = (await call("GET", f"{path(name)}/{task_id}")).data
    last = receiver.posts[-1].json
    assert receiver.told == ["submitted", "succeed"] and set(last) == set(CAPTURED["body"])
    assert last["task_result"] == {"images": [], "videos": [], "audios": [], **data["task_result"]}
    assert last["task_info"]["external_task_id"] == "ours"
    assert last["task_info"].get("parent_video") == data.get("task_info", {}).get("parent_video")


async def test_a_failed_task_says_why() -> None:
    """A failure comes with its message and empty results."""
    async with playing() as (emu, call, receiver):
        await call.video(prompt="emulator:fail", callback_url=receiver.url)
        await played(emu)
    last = receiver.posts[-1].json
    assert receiver.told == ["submitted", "processing", "failed"]
    assert last["task_status_msg"] == "Failure to pass the risk control system"
    assert last["task_result"] == {"images": [], "videos": [], "audios": []}


async def test_only_creates_that_ask_are_called_back() -> None:
    """Without an address, and after a refusal, nothing is sent; the ledger has what was."""
    async with playing() as (emu, call, receiver):
        await call.video()
        await call.video(prompt="emulator:refuse", callback_url=receiver.url)
        task_id = (await call.image(callback_url=receiver.url)).data["task_id"]
        await played(emu)
        rows = emu.ledger.callbacks
        shown = (await call("GET", "/_emulator/ledger")).json["callbacks"]
    assert receiver.told == [row.task_status for row in rows] == CHANGES
    assert {(row.task_id, row.url, row.answer, row.error, row.fault) for row in rows} == {
        (task_id, receiver.url, 200, "", None)
    }
    assert [row.at for row in rows] == [row["at"] for row in shown] and len({r.webhook_id for r in rows}) == 3


async def test_the_test_callback_of_the_console() -> None:
    """It is the fixed one of the second generation, signed."""
    async with playing(webhook_secret=SECRET) as (emu, _, receiver):
        row = await emu.send_test_callback(receiver.url)
        (post,) = receiver.posts
    assert post.json == golden("callbacks")["callbacks"]["v2, test callback of the console"]["body"]
    assert post.genuine() and row.answer == 200


# --- signatures --------------------------------------------------------------------------------


async def test_callbacks_are_signed() -> None:
    """The package of the scheme's authors accepts every callback, and none with another secret."""
    async with playing(webhook_secret=SECRET) as (emu, call, receiver):
        await call.video(callback_url=receiver.url)
        await played(emu)
    assert [post.genuine() for post in receiver.posts] == [True] * 3
    assert not any(post.genuine(OTHER) for post in receiver.posts)
    assert all(re.fullmatch(r"\d{19}", post.headers["webhook-id"]) for post in receiver.posts)


async def test_secrets_rotate() -> None:
    """Two secrets make two signatures; then the new one alone; without any there are no headers."""
    async with playing(webhook_secret=SECRET) as (emu, _, receiver):
        for secrets in ([SECRET, OTHER], OTHER, None):
            emu.set_webhook_secret(secrets)
            await emu.send_test_callback(receiver.url)
        two, one, none = receiver.posts
    assert (two.genuine(SECRET), two.genuine(OTHER)) == (True, True)
    assert (one.genuine(SECRET), one.genuine(OTHER)) == (False, True)
    assert not [name for name in none.headers if name.startswith("webhook")]


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!", "c2VjcmV0", [SECRET, "hidden"]])
def test_a_wrong_secret_is_refused(secret: Any) -> None:
    """The message does not repeat it; a repr shows no key."""
    with pytest.raises(ValueError, match="whsec_ and Base64; this one is not") as caught:
        emulator(webhook_secret=secret)
    assert "hidden" not in str(caught.value)
    assert SECRET[6:] not in repr(emulator(webhook_secret=SECRET)._courier.signer)


# --- where to ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.7/kling",
        "https://example.com/kling",
        "http://127.0.0.1.example.com/",
        "http://127.0.0.1@example.com/",
        "http://example.com#@127.0.0.1/",
        "http://example.com\\@127.0.0.1/",
        "http://0.0.0.0/",
        "http://[::ffff:192.0.2.7]/",
        "http://localhost.example.com/",
        "http://2130706433/",
        "http://10.0.0.1/",
        "ftp://127.0.0.1/",
        "//127.0.0.1/",
        "127.0.0.1",
        "http://[::1",
        "http://",
        "nonsense",
    ],
)
async def test_nobody_else_is_called(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is not on loopback is noted and not called, whatever it looks like."""

    async def connect(*_: Any, **__: Any) -> Any:
        raise AssertionError("called")

    async with playing() as (emu, call, _):
        await call.video(callback_url=url)
        monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect)
        await played(emu)
        monkeypatch.undo()
        assert [row.answer for row in emu.ledger.callbacks] == [None] * 3
        assert {row.error for row in emu.ledger.callbacks} == {"the emulator calls loopback addresses only"}


async def test_a_redirect_is_not_followed() -> None:
    """A receiver on loopback cannot send the emulator elsewhere."""
    async with receiving() as other, playing() as (emu, _, receiver):
        receiver.answer = {"status": 307, "headers": {"Location": other.url}}
        assert (await emu.send_test_callback(receiver.url)).answer == 307
        assert len(receiver.posts) == 1 and not other.posts


async def test_localhost_is_this_machine_whatever_a_resolver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name ``localhost`` is not looked up; no other name is known."""

    async def getaddrinfo(*_: Any, **__: Any) -> Any:
        raise AssertionError("looked up")

    async with playing() as (emu, _, receiver):
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        url = receiver.url.replace("127.0.0.1", "localhost")
        row = await emu.send_test_callback(url)
        monkeypatch.undo()
    assert (row.answer, len(receiver.posts)) == (200, 1)
    with pytest.raises(OSError, match="not on loopback"):
        await _LoopbackResolver().resolve("localhost.example.com")


async def test_both_families_of_loopback() -> None:
    """A receiver on ``::1`` is called, too."""
    async with receiving("::1") as receiver, calling() as (emu, _):
        assert (await emu.send_test_callback(receiver.url)).answer == 200
        assert (await emu.send_test_callback(receiver.url.replace("[::1]", "localhost"))).answer == 200


# --- faults ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "told", "times"),
    [
        ({"kind": "lost"}, ["processing", "succeed"], [1, 30]),
        ({"kind": "lost", "times": None}, [], []),
        ({"kind": "lost", "skip": 1, "times": 2}, ["submitted"], [0]),
        ({"kind": "lost", "on": "callback:succeed"}, ["submitted", "processing"], [0, 1]),
        ({"kind": "doubled"}, ["submitted", "processing", "submitted", "succeed"], [0, 1, 1, 30]),
        ({"kind": "doubled", "seconds": 40}, [*CHANGES, "submitted"], [0, 1, 30, 40]),
        ({"kind": "replayed", "seconds": 5}, [*CHANGES[:2], "submitted", "succeed"], [0, 1, 5, 30]),
        ({"kind": "late"}, ["processing", "succeed", "submitted"], [1, 30, 60]),
        ({"kind": "late", "on": "callback:succeed", "seconds": 7}, CHANGES, [0, 1, 37]),
        ({"kind": "reordered"}, ["processing", "submitted", "succeed"], [1, 1, 30]),
        ({"kind": "reordered", "times": 2}, ["succeed", "submitted", "processing"], [30, 30, 30]),
        ({"kind": "reordered", "on": "callback:succeed"}, CHANGES, [0, 1, 30]),
        ({"kind": "forged"}, ["failed", *CHANGES], [0, 0, 1, 30]),
        ({"kind": "forged", "on": "callback:processing", "value": "succeed"},
         ["submitted", "succeed", "processing", "succeed"], [0, 1, 1, 30]),
    ],
)  # fmt: skip
async def test_faults_of_callbacks(fault: dict[str, Any], told: list[str], times: list[float]) -> None:
    """Each kind does what it says, to as many callbacks as it says."""
    async with playing(webhook_secret=SECRET) as (emu, call, receiver):
        start = asyncio.get_running_loop().time()
        emu.fault(**{"on": "callback", **fault})
        await call.video(callback_url=receiver.url)
        await played(emu)
        kinds = [row.fault for row in emu.ledger.callbacks]
    assert sorted(receiver.told) == sorted(told)
    assert [round(post.at - start) for post in receiver.posts] == times
    if len(set(times)) == len(times) or fault["kind"] in {"reordered", "forged"}:
        assert receiver.told == told
    genuine = [post.genuine() for post in receiver.posts]
    assert genuine.count(False) == (1 if fault["kind"] == "forged" else 0)
    assert kinds.count(fault["kind"]) >= 1


async def test_doubles_are_signed_anew_and_replays_are_not() -> None:
    """A double has the same id and body and a new time; a replay is equal in every byte."""
    async with playing(webhook_secret=SECRET) as (emu, call, receiver):
        emu.fault("callback", kind="doubled", seconds=5)
        emu.fault("callback:processing", kind="replayed", seconds=5)
        await call.video(callback_url=receiver.url)
        await played(emu)

    def signature(post: Post) -> tuple[str, str]:
        return post.headers["webhook-timestamp"], post.headers["webhook-signature"]

    first, second, doubled, replayed, _ = receiver.posts
    assert (doubled.body, doubled.headers["webhook-id"]) == (first.body, first.headers["webhook-id"])
    assert int(doubled.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 5
    assert (replayed.body, replayed.headers) == (second.body, second.headers)
    assert signature(doubled) != signature(first) and doubled.genuine()


async def test_callbacks_can_all_be_late() -> None:
    """``callback_delay`` holds for each; a body tells of its change, a signature is made at the post."""
    async with playing(webhook_secret=SECRET, callback_delay=40) as (emu, call, receiver):
        await call.video(callback_url=receiver.url)
        await played(emu)
    assert receiver.told == CHANGES
    first = receiver.posts[0]
    assert int(first.headers["webhook-timestamp"]) - first.json["updated_at"] / 1000 == pytest.approx(
        40, abs=1
    )


async def test_faults_of_callbacks_come_over_http_too() -> None:
    """The control interface arms them, beside those of requests, and each strikes its own."""
    async with playing() as (emu, call, receiver):
        armed = {"on": "callback", "kind": "lost", "times": 3}
        assert (await call("POST", "/_emulator/faults", json=armed)).json == {"armed": 1}
        emu.fault("any", status=503, times=1)
        assert (await call.video(callback_url=receiver.url)).status == 503
        await call.video(callback_url=receiver.url)
        await played(emu)
        assert not receiver.posts and not list(emu.faults)
        assert [row.fault for row in emu.ledger.callbacks] == ["lost"] * 3


@pytest.mark.parametrize(
    ("on", "kind"),
    [("create", "lost"), ("any", "forged"), ("callback", "slow"), ("callback:failed", "answer")],
)
def test_faults_fit_what_they_strike(on: str, kind: Any) -> None:
    """A request cannot be forged, nor a callback be cut: a mistake in a script is an error."""
    with pytest.raises(ValueError, match="on='callback'"):
        Fault(on, kind, status=500)


# --- beside the rest ---------------------------------------------------------------------------


async def test_a_slow_receiver_holds_up_nothing() -> None:
    """While a receiver takes its time, creates and queries are answered and other callbacks are sent."""
    async with receiving() as slow, playing() as (emu, call, receiver):
        slow.seconds = 5
        loop = asyncio.get_running_loop()
        start = loop.time()
        task_id = (await call.video(callback_url=slow.url)).data["task_id"]
        for _ in range(3):
            await call.video(callback_url=receiver.url)
        assert await call.status(task_id) == "submitted"
        await until(lambda: len(receiver.posts) == 3, 1)
        assert loop.time() - start < 1
        await played(emu)
        assert slow.told == CHANGES and receiver.told.count("succeed") == 3


@pytest.mark.parametrize(("seconds", "error"), [(60.0, "TimeoutError"), (None, "ClientConnectorError")])
async def test_a_receiver_that_is_not_there_is_noted(seconds: float | None, error: str) -> None:
    """Neither silence nor a closed port disturbs the tasks; the ledger says what happened."""
    async with playing() as (emu, call, receiver):
        receiver.seconds = seconds or 0
        url = receiver.url if seconds else "http://127.0.0.1:1/"
        await call("POST", IMAGE, json={"model_name": "kling-v3", "prompt": "x", "callback_url": url})
        await played(emu)
        assert [row.answer for row in emu.ledger.callbacks] == [None] * 3
        assert all(error in row.error for row in emu.ledger.callbacks)


async def test_an_emulator_closes_with_callbacks_under_way() -> None:
    """Late and unanswered callbacks leave no task and no connection behind; a restart goes on calling."""
    before = asyncio.all_tasks()
    async with playing() as (emu, call, receiver):
        receiver.seconds = 8
        emu.fault("callback", kind="late")
        emu.fault("callback", kind="reordered")
        for _ in range(3):
            await call.video(callback_url=receiver.url)
        await until(lambda: len(receiver.posts) == 1)
        url = emu.url
        await emu.stop()
        await emu.drain_callbacks()
        assert not emu._courier._sending
        assert (await emu.send_test_callback(receiver.url)).error == "the emulator is stopped"
        receiver.seconds = 0
        await emu.start()
        assert emu.url == url
        await played(emu)
        assert receiver.told.count("succeed") == 3
    assert asyncio.all_tasks() == before


async def test_equal_seeds_give_equal_callbacks() -> None:
    """Ids of callbacks are drawn from a generator of their own: ids of tasks do not depend on them."""
    seen = []
    for url in (True, True, False):
        async with playing(seed=7) as (emu, call, receiver):
            await call.video(**({"callback_url": receiver.url} if url else {}))
            await played(emu)
            seen.append((list(emu.tasks), [row.webhook_id for row in emu.ledger.callbacks]))
    assert seen[0] == seen[1] and seen[2] == (seen[0][0], [])
