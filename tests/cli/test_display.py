"""Test cli/display.py: one block for all widths, plain lines without control characters, messages between."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kling_async import PoolState, Progress
from kling_async.cli import display
from kling_async.cli.display import make_display, plain_line, state_lines
from kling_async.cli.output import Output

POOL = PoolState(limit=5, source="packs", held=5, queued=2, foreign=0, closed=None)
EARLY = Progress(
    total=20,
    queued=12,
    running=5,
    done=2,
    failed=1,
    skipped=0,
    resumed=0,
    units={"video": 4.5},
    seconds=31.0,
    rate=5.8,
    seconds_left=84.0,
    slots={"video": POOL, "image": PoolState(**{**POOL.to_dict(), "held": 0, "queued": 0, "closed": None})},
    last_file=Path("out/shot-02.mp4"),
    paused=False,
    stopping=False,
)


def changed(**facts: Any) -> Progress:
    """Return a progress like the early one."""
    return Progress(**{**{name: getattr(EARLY, name) for name in EARLY.__struct_fields__}, **facts})


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_lines_say_all_that_is_asked_for() -> None:
    """Jobs by state, slots of the pools in use, units, rate, last file; the time left in the plain line."""
    assert state_lines(EARLY, 78) == [
        "running 5   queued 12   done 2   failed 1",
        "slots video 5/5   4.5 video units   5.8 a minute",
        "last  out/shot-02.mp4",
    ]
    assert plain_line(EARLY) == (
        "3 of 20, 1 failed, 5 running, 12 queued, slots video 5/5, 4.5 video units, 1:24 left"
    )
    assert plain_line(changed(total=None, seconds_left=None)).startswith("3 finished, 1 failed")
    assert plain_line(changed(stopping=True)).endswith("stopping")
    assert plain_line(changed(paused=True)).endswith("paused")


@given(
    width=st.integers(20, 200),
    counts=st.tuples(*[st.integers(0, 10**6)] * 4),
    held=st.integers(0, 99),
    total=st.booleans(),
    name=st.text("a/\u6f22\x1b\n", max_size=80),
)
def test_the_block_keeps_to_the_terminal(
    width: int, counts: tuple[int, ...], held: int, total: bool, name: str
) -> None:
    """At any width no line is longer, there are few, and file names steer no terminal."""
    running, queued, done, failed = counts
    progress = changed(
        running=running,
        queued=queued,
        done=done,
        failed=failed,
        total=sum(counts) if total else None,
        slots={
            pool: PoolState(**{**POOL.to_dict(), "held": held, "closed": None}) for pool in ("video", "image")
        },
        last_file=Path(f"out/{name}"),
    )
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(display._drawn(progress, width))
    text = captured.get()
    assert "\x1b" not in text
    lines = text.rstrip("\n").split("\n")
    assert len(lines) <= (6 if width >= 60 else 9)
    assert all(console.measure(line).maximum <= width for line in lines)


def test_plain_lines_come_when_something_ended_and_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first at once, then one each ten seconds if something has changed, else one each minute."""
    clock = [0.0]
    err = io.StringIO()
    lines = display._Lines(Output(stdout=io.StringIO(), stderr=err), now=lambda: clock[0])

    def printed() -> int:
        return len(err.getvalue().splitlines())

    lines.show(changed(running=0, done=0, failed=0))
    assert printed() == 0
    for tenth in range(1200):
        clock[0] = tenth / 10
        lines.show(changed(done=tenth // 20) if tenth < 600 else changed(done=30))
    assert 6 <= printed() <= 9
    assert "\x1b" not in err.getvalue() and "\r" not in err.getvalue()


@pytest.mark.parametrize(
    ("mode", "terminal", "rich", "expected"),
    [
        ("auto", True, True, "_Block"),
        ("auto", True, False, "_Lines"),
        ("auto", False, True, "_Lines"),
        ("plain", True, True, "_Lines"),
        ("none", True, True, "_Silent"),
    ],
)
def test_the_display_fits_where_it_is_shown(
    mode: str, terminal: bool, rich: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block on a terminal with rich, else lines; nothing where nothing is wanted."""
    monkeypatch.setattr(display, "has_rich", lambda: rich)
    output = Output(stdout=io.StringIO(), stderr=Terminal() if terminal else io.StringIO())
    assert type(make_display(mode, output)).__name__ == expected


def test_lines_for_machines_on_the_same_screen_have_no_block() -> None:
    """With --json on a terminal nothing else is drawn there."""
    output = Output(json_lines=True, stdout=Terminal(), stderr=Terminal())
    assert type(make_display("auto", output)).__name__ == "_Silent"


def test_messages_stay_above_the_block_which_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long command is not broken; after the end only messages are on the screen, and the cursor is back."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    err = Terminal()
    block = make_display("auto", Output(stdout=io.StringIO(), stderr=err))
    block.say("before")
    block.show(EARLY)
    command = f"To go on: kling run {'x' * 60}"
    block.say(command, command=True)
    block.show(EARLY)
    block.say("bad \x1b[31m file")
    block.close()
    block.close()
    block.show(EARLY)
    block.say("after")
    text = err.getvalue()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert command in text
    assert "bad ?[31m file" in text
    assert text.rindex("\x1b[?25h") > text.rindex("running 5")
    assert text.count("\x1b[2K") >= 4  # the block's lines are erased
