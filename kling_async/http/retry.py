"""Try again what is harmless to repeat. The one module that uses `backoff`, whose limits it knows.

``backoff`` is used for the attempts alone, with a count and a wait generator of ours: they honour progress
and the server's Retry-After. Its own jitter, clock-based limits and logger stay off: they would scale a
Retry-After, ignore the loop's clock, and log payloads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import backoff

from kling_async.core.verdict import Again, Got, Missing, Refused
from kling_async.errors import ConcurrencyExceeded, KlingError, RateLimited, TaskNotFound, TransportError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Generator

    from kling_async.core.verdict import ReadVerdict
    from kling_async.options import Retry

__all__ = ["patiently", "polite_wait", "read_patiently"]

T = TypeVar("T")


class _Repeat(Exception):
    """Not an error: the word to backoff to go on."""

    def __init__(self, verdict: Again) -> None:
        super().__init__()
        self.verdict = verdict


def polite_wait(rng: random.Random, retry: Retry) -> Generator[Any, Any, None]:
    """Yield pauses: what the server asked for, else a random part of a ceiling that doubles up to a cap."""
    repeat = yield  # backoff primes a generator with one empty send
    ceiling = retry.base
    while True:
        if repeat.verdict.onward:
            ceiling = retry.base
        hint = repeat.verdict.after
        repeat = yield hint if hint is not None else rng.uniform(0, ceiling)
        ceiling = min(retry.cap, ceiling * 2)


async def patiently(attempt: Callable[[], Awaitable[T | Again]], *, retry: Retry, rng: random.Random) -> T:
    """Attempt something until it brings more than an `Again`; raise the last one's error.

    Tries are counted from the last one that brought a part of what is wanted, that one included.

    Args:
        attempt: Does it once.
        retry: How often.
        rng: Source of jitter.

    Raises:
        KlingError: The last failure, after as many attempts as ``retry`` allows.
    """

    async def once() -> T:
        outcome = await attempt()
        if isinstance(outcome, Again):
            raise _Repeat(outcome)
        return outcome

    tries = 0

    def used_up(repeat: Exception) -> bool:
        nonlocal tries
        assert isinstance(repeat, _Repeat)  # noqa: S101 - nothing else is repeated
        tries = 1 if repeat.verdict.onward else tries + 1
        return tries >= retry.max_tries

    repeated = backoff.on_exception(
        polite_wait, _Repeat, rng=rng, retry=retry, giveup=used_up, jitter=None, logger=None
    )(once)
    failure: KlingError
    try:
        return await repeated()
    except _Repeat as repeat:
        failure = repeat.verdict.error
    raise failure


async def read_patiently(
    read: Callable[[], Awaitable[ReadVerdict]],
    *,
    retry: Retry,
    rng: random.Random,
    what: str = "",
    repeatable: bool = True,
) -> Got:
    """Read until an answer comes or the tries are used up; raise what stood in the way.

    Args:
        read: Sends it once.
        retry: How often.
        rng: Source of jitter.
        what: Its path, for the error.
        repeatable: False: it costs or changes something, so only what was surely not done is repeated.

    Raises:
        KlingError: The last failure.
    """

    async def once() -> Got | Missing | Refused | Again:
        verdict = await read()
        if isinstance(verdict, Again) and not (repeatable or was_not_done(verdict.error)):
            raise verdict.error
        assert isinstance(verdict, Got | Missing | Refused | Again)  # noqa: S101 - the transport renews tokens
        return verdict

    verdict: Got | Missing | Refused = await patiently(once, retry=retry, rng=rng)
    if isinstance(verdict, Got):
        return verdict
    raise verdict.error if isinstance(verdict, Refused) else not_found(verdict, what)


def was_not_done(error: KlingError) -> bool:
    """Tell whether what failed so was surely not done: it never arrived, or was put off."""
    if isinstance(error, TransportError):
        return not error.sent
    return isinstance(error, RateLimited | ConcurrencyExceeded)


def not_found(verdict: Missing, what: str) -> TaskNotFound:
    """Return the error for a task the vendor does not know."""
    text = f"no task {what}: {verdict.message}" if what else verdict.message
    return TaskNotFound(text, id=what, request_id=verdict.request_id)
