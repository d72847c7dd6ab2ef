"""Test cli/listen.py: callbacks come in on loopback, are verified, and printed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.cli.support import kling

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

BODY = {"task_id": "77", "task_status": "succeed", "task_info": {"external_task_id": "mine"}}


def post(address: str, body: object) -> int:
    """Send a callback without a signature; return the status of the answer."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_what_arrives_is_printed_and_what_is_dropped_is_told(tmp_path: Path) -> None:
    """The address comes first, on stderr; JSON lines on stdout; a wrong token and a secret are not shown."""
    secret, token = "whsec_dGVzdHNlY3JldA==", "my-own-token"
    env = {**os.environ, "KLING_WEBHOOK_SECRET": secret, "KLING_WEBHOOK_TOKEN": token}
    env["XDG_CONFIG_HOME"] = str(tmp_path)
    command = [sys.executable, "-W", "error", "-m", "kling_async", "listen", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as running:
        assert running.stderr is not None and running.stdout is not None
        found = re.search(rf"(http://127\.0\.0\.1:\d+/kling/){token}$", running.stderr.readline().strip())
        assert found is not None
        assert "signatures are verified" in running.stderr.readline()
        assert post(found[0], BODY) == 200
        record = json.loads(running.stdout.readline())
        assert (record["task_id"], record["status"], record["trust"]) == ("77", "succeed", "hint")
        assert post(f"{found[1]}wrong-token", BODY) == 401
        assert "callback dropped (path_token)" in running.stderr.readline()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert (running.returncode, out, err) == (130, "", "interrupted\n")


def test_the_emulator_sends_signed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--emulator makes one task, whose changes arrive signed; no key or secret is needed."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    timer = threading.Timer(2.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    ran = kling(capsys, "listen", "--emulator", "--speed", "500")
    timer.join()
    assert ran.status == 130 and "whsec_" not in ran.err
    assert re.search(r"^\d\d:\d\d:\d\d  \d+  succeed  \(signed\)", ran.out, re.MULTILINE)


async def _occupied(capsys: pytest.CaptureFixture[str]) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        port = str(server.sockets[0].getsockname()[1])
        ran = await asyncio.to_thread(kling, capsys, "listen", "--emulator", "--port", port)
    assert ran.status == 1 and ran.err == f"kling: port {port}: the port is in use; choose another --port\n"


def test_a_port_in_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the port and what to do."""
    asyncio.run(_occupied(capsys))
