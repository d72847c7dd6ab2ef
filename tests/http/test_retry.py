"""Test http/retry.py: harmless requests are repeated with polite pauses; the last failure is raised."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

import backoff
import pytest

from kling_async import Retry, TaskNotFound
from kling_async.core.verdict import Again, Answer, Got, Missing, Refused
from kling_async.errors import APIError, KlingError, RateLimited, TransportError, api_error
from kling_async.http.retry import not_found, polite_wait, read_patiently

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kling_async.core.verdict import ReadVerdict

pytestmark = pytest.mark.anyio

DOWN: Final = TransportError("no answer in time", sent=True)
GOT: Final = Got(b"{}", Answer(200, 0, "SUCCEED", "r-1", b"{}"))


class Ceilings(random.Random):
    """Draw the upper end of every range and record the range."""

    def __init__(self) -> None:
        super().__init__(0)
        self.drawn: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.drawn.append((a, b))
        return b


class Reader:
    """Return one verdict after the other, the last one for ever, and record when each was requested."""

    def __init__(self, *verdicts: ReadVerdict) -> None:
        self._verdicts: Sequence[ReadVerdict] = verdicts
        self.asked: list[float] = []

    async def __call__(self) -> ReadVerdict:
        now = asyncio.get_running_loop().time()
        self.asked.append(now)
        return self._verdicts[min(len(self.asked), len(self._verdicts)) - 1]

    @property
    def pauses(self) -> list[float]:
        return [round(b - a, 3) for a, b in zip(self.asked, self.asked[1:], strict=False)]


async def patiently(reader: Reader, rng: random.Random | None = None, what: str = "", **retry: Any) -> Got:
    return await read_patiently(reader, retry=Retry(**retry), rng=rng or Ceilings(), what=what)


# --- pauses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hints", "pauses"),
    [
        pytest.param([None] * 6, [0.5, 1, 2, 4, 5, 5], id="a ceiling that doubles up to the cap"),
        pytest.param([7, 0, 3600.0], [7, 0, 3600.0], id="exactly what the server asked for"),
        pytest.param([None, 9, None], [0.5, 9, 2], id="the ceiling doubles meanwhile"),
    ],
)
async def test_pauses(hints: list[float | None], pauses: list[float]) -> None:
    """A pause is the server's Retry-After, even above our cap; else it is drawn below a doubling ceiling."""
    reader = Reader(*[Again(DOWN, hint) for hint in hints], GOT)
    assert await patiently(reader, base=0.5, cap=5) is GOT
    assert reader.pauses == pytest.approx(pauses, abs=0.01)


async def test_pauses_are_drawn_from_all_of_the_range() -> None:
    """Pauses are drawn from zero to the ceiling, so that many clients do not come back together."""
    rng = Ceilings()
    await patiently(Reader(*[Again(DOWN)] * 4, GOT), rng, base=0.5, cap=2)
    assert rng.drawn == [(0, 0.5), (0, 1.0), (0, 2.0), (0, 2.0)]


async def test_the_same_seed_gives_the_same_pauses() -> None:
    """The generator that is passed in is the only source of chance."""
    first, second = (Reader(*[Again(DOWN)] * 5, GOT) for _ in range(2))
    for reader in (first, second):
        await patiently(reader, random.Random(7))
    assert first.pauses == pytest.approx(second.pauses, abs=0.002)
    assert len(set(first.pauses)) == 5


def test_a_base_of_zero_never_pauses() -> None:
    """``Retry(base=0)`` repeats at once, every time."""
    waits = polite_wait(random.Random(1), Retry(base=0, cap=0))
    next(waits)
    repeat = type("Repeat", (), {"verdict": Again(DOWN)})()
    assert [waits.send(repeat) for _ in range(3)] == [0, 0, 0]


# --- tries -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tries", [1, 2, 5])
async def test_max_tries_counts_the_first(tries: int) -> None:
    """``max_tries`` counts all attempts; the last failure is the error."""
    last = api_error(1302, "too fast", request_id="r-9", http_status=429)
    reader = Reader(*[Again(DOWN)] * (tries - 1), Again(last))
    with pytest.raises(KlingError) as caught:
        await patiently(reader, max_tries=tries)
    assert caught.value is last
    assert len(reader.asked) == tries


@pytest.mark.parametrize(
    ("onward", "tries", "asked"),
    [
        pytest.param("....", 3, 3, id="none"),
        pytest.param("..o...", 3, 5, id="once"),
        pytest.param("ooooo...", 3, 7, id="again and again"),
        pytest.param("oooo", 1, 1, id="one try is one try"),
    ],
)
async def test_progress_starts_the_count_anew(onward: str, tries: int, asked: int) -> None:
    """An attempt with progress is the first of a new count, and pauses start at the base again."""
    reader = Reader(*[Again(DOWN, onward=mark == "o") for mark in onward])
    with pytest.raises(TransportError):
        await patiently(reader, base=1, cap=8, max_tries=tries)
    assert len(reader.asked) == asked
    pauses = [1.0]
    for mark in onward[1 : asked - 1]:
        pauses.append(1.0 if mark == "o" else 2 * pauses[-1])
    assert reader.pauses == pytest.approx(pauses[: asked - 1], abs=0.01)


