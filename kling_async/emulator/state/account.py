"""The emulated account: what it holds, what it may do, and what happens to it at the end of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.state.durations import Pace
from kling_async.emulator.state.ids import IdSequence
from kling_async.emulator.state.library import Library
from kling_async.emulator.state.media_owners import find_media_owner
from kling_async.emulator.state.outputs import library_items
from kling_async.emulator.state.pools import SlotPools
from kling_async.emulator.state.tasks import Tasks
from kling_async.emulator.state.wallet import Wallet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal

    from kling_async.emulator.footage.files import MediaOwner
    from kling_async.emulator.state.clock import Clock
    from kling_async.emulator.state.ledger import Ledger
    from kling_async.emulator.state.packs import Pack
    from kling_async.emulator.state.tasks import Task

__all__ = ["EmulatedAccount"]


class EmulatedAccount:
    """The one account of an emulator. Every attribute may be changed while the emulator runs.

    Args:
        clock: The emulator's clock.
        ledger: Notes each change of the slots in use.
        slots: Size of each pool.
        foreign: Slots per pool that somebody else holds.
        units: Units left per pool; a pool that is not listed never runs out.
        packs: See `packs`.
        speed: Factor by which tasks are faster than the vendor's.
        seed: Equal seeds give equal ids and durations.
        on_change: Called with each task after every change of its status.
    """

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        *,
        slots: Mapping[str, int],
        foreign: Mapping[str, int],
        units: Mapping[str, float],
        packs: Sequence[Pack] | None,
        speed: float,
        seed: int,
        on_change: Callable[[Task], None],
    ) -> None:
        self.clock = clock
        self.ids = IdSequence(seed)
        self.pools = SlotPools(slots, foreign, lambda pool, used: ledger.held(pool, clock.time(), used))
        self.wallet = Wallet(units)
        self.packs = packs
        """Resource packs that the API shows; None for packs that bring exactly the slots there are."""
        self.packs_read_at = float("-inf")
        """When the packs were last read, in seconds since the emulator's start; see ``calls.packs``."""
        self.tasks = Tasks(clock, self._settle, on_change)
        self.library = Library(clock.time, self.ids.next)
        self.pace = Pace(seed, speed)
        self.code: int | None = None
        """Code that answers every create, such as 1100 or 1101; 1304 answers every request."""
        self.forbidden_models: set[str] = set()
        """Models to which the account has no right: code 1103."""

    def refuse_unaffordable(self, pool: str, units: Decimal, model: str | None = None) -> None:
        """Refuse a create or call that the account may not make or cannot pay.

        Raises:
            Refusal: The account's own `code`, 1103 for a forbidden model, or 1102 without a pack or enough
                units.
        """
        if self.code is not None:
            raise Refusal(self.code)
        if model in self.forbidden_models:
            raise Refusal(1103)
        if pool != "none" and (pool not in self.pools.sizes or not self.wallet.covers(pool, units)):
            raise Refusal(1102)

    def media_owner(self, owner_id: str) -> MediaOwner | None:
        """Return the owner of the files under an id, None if nothing has that id."""
        return find_media_owner(owner_id, self.tasks.by_id, self.library)

    def _settle(self, task: Task) -> None:
        """Free the slots of an ended task; give its units back, or add its results to the library."""
        self.pools.free(task.pool, task.weight)
        if task.status == "failed":
            self.wallet.add(task.pool, task.units)
            return
        task.output.items = library_items(task)
        for item in task.output.items:
            self.library.add(item)
