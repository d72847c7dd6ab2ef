"""Creates whose fate is unknown, and who looks for their tasks and takes them over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from kling_async.core.rechecks import RecheckPlan

if TYPE_CHECKING:
    from kling_async.core.verdict import Accepted, Answer
    from kling_async.orchestrator.submission import Submission, Unresolved
    from kling_async.records import TaskRecord
    from kling_async.wire.endpoints import Endpoint

__all__ = ["Adopter", "Finder", "OpenCase"]


class Finder(Protocol):
    """Look for the task of a create (`kling_async.orchestrator.lookup.Lookup`)."""

    async def find(self, submission: Submission, /) -> tuple[TaskRecord, Answer] | None:
        """Look until there is an answer; None: there is no such task; raise `KlingError` if none came."""
        ...

    async def confirm(self, submission: Submission, task_id: str, /) -> TaskRecord | None:
        """Ask for the task of that id; None: there is none; raise `KlingError` if no answer came."""
        ...

    def can_find(self, endpoint: Endpoint[Any], /) -> bool:
        """Tell whether tasks of an endpoint can be found by their external ids."""
        ...

    async def proves_absence(self, submission: Submission, /) -> bool:
        """Tell whether a miss means that nothing was made; raise `KlingError` if no answer came."""
        ...

    def accepted(self, submission: Submission, record: TaskRecord, /) -> None:
        """Take note of a create that was accepted."""
        ...


class Adopter(Protocol):
    """Take over tasks that are found (`kling_async.orchestrator.submitter.Submitter`)."""

    def adopt(self, submission: Submission, found: Accepted, /) -> None:
        """Look after the task of a submission whose caller was told that nobody knew."""


class OpenCase:
    """An unresolved create, and when to look for it again."""

    def __init__(
        self, submission: Submission, entry: Unresolved, adopter: Adopter, now: float, *, lookable: bool
    ) -> None:
        self.submission = submission
        self.entry = entry
        self.adopter = adopter
        self.plan = RecheckPlan(now)
        self.lookable = lookable
        """Whether there is a way to look it up."""
