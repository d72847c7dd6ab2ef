"""Which request is meant: a method and a path, looked up among the endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.emulator.judging.reference import Endpoint

__all__ = ["CONTROL", "MEDIA", "Route", "Routes"]

CONTROL: Final = "/_emulator/"
"""Below it is what no real API has: the ledger, the faults, the media."""
MEDIA: Final = CONTROL + "media/"
TASKS: Final = "/tasks"
"""The second generation's query by ids, which knows the tasks of the first one too."""


@dataclass(frozen=True, slots=True)
class Route:
    """One request's meaning."""

    kind: str
    """create, query, list, call, tasks, costs, media, control; ``method`` or ``unknown`` for what is not."""
    path: str
    """Without the base path."""
    endpoint: Endpoint | None = None
    id: str | None = None
    """The id in the path, decoded."""


class Routes:
    """The endpoints by method and path. Of two at one door, the first in the reference answers."""

    def __init__(self, endpoints: Iterable[Endpoint], prefix: str) -> None:
        self._prefix = prefix
        self._by_door: dict[tuple[str, str], tuple[str, Endpoint]] = {}
        self._makers: dict[str, Endpoint] = {}
        for endpoint in endpoints:
            if endpoint.makes_task:
                self._makers[endpoint.path] = endpoint
                self._by_door[endpoint.method, endpoint.path] = ("create", endpoint)
                self._by_door["GET", endpoint.path] = ("list", endpoint)
            else:
                kind = "costs" if endpoint.name == "account_costs" else "call"
                self._by_door.setdefault((endpoint.method, endpoint.path), (kind, endpoint))
        self._paths = {path for _, path in self._by_door}

    def find(self, method: str, raw_path: str) -> Route:
        """Return what a request means, by its method and its path as sent."""
        if raw_path != self._prefix and not raw_path.startswith(self._prefix + "/"):
            return Route("unknown", raw_path)
        path = raw_path[len(self._prefix) :]
        if path.startswith(MEDIA):
            return Route("media" if method == "GET" else "method", path)
        if path.startswith(CONTROL):
            return Route("control", path)
        if path.rstrip("/") == TASKS:
            return Route("tasks" if method == "GET" else "method", path)
        return self._endpoint(method, path)

    def _endpoint(self, method: str, path: str) -> Route:
        bare = path.rstrip("/")
        door = self._by_door.get((method, bare))
        if door is not None:
            return Route(door[0], path, door[1])
        if bare in self._paths:
            return Route("method", path)
        parent, _, last = bare.rpartition("/")
        maker = self._makers.get(parent)
        if maker is None:
            return Route("unknown", path)
        return Route("query" if method == "GET" else "method", path, maker, unquote(last))
