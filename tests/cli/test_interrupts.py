"""Test cli/interrupts.py and cli/running.py: the first signal ends a command well, the second one at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from kling_async.cli.interrupts import Interrupts
from kling_async.cli.running import run_coroutine
from tests.cli.support import kling, served, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

BLOCKED = {
    "a thread reads stdin": "await asyncio.to_thread(sys.stdin.read)",
    "the loop reads stdin": "sys.stdin.read()",
    "the loop is busy": "[None for _ in iter(int, 1)]",
    "a coroutine that will not be cancelled": "await stubborn()",
}
"""What a command may be doing, none of which ends by being cancelled."""

PROGRAM = """
import asyncio, sys
from kling_async.cli.running import run_coroutine

async def stubborn():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("asked", flush=True)

async def main():
    print("runs", flush=True)
    {work}
    return 0

sys.exit(run_coroutine(main()))
"""


@pytest.mark.parametrize(
    ("work", "number"),
    [*((work, signal.SIGINT) for work in BLOCKED), ("a thread reads stdin", signal.SIGTERM)],
)
def test_the_second_signal_ends_the_process_at_once(work: str, number: signal.Signals) -> None:
    """Whatever it does: the status is that of the signal, and nothing is printed."""
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", PROGRAM.format(work=BLOCKED[work])]
    with subprocess.Popen(command, **pipes, text=True) as running:
        assert running.stdout is not None and running.stdout.readline() == "runs\n"
        running.send_signal(number)
        threading.Event().wait(0.3)  # signals that come together are one
        assert running.poll() is None
        running.send_signal(number)
        assert running.wait(20) == 128 + number
        assert running.stderr is not None and running.stderr.read() == ""


@contextlib.contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Send SIGINT to this process in a moment."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_the_first_signal_cancels_and_a_command_may_say_how_to_go_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A status that the command returns counts; else it is 130. The handlers before are back afterwards."""

    async def waits(status: int | None) -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if status is None:
                raise
        return status or 0

    before = signal.getsignal(signal.SIGINT)
    for status, expected in ((None, 130), (3, 3)):
        with interrupted_after(0.1):
            assert run_coroutine(waits(status)) == expected
    assert signal.getsignal(signal.SIGINT) is before
    assert capsys.readouterr().err == "interrupted\n"


def test_a_wait_that_is_interrupted_names_the_command_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tasks run on: status 3, and the line holds those that have not ended."""
    with served() as emulator:
        settings_for(emulator, tmp_path, monkeypatch)
        runs = kling(capsys, "create", "text_to_video", "--prompt", "emulator:seconds=600").out.strip()
        ended = kling(capsys, "create", "text_to_video", "--prompt", "emulator:seconds=0.01").out.strip()
        with interrupted_after(1.0):
            ran = kling(capsys, "wait", runs, ended)
    assert ran.status == 3 and f"{ended}  succeed" in ran.out
    assert f"  kling wait {runs}" in ran.err.splitlines()


def test_a_create_that_queues_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The account is full: an interrupt withdraws the submit, and nothing is ever paid."""
    with served(slots={"video": 1}, foreign={"video": 1}) as emulator:
        settings_for(emulator, tmp_path, monkeypatch)
        with interrupted_after(1.5):
            ran = kling(capsys, "create", "text_to_video", "--prompt", "x")
        assert ran.status == 130 and "withdrawn" in ran.err and ran.out == ""
        assert re.search(r"text_to_video  queued, next", ran.err)
        assert {row.code for row in emulator.ledger.rows if row.method == "POST"} <= {1303}


def test_signals_outside_the_main_thread_are_left_alone() -> None:
    """Python lets only the main thread set handlers."""
    before = signal.getsignal(signal.SIGINT)
    found: list[object] = []

    def enter() -> None:
        with Interrupts(print):
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [before]


def test_a_create_that_finds_no_slot_in_time_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--timeout counts the queue, too; the queue ends with the command, so nothing may stay in it."""
    with served(slots={"video": 1}, foreign={"video": 1}) as emulator:
        settings_for(emulator, tmp_path, monkeypatch)
        ran = kling(capsys, "create", "text_to_video", "--prompt", "x", "--wait", "--timeout", "0.5")
    assert ran.status == 1 and "no slot within 0.5 s: it still queued, and was withdrawn" in ran.err
