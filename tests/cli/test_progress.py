"""Test cli/progress.py: the progress of a batch in one line that fits."""

from __future__ import annotations

import contextlib
import io

import pytest

from kling_async import Event, OutOfUnits, PolicyViolation
from kling_async.cli.progress import Counts, Progress, progress_line
from tests.support import Recorder, clip, pair


class Terminal(io.StringIO):
    """Imitate a terminal."""

    def isatty(self) -> bool:
        return True


def screen(text: str) -> list[str]:
    """Return the rows that a terminal shows after a text with carriage returns."""
    rows: list[str] = []
    for row in text.split("\n"):
        shown = ""
        for piece in row.split("\r"):
            shown = piece + shown[len(piece) :]
        rows.append(shown.rstrip())
    return rows


# --- the line ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (Counts(8), "........  0/8 done, 0 running, 0 queued"),
        (Counts(8, queued=8), "........  0/8 done, 0 running, 8 queued"),
        (Counts(8, queued=5, running=3), "---.....  0/8 done, 3 running, 5 queued"),
        (Counts(8, running=3, succeeded=5), "#####---  5/8 done, 3 running, 0 queued"),
        (Counts(8, succeeded=6, failed=2), "########  8/8 done, 0 running, 0 queued, 2 failed"),
        (Counts(8, running=1, refused=4), "-.......  0/8 done, 1 running, 0 queued, 4 x full"),
        (Counts(100, running=1), "-.......  0/100 done, 1 running, 0 queued"),
        (Counts(100, running=1, succeeded=99), "#######-  99/100 done, 1 running, 0 queued"),
        (Counts(100, succeeded=99), "#######.  99/100 done, 0 running, 0 queued"),
        (Counts(2, running=9, succeeded=1), "####----  1/2 done, 9 running, 0 queued"),
        (Counts(0), "........  0/0 done, 0 running, 0 queued"),
    ],
)
def test_the_line_shows_all_counts(counts: Counts, text: str) -> None:
    """Bar and text show ended, running and queued requests; a full bar means that all have ended."""
    assert progress_line(counts, width=8) == text


def test_the_bar_has_the_given_width() -> None:
    """The bar has its width for all counts, even impossible ones."""
    for total in range(1, 12):
        for done in range(total + 1):
            for running in range(total + 2):
                bar = progress_line(Counts(total, running=running, succeeded=done), width=7).split("  ")[0]
                assert len(bar) == 7
                assert (bar == "#" * 7) == (done == total)
                assert ("-" in bar) == (running > 0 and done < total) or "#" * 6 in bar


