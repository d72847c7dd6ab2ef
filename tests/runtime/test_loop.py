"""The event loop a client lives in: one at a time, a clock that goes on, work that ends with the client."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import math
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from kling_async.errors import ClientClosed, ConfigurationError
from kling_async.runtime.loop import GRACE, LoopScope, Timer
from tests.clock import new_event_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

virtual = pytest.mark.anyio
WHO: contextvars.ContextVar[str] = contextvars.ContextVar("WHO", default="nobody")


class Wall:
    """A wall clock that the test sets."""

    def __init__(self, at: float = 1_000_000.0) -> None:
        self.at = at
        self.calls = 0

    def __call__(self) -> float:
        self.calls += 1
        return self.at


class Listener:
    """A subscriber that does as the test says."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def on_loop_replaced(self) -> None:
        self._act()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run in a new event loop with a clock of its own, and end the loop."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)


async def enter_at(scope: LoopScope, wait: float = 0.0) -> float:
    """Enter, let time pass, and return what the client's clock shows."""
    scope.enter()
    await asyncio.sleep(wait)
    return scope.time()


async def forever() -> None:
    await asyncio.Event().wait()


# --- which loop --------------------------------------------------------------------------------


def test_a_scope_is_made_outside_a_loop() -> None:
    """The clock then stands at zero, and to enter needs a running loop."""
    scope = LoopScope(Wall())
    assert scope.time() == 0
    with pytest.raises(RuntimeError, match="no running event loop"):
        scope.enter()


@virtual
async def test_to_enter_again_changes_nothing() -> None:
    """Every call enters; in the same loop that is free, and no listener is told."""
    scope, moves = LoopScope(Wall()), list[str]()
    scope.subscribe(Listener(lambda: moves.append("moved")))
    assert scope.enter() is scope.enter() is asyncio.get_running_loop()
    assert moves == []


@pytest.mark.real
@virtual
async def test_a_second_loop_that_runs_is_refused() -> None:
    """The error in another thread says what to do, and the first loop goes on."""
    scope = LoopScope(Wall())
    loop = scope.enter()

    async def intrude() -> None:
        scope.enter()

    with pytest.raises(ConfigurationError, match=r"another event loop .* one Client per running loop"):
        await loop.run_in_executor(None, asyncio.run, intrude())
    assert scope.enter() is loop


def test_a_loop_that_ended_is_replaced_and_told() -> None:
    """Each new loop tells every listener once, in order, after the scope has settled there."""
    scope, moves = LoopScope(Wall()), list[object]()
    scope.subscribe(Listener(lambda: moves.append(scope.enter())))
    scope.subscribe(Listener(lambda: moves.append("second")))
    run(enter_at(scope))
    assert moves == []

    async def again() -> asyncio.AbstractEventLoop:
        scope.enter()
        return scope.enter()

    assert moves == [run(again()), "second"]


def test_a_loop_that_pauses_is_still_the_scope() -> None:
    """A notebook's loop stops between cells: the same loop again is no new one, and its work goes on."""
    scope, moves = LoopScope(Wall()), list[str]()
    scope.subscribe(Listener(lambda: moves.append("moved")))
    with asyncio.Runner(loop_factory=new_event_loop) as runner:

        async def first() -> asyncio.Task[None]:
            return scope.spawn(asyncio.sleep(5), "cell")

        task = runner.run(first())
        assert runner.run(enter_at(scope, 6)) == 6
        assert task.done() and not task.cancelled()
    assert moves == []


@virtual
async def test_a_closed_scope_lets_nobody_in() -> None:
    """Every caller gets `ClientClosed`."""
    scope = LoopScope(Wall())
    scope.enter()
    await scope.close()
    for ask in (scope.enter, lambda: scope.call_at(1, print)):
        with pytest.raises(ClientClosed, match="this client is closed"):
            ask()


# --- time --------------------------------------------------------------------------------------


def test_the_clock_begins_at_zero_and_follows_the_loop() -> None:
    """The value of the loop's own clock does not matter."""
    scope = LoopScope(Wall())

    async def story() -> list[float]:
        await asyncio.sleep(1000)
        return [await enter_at(scope), await enter_at(scope, 2.5), await enter_at(scope, 100)]

    assert run(story()) == [0, 2.5, 102.5]


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        pytest.param(3600, 3610, id="an hour between the loops"),
        pytest.param(0, 10, id="none"),
        pytest.param(-3600, 10, id="the wall clock was set back"),
    ],
)
def test_over_loops_the_clock_goes_on_by_wall_time(passed: float, expected: float) -> None:
    """Ages keep growing while no loop runs, and never shrink."""
    wall = Wall()
    scope = LoopScope(wall)
    assert run(enter_at(scope, 10)) == 10
    wall.at += passed
    assert run(enter_at(scope)) == expected
    assert run(enter_at(scope, 5)) == expected + 5


