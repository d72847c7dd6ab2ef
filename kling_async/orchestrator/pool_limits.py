"""Pool limits: check the sizes that callers give; refuse requests that are too heavy for their pool."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Protocol

from kling_async.core.pool_sizes import POOLS
from kling_async.errors import ConfigurationError, Problem, RequestInvalid
from kling_async.wire.checks import warn_once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.core.queue import Ticket

__all__ = ["SizedPool", "checked_limits", "too_heavy"]


class SizedPool(Protocol):
    """A pool, as far as requests are held against it."""

    @property
    def name(self) -> str:
        """Name of the pack type."""
        ...

    @property
    def limit(self) -> int:
        """Size of the pool."""
        ...


def checked_limits(limits: Mapping[str, int | None], *, optional: bool = False) -> dict[str, int | None]:
    """Return sizes of pools by name, checked.

    Args:
        limits: As the caller gave them.
        optional: Whether None may stand for a size.

    Raises:
        ConfigurationError: A name or a size is wrong.
    """
    for name in limits.keys() - POOLS:  # a `RawTask` may name a pool of its own
        if close := difflib.get_close_matches(str(name), POOLS, n=1, cutoff=0.8):
            raise ConfigurationError(f"limits[{name!r}] is no pool; did you mean {close[0]!r}?")
        warn_once(f"limits[{name!r}] is none of the pools known here: {', '.join(POOLS)}")
    for name, limit in limits.items():
        if limit is None and optional:
            continue
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise ConfigurationError(f"limits[{name!r}] is {limit!r}; use a whole number above 0")
    return dict(limits)


def too_heavy(pool: SizedPool, ticket: Ticket) -> RequestInvalid:
    """Return the error for a request that needs more slots than its pool has."""
    text = f"takes {ticket.weight} {pool.name} slots; this account has {pool.limit} in all"
    return RequestInvalid("request", [Problem("n" if pool.name == "image" else "weight", text)])
