"""Whoever looks for the tasks of creates in doubt, and takes them over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from kling_async.core.verdict import Accepted, Answer
    from kling_async.events import Subject
    from kling_async.records import TaskRecord
    from kling_async.wire.endpoints import Endpoint

__all__ = ["Adopter", "Finder"]

S_contra = TypeVar("S_contra", bound="Subject", contravariant=True)


class Finder(Protocol[S_contra]):
    """Look for the task of a create (`kling_async.orchestrator.lookup.Lookup`)."""

    async def find(self, submission: S_contra, /) -> tuple[TaskRecord, Answer] | None:
        """Look until there is an answer; None: there is no such task; raise `KlingError` if none came."""
        ...

    async def confirm(self, submission: S_contra, task_id: str, /) -> TaskRecord | None:
        """Ask for the task of that id; None: there is none; raise `KlingError` if no answer came."""
        ...

    def can_find(self, endpoint: Endpoint[Any], /) -> bool:
        """Tell whether tasks of an endpoint can be found by their external ids."""
        ...

    def may_rename(self) -> bool:
        """Tell whether the server may give tasks ids of its own, external ones too."""
        ...

    async def proves_absence(self, submission: S_contra, /) -> bool:
        """Tell whether a miss means that nothing was made; raise `KlingError` if no answer came."""
        ...

    def accepted(self, submission: S_contra, record: TaskRecord, /) -> None:
        """Take note of a create that was accepted."""
        ...


class Adopter(Protocol[S_contra]):
    """Take over tasks that are found (`kling_async.orchestrator.submitter.Submitter`)."""

    def adopt(self, submission: S_contra, found: Accepted, /) -> None:
        """Look after the task of a submission whose caller was told that nobody knew."""