def test_the_clock_never_goes_back_by_a_fraction() -> None:
    """A wall clock that stood still or was set back does not cost the last second of a loop."""
    scope = LoopScope(Wall())

    async def count() -> float:
        scope.enter()
        await asyncio.sleep(0.9)
        return scope.time()

    assert run(count()) <= run(enter_at(scope))


def test_the_wall_clock_is_seldom_asked() -> None:
    """The client's clock is read at every step, the wall clock once a second at most."""
    wall = Wall()
    scope = LoopScope(wall)

    async def story() -> None:
        scope.enter()
        for _ in range(100):
            await asyncio.sleep(0.1)
            for _ in range(10):
                scope.time()

    run(story())
    assert wall.calls <= 11


@virtual
async def test_call_at_takes_client_time_and_an_empty_context() -> None:
    """The time is the client's, whatever the loop's clock shows, and nothing is inherited."""
    await asyncio.sleep(100)
    scope, rung = LoopScope(Wall()), list[tuple[float, str]]()
    scope.enter()
    WHO.set("caller")
    scope.call_at(7, lambda: rung.append((scope.time(), WHO.get())))
    timer = scope.call_at(3, lambda: rung.append((-1, "")))
    assert timer is not None
    timer.cancel()
    await asyncio.sleep(10)
    assert rung == [(7, "nobody")]


# --- work --------------------------------------------------------------------------------------


@virtual
async def test_work_does_not_inherit_its_caller_s_context() -> None:
    """A request's context variables (traces, users) do not live on in work that belongs to all."""
    scope, seen = LoopScope(Wall()), list[str]()
    WHO.set("caller")

    async def look() -> None:
        seen.append(WHO.get())
        WHO.set("work")

    task = scope.spawn(look(), "looking")
    await task
    assert seen == ["nobody"]
    assert WHO.get() == "caller"
    assert task.get_name() == "kling_async looking"


