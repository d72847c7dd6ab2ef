"""A gateway in front of the emulated API: its own task ids, its own forms of answers, its own table of tasks.

The forms are those of gateways that people run: the vendor's envelope with a public id in it, the new-api
family, and flat answers. What they do to ids, errors and times was read off their sources and their users'
reports; the vendor's reference has nothing on them.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from kling_async.emulator.http.answers import HttpAnswer
from kling_async.emulator.http.gateway_forms import (
    GATEWAY_ERRORS,
    flat_answer,
    openai_error,
    row_answer,
    video_answer,
    word_error,
)
from kling_async.emulator.http.json_body import parse_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.emulator.http.dispatch import RoutedRequest
    from kling_async.emulator.http.routes import Route
    from kling_async.emulator.state.clock import Clock
    from kling_async.emulator.state.tasks import Task

__all__ = ["Gateway", "GatewayFront"]

_SERVED: Final = ("text_to_video", "image_to_video")
"""Endpoints that gateways of the new-api family pass on."""
_NOT_FOUND: Final = 1201


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Behaviour of a gateway in front of the API.

    Raises:
        ValueError: There is no such dialect.
    """

    dialect: Literal["envelope", "new-api", "flat"] = "new-api"
    """``envelope``: the vendor's answers with other ids, and all paths. ``new-api``, ``flat``: only creates
    and single queries of text-to-video and image-to-video."""
    quotes: Literal["json", "words", "nothing"] = "json"
    """The part of the vendor's refusals that its errors quote: the whole answer, the message without its
    number, or nothing where the status is 429."""
    older: bool = False
    """Whether the address of a result stands in ``fail_reason``, and the vendor's own answer is not shown."""
    loses_external_ids: bool = False
    """Whether ``external_task_id`` is dropped from creates, as ``new-api`` and ``flat`` do anyway."""
    most_tasks: int | None = None
    """Tasks that may run at once for its key; one more is refused with a 429 of its own."""
    interval: float = 15.0
    """Seconds between two looks at the vendor's; in between its table says what it said before."""

    def __post_init__(self) -> None:
        if self.dialect not in ("envelope", "new-api", "flat"):
            raise ValueError(f"no dialect of gateways: {self.dialect!r}; there are envelope, new-api, flat")


