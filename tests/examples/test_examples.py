"""Run every example against the emulator."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from examples import (
    extend_twice,
    fan_out,
    images_from_file,
    lip_sync,
    many_prompts,
    multi_elements,
    one_video,
    own_element,
)
from kling_async.testing import Clip, Emulator, emulator
from tests.support import png

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def emu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Emulator]:
    """An emulator that the environment points at, from an empty folder."""
    monkeypatch.chdir(tmp_path)
    async with emulator(slots={"video": 2, "image": 9}, speed=20) as server:
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.mark.anyio
async def test_one_video(emu: Emulator, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The example prints the statuses of its task and stores a file that begins like an MP4."""
    await one_video.main()
    said = capsys.readouterr().out
    assert "accepted: " in said and "now: succeed" in said
    (task_id,) = emu.tasks
    assert (tmp_path / "out" / f"{task_id}.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.anyio
async def test_images_from_file(emu: Emulator, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A picture gives three images; one that is too small is refused with the reason, unsent."""
    (tmp_path / "cat.png").write_bytes(png(400, 300))
    await images_from_file.main(tmp_path / "cat.png")
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
    (tmp_path / "dot.png").write_bytes(png(8, 8))
    await images_from_file.main(tmp_path / "dot.png")
    assert "at least 300 px" in capsys.readouterr().out
    assert len(emu.ledger.creates) == 1


@pytest.mark.anyio
async def test_fan_out(emu: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Seven prompts go through two slots: all end as files, never more than two run at once."""
    await fan_out.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 and all(line.endswith(".mp4") for line in lines)
    assert emu.ledger.peak("video") == 2


@pytest.mark.anyio
async def test_lip_sync(emu: Emulator, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The example makes a video, a speech and the video that speaks; it stores the last one."""
    await lip_sync.main()
    _, synced = emu.tasks
    said = capsys.readouterr().out
    assert said.splitlines() == [f"stored: {Path('out') / f'{synced}.mp4'}"]
    assert emu.tasks[synced].endpoint == "advanced_lip_sync"
    assert (tmp_path / "out" / f"{synced}.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.anyio
async def test_multi_elements(emu: Emulator, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One object is marked and swapped for the one in the picture."""
    (tmp_path / "swan.png").write_bytes(png(400, 300))
    await multi_elements.main(tmp_path / "swan.png")
    _, edited = emu.tasks
    said = capsys.readouterr().out
    assert "objects marked: 1" in said and "look at it: http" in said
    assert emu.tasks[edited].endpoint == "multi_elements"
    assert (tmp_path / "out" / f"{edited}.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::kling_async.errors.KlingWarning")
async def test_extend_twice(emu: Emulator, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each extension starts from the one before and is longer."""
    emu.know(Clip(id="743211632612511839", seconds=5))
    await extend_twice.main("743211632612511839")
    lengths = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    assert len(lengths) == 2 and 5 < lengths[0] < lengths[1]
    assert len(list((tmp_path / "out").glob("*.mp4"))) == 2


@pytest.mark.anyio
async def test_own_element(emu: Emulator, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The example makes a voice, a character that has it, and stores a video that names the character."""
    picture = tmp_path / "ann.png"
    picture.write_bytes(png(400, 300))
    await own_element.main(picture, picture, "https://example.com/voice.mp3")
    said = capsys.readouterr().out
    assert "voice: " in said and "element: " in said
    video = list(emu.tasks)[-1]
    assert (tmp_path / "out" / f"{video}.mp4").read_bytes()[4:8] == b"ftyp"
    assert len(emu.ledger.created) == 3


@pytest.mark.anyio
async def test_many_prompts(emu: Emulator, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A run stopped by its budget is continued by a second; a third has nothing left to make."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a fox\n\na crow\na hare\n", encoding="utf-8")
    await many_prompts.main(prompts, 6)
    said = capsys.readouterr().out
    assert "3 of 3 to make, 9 units" in said and "2 videos, 0 failures, 6 units" in said
    assert "run the same again" in said
    await many_prompts.main(prompts)
    said = capsys.readouterr().out
    assert "1 of 3 to make" in said and "3 videos" in said and "run the same" not in said
    await many_prompts.main(prompts)
    assert "0 of 3 to make" in capsys.readouterr().out
    assert len(emu.ledger.created) == 3
    assert {path.name for path in (tmp_path / "out").glob("*.mp4")} == {"0.mp4", "1.mp4", "2.mp4"}


def test_every_example_has_a_test() -> None:
    """Each program in examples/ is named here, so that none is without a test."""
    programs = {path.stem for path in (ROOT / "examples").glob("*.py") if not path.stem.startswith("__")}
    assert programs == {
        *("one_video", "images_from_file", "fan_out", "main_job", "fleet"),
        *("lip_sync", "multi_elements", "extend_twice", "own_element", "many_prompts"),
        *("prometheus", "to_s3", "backend_fastapi"),
    }
    texts = [(ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8") for name in programs]
    assert all(ast.get_docstring(ast.parse(text)) for text in texts)


@pytest.mark.real
def test_the_main_job(tmp_path: Path) -> None:
    """The first four prompts, sped up, end in files, a summary and exit status 0."""
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "examples.main_job",
            "--count",
            "4",
            "--speed",
            "400",
            "--out",
            str(tmp_path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 of 4 tasks succeeded" in done.stdout and "none became an error" in done.stdout
    assert len(list(tmp_path.glob("*.mp4"))) == 2 and len(list(tmp_path.glob("*.png"))) == 5
