"""cli/serve.py: an emulator on the command line, until somebody stops it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import pytest

from kling_async import Client, Polling, v1
from kling_async.cli import main, serve
from kling_async.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a program of its own, and what it says before it serves."""
    program = [sys.executable, "-W", "error", "-m", "kling_async.cli", "emulator", *arguments]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as running:
        assert running.stdout is not None
        said = ""
        try:
            while "Ctrl-C ends it" not in said:
                line = running.stdout.readline()
                assert line, said
                said += line
            yield running, said
        finally:
            if running.poll() is None:
                running.kill()


def test_it_says_how_to_reach_it_and_answers_until_ctrl_c() -> None:
    """The lines it prints are all a client needs; an interrupt ends it without a traceback, status 130."""
    with serving("--port", "0", "--speed", "5000", "--slots", "video=2") as (running, said):
        assert "slots: video 2, image 9, virtual_try_on 1" in said
        env = dict(re.findall(r"^export (\w+)=(\S+)$", said, re.MULTILINE))
        assert set(env) == {"KLING_BASE_URL", "KLING_API_KEY"}

        async def use() -> v1.Videos:
            often = Polling(min_interval=0, max_interval=0.05)
            url, key = env["KLING_BASE_URL"], env["KLING_API_KEY"]
            async with Client(base_url=url, api_key=key, polling=often) as client:
                return await client.run(v1.TextToVideo(prompt="a paper boat"))

        assert asyncio.run(use()).videos[0].url.startswith(env["KLING_BASE_URL"])
        ledger = re.search(r"ledger: (\S+)", said)
        assert ledger is not None
        with urllib.request.urlopen(ledger[1], timeout=10) as answer:
            assert "a paper boat" in json.dumps(json.load(answer))
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert (running.returncode, err) == (130, "interrupted\n")


def test_it_listens_on_this_machine_only() -> None:
    """Nobody else can reach it."""
    with serving() as (_, said):
        assert re.search(r"export KLING_BASE_URL=http://127\.0\.0\.1:\d+$", said, re.MULTILINE)


def test_a_port_in_use_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With its number, status 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["emulator", "--port", str(port)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith(f"kling: cannot serve on port {port}: ") and "address already in use" in err.lower()


def test_ctrl_c_in_process_ends_it_after_its_lines_were_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All lines are out before it waits, so whoever reads them can connect."""

    class Interrupted(Emulator):
        """Gets a Ctrl-C as soon as its command waits."""

        async def __aenter__(self) -> Self:
            await super().__aenter__()
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
            return self

    monkeypatch.setattr(serve, "Emulator", Interrupted)
    assert main(["emulator", "--slots", "video=3"]) == 130
    out, err = capsys.readouterr()
    assert "slots: video 3, image 9" in out and "export KLING_API_KEY=" in out
    assert out.endswith("Ctrl-C ends it\n") and err == "interrupted\n"


def test_an_end_without_an_interrupt_is_a_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 0."""

    async def ended(_: object) -> None:
        """As if it had been told to stop."""

    monkeypatch.setattr(serve, "_serve", ended)
    assert main(["emulator"]) == 0
