"""Callers who leave before their create's first byte: no task is made for somebody who has gone."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import pytest

from kling_async import Client, QueueTimeout, Retry
from kling_async.errors import TaskTimeout
from kling_async.orchestrator.bodies import encode
from kling_async.orchestrator.submission import SubmissionHooks
from tests.support import clip, pair, settle, until
from tests.wiretap import raw, server_tls, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio


async def cancelled_scope(client: Client) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await client.submit(clip())


async def past_deadline(client: Client) -> None:
    with anyio.move_on_after(-1):
        await client.submit(clip())


async def asyncio_timeout(client: Client) -> None:
    async with asyncio.timeout(0):
        await client.submit(clip())


async def cancelled_task(client: Client) -> None:
    task = asyncio.ensure_future(client.submit(clip()))
    await asyncio.sleep(0)
    task.cancel()
    await task


async def run_with_timeout(client: Client, timeout: float) -> None:
    await client.run(clip(), timeout=timeout)


GONE = [
    cancelled_scope,
    past_deadline,
    asyncio_timeout,
    cancelled_task,
    lambda client: run_with_timeout(client, 0),
    lambda client: run_with_timeout(client, -5.0),
]


@pytest.mark.parametrize("call", GONE)
async def test_who_has_gone_before_the_submit_gets_no_task(call: Callable[[Client], Awaitable[None]]) -> None:
    """Whatever cancels the caller or ends its time: nothing is sent, no slot is held."""
    async with pair() as (emu, client):
        with contextlib.suppress(QueueTimeout, TaskTimeout, TimeoutError, asyncio.CancelledError):
            await call(client)
        await asyncio.sleep(60)
        assert (len(emu.ledger.creates), client.tasks(), client.stats().in_flight) == (0, [], 0)
        pool = client.account.limits().get("video")
        assert pool is None or (pool.held, pool.queued) == (0, 0)


async def test_who_leaves_while_files_are_read_gets_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body is made in the client's care; before its first byte somebody must still want the task."""
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*arguments: object) -> bytes:
        reading.set()
        await go_on.wait()
        return await encode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("kling_async.orchestrator.submitter.encode", slow)
    async with pair() as (emu, client):
        submit = asyncio.create_task(client.submit(clip()))
        await asyncio.wait_for(reading.wait(), 60)
        submit.cancel()
        await asyncio.wait([submit])
        go_on.set()
        await settle()
        await asyncio.sleep(60)
        assert (len(emu.ledger.creates), client.tasks(), client.unresolved()) == (0, [], [])
        assert client.account.limits()["video"].held == 0


class HeldTunnel:
    """A proxy that opens a tunnel to a port only once it is told to.

    Attributes:
        waiting: Set when a connection waits.
        go_on: Lets the connections go on.
        forwarded: How many bytes went through the tunnel to the port.
    """

    def __init__(self, port: int) -> None:
        self.waiting, self.go_on = asyncio.Event(), asyncio.Event()
        self.forwarded = 0
        self._port = port

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.waiting.set()
        await self.go_on.wait()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.forwarded += len(data)
                writer.write(data)
        writer.close()


