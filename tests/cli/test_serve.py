"""Test cli/serve.py: the emulator on the command line, until it is interrupted."""

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

from kling_async import Client, KlingWarning, Polling, v1
from kling_async.cli import main, serve
from kling_async.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command as a program; yield it and the lines it printed before serving."""
    program = [sys.executable, "-W", "error", "-m", "kling_async", "emulator", *arguments]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as running:
        assert running.stdout is not None
        printed = ""
        try:
            while "Ctrl-C ends it" not in printed:
                line = running.stdout.readline()
                assert line, printed
                printed += line
            yield running, printed
        finally:
            if running.poll() is None:
                running.kill()


def test_the_emulator_prints_its_address_and_serves_until_ctrl_c() -> None:
    """The printed variables are enough for a client; SIGINT gives status 130 without a traceback."""
    with serving("--port", "0", "--speed", "5000", "--slots", "video=2") as (running, printed):
        assert "slots: video 2, image 9, virtual_try_on 1" in printed
        env = dict(re.findall(r"^export (\w+)=(\S+)$", printed, re.MULTILINE))
        assert set(env) == {"KLING_BASE_URL", "KLING_API_KEY"}

        async def use() -> v1.Videos:
            often = Polling(min_interval=0, max_interval=0.05)
            url, key = env["KLING_BASE_URL"], env["KLING_API_KEY"]
            async with Client(base_url=url, api_key=key, polling=often) as client:
                return await client.run(v1.TextToVideo(prompt="a paper boat"))

        assert asyncio.run(use()).videos[0].url.startswith(env["KLING_BASE_URL"])
        ledger = re.search(r"ledger: (\S+)", printed)
        assert ledger is not None
        with urllib.request.urlopen(ledger[1], timeout=10) as answer:
            assert "a paper boat" in json.dumps(json.load(answer))
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert (running.returncode, err) == (130, "interrupted\n")


def test_the_emulator_listens_on_loopback_only() -> None:
    """The address is 127.0.0.1."""
    with serving() as (_, printed):
        assert re.search(r"export KLING_BASE_URL=http://127\.0\.0\.1:\d+$", printed, re.MULTILINE)


def test_earlier_results_can_be_named() -> None:
    """A clip given by --know can be extended, and the other kinds are known, too."""
    kinds = ("clip=743:10", "audio=1:8", "faces=2:9.5", "editing=3:5", "voice=4", "element=5")
    told = [word for kind in kinds for word in ("--know", kind)]
    with serving("--speed", "5000", *told) as (_, printed):
        assert re.findall(r"^known: (\w+) ", printed, re.MULTILINE) == [
            kind.partition("=")[0] for kind in kinds
        ]
        env = dict(re.findall(r"^export (\w+)=(\S+)$", printed, re.MULTILINE))

        async def use() -> v1.Videos:
            often = Polling(min_interval=0, max_interval=0.05)
            url, key = env["KLING_BASE_URL"], env["KLING_API_KEY"]
            async with Client(base_url=url, api_key=key, polling=often) as client:
                return await client.run(v1.VideoExtend(video_id="743"))

        with pytest.warns(KlingWarning, match="can be extended"):
            extended = asyncio.run(use())
        assert extended.videos[0].seconds == 15


def test_callbacks_are_signed_with_the_secrets_given() -> None:
    """The option is repeatable, and the secret is not printed."""
    secrets = ["whsec_dGVzdHNlY3JldA==", "whsec_b3RoZXJzZWNyZXQ="]
    with serving(*(word for secret in secrets for word in ("--webhook-secret", secret))) as (_, printed):
        assert "callbacks: to loopback addresses, signed" in printed and "whsec_" not in printed
    with serving() as (_, printed):
        assert "callbacks: to loopback addresses, unsigned" in printed


@pytest.mark.parametrize("secret", ["hidden", "whsec_", "whsec_hidden!", "hidden_dGVzdA=="])
def test_a_wrong_webhook_secret_is_refused(secret: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The usage is printed, and the secret is not."""
    with pytest.raises(SystemExit) as ended:
        main(["emulator", "--webhook-secret", secret])
    err = capsys.readouterr().err
    assert ended.value.code == 2 and "this one is not" in err and "hidden" not in err


@pytest.mark.parametrize(
    "told", ["clip", "clip=", "film=1", "clip=1:x", "clip=1:0", "clip=1:nan", "element=a:5"]
)
def test_what_it_cannot_know_is_refused(told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown kind, a missing id and a wrong length end the command with its usage."""
    with pytest.raises(SystemExit) as ended:
        main(["emulator", "--know", told])
    assert ended.value.code == 2 and "--know" in capsys.readouterr().err


def test_a_port_in_use_is_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the port and the reason; the status is 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["emulator", "--port", str(port)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith(f"kling: cannot serve on port {port}: ") and "address already in use" in err.lower()


def test_all_lines_are_printed_before_the_emulator_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reader of the lines can connect as soon as the last one has come."""

    class Interrupted(Emulator):
        """Raise SIGINT as soon as the command waits."""

        async def __aenter__(self) -> Self:
            await super().__aenter__()
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
            return self

    monkeypatch.setattr(serve, "Emulator", Interrupted)
    assert main(["emulator", "--slots", "video=3"]) == 130
    out, err = capsys.readouterr()
    assert "slots: video 3, image 9" in out and "export KLING_API_KEY=" in out
    assert out.endswith("Ctrl-C ends it\n") and err == "interrupted\n"


def test_an_end_without_an_interrupt_has_status_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends by itself returns 0."""

    async def ended(_: object) -> int:
        """End as if told to stop."""
        return 0

    monkeypatch.setattr(serve, "_serve", ended)
    assert main(["emulator"]) == 0
