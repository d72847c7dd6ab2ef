"""Look at commands in a terminal as a person does: 60 and 200 columns, keys, colours, redirected output."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.support import served, settings_for
from tests.cli.terminal import needs_tmux, terminal

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.real, needs_tmux]


def test_a_line_that_the_terminal_wraps_is_read_as_it_was_printed(tmp_path: Path) -> None:
    """Wherever the edge of the terminal falls: in a word, at the space before it, or behind its end."""
    lines = [f"{'x' * size} and the rest" for size in range(14, 21)]
    with terminal(tmp_path, 20) as screen:
        screen.type("clear; " + "".join(f"echo '{line}';" for line in lines) + " echo done")
        screen.wait_for("\ndone")
        assert screen.printed()[: len(lines)] == lines


@pytest.mark.parametrize("columns", [60, 200])
def test_a_person_creates_waits_interrupts_and_lists(
    columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The live line shows the state and is gone at the end; Ctrl-C names the command that goes on."""
    with served(speed=100.0) as emulator:
        settings_for(emulator, tmp_path, monkeypatch)
        with terminal(tmp_path, columns, env={"XDG_CONFIG_HOME": str(tmp_path / "home")}) as screen:
            screen.type("kling create text_to_video --prompt 'emulator:seconds=600'; echo status $?")
            made = screen.wait_for("status 0")
            assert any(line.startswith("price: 3 video units") for line in made)
            (task,) = (line for line in made if line.startswith("text_to_video:"))
            assert not any("creating" in line for line in made)
            screen.clear()
            screen.type(f"kling wait {task} --out films; echo status $?")
            waiting = screen.wait_for(f"{task}  ")
            assert sum(line.startswith(f"{task}  ") for line in waiting) == 1
            screen.press("C-c")
            ended = screen.wait_for("status 3")
            assert "interrupted; the tasks run on. To go on:" in ended
            assert any(line.endswith(f" download {task} --out films") for line in screen.printed())
            emulator.finish(task.partition(":")[2])
            screen.clear()
            screen.type(f"kling wait {task}; echo status $?")
            done = screen.wait_for("status 0")
            assert any(line.startswith(f"{task}  succeed  3 units") for line in done)
            assert not any("processing" in line for line in done)
            screen.clear()
            screen.type("kling list text_to_video; kling account; kling models text_to_video; echo status $?")
            tables = screen.wait_for("status 0")
            assert any(line.split()[:2] == [task.partition(":")[2], "succeed"] for line in tables)
            assert any(line.split()[:4] == ["video", "5", "0", "the"] for line in tables)
            assert any("kling-v2-5-turbo  std    5 10       720p" in line for line in tables)
            assert max(map(len, tables)) <= columns


def test_colours_redirection_and_a_pipe_that_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bold titles on a terminal, none with NO_COLOR's plain text in a file; ``head`` ends it quietly."""
    with served() as emulator:
        settings_for(emulator, tmp_path, monkeypatch)
        with terminal(tmp_path, 200, env={"XDG_CONFIG_HOME": str(tmp_path / "home")}) as screen:
            screen.type("kling account > file.txt; kling account --json | head -1; echo status $?")
            shown = screen.wait_for("status 0")
            text = (tmp_path / "file.txt").read_text()
            assert "\x1b" not in text and "Trial-Video-100Units-5Con-1Months" in text
            (line,) = (line for line in shown if line.startswith("{"))
            assert json.loads(line)["pool"] == "image"
            assert not any("Traceback" in line or "Broken" in line for line in shown)
            screen.clear()
            screen.type("kling account; NO_COLOR=1 kling account; echo status $?")
            screen.wait_for("status 0")
            coloured = screen._tmux("capture-pane", "-p", "-e").split("status 0")[0]
            assert "\x1b[1m" in coloured  # bold is no colour
            assert not any(f"\x1b[3{colour}m" in coloured for colour in range(8))
