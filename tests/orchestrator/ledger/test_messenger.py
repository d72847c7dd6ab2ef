"""Rule 19: the thread that goes to the ledger's file may be slow, or fail, and holds nobody up."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest

from kling_async.orchestrator.ledger import listening
from kling_async.orchestrator.ledger.connection import LedgerLost
from kling_async.orchestrator.ledger.facts import BEAT, LEASE, LedgerPace
from kling_async.orchestrator.ledger.messenger import Messenger
from kling_async.orchestrator.ledger.steps import Leave, Synced
from kling_async.runtime.loop import LoopScope
from tests.support import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kling_async.errors import ConfigurationError
    from kling_async.orchestrator.ledger.steps import Step


class File:
    """A ledger's file that answers when it is let."""

    def __init__(self) -> None:
        self.unlocked = threading.Event()
        self.opened = 0
        self.steps: list[Step] = []
        self.left = threading.Event()
        self.errors: list[Exception] = []

    def open(self) -> File:
        """Open it."""
        self.opened += 1
        return self

    def sync(self, steps: Sequence[Step], *, demand: bool) -> Synced:
        """Take steps, once the file is unlocked."""
        assert self.unlocked.wait(30)
        if self.errors:
            raise self.errors.pop()
        self.steps += steps
        return Synced(0.0, [], {}, {}, False, ())

    def look(self) -> Synced | None:
        """See nothing."""
        return None

    def leave(self, steps: Sequence[Step]) -> None:
        """Take the last steps."""
        self.steps += steps
        self.left.set()

    def give_up(self) -> None:
        """Do nothing."""

    def fileno(self) -> None:
        """Tell of no news."""

    def interrupt(self) -> None:
        """Do nothing."""


class Listener:
    """Somebody who wants something, and counts what the messenger brings."""

    def __init__(self) -> None:
        self.heard = 0
        self.failed: list[ConfigurationError] = []

    def demand(self) -> bool:
        """Want something."""
        return True

    def curious(self) -> bool:
        """Want to know."""
        return True

    def hear(self, synced: Synced) -> None:
        """Count."""
        self.heard += 1

    def restore(self) -> list[Step]:
        """Hold one thing."""
        return [Leave(100)]

    def unusable(self, error: ConfigurationError) -> None:
        """Take an error that is for good."""
        self.failed.append(error)


def messenger_of(file: File) -> tuple[LoopScope, Messenger, Listener]:
    scope, listener = LoopScope(time.time), Listener()
    return scope, Messenger(scope, file.open, listener), listener


def test_a_locked_file_does_not_hold_up_the_next_loop() -> None:
    """The errand of the loop that ended comes back to the next one, which runs meanwhile; no step is lost."""
    file = File()
    scope, messenger, listener = messenger_of(file)
    scope.subscribe(messenger)

    async def first() -> None:
        scope.enter()
        messenger.post(Leave(1))
        messenger.post(Leave(2))
        await asyncio.sleep(0)

    async def second() -> None:
        scope.enter()
        messenger.post(Leave(3))
        assert file.steps == []
        file.unlocked.set()
        await until(lambda: listener.heard >= 2, 10)
        await messenger.leave()

    asyncio.run(first())
    asyncio.run(second())
    assert file.steps == [Leave(1), Leave(2), Leave(3)]
    assert file.opened == 1


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.anyio
async def test_leaving_can_be_cut_short_and_goes_on_in_the_thread(fails: bool) -> None:
    """Whoever closes a client waits no longer than they want; the last steps are said once that is possible.

    What is posted afterwards opens nothing again.
    """
    file = File()
    scope, messenger, _ = messenger_of(file)
    scope.enter()
    file.errors = [sqlite3.OperationalError("database is locked")] * fails
    messenger.post(Leave(1))
    messenger.post(Leave(2))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(messenger.leave(), 0.05)
    file.unlocked.set()
    assert file.left.wait(10)
    assert file.steps == [Leave(1), Leave(2)]
    await asyncio.sleep(0.05)
    messenger.post(Leave(3))
    messenger.start()
    await asyncio.sleep(5)
    assert (file.opened, file.steps) == (1, [Leave(1), Leave(2)])
    for thread in [thread for thread in threading.enumerate() if "slot ledger" in thread.name]:
        thread.join(10)
        assert not thread.is_alive()


def test_time_that_a_machine_slept_counts_for_the_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's clock stands still meanwhile; others have counted on."""
    asleep = [0.0]
    monkeypatch.setattr(listening, "_asleep", lambda: asleep[0])

    async def main() -> None:
        file = File()
        file.unlocked.set()
        scope, listener = LoopScope(time.time), Listener()
        scope.enter()
        messenger = Messenger(scope, file.open, listener, LedgerPace(look=BEAT, lease=LEASE))
        assert messenger.send_by() == -math.inf
        began = scope.time()
        messenger.start()
        await until(lambda: listener.heard, 10, step=0.01)
        by = messenger.send_by()
        assert by is not None
        assert began + LEASE / 2 <= by <= scope.time() + LEASE / 2
        asleep[0] += 60.0
        assert messenger.send_by() == pytest.approx(by - 60.0)
        await messenger.leave()

    asyncio.run(main())


@pytest.mark.anyio
async def test_a_lost_file_is_opened_anew_with_all_there_is() -> None:
    """First what is held and queued, then what was on its way; the lost one keeps its lock until then."""
    file, order = File(), list[str]()
    file.unlocked.set()
    file.errors = [LedgerLost("removed")]

    class Lost(File):
        """A file that was removed."""

        def give_up(self) -> None:
            """Note when."""
            order.append("given up")

    def open_file() -> File:
        order.append("opened")
        return lost if len(order) == 1 else file.open()

    lost = Lost()
    lost.unlocked.set()
    lost.errors, file.errors = file.errors, []
    scope, listener = LoopScope(time.time), Listener()
    messenger = Messenger(scope, open_file, listener)
    scope.enter()
    messenger.post(Leave(1))
    await until(lambda: listener.heard > 0, 60)
    await messenger.leave()
    assert (file.steps, order) == ([Leave(100), Leave(1)], ["opened", "opened", "given up"])


@pytest.mark.anyio
async def test_a_file_that_cannot_be_opened_now_is_opened_later(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody else has it locked, or the disk is full: nobody fails, and it is said once."""
    file = File()
    file.unlocked.set()
    left = [3]

    def open_file() -> File:
        left[0] -= 1
        if left[0] >= 0:
            raise sqlite3.OperationalError("database is locked")
        return file.open()

    scope, listener = LoopScope(time.time), Listener()
    messenger = Messenger(scope, open_file, listener)
    scope.enter()
    messenger.post(Leave(1))
    await until(lambda: listener.heard > 0, 60)
    await messenger.leave()
    assert (file.steps, listener.failed) == ([Leave(1)], [])
    assert len([line for line in caplog.messages if line.startswith("the slot ledger cannot")]) == 1
