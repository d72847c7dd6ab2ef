"""The README's code runs as printed, and its claims about commands and names hold."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import kling_async
from kling_async import cli
from kling_async.testing import emulator

if TYPE_CHECKING:
    from types import CodeType

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def compiled(block: str) -> CodeType:
    code: CodeType = compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return code


@pytest.mark.anyio
async def test_the_blocks_run_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed into one notebook after the other, against the emulator, they raise nothing and store a file."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    async with emulator(slots={"video": 5, "image": 9}) as emu:
        for name, value in emu.env().items():
            monkeypatch.setenv(name, value)
        for block in BLOCKS:
            result = eval(compiled(block), names)
            if inspect.isawaitable(result):
                await result
        assert len(emu.ledger.created) == 17
    said = capsys.readouterr().out
    assert list((tmp_path / "out").glob("*.mp4"))
    assert "runs on" in said and "n 12 is too large" in said and "prompt must not be empty" in said


def test_there_are_blocks() -> None:
    """The pattern above finds the code: one block a section that shows any."""
    assert len(BLOCKS) == 7


def test_errors_named_exist() -> None:
    """Each error of the table is a name of the package."""
    table = README.split("## When something goes wrong")[1].split("##")[0]
    names = set(re.findall(r"`([A-Z][A-Za-z]+)`", table))
    assert len(names) > 12 and names <= set(kling_async.__all__)


def test_the_commands_shown_parse() -> None:
    """What the README types after ``kling`` is accepted by its parser."""
    commands = re.findall(r"`kling ((?:demo|emulator)[^`]*)`", README)
    assert "emulator --port 8080 --slots video=5,image=9 --speed 20" in commands
    for command in commands:
        cli._parser().parse_args(command.split())