WIDEST = Counts(22, queued=12, running=5, refused=19, failed=5, succeeded=0)


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param(Counts(22, queued=22), id="start"),
        pytest.param(Counts(22, queued=12, running=10, refused=9), id="full"),
        pytest.param(
            WIDEST, id="with failures",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("columns", [80, 50])
def test_the_line_fits_the_terminal(counts: Counts, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that wraps could not be redrawn in place, so it is cut."""
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    progress = Progress(22, stream)
    progress.counts = counts
    progress(Event(kind="changed", at=0.0))
    assert max(map(len, stream.getvalue().split("\r"))) < columns


# --- counting ----------------------------------------------------------------------------------


def counts_after(*story: tuple[str, float]) -> Counts:
    progress = Progress(1, io.StringIO())
    for kind, at in story:
        progress(Event(kind=kind, at=at, external_task_id="a"))  # type: ignore[arg-type]
    return progress.counts


@pytest.mark.parametrize(
    ("story", "counts"),
    [
        ([("queued", 0)], Counts(1, queued=1)),
        ([("queued", 0), ("admitted", 0.01)], Counts(1)),
        ([("queued", 0), ("admitted", 9)], Counts(1, waited=1)),
        ([("queued", 0), ("admitted", 0), ("created", 1)], Counts(1, running=1)),
        ([("queued", 0), ("admitted", 0), ("refused", 1)], Counts(1, queued=1, refused=1)),
        ([("queued", 0), ("admitted", 0), ("left", 1), ("refused", 2)], Counts(1, refused=1)),
        ([("admitted", 0), ("left", 1), ("adopted", 2)], Counts(1, running=1)),
        ([("created", 0), ("asked", 1), ("changed", 1), ("ended", 2)], Counts(1, asked=1)),
        ([("downloaded", 0), ("slot_expired", 0)], Counts(1, files=1)),
    ],
    ids=lambda value: "-".join(kind for kind, _ in value) if isinstance(value, list) else "",
)
def test_events_are_counted(story: list[tuple[str, float]], counts: Counts) -> None:
    """Each event changes the counts of queued, running and waiting requests once."""
    assert counts_after(*story) == counts


def test_a_submit_refused_several_times_counts_as_waiting_once() -> None:
    """Three refusals of one submit are three refusals and one wait."""
    counts = counts_after(*[("queued", 0.0), *[("admitted", 0.0), ("refused", 1.0)] * 3, ("admitted", 60.0)])
    assert (counts.waited, counts.refused, counts.queued) == (1, 3, 0)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "code",
    [
        pytest.param(None, id="nothing"),
        pytest.param(1303, id="account full"),
        pytest.param(1302, id="too fast"),
        pytest.param(1301, id="refused"),
        pytest.param(1102, id="pool closed"),
    ],
)
async def test_no_request_stays_queued_or_running(code: int | None) -> None:
    """The counts return to zero whatever becomes of the submits."""
    progress = Progress(6, io.StringIO())
    async with pair({"video": 2}, client={"on_event": progress}) as (emu, client):
        if code is not None:
            emu.fault("create", code=code)
        for _ in range(3):
            with contextlib.suppress(PolicyViolation, OutOfUnits):
                await client.run(clip())
    assert (progress.counts.queued, progress.counts.running) == (0, 0)


# --- showing -----------------------------------------------------------------------------------


def test_without_a_terminal_each_ended_task_is_one_line() -> None:
    """Logs and pipes get no carriage returns and nothing between two ends."""
    stream = io.StringIO()
    progress = Progress(2, stream)
    progress(Event(kind="queued", at=0.0))
    assert stream.getvalue() == ""
    progress.ended("a.mp4")
    progress.ended("b.mp4", failed=True)
    progress.close()
    assert stream.getvalue() == "a.mp4\nb.mp4\n"
    assert (progress.counts.succeeded, progress.counts.failed) == (1, 1)


def test_on_a_terminal_one_line_is_redrawn_below_the_others() -> None:
    """A shorter line leaves no rest of a longer one, and the cursor ends on a line of its own."""
    stream = Terminal()
    progress = Progress(2, stream)
    for _ in range(2):
        progress(Event(kind="queued", at=0.0))
        progress(Event(kind="admitted", at=0.0))
        progress(Event(kind="refused", at=0.0))
    progress.counts.refused = 0
    progress(Event(kind="changed", at=0.0))
    progress.ended("a.mp4")
    assert screen(stream.getvalue()) == ["a.mp4", progress_line(progress.counts)]
    progress.close()
    progress.close()
    assert screen(stream.getvalue()) == ["a.mp4", progress_line(progress.counts), ""]


def test_closing_without_a_line_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Closing at once prints nothing; the default stream is stdout."""
    Progress(1, Terminal()).close()
    Progress(1).ended("a.mp4")
    assert capsys.readouterr().out == "a.mp4\n"


def test_progress_is_a_listener_like_others() -> None:
    """`Progress` takes events like any ``on_event`` listener."""
    heard, progress = Recorder(), Progress(1, io.StringIO())
    for listener in (heard, progress):
        listener(Event(kind="asked", at=0.0))
    assert len(heard.events) == progress.counts.asked == 1
