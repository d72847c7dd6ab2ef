"""Routes: the meaning of a request by its method and path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.emulator.judging.reference import ReferenceEndpoint

__all__ = ["CONTROL", "MEDIA", "Route", "RouteKind", "Routes"]

CONTROL: Final = "/_emulator/"
"""Prefix of paths that no real API has: the ledger, the faults, the media files."""
MEDIA: Final = CONTROL + "media/"
"""Prefix of the paths of media files."""
TASKS: Final = "/tasks"
"""The second generation's query by ids; it finds tasks of the first generation, too."""


RouteKind = Literal[
    "create", "query", "list", "call", "tasks", "costs", "media", "control", "method", "unknown"
]
"""Kinds of requests; ``method`` is a path that exists but not for this method, ``unknown`` one that does not
exist."""


@dataclass(frozen=True, slots=True)
class Route:
    """The meaning of one request."""

    kind: RouteKind
    path: str
    """The path without the emulator's prefix."""
    endpoint: ReferenceEndpoint | None = None
    id: str | None = None
    """Id in the path of a query, percent-decoded."""


class Routes:
    """The endpoints by method and path.

    Args:
        endpoints: All endpoints; of two calls with the same method and path, the first one answers.
        prefix: Path in front of all paths.
    """

    def __init__(self, endpoints: Iterable[ReferenceEndpoint], prefix: str) -> None:
        self._prefix = prefix
        self._by_address: dict[tuple[str, str], tuple[RouteKind, ReferenceEndpoint]] = {}
        self._makers: dict[str, ReferenceEndpoint] = {}
        for endpoint in endpoints:
            if endpoint.makes_task:
                self._makers[endpoint.path] = endpoint
                self._by_address[endpoint.method, endpoint.path] = ("create", endpoint)
                self._by_address["GET", endpoint.path] = ("list", endpoint)
            else:
                kind: RouteKind = "costs" if endpoint.name == "account_costs" else "call"
                # Both element services document the same path for deletion; the newer one answers.
                self._by_address.setdefault((endpoint.method, endpoint.path), (kind, endpoint))
        self._paths = {path for _, path in self._by_address}

    def find(self, method: str, raw_path: str) -> Route:
        """Return the route of a request; ``raw_path`` is the path as sent, still percent-encoded.

        Several slashes in a row count as one: clients join a base URL that ends in a slash with a path.
        """
        raw_path = re.sub("//+", "/", raw_path)
        if raw_path != self._prefix and not raw_path.startswith(self._prefix + "/"):
            return Route("unknown", raw_path)
        path = raw_path[len(self._prefix) :]
        if path.startswith(MEDIA):
            return Route("media" if method in {"GET", "HEAD"} else "method", path)
        if path.startswith(CONTROL):
            return Route("control", path)
        if path.rstrip("/") == TASKS:
            return Route("tasks" if method == "GET" else "method", path)
        return self._endpoint(method, path)

    def _endpoint(self, method: str, path: str) -> Route:
        bare = path.rstrip("/")
        found = self._by_address.get((method, bare))
        if found is not None:
            return Route(found[0], path, found[1])
        if bare in self._paths:
            return Route("method", path)
        parent, _, last = bare.rpartition("/")
        maker = self._makers.get(parent)
        if maker is None:
            return Route("unknown", path)
        return Route("query" if method == "GET" else "method", path, maker, unquote(last))
