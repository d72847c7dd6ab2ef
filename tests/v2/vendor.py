"""A vendor of the second generation in a few lines, no emulator of ours: a second judge of the client.

It speaks by the vendor's pages alone: the model in the path, contents, settings and options, ``/tasks`` and
``/solutions`` by ids and by cursor. It knows ``/v1/videos/text2video`` too, for what both generations share.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from kling_async import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Json = dict[str, Any]

FAMILIES: Final = ("text-to-video", "image-to-video", "omni-video", "motion-control", "solutions")
NOW: Final = 1_790_000_000
PAGE: Final = 2
"""Most tasks on a page of the list here, whatever was asked for."""


def wall_time() -> float:
    return NOW + asyncio.get_running_loop().time()


def success(data: object, **more: Any) -> web.Response:
    return web.json_response({"code": 0, "message": "SUCCEED", "request_id": "r", "data": data, **more})


def refusal(status: int, code: int, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message, "request_id": "r"}, status=status)


class Vendor:
    """A vendor whose tasks take 30 s.

    Attributes:
        tasks: Every task, in the order of creation.
        creates: Path and body of each create.
        queries: Method, path and query or body of each query.
        faults: Answers in place of the vendor's own to creates, in turn; the task is made all the same.
        hidden: Ids that are left out of answers for good.
        key_pairs: Whether ``/v1`` takes the token of a key pair.
        limits: Most tasks that run at once, by model; more are refused with 1303.
        outputs: Makes the outputs of a task that has succeeded.
        on_create, on_ids, on_page: Answer creates and queries; replace them for other answers.
    """

    def __init__(self) -> None:
        self.tasks: list[Json] = []
        self.creates: list[tuple[str, Json]] = []
        self.queries: list[tuple[str, str, Any]] = []
        self.faults: list[web.Response] = []
        self.hidden: set[str] = set()
        self.key_pairs = False
        self.limits: dict[str, int] = {}
        self.outputs: Callable[[Json], list[Json]] = self.made
        self.on_create: Callable[[str, Json], web.Response] = self.create
        self.on_ids: Callable[[Any, str], web.Response] = self.by_ids
        self.on_page: Callable[[Json, str], web.Response] = self.page
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:  # noqa: PLR0911 - one line a path
        if request.path.startswith("/files/"):
            return web.Response(body=b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 12, content_type="video/mp4")
        first = request.path.startswith("/v1/") or request.path == "/account/costs"
        if not (first and self.key_pairs) and request.headers.get("Authorization") != "Bearer key-1":
            return refusal(401, 1002, "Authentication error. The current API does not support AK/SK")
        path, family = request.path, request.path.split("/")[1]
        body: Any = await request.json() if request.can_read_body else None
        if path in ("/tasks", "/solutions"):
            self.queries.append((request.method, path, dict(request.query) if body is None else body))
            return self.on_ids(request.query, path) if body is None else self.on_page(body, path)
        if request.method == "POST" and family in FAMILIES:
            return self.on_create(path, body)
        if request.method == "POST" and path == "/v1/videos/text2video":
            return self.on_create(path, body)
        if path.startswith("/v1/videos/text2video/"):
            self.queries.append(("GET", path, {}))
            return self.one(path.rpartition("/")[2])
        if path == "/account/costs":
            return success({"code": 0, "msg": "ok"})
        return refusal(404, 1202, "no such path")

    def create(self, path: str, body: Json) -> web.Response:
        self.creates.append((path, body))
        first = path.startswith("/v1/")
        name = (body if first else body.get("options", {})).get("external_task_id") or None
        model = body["model_name"] if first else path.rpartition("/")[2]
        if any(task["external_id"] == name for task in self.tasks if name):
            return refusal(400, 1201, f"External_task_id {name} already exists")
        running = [task for task in self.tasks if task["model"] == model and not self.ended(task)]
        if len(running) >= self.limits.get(model, 99):
            return refusal(429, 1303, "parallel task over resource pack limit")
        task = {
            "id": str(910_000_000_000_000_000 + len(self.tasks)),
            "external_id": name,
            "path": path,
            "model": model,
            "made": wall_time(),
        }
        self.tasks.append(task)
        if self.faults:
            return self.faults.pop(0)
        return success(self.in_v1(task) if first else {**self.shown(task), "message": ""})

    def made(self, task: Json) -> list[Json]:
        kind = "subbed_video" if "drama" in task["path"] else "video"
        url = f"{self.url}/files/{task['id']}.mp4"
        return [{"type": kind, "id": f"v{task['id']}", "url": url, "duration": "3.041"}]

    def ended(self, task: Json) -> bool:
        return bool(wall_time() - task["made"] >= 30)

    def shown(self, task: Json) -> Json:
        made = int(task["made"] * 1000)
        told: Json = {"id": task["id"], "status": "processing", "create_time": made, "update_time": made}
        if task["external_id"]:
            told["external_id"] = task["external_id"]
        if task.get("fails"):
            bill = [{"amount": "0"}]
            return {**told, "status": "failed", "message": task["fails"], "billing": bill}
        if self.ended(task):
            bill = [{"charge_type": "unit", "amount": "2.4", "package_type": "video"}]
            return {**told, "status": "succeeded", "outputs": self.outputs(task), "billing": bill}
        return told

    def in_v1(self, task: Json) -> Json:
        told = self.shown(task)
        return {
            "task_id": told["id"],
            "task_status": {"succeeded": "succeed"}.get(told["status"], told["status"]),
            "task_info": {"external_task_id": task["external_id"]},
            "task_result": {"videos": self.outputs(task)} if told["status"] == "succeeded" else {},
            "created_at": told["create_time"],
            "updated_at": told["update_time"],
        }

    def of(self, path: str) -> list[Json]:
        wanted = path == "/solutions"
        return [
            task
            for task in self.tasks
            if task["path"].startswith("/solutions/") is wanted and task["id"] not in self.hidden
        ]

    def by_ids(self, query: Any, path: str) -> web.Response:
        if len(query) != 1 or not set(query) <= {"task_ids", "external_task_ids"}:
            return refusal(400, 1201, "task_ids or external_task_ids is required")
        ((name, value),) = query.items()
        ids = value.split(",")
        if len(ids) > 20:
            return refusal(400, 1201, "task_ids and external_task_ids cannot exceed 20 in total")
        key = "id" if name == "task_ids" else "external_id"
        found = [self.shown(task) for task in self.of(path) if task[key] in ids]
        return success(found[::-1])  # in no particular order

    def page(self, body: Json, path: str) -> web.Response:
        if not all(isinstance(body.get(key, 0), int) for key in ("start_time", "end_time", "limit")):
            return refusal(400, 1201, "a time is not valid")
        tasks = [self.shown(task) for task in self.of(path)][::-1]
        for one in body.get("filters", ()):
            tasks = [task for task in tasks if one["key"] != "status" or task["status"] in one["values"]]
        at = int(body["cursor"]) if "cursor" in body else 0
        if "cursor" not in body:
            since, until = body.get("start_time", 0), body.get("end_time", 10**15)
            tasks = [task for task in tasks if since <= task["create_time"] < until]
        page = tasks[at : at + PAGE]
        if not page:
            return success({"count": 0, "has_more": False})
        more = at + PAGE < len(tasks)
        return success({"result": page, "count": len(page), "next_cursor": str(at + PAGE), "has_more": more})

    def one(self, name: str) -> web.Response:
        found = next((t for t in self.tasks if name in (t["id"], t["external_id"])), None)
        return (
            refusal(400, 1201, f"Task not found by id/external id: {name}")
            if found is None
            else success(self.in_v1(found))
        )


@asynccontextmanager
async def vendor_and_client(**options: Any) -> AsyncIterator[tuple[Vendor, Client]]:
    """Start the vendor, and make a client of it."""
    vendor = Vendor()
    runner = web.ServerRunner(web.Server(vendor.handle), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    vendor.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    if "access_key" not in options:
        options.setdefault("api_key", "key-1")
    options.setdefault("limits", {"video": 5, "virtual_try_on": 5})
    try:
        async with Client(base_url=vendor.url, now=wall_time, **options) as client:
            yield vendor, client
    finally:
        await runner.cleanup()


def as_json(value: object) -> Any:
    """A value as it comes out of JSON."""
    return json.loads(json.dumps(value))
