"""Look at ``kling run`` in a terminal as a person does: the block, Ctrl-C once and twice, a hanging stdin."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.cli.support import served, settings_for
from tests.cli.terminal import needs_tmux, terminal

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.testing import Emulator
    from tests.cli.terminal import Screen

pytestmark = [pytest.mark.real, needs_tmux]


def write_jobs(folder: Path, *prompts: str) -> None:
    """Write a jobs file, one film for each prompt."""
    film = {"endpoint": "text_to_video", "model_name": "kling-v2-6"}
    lines = [{**film, "key": f"shot-{n}", "prompt": prompt} for n, prompt in enumerate(prompts, 1)]
    (folder / "jobs.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def created(emulator: Emulator) -> list[str]:
    """Return the external ids of the creates that were accepted."""
    rows = [row for row in emulator.ledger.rows if row.kind == "create" and row.code == 0]
    return [str(row.external_task_id) for row in rows]


def printed_command(screen: Screen) -> str:
    """Return the command that goes on, as it was printed last: at once, and at the end."""
    line = [line for line in screen.printed() if line.startswith("To go on: ")][-1]
    return line.removeprefix("To go on: ")


@pytest.mark.parametrize("columns", [60, 200])
def test_a_run_is_stopped_and_gone_on_with(
    columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block shows the run; Ctrl-C waits for what runs and prints the command that makes the rest."""
    write_jobs(tmp_path, "quick", "emulator:fail", *["emulator:seconds=600"] * 3, "last")
    with served(speed=1000.0, slots={"video": 3}) as emulator:
        settings_for(emulator, tmp_path, monkeypatch)
        with terminal(tmp_path, columns, env={"XDG_CONFIG_HOME": str(tmp_path / "home")}) as screen:
            screen.type("kling run jobs.jsonl --name '{key} $x'; echo status $?")
            running = screen.wait_for("running 3   queued 1   done 1   failed 1")
            assert any("2 of 6" in line for line in running)
            assert any(line.startswith("slots video 3/3   1.5 video units") for line in running)
            assert "last  out/shot-1 $x.mp4" in running
            assert any(line.startswith("failed  shot-2: task ") for line in running)
            screen.press("C-c")
            stopping = screen.wait_for("To go on: ")
            assert "Stopping: 3 running tasks are waited for. Ctrl-C again" in " ".join(stopping)
            for task in list(emulator.tasks):
                emulator.finish(task)
            ended = screen.wait_for("status 3")
            assert any("4 done, 1 failed, 4 files in out" in line for line in ended)
            assert not any(line.startswith("running ") for line in ended)
            command = printed_command(screen)
            assert command.endswith("run jobs.jsonl --name '{key} $x'")
            screen.clear()
            screen.type(f"{command}; echo status $?")
            done = screen.wait_for("status 1")
            assert any("5 done (4 by earlier runs), 1 failed" in line for line in done)
            assert len(created(emulator)) == len(set(created(emulator))) == 6
            assert max(map(len, done)) <= columns


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while stdin is read; the terminal is left as it was, and nothing is made twice afterwards."""
    write_jobs(tmp_path, *["emulator:seconds=600"] * 3)
    with served(speed=1000.0) as emulator:
        settings_for(emulator, tmp_path, monkeypatch)
        with terminal(tmp_path, 60, env={"XDG_CONFIG_HOME": str(tmp_path / "home")}) as screen:
            screen.type("kling run jobs.jsonl; echo status $?")
            screen.wait_for("running 3")
            screen.press("C-c")
            screen.wait_for("To go on: ")
            screen.press("C-c")
            screen.wait_for("status 130", seconds=5)
            assert screen._tmux("display-message", "-p", "#{cursor_flag}").strip() == "1"
            for task in list(emulator.tasks):
                emulator.finish(task)
            screen.clear()
            screen.type("kling run jobs.jsonl; kling journal show jobs.jsonl.journal.sqlite; echo status $?")
            shown = screen.wait_for("status 0")
            assert any("3 done, 3 files in out" in line for line in shown)
            assert any(re.match(r"3 jobs: 3 done", line) for line in shown)
            assert len(created(emulator)) == 3
            screen.clear()
            screen.begin("kling run - ; echo status $?")
            screen.type('{"endpoint": "text_to_video", "prompt": "quick", "model_name": "kling-v2-6"}')
            screen.wait_for("running, 0 queued")
            screen.press("C-c")  # more may have come: the run is not whole, and without a journal it stays so
            screen.wait_for("status 130")
            screen.clear()
            screen.begin("kling run - ; echo status $?")
            screen.type('{"endpoint": "text_to_video", "prompt": "emulator:seconds=600"}')
            screen.wait_for("1 running")
            screen.press("C-c")
            screen.wait_for("This run cannot be resumed")
            screen.press("C-c")
            screen.wait_for("status 130", seconds=5)


def test_a_run_against_an_emulator_of_its_own(tmp_path: Path) -> None:
    """Nothing is set up, nothing is kept but the films; the block is gone, the report stays."""
    write_jobs(tmp_path, *"abcdefgh")
    with terminal(tmp_path, 60) as screen:
        screen.type("kling run jobs.jsonl --emulator --speed 100; echo status $?")
        screen.wait_for("of 8")
        ended = screen.wait_for("status 0")
        assert any(line.startswith("8 done, 8 files in out, 12 video units, 0:") for line in ended)
        assert not any("━" in line or line.startswith("running") for line in ended)
        screen.clear()
        screen.type(
            "kling run jobs.jsonl --emulator --json 2>err.txt | head -1; echo status ${PIPESTATUS[0]}"
        )
        cut = screen.wait_for("status 1")
        assert sum(line.startswith('{"endpoint": "text_to_video"') for line in cut) == 1
    assert "Nothing is left to go on with" in (tmp_path / "err.txt").read_text()
    assert "Traceback" not in (tmp_path / "err.txt").read_text()
    assert len(list((tmp_path / "out").iterdir())) >= 8
    assert not list(tmp_path.glob("*.sqlite*"))
