"""Run ``kling fleet`` against a PostgreSQL: tables, jobs, outcomes, and what is wrong in plain words."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kling_async.batch.entry import Failure
from kling_async.cli import main
from tests.fleet.ends import ADDRESS, end

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [pytest.mark.real]

LINES = [
    {"endpoint": "text_to_video", "key": f"shot-{n}", "prompt": f"shot {n}", "model_name": "kling-v2-6"}
    for n in range(4)
]
"""A jobs file."""


class Kling:
    """Runs commands, and keeps what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self.out = self.err = ""

    def __call__(self, *words: str, stdin: str = "") -> int:
        """Run ``kling fleet`` with these words; return the status."""
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
        status = main(["fleet", *words])
        self.out, self.err = self._capsys.readouterr()
        return status

    def records(self) -> list[dict[str, Any]]:
        """Return the lines of JSON that the last command printed."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def kling(
    dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Kling:
    """The command, in a folder with a jobs file, with a database."""
    monkeypatch.setenv("KLING_FLEET_DSN", dsn)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write(LINES)
    return Kling(capsys, monkeypatch)


def write(lines: Sequence[object]) -> None:
    """Write the jobs file."""
    Path("spring films.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


async def ends(dsn: str) -> None:
    """End three jobs, one of them as failed."""
    batch = "spring-films"
    await end(dsn, 2, 0, batch=batch)
    await end(dsn, 1, failure=Failure("TaskFailed", "text_to_video task 1 failed: out of luck"), batch=batch)


def test_from_the_tables_to_the_results(kling: Kling, dsn: str) -> None:
    """Each step tells the next; what is done twice changes nothing; statuses are those of kling run."""
    import asyncio  # noqa: PLC0415 - the commands have loops of their own

    assert kling("submit", "spring films.jsonl") == 2
    assert "kling fleet init" in kling.err
    assert kling("init") == 0
    assert "tables made, version 1" in kling.out
    assert kling("init", "--json") == 0
    assert kling.records()[0]["before"] == kling.records()[0]["after"] == 1
    assert kling("submit", "spring films.jsonl", "--priority", "2", "--label", "day") == 0
    assert kling.out == "spring-films: 4 new jobs\n"
    assert "kling fleet results spring-films" in kling.err
    assert kling("submit", "spring films.jsonl", "--json") == 0
    assert [kling.records()[0][name] for name in ("new", "known", "bad")] == [0, 4, 0]
    asyncio.run(ends(dsn))
    assert kling("results", "spring-films", "--json", "--after", "1") == 1
    rows = kling.records()
    assert [(row["key"], row["status"]) for row in rows] == [("shot-0", "succeeded"), ("shot-1", "failed")]
    assert rows[0]["urls"] == [ADDRESS]
    assert [row["place"] for row in rows] == [2, 3]
    assert kling("results", "spring-films") == 1
    assert kling.out.splitlines()[0] == f"done    shot-2  {ADDRESS}"
    assert kling.out.splitlines()[2].startswith("failed  shot-1: ")
    assert kling.err == "spring-films: 2 done, 1 failed; to go on: --after 3\n"
    assert kling("retry", "spring-films") == 0
    assert kling.out == "spring-films: 1 job queued again\n"
    assert kling("cancel-queued", "spring-films") == 0
    assert kling.out == "spring-films: 2 jobs taken back\n"
    assert kling("results", "spring-films", "--follow", "--after", "3", "--json") == 1
    assert {row["error"] for row in kling.records()} == {"TaskWithdrawn"}


def test_wrong_lines_are_shown_before_anything_is_written(kling: Kling) -> None:
    """A file with a wrong line is not submitted at all; with --skip-bad without it, and the status tells."""
    assert kling("init") == 0
    write([*LINES, {**LINES[0], "key": "bad", "duration": 77}])
    assert kling("submit", "spring films.jsonl") == 2
    assert "spring films.jsonl:5: duration: 77" in kling.err
    assert "nothing was submitted" in kling.err
    assert kling("submit", "spring films.jsonl", "--skip-bad", "--json") == 1
    assert (kling.records()[0]["new"], kling.records()[0]["bad"]) == (4, 1)
    line = json.dumps({**LINES[0], "key": "typed"})
    assert kling("submit", "-", stdin=line) == 2
    assert "--batch: is needed" in kling.err
    wrong = '{"endpoint": "text_to_video", "duration": 77}'
    assert kling("submit", "-", "--batch", "typed", "--skip-bad", stdin=f"{wrong}\n{line}\n") == 1
    assert kling.out == "typed: 1 new job\n"
    assert "stdin:1: " in kling.err


@pytest.mark.parametrize(
    "dsn", ["postgresql://me:s3cret@127.0.0.1:1/x", "password=s3cret host=127.0.0.1 port=1"]
)
def test_a_password_in_the_command_is_warned_of_and_not_shown(kling: Kling, dsn: str) -> None:
    """Whoever lists processes sees it; what the command prints does not hold it."""
    assert kling("init", "--dsn", dsn) == 2
    assert "PGPASSWORD" in kling.err
    assert "s3cret" not in kling.err + kling.out


def test_what_is_missing_is_told(kling: Kling, monkeypatch: pytest.MonkeyPatch) -> None:
    """No database, no such batch, no packages: one line each, with the way out."""
    assert kling("init") == 0
    assert kling("results", "sprung") == 2
    assert "no batch 'sprung' was submitted" in kling.err
    monkeypatch.delenv("KLING_FLEET_DSN")
    assert kling("init") == 2
    assert "KLING_FLEET_DSN" in kling.err
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert kling("init", "--dsn", "postgresql://h/x") == 2
    assert "pip install 'kling-async[fleet]'" in kling.err
