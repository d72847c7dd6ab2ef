"""From a routed request to its answer: checks the key, and calls what the route means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kling_async.emulator.calls.creates import create_task
from kling_async.emulator.calls.histories import is_solution, list_history
from kling_async.emulator.calls.packs import list_packs
from kling_async.emulator.calls.queries import find_task, list_tasks, tasks_by_ids
from kling_async.emulator.calls.records import as_created, as_queried
from kling_async.emulator.calls.second_creates import create_second
from kling_async.emulator.calls.table import make_call
from kling_async.emulator.calls.unified import as_just_made, as_unified
from kling_async.emulator.http.answers import refused, succeeded
from kling_async.emulator.judging.reference import ReferenceEndpoint
from kling_async.emulator.judging.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from kling_async.emulator.http.answers import HttpAnswer
    from kling_async.emulator.http.auth import Keys
    from kling_async.emulator.http.media_host import MediaHost
    from kling_async.emulator.http.routes import Route
    from kling_async.emulator.state.account import EmulatedAccount
    from kling_async.emulator.state.ledger import Row

__all__ = ["Dispatcher", "RoutedRequest"]


@dataclass(frozen=True, slots=True)
class RoutedRequest:
    """One HTTP request with its route and its row in the ledger."""

    request: web.Request
    route: Route
    row: Row
    request_id: str
    body: dict[str, Any] | None
    """The JSON body of a create or call; None for other requests, and if there was no JSON object."""


class Dispatcher:
    """Does what requests ask. All changes of the account by requests happen in `act`, which never awaits.

    Args:
        account: The account to act on.
        keys: Its credentials.
        media: Serves its files.
    """

    def __init__(self, account: EmulatedAccount, keys: Keys, media: MediaHost) -> None:
        self._account = account
        self._keys = keys
        self._media = media

    def act(self, routed: RoutedRequest) -> HttpAnswer:
        """Do what a request asks, and return the answer; code and message are noted in the ledger."""
        headers: Mapping[str, str] = routed.request.headers
        if routed.row.fault == "no_range":
            headers = {name: value for name, value in headers.items() if name != "Range"}
        clock = self._account.clock
        if routed.route.kind == "media":
            find, query = self._account.media_owner, routed.request.query
            return self._media.answer(routed.route.path, query, headers, find, clock.time())
        try:
            pairs = not routed.route.api_key_only
            self._keys.check(headers.get("Authorization"), clock.wall(), pairs=pairs)
            answer = succeeded(self._data(routed), routed.request_id)
        except Refusal as refusal:
            answer = refused(refusal, routed.request_id)
        routed.row.code, routed.row.message = answer.code, answer.message
        return answer

    def _data(self, routed: RoutedRequest) -> Any:
        """Return the ``data`` of the answer, or refuse."""
        route = routed.route
        if self._account.code == 1304:
            raise Refusal(1304)
        if route.kind == "method":
            raise Refusal(1202)
        if route.api_key_only:
            return self._second(routed)
        if isinstance(route.endpoint, ReferenceEndpoint):
            return self._first(routed, route.endpoint)
        raise Refusal(1203, f"the path {route.path} does not exist")

    def _first(self, routed: RoutedRequest, endpoint: ReferenceEndpoint) -> Any:
        """Return the data of an answer of the first generation, or refuse."""
        account, links, route, row = self._account, self._media.urls, routed.route, routed.row
        match route.kind:
            case "create":
                return as_created(create_task(account, endpoint, routed.body, row))
            case "query":
                task = find_task(account.tasks, endpoint, route.id or "")
                row.task_id, row.external_task_id = task.task_id, task.external_task_id
                return as_queried(task, links)
            case "list":
                return [as_queried(task, links) for task in list_tasks(account.tasks, endpoint, row.query)]
            case "costs":
                return list_packs(account, endpoint, row.query)
            case _:
                return make_call(account, endpoint, routed.body, row, links)

    def _second(self, routed: RoutedRequest) -> Any:
        """Return the data of an answer of the second generation, or refuse."""
        account, links, route, row = self._account, self._media.urls, routed.route, routed.row
        if route.second is not None:
            return as_just_made(create_second(account, route.second, routed.body, row))
        if route.kind == "model":
            raise Refusal(1201, "model is not supported")
        solutions = route.path.startswith("/solutions")
        if route.kind == "tasks":
            found = tasks_by_ids(account.tasks, row.query, lambda task: is_solution(task) is solutions)
            return [as_unified(task, links) for task in found]
        by_id, now_ms = account.tasks.by_id, account.clock.wall_ms()
        return list_history(by_id, routed.body, links, now_ms, solutions=solutions)
