"""Sending of callbacks: one POST on each change of a task's status, to the callback_url of its create.

Only loopback addresses are called. Each callback is sent by a task of its own, so that a slow receiver holds
up nothing; scripted faults lose, double, delay, reorder, replay and forge callbacks.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import random
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from kling_async.emulator.calls.callbacks import TEST_CALLBACK, callback_body, encode_callback
from kling_async.emulator.http.webhook_signing import FORGER, WebhookSigner
from kling_async.emulator.state.ledger import SentCallback

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from kling_async.emulator.calls.fields import Links
    from kling_async.emulator.http.faults import Fault, Faults
    from kling_async.emulator.state.clock import Clock
    from kling_async.emulator.state.ledger import Ledger
    from kling_async.emulator.state.tasks import Task

__all__ = ["Courier"]

ANSWER_SECONDS: Final = 10.0
"""Longest time that a receiver may take to answer; the vendor's is not known."""
LATE_SECONDS: Final = 60.0
"""Delay of a ``late`` callback whose fault names none."""
AGAIN_SECONDS: Final = 1.0
"""Time until a ``doubled`` or ``replayed`` callback comes again, where the fault names none."""
_ENDS_ONLY: Final = ("solution_drama_subtitle",)
"""Endpoints whose callbacks tell of final states only."""
HEADERS: Final = {
    "Content-Type": "application/json; charset=utf-8",
    "User-Agent": "Apache-HttpClient/4.5.13 (Java/11.0.14-internal)",
    "Accept-Encoding": "gzip,deflate",
}
"""Headers of the callback that was captured in production."""


@dataclass(frozen=True, slots=True)
class News:
    """One callback to be sent."""

    task_id: str
    status: str
    url: str
    webhook_id: str
    body: bytes
    fault: str | None = None


class Courier:
    """Sends the callbacks of an emulator.

    Args:
        clock: The emulator's clock; gives the timestamps of signatures.
        ledger: Gets a row for each callback.
        faults: The armed faults.
        links: Gives the URLs of files.
        seed: Equal seeds give equal ids of callbacks.
        delay: Seconds between a change of status and its callback.
    """

    def __init__(
        self, clock: Clock, ledger: Ledger, faults: Faults, links: Links, *, seed: int, delay: float
    ) -> None:
        self.signer = WebhookSigner()
        """Signs the callbacks; may be replaced while the emulator runs."""
        self._clock = clock
        self._ledger = ledger
        self._faults = faults
        self._links = links
        self._delay = delay
        self._ids = random.Random(f"{seed} callbacks")  # noqa: S311 - made up, not secret
        self._held: dict[str, list[News]] = {}
        self._sending: set[asyncio.Task[object]] = set()
        self._session: aiohttp.ClientSession | None = None

    def start(self) -> None:
        """Open the session, in the running event loop."""
        # a connection for each callback: one kept open may be closed by the receiver just as it is used
        connector = aiohttp.TCPConnector(resolver=_LoopbackResolver(), force_close=True)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
        )

    async def stop(self) -> None:
        """Drop the callbacks that are not sent yet, and close the connections."""
        session, self._session = self._session, None  # from here on no new callback starts
        for sending in self._sending:
            sending.cancel()
        await self.drain()
        self._held.clear()
        if session is not None:
            await session.close()

    async def drain(self) -> None:
        """Wait until every callback is sent, late ones included; those held back for the next one stay."""
        while self._sending:
            await asyncio.wait(self._sending)

    def announce(self, task: Task) -> None:
        """Send the news of a task that has just changed its status, if its create named an address."""
        url = task.body.get("callback_url")
        if not isinstance(url, str) or not url or self._session is None:
            return
        if task.endpoint in _ENDS_ONLY and not task.done:
            return
        fault = self._faults.take_callback(task.status)
        body = encode_callback(callback_body(task, self._links))
        kind = None if fault is None else fault.kind
        news = News(task.task_id, task.status, url, self._new_id(), body, kind)
        if kind == "reordered" and not task.done:
            self._held.setdefault(task.task_id, []).append(news)
            return
        self._spawn(self._deliver(news, fault))

    async def send_test(self, url: str) -> SentCallback:
        """Send the test callback of the vendor's console; return its row in the ledger."""
        task_id, status = str(TEST_CALLBACK["id"]), str(TEST_CALLBACK["status"])
        news = News(task_id, status, url, self._new_id(), encode_callback(TEST_CALLBACK))
        return await self._post(news, self._sign(news))

    async def _deliver(self, news: News, fault: Fault | None) -> None:
        """Send a callback as its fault says, then those that were held back for it."""
        seconds = 0.0 if fault is None else fault.seconds
        await asyncio.sleep(self._delay + ((seconds or LATE_SECONDS) if news.fault == "late" else 0))
        headers = self._sign(news)
        if news.fault == "lost":
            self._note(news)
        else:
            if fault is not None and news.fault == "forged":
                forged = _forged(news, fault)
                await self._post(forged, self._sign(forged, FORGER))
            await self._post(news, headers)
        for held in self._held.pop(news.task_id, ()):
            await self._post(held, self._sign(held))
        if news.fault in {"doubled", "replayed"}:
            await asyncio.sleep(seconds or AGAIN_SECONDS)
            await self._post(news, headers if news.fault == "replayed" else self._sign(news))

    async def _post(self, news: News, signature: dict[str, str]) -> SentCallback:
        """Send one callback, if its address is on loopback, and note the answer."""
        row = self._note(news)
        if not _is_loopback(news.url):
            row.error = "the emulator calls loopback addresses only"
        elif self._session is None:
            row.error = "the emulator is stopped"
        else:
            headers = {**HEADERS, **signature}
            try:
                async with self._session.post(
                    news.url, data=news.body, headers=headers, allow_redirects=False
                ) as answer:
                    row.answer = answer.status
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                row.error = type(error).__name__
        return row

    def _note(self, news: News) -> SentCallback:
        at, wall = self._clock.time(), self._clock.wall()
        row = SentCallback(at, wall, news.task_id, news.status, news.url, news.webhook_id, news.fault)
        self._ledger.add_callback(row)
        return row

    def _sign(self, news: News, signer: WebhookSigner | None = None) -> dict[str, str]:
        return (signer or self.signer).headers(news.webhook_id, int(self._clock.wall()), news.body)

    def _new_id(self) -> str:
        return str(self._ids.randrange(10**18, 10**19))

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        sending = asyncio.get_running_loop().create_task(work)
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)


def _forged(news: News, fault: Fault) -> News:
    """Return a false callback in the name of the vendor: another status, by default that the task failed."""
    status = str(fault.value or "failed")
    body = json.loads(news.body)
    body["task_status" if "task_status" in body else "status"] = status
    return replace(news, status=status, body=encode_callback(body), webhook_id=f"{news.webhook_id}0")


def _is_loopback(url: str) -> bool:
    with suppress(ValueError):
        # parsed as the sender of the request does it: two parsers could see two hosts
        address = URL(url)
        host = address.host or ""
        if address.scheme in {"http", "https"} and host:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
    return False


class _LoopbackResolver(AbstractResolver):
    """Knows one name, ``localhost``, whatever the machine's own resolver says."""

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - the connector tries both
    ) -> list[ResolveResult]:
        """Return the loopback addresses of both families."""
        if host != "localhost":
            raise OSError(f"{host} is not on loopback")
        addresses = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST
            )
            for kind, address in addresses
        ]

    async def close(self) -> None:
        """Release nothing."""
