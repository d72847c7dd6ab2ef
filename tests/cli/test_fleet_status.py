"""Look at a fleet by ``kling fleet status`` and ``kling fleet dashboard``: tables, a live block, a page."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from kling_async.batch.entry import Failure
from kling_async.cli.fleet_words import head_line, status_lines
from kling_async.fleet import Fleet
from kling_async.fleet.database import connect
from kling_async.fleet.slots import FleetOrphan, FleetPool
from kling_async.fleet.status import FleetBatch, FleetMember, FleetQueueShare, FleetStatus
from tests.cli.support import kling
from tests.cli.terminal import needs_tmux, terminal
from tests.fleet.ends import end
from tests.fleet.support import film

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres import Postgres

pytestmark = pytest.mark.real


async def fill(dsn: str) -> None:
    """Submit five films, of which three end."""
    await Fleet(dsn).init()
    async with Fleet(dsn) as fleet:
        await fleet.submit(
            [film(f"shot {n}") for n in range(5)], batch="films", label="\x1b[31mday", priority=2
        )
    await end(dsn, 0, 1)
    await end(dsn, 2, failure=Failure("TaskFailed", "out of luck"))
    async with connect(dsn) as db:
        await db.execute("UPDATE jobs SET fence=1, reason=CASE WHEN state=4 THEN 'TaskFailed' END")


@pytest.fixture
def fleet_dsn(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with jobs, named in the environment."""
    asyncio.run(fill(dsn))
    monkeypatch.setenv("KLING_FLEET_DSN", dsn)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return dsn


