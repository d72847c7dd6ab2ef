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
    from kling_async.options import SlotOptions

__all__ = ["SizedPool", "checked_label_limits", "checked_limits", "too_heavy"]


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
        pool, _, model = str(name).partition("/")
        if pool in POOLS and model:
            continue
        if close := difflib.get_close_matches(str(name), POOLS, n=1, cutoff=0.8):
            raise ConfigurationError(f"limits[{name!r}] is no pool; did you mean {close[0]!r}?")
        warn_once(f"limits[{name!r}] is none of the pools known here: {', '.join(POOLS)}")
    for name, limit in limits.items():
        if limit is None and optional:
            continue
        _need_size("limits", name, limit)
    return dict(limits)


def _need_size(option: str, name: object, limit: object) -> None:
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise ConfigurationError(f"{option}[{name!r}] is {limit!r}; use a whole number above 0")


def checked_label_limits(options: SlotOptions) -> dict[str, int]:
    """Return the most slots of labels, checked.

    Raises:
        ConfigurationError: One is not a whole number above 0, or nothing may wait for slots.
    """
    limits = options.label_limits or {}
    for label, limit in limits.items():
        if not isinstance(label, str):
            raise ConfigurationError(f"label_limits[{label!r}] is no label: labels are text")
        _need_size("label_limits", label, limit)
    if limits and not options.queueing:
        raise ConfigurationError("label_limits needs queueing=True: at its limit a label waits in the queue")
    return dict(limits)


def too_heavy(pool: SizedPool, ticket: Ticket, of_label: int | None = None) -> RequestInvalid:
    """Return the error for a request that needs more slots than its pool has, or than its label may hold.

    Args:
        pool: The pool.
        ticket: The request's.
        of_label: The slots that its label may hold; None: the pool is too small.
    """
    allowed = f"this account has {pool.limit} in all"
    if of_label is not None:
        allowed = f"label_limits allows {ticket.label!r} {of_label} in all"
    text = f"takes {ticket.weight} {pool.name} slots; {allowed}"
    return RequestInvalid("request", [Problem("n" if pool.name == "image" else "weight", text)])
