"""Which request is meant: a method and a path, looked up among the endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.emulator.reference import Endpoint

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
    """create, query, list, tasks, costs, media, control; ``method`` or ``unknown`` for what there is not."""
    path: str
    """Without the base path."""
    endpoint: Endpoint | None = None
    id: str | None = None
    """The id in the path, decoded."""


class Routes:
    """The endpoints by their paths."""

    def __init__(self, endpoints: Iterable[Endpoint], prefix: str) -> None:
        self._prefix = prefix
        self._by_path = {endpoint.path: endpoint for endpoint in endpoints}

    def find(self, method: str, raw_path: str) -> Route:  # noqa: PLR0911 - one line a kind of path
        """Return what a request means, by its method and its path as sent."""
        if raw_path != self._prefix and not raw_path.startswith(self._prefix + "/"):
            return Route("unknown", raw_path)
        path = raw_path[len(self._prefix) :]
        if path.startswith(MEDIA):
            return Route("media" if method == "GET" else "method", path)
        if path.startswith(CONTROL):
            return Route("control", path)
        bare = path.rstrip("/")
        if bare == TASKS:
            return Route("tasks" if method == "GET" else "method", path)
        endpoint = self._by_path.get(bare)
        if endpoint is not None:
            return Route(_kind(endpoint, method), path, endpoint)
        parent, _, last = bare.rpartition("/")
        endpoint = self._by_path.get(parent)
        if endpoint is None or not endpoint.makes_task:
            return Route("unknown", path)
        return Route("query" if method == "GET" else "method", path, endpoint, unquote(last))


def _kind(endpoint: Endpoint, method: str) -> str:
    if endpoint.makes_task:
        return {"POST": "create", "GET": "list"}.get(method, "method")
    if method != endpoint.method:
        return "method"
    return "costs" if endpoint.name == "account_costs" else "call"
