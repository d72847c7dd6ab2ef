"""The base of small servers that tests write, independent of the emulator: a vendor in a few lines."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

NOW: Final = 1_790_000_000
"""The wall time at which the loop's clock is 0."""


class SmallVendor:
    """A vendor whose answers carry its clock; `answer` decides what they are.

    Attributes:
        tasks: The task objects, by external id.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        answer = self.answer(request, json.loads(body) if body else {})
        answer.headers["Date"] = formatdate(wall_time(), usegmt=True)
        return answer

    def answer(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Answer one request; ``body`` is empty unless it is a create."""
        raise NotImplementedError

    def make(self, name: str, status: str) -> dict[str, Any]:
        """Make a task object with an id of its own."""
        info = {"external_task_id": name}
        self.tasks[name] = task = {
            "task_id": f"90{len(self.tasks)}",
            "task_status": status,
            "task_info": info,
        }
        return task

    def find(self, name: str) -> dict[str, Any] | None:
        """Return the task of an id of either kind."""
        return next((task for own, task in self.tasks.items() if name in (own, task["task_id"])), None)


def wall_time() -> float:
    """Return the time of the vendor's clock, which follows the loop's."""
    return NOW + asyncio.get_running_loop().time()


def envelope(data: object, **more: object) -> dict[str, Any]:
    return {"code": 0, "message": "SUCCEED", "request_id": "r", "data": data, **more}


def success(data: object, **more: object) -> web.Response:
    return web.json_response(envelope(data, **more))


def refusal(code: int, status: int, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message, "request_id": "r"}, status=status)


def not_found() -> web.Response:
    """Answer as the vendor does about an id that it does not know."""
    return refusal(1201, 400, "Task not found by id/external id")


@asynccontextmanager
async def address_of(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve on a free port of loopback; yield the base URL."""
    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
