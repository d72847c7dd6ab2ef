"""A request together with its journal entry and the work that is left for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kling_async.batch.entry import ResumeAction
from kling_async.catalog import endpoint_of
from kling_async.orchestrator.create_spec import kind_of
from kling_async.wire.checks import wrong_with
from kling_async.wire.endpoints import JournaledRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.batch.entry import Entry
    from kling_async.batch.source import Item
    from kling_async.core.queue import Kind
    from kling_async.errors import RequestInvalid
    from kling_async.wire.media import Media

__all__ = ["PlannedJob"]


class PlannedJob(NamedTuple):
    """One request, its journal entry, and what is left to do for it."""

    item: Item
    entry: Entry
    action: ResumeAction
    error: RequestInvalid | None = None
    """Why the job cannot begin, whatever its request."""
    digests: Mapping[Media, str] = {}
    """SHA-256 of its files, which the job's name stands for."""

    @property
    def kind(self) -> Kind:
        """The endpoint, model and pool of the request."""
        return kind_of(self.item.request, endpoint_of(self.item.request))

    @property
    def is_finished(self) -> bool:
        """Whether an earlier run finished the job."""
        return self.action is ResumeAction.NOTHING and self.error is None

    @property
    def is_new(self) -> bool:
        """Whether a task is to be made that no run has sent a create for."""
        return self.action in (ResumeAction.CREATE, ResumeAction.RETRY)

    @property
    def sendable(self) -> bool:
        """Whether its request is at hand, so that a task can be made."""
        return not isinstance(self.item.request, JournaledRequest)

    def refusal(self) -> RequestInvalid | None:
        """Check a new request; return why the job cannot begin, if it cannot."""
        return self.error or (wrong_with(self.item.request) if self.is_new else None)
