"""Notebooks: watch a task or a batch in one output that is kept up to date while a cell waits.

    from kling_async import notebook

    images = await notebook.watch(task)
    outcomes = await notebook.watch(client.batch(requests, download_to="out"))

The output is one display of Jupyter's, updated once a second, without widgets: what it shows last stays in
the saved notebook. Without a notebook the same are plain lines. Interrupted, it says what runs on, by id; the
same cell can be run again.

Tasks, results, outcomes and other values show themselves: pictures and players from disk where they were
downloaded, else by their whole address. Whoever gets the saved notebook can fetch those files until the
address expires; ``embed()`` of a task, a result or an outcome puts copies into the notebook instead, which
need no address and stay.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, overload

from kling_async.batch.batch import Batch
from kling_async.batch.outcomes import Outcomes
from kling_async.display.html import Markup, bundle, element, joined, rows, titled
from kling_async.orchestrator.leftovers import running_words
from kling_async.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kling_async.batch.outcomes import Outcome
    from kling_async.display.html import MimeBundle

__all__ = ["watch"]

R = TypeVar("R")
T = TypeVar("T")

_TICK: Final = 1.0
"""Seconds between two states; a kernel notices an interrupt when code runs, so at the next of them."""


@overload
async def watch(what: Task[R]) -> R: ...
@overload
async def watch(what: Batch[R]) -> Outcomes[R]: ...


async def watch(what: Task[R] | Batch[R]) -> R | Outcomes[R]:
    """Wait for a task or a batch, and show how it goes in one output that is updated once a second.

    Args:
        what: A task; or a batch, entered or not. One that was not entered is entered here, and left at its
            end. Its outcomes are taken by this call; let nobody else iterate over it.

    Returns:
        The result of the task, or the outcomes of the batch.

    Raises:
        TaskFailed: The task failed.
        KlingError: As `Task.wait`, or the iteration over the batch, raises it.
        TypeError: It is neither.
    """
    if not isinstance(what, Task | Batch):
        kind = type(what).__name__
        if asyncio.iscoroutine(what):
            what.close()  # or Python warns that it was never awaited
            kind = "coroutine: await it first"
        raise TypeError(f"watch() takes a Task or a batch, not {kind}")
    screen = _new_screen()
    if isinstance(what, Task):
        return await _attended(what.wait(), _TaskView(what), screen)
    view = _BatchView(what)
    return await _attended(view.outcomes(), view, screen)


# -- what is shown


class Watched(Protocol):
    """Something to be shown while it changes."""

    def state(self) -> MimeBundle:
        """Return both forms of its present state."""
        ...

    def left(self) -> str:
        """Say what runs on when nobody waits any more; empty for nothing."""
        ...


class _TaskView:
    def __init__(self, task: Task[Any]) -> None:
        self._task = task

    def state(self) -> MimeBundle:
        return self._task._repr_mimebundle_()

    def left(self) -> str:
        task = self._task
        if task.done:
            return ""
        words = f"{task.id} still queues" if task.position is not None else running_words([task.id])
        return f"{words}; await its wait() again, or watch() it again"


class _BatchView(Generic[R]):
    def __init__(self, batch: Batch[R]) -> None:
        self._batch = batch
        self._outcomes: Outcomes[R] = Outcomes()

    async def outcomes(self) -> Outcomes[R]:
        """Take the outcomes of the batch to its end."""
        if self._batch.entered:
            await self._take()
        else:
            async with self._batch:
                await self._take()
        return self._outcomes

    async def _take(self) -> None:
        async for outcome in self._batch:
            self._outcomes.append(outcome)

    def state(self) -> MimeBundle:
        progress = self._batch.progress()
        facts = [
            (name, getattr(progress, name)) for name in ("done", "failed", "skipped", "running", "queued")
        ]
        words = ", ".join(f"{number} {name}" for name, number in facts if number or name == "done")
        more = [(f"{pool} units", f"{units:g}") for pool, units in progress.units.items()]
        if progress.seconds_left is not None and progress.running + progress.queued:
            more.append(("expected end", f"in {progress.seconds_left:.0f} s"))
        more += [("last", _last_words(self._outcomes[-1]))] if self._outcomes else []
        text = "; ".join([f"Batch: {words}", *(f"{name} {value}" for name, value in more)])
        return bundle(
            text, titled("Batch", _bar(progress.finished, progress.total), rows([("requests", words), *more]))
        )

    def left(self) -> str:
        return self._batch.report.advice


def _bar(finished: int, total: int | None) -> Markup:
    """Return a bar, once it is known how much there is to do."""
    if not total:
        return Markup()
    share = {"value": str(finished), "max": str(total)}
    return element(
        "div", element("progress", style="width:24em;max-width:100%", **share), f" {finished} of {total}"
    )


def _last_words(outcome: Outcome[Any]) -> str:
    name = outcome.position if outcome.key is None else outcome.key
    what = ", ".join(map(str, outcome.files)) or str(outcome.error or "done")
    return " ".join(f"{name}: {what}".split())  # a line break would begin a line of its own


# -- where it is shown


class Screen(Protocol):
    """One output that is kept up to date."""

    def show(self, state: MimeBundle, note: str) -> None:
        """Show a state in place of the one before, with a line that changes all the time."""
        ...


class _Lines:
    """Plain lines, one for each change."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, state: MimeBundle, note: str) -> None:
        text = state["text/plain"]
        if text != self._shown:
            self._shown = text
            sys.stdout.write(f"{text} ({note})\n")
            sys.stdout.flush()


class _Cell:
    """One display of a notebook, by its handle."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._begun = False

    def show(self, state: MimeBundle, note: str) -> None:
        html = joined(Markup(state["text/html"]), element("div", note, style="opacity:.75"))
        send = self._handle.update if self._begun else self._handle.display
        send(bundle(f"{state['text/plain']} ({note})", html), raw=True)
        self._begun = True


def _new_screen() -> Screen:
    """Return a display in a kernel, else lines: a terminal would show each update as another output."""
    module: Any = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return _Lines()
    from IPython.display import DisplayHandle  # noqa: PLC0415 - where there is a shell, it is loaded

    new_handle: Any = DisplayHandle  # it has no types
    return _Cell(new_handle())


# -- both together


async def _attended(work: Awaitable[T], view: Watched, screen: Screen) -> T:
    """Wait for work in a task of its own, and show its state each second; the last one stays."""
    clock = asyncio.get_running_loop().time
    began = clock()
    task = asyncio.ensure_future(work)

    def show(words: str) -> None:
        screen.show(view.state(), f"{words} {clock() - began:.0f} s")

    try:
        show("since")
        while not task.done():
            await asyncio.wait({task}, timeout=_TICK)
            show("after" if task.done() else "since")
    except asyncio.CancelledError as error:
        left = view.left()  # before the work is cancelled: that ends a batch
        await _cancelled(task)
        show(f"interrupted; {left}; after" if left else "interrupted after")
        if left:
            error.add_note(left)
        raise
    finally:
        await _cancelled(task)
    return task.result()


async def _cancelled(task: asyncio.Future[Any]) -> None:
    """Let work end whose result nobody takes any more."""
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