class HeldConnector(aiohttp.TCPConnector):
    """A connector whose connections are made only once it is told to; see `HeldTunnel`."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting, self.go_on = asyncio.Event(), asyncio.Event()

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        self.waiting.set()
        await self.go_on.wait()
        return await super()._create_connection(req, traces, timeout)


@asynccontextmanager
async def held_connector() -> AsyncIterator[tuple[Emulator, Client, HeldConnector]]:
    """Yield an emulator, and a client whose connections are held back."""
    connector = HeldConnector()
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        pair(client={"session": session, "limits": {"video": 5}}) as (emu, client),
    ):
        yield emu, client, connector


@pytest.mark.parametrize("tries", [1, 3])
async def test_who_leaves_while_the_connection_is_made_gets_no_task(tries: int) -> None:
    """The caller is looked at directly before the first byte, however long the connection took."""
    async with held_connector() as (emu, client, connector):
        engine, hooks = client.with_options(retry=Retry(max_tries=tries))._engine, SlowNotes()
        hooks.go_on.set()
        submission = await engine.new_submission(clip(), hooks=hooks)
        submit = asyncio.create_task(engine.queue.submit(submission))
        await asyncio.wait_for(connector.waiting.wait(), 60)
        submit.cancel()
        await asyncio.wait([submit])
        connector.go_on.set()
        await settle()
        await asyncio.sleep(60)
        assert (len(emu.ledger.creates), client.tasks(), client.unresolved()) == (0, [], [])
        assert (hooks.refused, client.stats().in_flight) == (1, 0)
        pool = client.account.limits()["video"]
        assert (pool.held, pool.queued) == (0, 0)
        assert await client.run(clip())  # the connection that carried nothing harms no later request


async def test_who_stays_while_the_connection_is_made_gets_the_task() -> None:
    """A connection that takes long is no reason to withhold what is still wanted."""
    async with held_connector() as (emu, client, connector):
        submit = asyncio.create_task(client.submit(clip()))
        await asyncio.wait_for(connector.waiting.wait(), 60)
        connector.go_on.set()
        assert (await submit).id in emu.tasks


async def test_who_leaves_after_a_create_was_in_doubt_leaves_it_in_care() -> None:
    """What is sent again after a doubt may have made its task: that its caller left changes nothing."""
    async with held_connector() as (emu, client, connector):
        connector.go_on.set()
        emu.fault("create", kind="lost_after")
        submit = asyncio.create_task(client.submit(clip()))
        await until(lambda: emu.ledger.creates)
        submit.cancel()
        await asyncio.wait([submit])
        await until(client.tasks)
        assert len(emu.tasks) == len(client.tasks()) == 1


async def test_who_leaves_within_the_handshake_behind_a_proxy_gets_no_task(tmp_path: Path) -> None:
    """The tunnel stands and TLS is agreed upon, but too late: nothing goes through it."""
    async with serving(raw({}), tls=server_tls(tmp_path)) as wire:
        tunnel = HeldTunnel(wire.port)
        listener = await asyncio.start_server(tunnel.talk, "127.0.0.1", 0)
        options: dict[str, Any] = {
            "proxy": f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}",
            "ssl": False,
        }
        async with (
            listener,
            Client(api_key="sk-t", base_url="https://api.example", limits={"video": 1}, **options) as client,
        ):
            submit = asyncio.create_task(client.submit(clip()))
            await asyncio.wait_for(tunnel.waiting.wait(), 60)
            submit.cancel()
            await asyncio.wait([submit])
            tunnel.go_on.set()
            await until(lambda: client.stats().in_flight == 0)
            assert tunnel.forwarded and wire.requests == [] and client.unresolved() == []
            assert client.account.limits()["video"].held == 0


class SlowNotes(SubmissionHooks):
    """Hooks that take their time to write down what is sent."""

    def __init__(self) -> None:
        self.writing, self.go_on = asyncio.Event(), asyncio.Event()
        self.refused = 0

    async def before_send(self) -> None:
        self.writing.set()
        await self.go_on.wait()

    def on_refused(self) -> None:
        self.refused += 1


async def test_who_leaves_while_the_send_is_written_down_gets_no_task() -> None:
    """What was written down is taken back: nothing was sent."""
    async with pair() as (emu, client):
        engine, hooks = client._engine, SlowNotes()
        submission = await engine.new_submission(clip(), hooks=hooks)
        submit = asyncio.create_task(engine.queue.submit(submission))
        await asyncio.wait_for(hooks.writing.wait(), 60)
        submit.cancel()
        await asyncio.wait([submit])
        hooks.go_on.set()
        await settle()
        assert (len(emu.ledger.creates), hooks.refused, client.stats().in_flight) == (0, 1, 0)
        assert client.account.limits()["video"].held == 0
