"""Settings of a client (polling, retries, time limits of the wire) and options of one submit."""

from __future__ import annotations

import math
from typing import TypedDict

import msgspec

from kling_async.errors import ConfigurationError

__all__ = ["Polling", "Retry", "Settings", "SubmitOptions", "Timeouts"]


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigurationError(message)


class Polling(msgspec.Struct, frozen=True, kw_only=True):
    """Pace of status queries. Seconds, unless said otherwise."""

    min_interval: float = 1.0
    """Rounds of a client are at least this far apart; 0 is allowed."""
    max_interval: float = 15.0
    """Longest pause between two queries about a task whose usual duration is not known yet."""
    request_cost: float = 0.2
    """Slot-seconds that one request is worth: lower asks more often."""
    requests_per_second: float = 10
    """Most status queries a second, always kept; clients that share these settings and slots share it."""

    def __post_init__(self) -> None:
        _need(self.min_interval >= 0, "Polling(min_interval=...) must not be negative")
        _need(self.max_interval >= self.min_interval, "Polling(max_interval=...) is below min_interval")
        _need(self.request_cost > 0, "Polling(request_cost=...) must be above 0")
        rate = self.requests_per_second
        _need(0 < rate < math.inf, "Polling(requests_per_second=...) must be above 0 and finite")


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """Retries of what is harmless to repeat: reads, and creates that surely made nothing.

    Being told to queue (1303) is no failure and not counted. The status queries of a waiting task are not
    bounded by this either: they go on until the waiter's own deadline.
    """

    max_tries: int = 8
    """Tries in all, the first included."""
    base: float = 0.5
    """First pause in seconds; each later one doubles."""
    cap: float = 30.0
    """Longest pause in seconds."""

    def __post_init__(self) -> None:
        _need(self.max_tries >= 1, "Retry(max_tries=...) must be at least 1")
        _need(0 <= self.base <= self.cap, "Retry(base=...) must lie between 0 and cap")

    def pause(self, failures: int, jitter: float) -> float:
        """Return the pause after so many failures: half to all of a doubling one, by ``jitter`` in [0, 1)."""
        return min(self.cap, self.base * 2.0 ** min(failures, 30)) * (0.5 + jitter / 2)


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one exchange with the server, in seconds."""

    connect: float = 10.0
    """To connect, the TLS handshake included."""
    read: float = 30.0
    """Longest silence of the server while an answer is awaited or a file is downloaded."""
    total: float = 60.0
    """One whole exchange. Downloads have no such limit."""
    per_megabyte: float = 6.0
    """Added to read and total for each MiB sent: Base64 images make bodies of 10 MB and more."""

    def __post_init__(self) -> None:
        for name in ("connect", "read", "total"):
            _need(getattr(self, name) > 0, f"Timeouts({name}=...) must be above 0")
        _need(self.per_megabyte >= 0, "Timeouts(per_megabyte=...) must not be negative")

    def grown(self, body_bytes: int) -> tuple[float, float]:
        """Return (read, total) for a request of that many bytes."""
        more = self.per_megabyte * (body_bytes / 1024 / 1024)
        return self.read + more, self.total + more


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings in which clients that share slots may differ."""

    polling: Polling = Polling()
    retry: Retry = Retry()
    timeouts: Timeouts = Timeouts()


class SubmitOptions(TypedDict, total=False):
    """Options of one submit: they belong to the call, not to the reusable request."""

    external_task_id: str | None
    """Your own id, unique in the account; default: a random one."""
    callback_url: str | None
    """Where the vendor posts every change of status."""
    priority: int
    """Higher goes first; default 0."""
    label: str
    """Within one priority, labels take turns; default ""."""
    queue_timeout: float | None
    """Seconds to wait for slots; default: as long as it takes."""
