"""orchestrator/registry.py: handles by either id are one task, and it holds its slots once."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import msgspec
import pytest

from kling_async import v1
from kling_async.catalog import endpoint_of
from kling_async.core.queue import Ticket
from kling_async.orchestrator.registry import TaskRegistry
from kling_async.orchestrator.tracked import TrackedTask
from kling_async.records import TaskRecord

if TYPE_CHECKING:
    from kling_async.events import Subject
    from kling_async.wire.requests import TaskRequest

ENDPOINT = endpoint_of(v1.TextToVideo)


class Ledger:
    """Slots and unresolved creates that only note what is done to them."""

    def __init__(self) -> None:
        self.occupied: list[tuple[str, int, float, Subject]] = []
        self.taken_over: list[tuple[str, int, Subject]] = []
        self.holders: dict[Ticket, Subject] = {}
        self.released: list[Ticket] = []
        self.unresolved: dict[str, Ticket] = {}

    def occupy(self, name: str, weight: int, age: float, holder: Subject, /) -> Ticket:
        """Note which task takes slots."""
        self.occupied.append((name, weight, age, holder))
        return Ticket(weight)

    def take_over(self, name: str, weight: int, holder: Subject, /) -> Ticket:
        """Note which task may have the slots of another process."""
        self.taken_over.append((name, weight, holder))
        return Ticket(weight)

    def held_by(self, ticket: Ticket, holder: Subject, /) -> None:
        """Note which task holds slots now."""
        self.holders[ticket] = holder

    def release(self, ticket: Ticket, /) -> None:
        """Note whose slots are free."""
        self.released.append(ticket)

    def give_up(self, ticket: Ticket, /) -> None:
        """Note whose slots are those of another handle."""
        self.released.append(ticket)

    def claim(self, task: TrackedTask, /) -> Ticket | None:
        """Give up an unresolved create."""
        return self.unresolved.pop(task.external_task_id or "", None)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def registry(ledger: Ledger) -> TaskRegistry:
    return TaskRegistry(ledger, ledger)


def record(status: str = "processing", external_task_id: str | None = "mine") -> TaskRecord:
    return TaskRecord(
        endpoint="text_to_video",
        task_id="7",
        external_task_id=external_task_id,
        status=status,
        result_data=msgspec.Raw(b'{"videos":[{"url":"u"}]}'),
    )


def attached(
    registry: TaskRegistry, by: str, *, request: TaskRequest[v1.Videos] | None = None
) -> TrackedTask:
    """Attach to task 7, by that id."""
    task = TrackedTask(ENDPOINT, by, request=request, by_external_id=by == "mine")
    registry.attach(task)
    return task


def created(ticket: Ticket | None = None) -> TrackedTask:
    """Return task 7 as its create made it."""
    return TrackedTask(ENDPOINT, "7", record=record(), ticket=ticket or Ticket(1))


def test_a_running_attached_task_takes_slots(registry: TaskRegistry, ledger: Ledger) -> None:
    """It is found by both ids then; its weight is 1 where no request tells more."""
    task = attached(registry, "7")
    task.observe(record())
    registry.add_attached(task, 5.0)
    assert ledger.occupied == [("video", 1, 5.0, task)]
    assert registry.find(ENDPOINT, "7") is registry.find(ENDPOINT, "mine") is task
    assert registry.is_holder(task)


def test_an_attached_task_that_has_ended_takes_none(registry: TaskRegistry, ledger: Ledger) -> None:
    """It is known, and nothing else."""
    task = attached(registry, "7")
    task.observe(record("succeed"))
    registry.add_attached(task, 5.0)
    assert ledger.occupied == [] and registry.find(ENDPOINT, "mine") is task


def test_a_found_create_hands_its_slots_over(registry: TaskRegistry, ledger: Ledger) -> None:
    """A create of unknown fate whose task is attached to is resolved by it."""
    ticket = ledger.unresolved["mine"] = Ticket(1)
    task = attached(registry, "mine")
    task.observe(record())
    registry.add_attached(task, 5.0)
    assert task.ticket is ticket and ledger.holders == {ticket: task}
    assert ledger.occupied == [] and ledger.unresolved == {}


@pytest.mark.parametrize("order", [("7", "mine"), ("mine", "7")])
def test_of_two_handles_the_one_seen_first_holds_the_slots(
    registry: TaskRegistry, ledger: Ledger, order: tuple[str, str]
) -> None:
    """The other one is no holder, takes no slots, and emits no events."""
    first, second = (attached(registry, by) for by in order)
    for task in (first, second):
        task.observe(record())
        registry.add_attached(task, 0.0)
    assert [holder for *_, holder in ledger.occupied] == [first]
    assert (registry.is_holder(first), registry.is_holder(second)) == (True, False)


def test_the_slots_of_a_create_replace_those_of_an_attached_task(
    registry: TaskRegistry, ledger: Ledger
) -> None:
    """The task that its create made becomes the holder; slots are never held twice."""
    task = attached(registry, "7")
    task.observe(record())
    registry.add_attached(task, 0.0)
    taken = task.ticket
    made = created()
    assert registry.add(made)
    assert ledger.released == [taken] and task.ticket is None
    assert registry.is_holder(made) and not registry.is_holder(task)


def test_merged_handles_go_on_as_the_old_one(registry: TaskRegistry, ledger: Ledger) -> None:
    """The old handle has the slots of the new one, and is found by both ids."""
    old, new = attached(registry, "7"), created()
    ticket = new.ticket
    registry.merge(old, new)
    assert (old.ticket, new.ticket) == (ticket, None)
    assert ticket is not None and ledger.holders == {ticket: old}
    assert registry.find(ENDPOINT, "7") is registry.find(ENDPOINT, "mine") is old
    assert ledger.released == []


def test_a_retired_task_frees_its_slots_once_and_is_known_while_it_is_held(
    registry: TaskRegistry, ledger: Ledger
) -> None:
    """Its handles find it by either id until the last of them is gone."""
    task = created()
    ticket = task.ticket
    registry.add(task)
    registry.retire(task)
    registry.retire(task)
    assert ledger.released == [ticket] and task.ticket is None
    assert registry.find(ENDPOINT, "7") is registry.find(ENDPOINT, "mine") is task
    del task
    gc.collect()
    assert registry.find(ENDPOINT, "7") is None


def test_ids_of_one_product_are_not_those_of_another(registry: TaskRegistry) -> None:
    """The path of the endpoint belongs to the key."""
    task = attached(registry, "7")
    assert registry.find(endpoint_of(v1.ImageToVideo), "7") is None
    assert registry.find(ENDPOINT, "7") is task