class GatewayFront:
    """Stands between the socket and the dispatcher.

    Args:
        gateway: How it behaves; None for none: everything passes as it is.
        clock: The emulator's clock.
        tasks: The tasks of the account, by the vendor's id.
    """

    def __init__(self, gateway: Gateway | None, clock: Clock, tasks: Mapping[str, Task]) -> None:
        self._gateway = gateway
        self._clock = clock
        self._tasks = tasks
        self._vendors: dict[str, str] = {}
        """The vendor's id of each public one."""
        self._publics: dict[str, str] = {}
        self._rows: dict[str, tuple[float, HttpAnswer]] = {}
        """The task of each public id as the table has it, and when the gateway looks again."""

    def received(self, route: Route, raw: bytes) -> tuple[Route, bytes]:
        """Return a request as the vendor gets it."""
        if self._gateway is None:
            return route, raw
        if route.kind == "query" and route.id in self._vendors:
            route = replace(route, id=self._vendors[route.id])
        loses = self._gateway.loses_external_ids or self._gateway.dialect != "envelope"
        if route.kind == "create" and loses:
            raw = _without_external_id(raw)
        return route, raw

    def answer(self, routed: RoutedRequest, act: Callable[[RoutedRequest], HttpAnswer]) -> HttpAnswer:
        """Do what a request asks, and return the answer in the gateway's form."""
        gateway, route = self._gateway, routed.route
        if gateway is None or route.kind == "media":
            return act(routed)
        if gateway.dialect == "envelope":
            return self.spoken(routed, act(routed))
        name = route.endpoint.name if route.endpoint else ""
        if route.kind not in ("create", "query") or name not in _SERVED:
            target = f"{routed.request.method} {routed.request.path}"
            return openai_error(404, f"Invalid URL ({target})", kind="invalid_request_error")
        if route.kind == "query":
            return self._row(routed, act)
        if gateway.most_tasks is not None and self._running() >= gateway.most_tasks:
            return openai_error(429, "the token runs as many tasks as it may", kind="new_api_error")
        return self.spoken(routed, act(routed))

    def spoken(self, routed: RoutedRequest, answer: HttpAnswer) -> HttpAnswer:
        """Return an answer of the vendor's in the gateway's form."""
        gateway = self._gateway
        if gateway is None or answer.payload is None or routed.route.kind == "media":
            return answer
        if answer.code:
            return self._refused(routed, answer)
        if gateway.dialect == "envelope":
            return self._enveloped(routed, answer)
        return self._shown(gateway, routed, answer.payload)

    # --- the table -----------------------------------------------------------------------------

    def _row(self, routed: RoutedRequest, act: Callable[[RoutedRequest], HttpAnswer]) -> HttpAnswer:
        """Return what the table says of a task: as new as the gateway's last look at the vendor's."""
        assert self._gateway is not None  # noqa: S101 - checked by the caller
        vendors = routed.route.id or ""
        if vendors not in self._publics:
            return word_error(400, "task_not_exist", "task_not_exist")
        public = self._public(vendors)
        now = self._clock.time()
        due, answer = self._rows.get(public, (0.0, HttpAnswer()))
        if now >= due or answer.payload is None:
            interval = self._gateway.interval
            answer = self.spoken(routed, act(routed))
            self._rows[public] = ((now // interval + 1) * interval if interval else now, answer)
        return answer

    def _running(self) -> int:
        return sum(not self._tasks[vendors].done for vendors in self._vendors.values())

    def _public(self, vendors: str) -> str:
        public = self._publics.get(vendors)
        if public is None:
            public = f"task_{zlib.crc32(vendors.encode()):08x}{len(self._publics):08x}"
            self._publics[vendors], self._vendors[public] = public, vendors
        return public

    # --- forms ---------------------------------------------------------------------------------

    def _refused(self, routed: RoutedRequest, answer: HttpAnswer) -> HttpAnswer:
        assert self._gateway is not None  # noqa: S101 - checked by the caller
        code, message = answer.code or 0, answer.message
        if code < 1100:
            return openai_error(401, "Invalid token", kind="new_api_error")
        if code == _NOT_FOUND and routed.route.kind == "query":
            return word_error(400, "task_not_exist", "task_not_exist")
        if self._gateway.dialect == "envelope":
            return answer
        quotes = self._gateway.quotes
        if quotes == "words":
            return word_error(400, "task_failed", message)
        if quotes == "nothing" and answer.status == 429:
            return word_error(429, "fail_to_fetch_task", GATEWAY_ERRORS[429])
        quoted = json.dumps(answer.payload, ensure_ascii=False, separators=(",", ":"))
        return word_error(answer.status, "fail_to_fetch_task", quoted)

    def _shown(self, gateway: Gateway, routed: RoutedRequest, vendors: dict[str, Any]) -> HttpAnswer:
        """Return a task of the vendor's answer in a form of the new-api family."""
        data = vendors["data"]
        public = self._public(data["task_id"])
        if gateway.dialect == "flat":
            return flat_answer(public, data)
        if routed.route.kind == "create":
            return video_answer(public, data, model=str((routed.body or {}).get("model_name") or ""))
        return row_answer(public, vendors, older=gateway.older)

    def _enveloped(self, routed: RoutedRequest, answer: HttpAnswer) -> HttpAnswer:
        """Put the public ids into an answer of the vendor's, and write its times in seconds."""
        payload = dict(answer.payload or {})
        data = payload.get("data")
        if isinstance(data, list):
            payload["data"] = [self._renamed(task) for task in data]
        elif isinstance(data, dict):
            payload["data"] = renamed = self._renamed(data)
            if routed.route.kind == "create" and "task_id" in renamed:
                payload |= {"task_id": renamed["task_id"], "request_id": renamed["task_id"]}
        return replace(answer, payload=payload)

    def _renamed(self, task: Any) -> Any:
        if not isinstance(task, dict) or not isinstance(task.get("task_id"), str):
            return task
        times = {name: task[name] // 1000 for name in ("created_at", "updated_at") if name in task}
        return {**task, **times, "task_id": self._public(task["task_id"])}


def _without_external_id(raw: bytes) -> bytes:
    body = parse_object(raw)
    if body is None or "external_task_id" not in body:
        return raw
    del body["external_task_id"]
    return json.dumps(body).encode()
