"""Test cli/progress.py: what happens in the demo is counted and shown."""

from __future__ import annotations

import io

import pytest

from kling_async import Event
from kling_async.cli import display
from kling_async.cli.output import Output
from kling_async.cli.progress import Counts, DemoProgress
from tests.cli.test_display import EARLY, Terminal


def counts_after(*story: tuple[str, float]) -> Counts:
    """Return the counts after events of one submit."""
    progress = DemoProgress(1, Output(stdout=io.StringIO(), stderr=io.StringIO()))
    for kind, at in story:
        progress(Event(kind=kind, at=at, external_task_id="a"))  # type: ignore[arg-type]
    return progress.counts


@pytest.mark.parametrize(
    ("story", "counts"),
    [
        ([("queued", 0)], Counts(1)),
        ([("queued", 0), ("admitted", 0.01)], Counts(1)),
        ([("queued", 0), ("admitted", 9)], Counts(1, waited=1)),
        ([("queued", 0), ("admitted", 0), ("refused", 1)], Counts(1, refused=1)),
        ([("queued", 0), ("left", 5), ("admitted", 9)], Counts(1)),
        ([("created", 0), ("asked", 1), ("changed", 1), ("ended", 2)], Counts(1, asked=1)),
    ],
    ids=lambda value: "-".join(kind for kind, _ in value) if isinstance(value, list) else "",
)
def test_events_are_counted(story: list[tuple[str, float]], counts: Counts) -> None:
    """Refusals, queries and submits that waited are counted once each."""
    assert counts_after(*story) == counts


def test_a_submit_refused_several_times_counts_as_waiting_once() -> None:
    """Three refusals of one submit are three refusals and one wait."""
    counts = counts_after(*[("queued", 0.0), *[("admitted", 0.0), ("refused", 1.0)] * 3, ("admitted", 60.0)])
    assert (counts.waited, counts.refused) == (1, 3)


def test_without_a_terminal_each_ended_task_is_one_line() -> None:
    """Logs and pipes get the ended tasks on stdout, and nothing else."""
    out, err = io.StringIO(), io.StringIO()
    progress = DemoProgress(2, Output(stdout=out, stderr=err))
    progress.show(EARLY)
    progress.ended("a.mp4")
    progress.ended("b.mp4", failed=True)
    progress.close()
    assert (out.getvalue(), err.getvalue()) == ("a.mp4\nb.mp4\n", "")
    assert (progress.counts.succeeded, progress.counts.failed) == (1, 1)


def test_on_a_terminal_the_display_of_run_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ended tasks stay above its block, which is gone at the end; without rich there are lines."""
    monkeypatch.setenv("TERM", "xterm")
    for rich in (True, False):
        monkeypatch.setattr(display, "has_rich", lambda rich=rich: rich)
        out, err = Terminal(), Terminal()
        progress = DemoProgress(2, Output(stdout=out, stderr=err))
        progress.show(EARLY)
        progress.ended("a.mp4")
        progress.close()
        assert "a.mp4\n" in err.getvalue() and out.getvalue() == ""
        assert ("\x1b[?25h" in err.getvalue()) is rich
