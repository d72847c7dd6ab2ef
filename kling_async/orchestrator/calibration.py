"""Know whether a server finds tasks by external id: a gateway may drop it, and answer "not found" for ever.

A miss permits a second create, so on a server that is not the vendor's a miss has to be worth something
first: one task of ours that the server accepted is looked up by its external id, and must be found.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from kling_async.orchestrator.submission import Submission
    from kling_async.records import TaskRecord

__all__ = ["AcceptedCreate", "Calibration"]

log = logging.getLogger("kling_async.orchestrator")

_LOST: Final = (
    "this server does not find tasks by their external id (looked for %s): a create whose answer is lost"
    " will not be sent again"
)


class AcceptedCreate(NamedTuple):
    """A create that the server accepted, by both ids of its task."""

    external_task_id: str
    task_id: str


class Calibration:
    """Remembers, by endpoint, whether misses of one server prove anything.

    Args:
        needed: Whether misses have to be proven: the server is not the vendor's.
    """

    def __init__(self, *, needed: bool) -> None:
        self._needed = needed
        self._samples: dict[str, AcceptedCreate] = {}
        """The newest accepted create of each endpoint, by path."""
        self._proven: dict[str, bool] = {}

    def accepted(self, submission: Submission, record: TaskRecord) -> None:
        """Take note of a create that was accepted."""
        if self._needed and submission.endpoint.takes_external_id:
            sample = AcceptedCreate(submission.external_task_id, record.task_id)
            self._samples[submission.endpoint.path] = sample

    def known(self, path: str) -> bool | None:
        """Return whether misses at an endpoint prove that nothing was made; None: nobody has looked."""
        return self._proven.get(path) if self._needed else True

    def sample(self, path: str) -> AcceptedCreate | None:
        """Return a create to look for; None: none of that endpoint was accepted yet."""
        return self._samples.get(path)

    def looked(self, path: str, sample: AcceptedCreate, *, found: bool) -> None:
        """Take note of whether a sample was found by its external id."""
        self._proven[path] = found
        if not found:
            log.warning(_LOST, sample.external_task_id)
