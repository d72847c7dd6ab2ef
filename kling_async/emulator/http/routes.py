"""Routes: the meaning of a request by its method and path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote

from kling_async.emulator.judging.second import FAMILIES, SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.emulator.judging.reference import ReferenceEndpoint
    from kling_async.emulator.judging.second import SecondEndpoint

__all__ = ["CONTROL", "MEDIA", "Route", "RouteKind", "Routes"]

CONTROL: Final = "/_emulator/"
"""Prefix of paths that no real API has: the ledger, the faults, the media files."""
MEDIA: Final = CONTROL + "media/"
"""Prefix of the paths of media files."""
TASKS: Final = ("/tasks", "/solutions")
"""The second generation's queries by ids (GET) and its lists (POST); ``/tasks`` knows ``/v1``, too."""


RouteKind = Literal[
    "create",
    "query",
    "list",
    "call",
    "tasks",
    "history",
    "costs",
    "media",
    "control",
    "method",
    "model",
    "unknown",
]
"""Kinds of requests; ``method`` is a path that exists but not for this method, ``model`` one of the second
generation that names an unknown model, ``unknown`` one that does not exist."""


@dataclass(frozen=True, slots=True)
class Route:
    """The meaning of one request."""

    kind: RouteKind
    path: str
    """The path without the emulator's prefix."""
    endpoint: ReferenceEndpoint | None = None
    id: str | None = None
    """Id in the path of a query, percent-decoded."""
    second: SecondEndpoint | None = None
    """The path, if it is one of the second generation."""

    @property
    def api_key_only(self) -> bool:
        """Whether a signed token is refused."""
        return self.second is not None or self.kind in ("tasks", "history", "model")


_BY_PATH: Final = {second.endpoint.path: second for second in SECOND.values()} | {
    # observed: the first generation's name of the model works here
    "/omni-video/kling-v3-omni": SECOND["omni_video_kling_3_0_omni"]
}


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
        if path.rstrip("/") in TASKS:
            kinds: dict[str, RouteKind] = {"GET": "tasks", "POST": "history"}
            return Route(kinds.get(method, "method"), path)
        return self._second(method, path) or self._endpoint(method, path)

    def _second(self, method: str, path: str) -> Route | None:
        bare = path.rstrip("/")
        second = _BY_PATH.get(bare)
        if second is not None:
            kind: RouteKind = "create" if method == "POST" else "method"
            return Route(kind, path, second.endpoint, second=second)
        family, _, model = bare.removeprefix("/").partition("/")
        return Route("model", path) if family in FAMILIES and model and "/" not in model else None

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