@pytest.mark.parametrize(
    ("verdict", "error"),
    [
        pytest.param(Refused(api_error(1002, "no"), "all"), APIError, id="refused"),
        pytest.param(Missing("Task not found", "r-1"), TaskNotFound, id="missing"),
    ],
)
async def test_a_final_verdict_is_not_repeated(verdict: ReadVerdict, error: type[KlingError]) -> None:
    """A refusal or a missing task ends the read at once."""
    reader = Reader(verdict, GOT)
    with pytest.raises(error):
        await patiently(reader)
    assert len(reader.asked) == 1


async def test_a_final_verdict_ends_the_repeats() -> None:
    """A refusal after a repeat ends the read too."""
    reader = Reader(Again(DOWN), Refused(api_error(1100, "frozen")), GOT)
    with pytest.raises(APIError, match="frozen"):
        await patiently(reader)
    assert len(reader.asked) == 2


@pytest.mark.parametrize(
    ("what", "text"),
    [("task-7", "no task task-7: Task not found"), ("", "Task not found")],
)
async def test_a_missing_task_is_named(what: str, text: str) -> None:
    """The error holds the id that was asked for, the vendor's message and its request id."""
    error = not_found(Missing("Task not found", "r-1"), what)
    assert (str(error), error.id, error.request_id) == (text, what, "r-1")
    with pytest.raises(TaskNotFound) as caught:
        await patiently(Reader(Missing("Task not found", "r-1")), what=what)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "verdicts",
    [
        [Again(DOWN)],
        [Again(RateLimited("slow", code=1302))],
        [Refused(api_error(1002, "no"))],
        [Missing("", "")],
    ],
    ids=["transport", "rate", "refused", "missing"],
)
async def test_the_error_has_no_context(verdicts: list[ReadVerdict]) -> None:
    """The error has no cause and no context that a log could show."""
    with pytest.raises(KlingError) as caught:
        await patiently(Reader(*verdicts), max_tries=3)
    error = caught.value
    assert error.__cause__ is None and error.__context__ is None
    assert "_Repeat" not in "".join(traceback.format_exception(error))


async def test_cancelling_ends_the_pause() -> None:
    """A cancelled read ends within its pause and makes no further attempt."""
    reader = Reader(Again(DOWN, 3600))
    running = asyncio.create_task(patiently(reader))
    await asyncio.sleep(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(reader.asked) == 1


async def test_many_reads_repeat_independently() -> None:
    """Failures of one read do not use up the attempts of another."""
    readers = [Reader(*[Again(DOWN, 1)] * n, GOT) for n in range(8)]
    assert await asyncio.gather(*(patiently(r, max_tries=8) for r in readers)) == [GOT] * 8
    assert [len(r.asked) for r in readers] == list(range(1, 9))


# --- backoff itself ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:'asyncio.iscoroutinefunction' is deprecated:DeprecationWarning")
async def test_backoff_still_works_on_this_python() -> None:
    """It is no longer maintained: if it tries a coroutine once and gives up, or not at all, this says so.

    It decides by an old function of asyncio's whether it wraps a coroutine; without it everything would be
    tried once, silently.
    """
    calls = 0

    async def fails() -> None:
        nonlocal calls
        calls += 1
        raise TimeoutError

    wrapped = backoff.on_exception(
        backoff.constant, TimeoutError, max_tries=3, interval=0, jitter=None, logger=None
    )(fails)
    assert inspect.iscoroutinefunction(wrapped), "backoff takes coroutines for plain functions: replace it"
    with pytest.raises(TimeoutError):
        await wrapped()
    assert calls == 3, "backoff does not repeat any more: replace it"


@pytest.mark.real
def test_importing_warns_of_nothing() -> None:
    """Importing under ``-W error`` succeeds although backoff uses what Python 3.14 deprecates."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import kling_async.http.retry"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_nothing_is_logged_by_backoff(caplog: pytest.LogCaptureFixture) -> None:
    """The logger of backoff would show texts of the server, so it stays silent."""
    caplog.set_level(logging.DEBUG, logger="backoff")
    await patiently(Reader(*[Again(DOWN)] * 3, GOT))
    with pytest.raises(TransportError):
        await patiently(Reader(Again(DOWN)), max_tries=2)
    assert [record for record in caplog.records if record.name.startswith("backoff")] == []