def test_status_is_a_table_or_json(fleet_dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Redirected it is plain text, without control characters of strangers; --json is one object."""
    ran = kling(capsys, "fleet", "status")
    assert ran.status == 0
    assert "\x1b" not in ran.out
    lines = ran.out.splitlines()
    assert "3 of 5 jobs ended" in lines[0]
    assert "running 0   queued 2   done 2   failed 1" in lines[1]
    assert "       2  ?[31mday       2" in lines
    assert any(line.split() == ["films", "3/5", "1", "0", "2", "0"] for line in lines)
    assert any(line.split() == ["TaskFailed", "1"] for line in lines)
    ran = kling(capsys, "fleet", "status", "--json")
    found = json.loads(ran.out)
    assert (found["total"], found["queued"], found["failures"]) == (5, 2, {"TaskFailed": 1})
    assert found["queue"] == [{"priority": 2, "label": "\x1b[31mday", "jobs": 2}]


@pytest.mark.parametrize("command", ["status", "status --watch", "dashboard"])
def test_what_is_missing_is_told_in_one_line(
    command: str, dsn: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tables, no server, no packages: nothing is shown or served, and a line says what helps."""
    words = ("fleet", *command.split())
    ran = kling(capsys, *words, "--dsn", dsn)
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert "kling fleet init" in ran.err
    ran = kling(capsys, *words, "--dsn", "postgresql://me:s3cret@127.0.0.1:1/x")
    assert ran.status == 2
    assert "cannot connect" in ran.err
    assert "PGPASSWORD" in ran.err
    assert "s3cret" not in ran.err + ran.out
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    ran = kling(capsys, *words, "--dsn", dsn)
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert "pip install 'kling-async[fleet]'" in ran.err


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command whose output is redirected."""
    command = [sys.executable, "-m", "kling_async", "fleet", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    """Return the next line of the output."""
    assert process.stdout is not None
    return process.stdout.readline()


def test_watching_goes_into_a_file_as_lines(fleet_dsn: str) -> None:
    """A line each ten seconds for people, a snapshot each second as JSON; Ctrl-C ends it as interrupted."""
    with running("status", "--watch") as plain, running("status", "--watch", "--json") as records:
        line = read_line(plain)
        assert line.startswith("3 of 5 ended, 0 running, 2 queued, 1 failed, ")
        first, second = (json.loads(read_line(records)) for _ in range(2))
        assert (first["total"], second["total"]) == (5, 5)
        assert second["at"] > first["at"]
        for process in (plain, records):
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        assert plain.stdout is not None
        assert "\x1b" not in line + plain.stdout.read()


def test_the_dashboard_is_served_until_ctrl_c(fleet_dsn: str) -> None:
    """Its address is the one line of the output; a port in use is told."""
    with running("dashboard", "--json") as process:
        url = json.loads(read_line(process))["url"]
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert b"kling fleet" in answer.read()
        port = url.rstrip("/").rpartition(":")[2]
        with running("dashboard", "--port", port) as other:
            _, err = other.communicate(timeout=30)
            assert other.returncode == 1
            assert f"cannot serve on port {port}" in err
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Ctrl-C ends it" in err
        assert "Traceback" not in err


@needs_tmux
@pytest.mark.parametrize("columns", [60, 200])
def test_the_live_block_fits_the_terminal(
    columns: int, fleet_dsn: str, postgres: Postgres, tmp_path: Path
) -> None:
    """It follows the database, also through an outage, and leaves the last state when Ctrl-C ends it."""
    with terminal(tmp_path, columns, rows=16, env=dict(os.environ)) as screen:
        screen.type("kling fleet status --watch; echo status $?")
        first = screen.wait_for("failed by")
        assert max(map(len, first)) <= columns
        assert any("3 of 5 jobs ended" in line for line in first)
        asyncio.run(end(fleet_dsn, 3))
        screen.wait_for("4 of 5 jobs ended")
        postgres.stop()
        try:
            away = screen.wait_for("database away for ")
            assert "4 of 5 jobs ended" in " ".join(away)
        finally:
            postgres.start()
        asyncio.run(end(fleet_dsn, 4))
        back = screen.wait_for("5 of 5 jobs ended")
        assert not any("database away" in line for line in back)
        screen.press("C-c")
        last = screen.wait_for("status 130")
        assert any("5 of 5 jobs ended" in line for line in last)
        assert not any("Traceback" in line for line in last)


# -- words

STATUS = FleetStatus(
    at=1_700_000_000,
    total=12_000,
    queued=8_000,
    running=30,
    storing=2,
    succeeded=3_900,
    failed=60,
    cancelled=8,
    units=5900.5,
    last_minute=100,
    per_minute=98.76,
    failed_lately=1,
    seconds_left=4880,
    counted=0,
    pools=[
        FleetPool(name="video", limit=30, source="packs", usable=30, held=30, orphaned=2, queued=90),
        FleetPool(
            name="acc-of-studio/image",
            limit=9,
            source="1303",
            usable=0,
            held=0,
            queued=1,
            reason="closed: no units left (code 1102) " * 4,
        ),
    ],
    members=[
        FleetMember(name="a-host-with-a-very-long-name-indeed.example.com:12345", beat=0.4,
                    slots={"video": 28}, asks=True, jobs=60, concurrency=60, seconds=3600, version=1),
        FleetMember(name="b:2", beat=4.2, slots={}, jobs=0, concurrency=16, seconds=1, version=1),
        FleetMember(name="c:3", beat=31.0, slots={}, jobs=4, concurrency=16, seconds=1, version=1),
        FleetMember(name="web:9", beat=0.4, slots={"video": 1, "acc-of-studio/image": 1}),
    ],
    orphans=[
        FleetOrphan(pool="video", slots=2, endpoint="/v1/videos/text2video", task_id="",
                    external_task_id="e" * 40, seconds=2.1)
    ],
    queue=[FleetQueueShare(priority=n, label=f"the label of customer {n} \u4e2d", jobs=n) for n in range(12)],
    queue_more=5,
    failures={"TaskFailed": 55, "PolicyViolation": 5},
    batches=[
        FleetBatch(name=f"batch-{n}" * 6, created=0, total=100, queued=1, running=2, storing=0, succeeded=3,
                   failed=4, cancelled=5, units=6)
        for n in range(9)
    ],
    batches_more=2,
)  # fmt: skip
"""A fleet with a lot to tell."""


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_all_lines_fit_the_width(width: int) -> None:
    """Names are cut before numbers are; what is left out is counted."""
    lines = status_lines(STATUS, width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "30/30" in text
    assert "and 9 labels more" in text
    assert "and 3 older batches" in text


def test_words_say_what_matters() -> None:
    """Dead and late workers, orphans, closed pools and the time left are told; nothing is cut in a file."""
    text = "\n".join(status_lines(STATUS, None))
    assert "2 workers, 1 dead" in text
    assert "31.0 s DEAD" in text
    assert "4.2 s LATE" in text
    assert "asks for all" in text
    assert "no worker" in text
    assert f"acc-of-studio/image: {STATUS.pools[1].reason}".strip() in text
    assert "e" * 40 in text
    assert "98.8 a minute" in text
    assert "about 1:21:20 left" in text
    assert "5,900.5 units" in text
    assert head_line(STATUS) == (
        "3,968 of 12,000 ended, 32 running, 8,000 queued, 60 failed, 98.8 a minute, about 1:21:20 left"
    )
    assert head_line(None) == "no snapshot yet"