@virtual
async def test_work_that_breaks_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The record names the task, which nobody awaits; cancelled and finished work is not logged."""

    async def broken() -> None:
        raise ValueError("bad luck")

    scope = LoopScope(Wall())
    with caplog.at_level(logging.DEBUG, "kling_async"):
        tasks = [
            scope.spawn(broken(), "round"),
            scope.spawn(asyncio.sleep(1), "b"),
            scope.spawn(forever(), "c"),
        ]
        await asyncio.sleep(2)
        tasks[2].cancel()
        await asyncio.wait(tasks)
        await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records] == [
        "background work of the client failed: kling_async round"
    ]
    (record,) = caplog.records
    assert record.exc_info is not None and isinstance(record.exc_info[1], ValueError)


@virtual
async def test_work_that_comes_too_late_is_closed() -> None:
    """On a closed client `spawn` raises and leaves no coroutine that was never awaited."""
    scope = LoopScope(Wall())
    scope.enter()
    await scope.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ClientClosed):
            scope.spawn(forever(), "late")
        gc.collect()
    assert [str(w.message) for w in caught] == []


# --- closing -----------------------------------------------------------------------------------


@virtual
async def test_what_lasts_may_finish_and_the_rest_is_cancelled_at_once() -> None:
    """A create on its way ends as it would, a status query is cut, and nothing is left running."""
    scope, told = LoopScope(Wall()), list[tuple[str, float]]()
    before = asyncio.all_tasks()

    async def work(name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            told.append((f"{name} cancelled", scope.time()))
            raise
        told.append((f"{name} done", scope.time()))

    scope.spawn(work("round", 1), "round")
    scope.spawn(work("create", 3), "create", lasting=True)
    await asyncio.sleep(0)
    await scope.close()
    assert told == [("round cancelled", 0), ("create done", 3)]
    assert scope.time() == 3
    assert asyncio.all_tasks() == before


@virtual
async def test_what_lasts_too_long_is_cancelled_after_its_grace() -> None:
    """Lasting work is cut after `GRACE` seconds as well."""
    scope = LoopScope(Wall())
    task = scope.spawn(forever(), "create", lasting=True)
    await scope.close()
    assert scope.time() == GRACE == 5
    assert task.cancelled()


@virtual
async def test_closing_waits_for_work_to_clean_up() -> None:
    """Cancelled work may still clean up; its error does not come out of ``close``."""
    scope, cleaned = LoopScope(Wall()), list[str]()

    async def tidy() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(1)
            cleaned.append("tidy")

    task = scope.spawn(tidy(), "tidy")
    await asyncio.sleep(0)
    await scope.close()
    assert cleaned == ["tidy"]
    assert task.cancelled()


@pytest.mark.parametrize("entered", [False, True], ids=["never entered", "its loop ended"])
def test_closing_is_harmless_whatever_became_of_the_loop(entered: bool) -> None:
    """Closing an unused scope, or from another loop, or twice, only shuts the scope."""
    scope = LoopScope(Wall())
    if entered:
        run(enter_at(scope))
    run(scope.close())
    run(scope.close())
    assert scope.closed


def test_work_of_a_loop_that_stopped_is_forgotten() -> None:
    """A new loop neither waits for nor cancels work that was left undone in the old one."""
    scope = LoopScope(Wall())

    async def first() -> asyncio.Task[None]:
        return scope.spawn(forever(), "old", lasting=True)

    async def second() -> float:
        scope.enter()
        await scope.close()
        return scope.time()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        old = runner.run(first())
        with asyncio.Runner(loop_factory=new_event_loop) as other:
            assert other.run(second()) == 0
        assert not old.done()


@virtual
async def test_work_may_close_its_client() -> None:
    """Lasting work that closes its own client does not wait for itself."""
    scope, told = LoopScope(Wall()), list[float]()

    async def end() -> None:
        await scope.close()
        told.append(scope.time())

    task = scope.spawn(end(), "end", lasting=True)
    await task
    assert len(told) == 1


# --- timers ------------------------------------------------------------------------------------


@virtual
@pytest.mark.parametrize(
    ("steps", "times"),
    [
        pytest.param("set 5", [5], id="set"),
        pytest.param("set 5, set 9", [9], id="set later"),
        pytest.param("set 9, set 5", [5], id="set earlier"),
        pytest.param("set 5, set 5", [5], id="set the same"),
        pytest.param("set 5, set inf", [], id="set never"),
        pytest.param("set inf", [], id="never set"),
        pytest.param("advance 5", [5], id="advance from nothing"),
        pytest.param("set 9, advance 5", [5], id="advance"),
        pytest.param("set 5, advance 9", [5], id="advance is no delay"),
        pytest.param("set 5, advance inf", [5], id="advance to never"),
        pytest.param("set 5, clear", [], id="clear"),
        pytest.param("clear, set 5", [5], id="clear nothing"),
        pytest.param("set 5, clear, advance 7", [7], id="clear forgets the time"),
        pytest.param("set 5, clear, set 5", [5], id="set the same after clear"),
        pytest.param("set -3", [0], id="set in the past"),
    ],
)
async def test_a_timer_fires_at_the_time_set_last(steps: str, times: list[float]) -> None:
    """`set` replaces, `advance` only brings forward, `clear` forgets; it fires once."""
    scope, fired = LoopScope(Wall()), list[float]()
    scope.enter()
    timer = Timer(scope, fired.append)
    for step in steps.split(", "):
        name, *when = step.split()
        getattr(timer, name)(*map(float, when))
    await asyncio.sleep(100)
    assert fired == times


@virtual
async def test_a_timer_may_be_set_while_it_fires() -> None:
    """A driver sets it anew from what it is told, also to the same distance."""
    scope, fired = LoopScope(Wall()), list[float]()
    scope.enter()

    def fire(now: float) -> None:
        fired.append(now)
        timer.set(now + 5 if len(fired) < 3 else math.inf)

    timer = Timer(scope, fire)
    timer.set(5)
    await asyncio.sleep(100)
    assert fired == [5, 10, 15]


@virtual
async def test_a_timer_is_not_fooled_by_a_loop_that_fires_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops fire timers within their resolution: the driver is told the time it asked for, not one before.

    It would otherwise find nothing due, ask again for the same time, and spin.
    """
    scope, fired = LoopScope(Wall()), list[float]()
    scope.enter()
    timer = Timer(scope, fired.append)
    monkeypatch.setattr(scope, "time", lambda: 4.999999999)
    timer.set(5)
    await asyncio.sleep(6)
    assert fired == [5]
    monkeypatch.setattr(scope, "time", lambda: 7.5)
    timer.set(7)
    await asyncio.sleep(6)
    assert fired == [5, 7.5]


@virtual
async def test_a_timer_of_a_closed_client_is_silent() -> None:
    """A timer set after the end neither fires nor raises."""
    scope, fired = LoopScope(Wall()), list[float]()
    scope.enter()
    timer = Timer(scope, fired.append)
    await scope.close()
    timer.set(5)
    timer.advance(3)
    timer.clear()
    await asyncio.sleep(10)
    assert fired == []
