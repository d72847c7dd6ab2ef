"""Know whether a server finds tasks by external id: a gateway may drop it, and answer "not found" for ever.

A miss permits a second create, so on a server that is not the vendor's a miss has to be worth something
first: one task of ours that the server accepted is looked up by its external id, and must be found.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

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
    first_sent: float
    """When it was first sent, seconds since 1970."""

    def is_shown_by(self, record: TaskRecord) -> bool:
        """Tell whether a record is that of its task: a gateway's creates and queries may show other ids."""
        return record.external_task_id == self.external_task_id or (
            record.external_task_id is None and record.task_id == self.task_id
        )


class Calibration:
    """Remembers, by endpoint, whether misses of one server prove anything.

    Args:
        needed: Tells whether misses have to be proven, as far as that is known: the server is not the
            vendor's.
    """

    def __init__(self, needed: Callable[[], bool]) -> None:
        self.needed = needed
        self._samples: dict[str, AcceptedCreate] = {}
        """The newest accepted create of each endpoint, by path."""
        self._proven: dict[str, bool] = {}
        self._looking: dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Lock]] = {}

    def accepted(self, submission: Submission, record: TaskRecord) -> None:
        """Take note of a create that was accepted."""
        if submission.endpoint.takes_external_id:
            self._samples[submission.endpoint.path] = AcceptedCreate(
                submission.external_task_id, record.task_id, submission.attempts.first_sent
            )

    def known(self, path: str) -> bool | None:
        """Return whether misses at an endpoint prove that nothing was made; None: nobody has looked."""
        return self._proven.get(path) if self.needed() else True

    def sample(self, path: str) -> AcceptedCreate | None:
        """Return a create to look for; None: none of that endpoint was accepted yet."""
        return self._samples.get(path)

    def looking(self, path: str) -> asyncio.Lock:
        """Return the lock under which a sample is looked for: one look serves all who are in doubt."""
        loop = asyncio.get_running_loop()
        if path not in self._looking or self._looking[path][0] is not loop:
            self._looking[path] = loop, asyncio.Lock()
        return self._looking[path][1]

    def looked(self, path: str, sample: AcceptedCreate, *, found: bool) -> None:
        """Take note of whether a sample was found by its external id."""
        self._proven[path] = found
        if not found:
            log.warning(_LOST, sample.external_task_id)
