"""Repeat what is harmless to repeat; the only module that uses `backoff`.

``backoff`` runs the attempts and sleeps between them; our wait generator and ``giveup`` honour progress and
the server's Retry-After. Its own jitter, clock-based limits and logger stay off: they would scale a
Retry-After, ignore the loop's clock, and log payloads.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, TypeVar

import backoff

from kling_async.core.verdict import Again, Got, Missing, Refused
from kling_async.errors import ConcurrencyExceeded, KlingError, RateLimited, TaskNotFound, TransportError
from kling_async.http.failures import value_or_error

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Generator

    from kling_async.core.verdict import ReadVerdict
    from kling_async.options import Retry

__all__ = ["Tries", "not_found", "polite_wait", "read_patiently", "repeated", "with_retries"]

T = TypeVar("T")


class Tries:
    """Count the attempts of one undertaking since the last one that made progress, that one included."""

    def __init__(self, retry: Retry, rng: random.Random) -> None:
        self.retry = retry
        self.rng = rng
        self._made = 0

    def used_up(self, verdict: Again) -> bool:
        """Count one more attempt; tell whether it was the last."""
        self._made = 1 if verdict.onward else self._made + 1
        return self._made >= self.retry.max_tries


class _Repeat(Exception):
    """Tell backoff to make another attempt."""

    def __init__(self, verdict: Again, tries: Tries) -> None:
        super().__init__()
        self.verdict = verdict
        self.tries = tries


def polite_wait(rng: random.Random, retry: Retry) -> Generator[Any, Any, None]:
    """Yield pauses in seconds: the server's Retry-After, else a random part of a ceiling doubling to a cap.

    Progress sets the ceiling back to ``retry.base``.
    """
    repeat = yield  # backoff primes a generator with one empty send
    ceiling = retry.base
    while True:
        if repeat.verdict.onward:
            ceiling = retry.base
        hint = repeat.verdict.after
        repeat = yield hint if hint is not None else rng.uniform(0, ceiling)
        ceiling = min(retry.cap, ceiling * 2)


def _pauses() -> Generator[Any, Any, None]:
    """Yield the pauses of one call; its settings come with the first exception, as backoff passes none."""
    repeat = yield
    waits = polite_wait(repeat.tries.rng, repeat.tries.retry)
    next(waits)
    while True:
        repeat = yield waits.send(repeat)


def _is_last(repeat: Exception) -> bool:
    assert isinstance(repeat, _Repeat)  # noqa: S101 - nothing else is repeated
    return repeat.tries.used_up(repeat.verdict)


async def _attempt(attempt: Callable[[], Awaitable[T | Again]], tries: Tries) -> T:
    outcome = await attempt()
    if isinstance(outcome, Again):
        raise _Repeat(outcome, tries)
    return outcome


with warnings.catch_warnings():
    # backoff 2.2.1 wraps with a function that Python 3.14 deprecates: wrap once, at import, and keep it quiet
    warnings.filterwarnings("ignore", "'asyncio.iscoroutinefunction' is deprecated", DeprecationWarning)
    _attempts = backoff.on_exception(_pauses, _Repeat, giveup=_is_last, jitter=None, logger=None)(_attempt)


async def with_retries(attempt: Callable[[], Awaitable[T | Again]], *, retry: Retry, rng: random.Random) -> T:
    """Repeat an attempt while it returns `Again`; return its value.

    Attempts are counted from the last one that made progress, that one included.

    Args:
        attempt: Makes one attempt.
        retry: Number of attempts and length of pauses.
        rng: Source of jitter.

    Raises:
        KlingError: The error of the last `Again`, after as many attempts as ``retry`` allows.
    """
    return await repeated(attempt, Tries(retry, rng))


async def repeated(attempt: Callable[[], Awaitable[T | Again]], tries: Tries) -> T:
    """Repeat an attempt as `with_retries` does, with a count that may go on over several calls.

    Raises:
        KlingError: The error of the last `Again`, once the attempts are used up.
    """
    outcome = await value_or_error(_attempts(attempt, tries), _Repeat)
    if isinstance(outcome, _Repeat):
        raise outcome.verdict.error
    return outcome


async def read_patiently(
    read: Callable[[], Awaitable[ReadVerdict]],
    *,
    retry: Retry,
    rng: random.Random,
    what: str = "",
    repeatable: bool = True,
) -> Got:
    """Repeat a read until an answer comes or the attempts are used up.

    Args:
        read: Sends the request once.
        retry: Number of attempts and length of pauses.
        rng: Source of jitter.
        what: Path or id, for the error.
        repeatable: False for a request that costs or changes something: repeat it only if surely not done.

    Raises:
        KlingError: The last failure.
    """

    async def once() -> Got | Missing | Refused | Again:
        verdict = await read()
        if isinstance(verdict, Again) and not (repeatable or was_not_done(verdict.error)):
            raise verdict.error
        assert isinstance(verdict, Got | Missing | Refused | Again)  # noqa: S101 - the transport renews tokens
        return verdict

    verdict: Got | Missing | Refused = await with_retries(once, retry=retry, rng=rng)
    if isinstance(verdict, Got):
        return verdict
    raise verdict.error if isinstance(verdict, Refused) else not_found(verdict, what)


def was_not_done(error: KlingError) -> bool:
    """Tell whether a request that failed so had no effect: it never arrived, or was put off by a limit."""
    if isinstance(error, TransportError):
        return not error.sent
    return isinstance(error, RateLimited | ConcurrencyExceeded)


def not_found(verdict: Missing, what: str) -> TaskNotFound:
    """Return the error for a task that the vendor does not know; ``what`` is its id or path."""
    text = f"no task {what}: {verdict.message}" if what else verdict.message
    return TaskNotFound(text, id=what, request_id=verdict.request_id)
