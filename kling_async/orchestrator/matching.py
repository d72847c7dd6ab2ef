"""Matching: find the tasks that an account has already under given ids, many with one question."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from kling_async.errors import ClientClosed, KlingError, TransportError
from kling_async.runtime.loop import Timer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Mapping

    from kling_async.errors import ExternalIdTaken
    from kling_async.events import Subject
    from kling_async.records import TaskRecord
    from kling_async.runtime.loop import LoopScope

__all__ = ["MatchFinder", "MatchListener", "Matcher"]

GATHER: Final = 0.02
"""Seconds to wait for more ids before asking: a program that starts anew enqueues all it has in one go."""


S = TypeVar("S", bound="Subject")
S_contra = TypeVar("S_contra", bound="Subject", contravariant=True)


class MatchFinder(Protocol[S]):
    """Look for tasks by external id (`kling_async.orchestrator.lookup.Lookup`)."""

    async def find_all(self, submissions: Collection[S], /) -> Mapping[S, TaskRecord | ExternalIdTaken]:
        """Return the tasks that exist under the ids of submissions to one endpoint, or errors in their place.

        Raises:
            KlingError: No answer came.
        """
        ...


class MatchListener(Protocol[S_contra]):
    """Whoever asked for a match, and goes on with what was found."""

    def __call__(self, submission: S_contra, found: TaskRecord | KlingError | None, /) -> object:
        """Take the task's record, None if there is no such task, or the reason why nobody knows."""


class Matcher(Generic[S]):
    """Asks whether the account has the tasks of submissions already, before they queue.

    Args:
        scope: The client's loop and clock.
        finder: Asks the vendor.
    """

    def __init__(self, scope: LoopScope, finder: MatchFinder[S]) -> None:
        self._scope = scope
        self._finder = finder
        self._waiting: dict[S, MatchListener[S]] = {}
        """Those that no question is about yet."""
        self._asked: dict[S, MatchListener[S]] = {}
        self._timer = Timer(scope, self._ask)
        scope.subscribe(self)

    def __len__(self) -> int:
        """How many submissions wait for an answer."""
        return len(self._waiting) + len(self._asked)

    def match(self, submission: S, listener: MatchListener[S]) -> None:
        """Ask soon whether the account has the submission's task; tell the listener."""
        self._waiting[submission] = listener
        self._timer.advance(self._scope.time() + GATHER)

    def stop(self, error: KlingError) -> None:
        """Ask no more: tell an error to all who wait."""
        self._timer.clear()
        for submission in [*self._waiting, *self._asked]:
            self._tell(submission, error.again())

    def on_loop_replaced(self) -> None:
        """Fail what was asked in the loop that ended."""
        self.stop(ClientClosed("the event loop ended before this was queued; nothing was sent"))

    def _ask(self, _: float) -> None:
        """Ask about all that wait, each endpoint apart."""
        by_endpoint: dict[str, list[S]] = {}
        for submission, listener in self._waiting.items():
            self._asked[submission] = listener
            by_endpoint.setdefault(submission.endpoint.name, []).append(submission)
        self._waiting.clear()
        for name, group in by_endpoint.items():
            work = self._scope.spawn(self._find(group), f"match {len(group)} of {name}")
            work.add_done_callback(partial(self._given_back, group))

    async def _find(self, group: list[S]) -> None:
        try:
            found = await self._finder.find_all(group)
        except KlingError as error:
            for submission in group:
                self._tell(submission, error.again())
            return
        for submission in group:
            self._tell(submission, found.get(submission))

    def _given_back(self, group: list[S], work: asyncio.Task[None]) -> None:
        """Tell an error to those whose question broke or was cancelled, perhaps before its first step."""
        reason = "cancelled" if work.cancelled() else "it failed"
        for submission in group:
            self._tell(submission, TransportError(f"nobody asked for this task: {reason}", sent=False))

    def _tell(self, submission: S, found: TaskRecord | KlingError | None) -> None:
        """Tell a listener, once."""
        listener = self._asked.pop(submission, None) or self._waiting.pop(submission, None)
        if listener is not None:
            listener(submission, found)
