"""Errands: the side of the messenger that runs in a thread, where the file may be slow, or be lost."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from kling_async.orchestrator.ledger.connection import LedgerLost

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Sequence

    from kling_async.orchestrator.ledger.steps import Step, Synced

__all__ = ["Errands", "SharedFile"]


class SharedFile(Protocol):
    """The open ledger (`ledger.store.LedgerFile`, `ledger.postgres.PostgresLedger`); methods block."""

    def sync(self, steps: Sequence[Step], /, *, demand: bool) -> Synced:
        """Take steps, and whatever is due; return what this process has to hear.

        Raises:
            LedgerLost: The file is not the one that was opened, as `look` does.
        """
        ...

    def look(self) -> Synced | None:
        """Return what other processes have changed; None: nothing."""
        ...

    def leave(self, steps: Sequence[Step], /) -> None:
        """Take the last steps, and leave."""

    def give_up(self) -> None:
        """Close the file and remove this process's own ones; write nothing."""

    def fileno(self) -> int | None:
        """Return the descriptor that becomes readable when there are news; None: there is none."""
        ...

    def interrupt(self) -> None:
        """End an errand whose answer is overdue, from another thread."""


class Errands:
    """Carries steps to the ledger's file in a thread, one errand at a time.

    Args:
        open_file: Opens the ledger; called in the thread when first needed, so after any ``fork``.
    """

    def __init__(self, open_file: Callable[[], SharedFile]) -> None:
        self._open_file = open_file
        self._file: SharedFile | None = None
        self._lost: SharedFile | None = None
        """A file that was removed or replaced, until a new one is open."""
        self._thread: ThreadPoolExecutor | None = None
        self._carried: list[Step] = []
        """The steps of the errand under way, until the file holds them."""
        self._results: list[Synced] = []
        """The facts that the thread has brought, until the loop takes them."""

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._file is not None

    def fileno(self) -> int | None:
        """Return the descriptor that becomes readable when there are news; no errand may be under way."""
        return None if self._file is None else self._file.fileno()

    def interrupt(self) -> None:
        """End an errand whose answer is overdue."""
        file = self._file
        if file is not None:
            file.interrupt()

    def submit(self, steps: list[Step] | None, *, demand: bool) -> concurrent.futures.Future[None]:
        """Begin an errand: take steps to the file, or only look at it if they are None."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="kling_async slot ledger")
        if steps is not None:
            self._carried = steps
        return self._thread.submit(self._carry, demand, steps is not None)

    def _carry(self, demand: bool, full: bool) -> None:
        try:
            if self._file is None:
                self._file = self._open_file()
                self._give_up_lost()
            found = self._file.sync(self._carried, demand=demand) if full else self._file.look()
        except LedgerLost:
            self._lost, self._file = self._file or self._lost, None
            raise
        self._carried = []
        if found is not None:
            self._results.append(found)

    def _give_up_lost(self) -> None:
        """Release the lock of a file that was lost: until now it told others that this process lives."""
        lost, self._lost = self._lost, None
        if lost is not None:
            lost.give_up()

    def take_back(self) -> list[Step]:
        """Return the steps of an errand that has failed; none of one that has not."""
        steps, self._carried = self._carried, []
        return steps

    def take_results(self) -> list[Synced]:
        """Return what errands have brought since the last call."""
        results, self._results = self._results, []
        return results

    async def depart(self, steps: list[Step]) -> None:
        """Leave the ledger with the last steps, after the errand under way, even if this is cut short."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        work = thread.submit(self._leave, list(steps))
        thread.shutdown(wait=False)
        # not awaited itself: a future that is cancelled would take the work out of the thread's queue
        await asyncio.wait([asyncio.wrap_future(work)])
        thread.shutdown()  # it is idle

    def give_up(self) -> None:
        """Close the file without a last step: no errand is under way, and none will be."""
        self._give_up_lost()
        file, self._file, self._thread = self._file, None, None
        if file is not None:
            file.give_up()

    def _leave(self, steps: list[Step]) -> None:
        self._give_up_lost()
        file, self._file = self._file, None
        if file is not None:
            file.leave(self.take_back() + steps)
