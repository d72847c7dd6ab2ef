"""Try again what is harmless to repeat. The one module that uses `backoff`, whose limits it knows.

``backoff`` is used for the attempts alone, with a count and a wait generator of ours: they honour progress
and the server's Retry-After. Its own jitter, clock-based limits and logger stay off: they would scale a
Retry-After, ignore the loop's clock, and log payloads.
"""

from __future__ import annotations

import warnings
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


class _Tries:
    """Counts the tries of one call, from the last one that brought a part of what is wanted."""

    def __init__(self, retry: Retry, rng: random.Random) -> None:
        self.retry = retry
        self.rng = rng
        self._made = 0

    def used_up(self, verdict: Again) -> bool:
        """Count one more; tell whether it was the last."""
        self._made = 1 if verdict.onward else self._made + 1
        return self._made >= self.retry.max_tries


class _Repeat(Exception):
    """Tells backoff to go on; no error."""

    def __init__(self, verdict: Again, tries: _Tries) -> None:
        super().__init__()
        self.verdict = verdict
        self.tries = tries


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


def _pauses() -> Generator[Any, Any, None]:
    """Yield pauses as the call wants them; backoff makes a generator for each call and tells it nothing."""
    repeat = yield
    waits = polite_wait(repeat.tries.rng, repeat.tries.retry)
    next(waits)
    while True:
        repeat = yield waits.send(repeat)


def _is_last(repeat: Exception) -> bool:
    assert isinstance(repeat, _Repeat)  # noqa: S101 - nothing else is repeated
    return repeat.tries.used_up(repeat.verdict)


async def _attempt(attempt: Callable[[], Awaitable[T | Again]], tries: _Tries) -> T:
    outcome = await attempt()
    if isinstance(outcome, Again):
        raise _Repeat(outcome, tries)
    return outcome


with warnings.catch_warnings():
    # backoff 2.2.1 wraps with the help of a function that Python 3.14 deprecates; so it wraps here, once
    warnings.filterwarnings("ignore", "'asyncio.iscoroutinefunction' is deprecated", DeprecationWarning)
    _attempts = backoff.on_exception(_pauses, _Repeat, giveup=_is_last, jitter=None, logger=None)(_attempt)


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
    failure: KlingError
    try:
        return await _attempts(attempt, _Tries(retry, rng))
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
