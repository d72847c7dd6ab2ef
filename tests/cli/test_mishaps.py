"""Test what goes wrong around a command: keys in arguments, closed streams, interrupts, odd names."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.support import kling

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
SECRET = "sk-0123456789abcdef"


@pytest.mark.parametrize(
    "words",
    [
        ("--key", SECRET),
        (f"--key={SECRET}",),
        ("--auth", "Bearer", SECRET),
        ("--kling_api_key", SECRET),
        (f"-k{SECRET}",),
        ("-k", SECRET),
    ],
)
@pytest.mark.parametrize(
    "command", ["account", "create text_to_video --prompt x", "models", "journal show j"]
)
def test_the_value_of_an_unknown_option_is_not_repeated(
    command: str, words: tuple[str, ...], capsys: Capture
) -> None:
    """A key that somebody tries to give by any option stays out of terminals and logs of CI."""
    ran = kling(capsys, *command.split(), *words)
    assert ran.status == 2 and SECRET not in ran.out + ran.err


def test_an_unknown_nested_field_is_compared_whole(capsys: Capture) -> None:
    """The suggestion is the field that was meant, not the first one of the same object."""
    ran = kling(capsys, "create", "text_to_video", "--prompt", "x", "--camera-control.config.zom", "5")
    assert "did you mean --camera-control.config.zoom?" in ran.err


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr"])
@pytest.mark.parametrize("command", ["check -", "models", "check jobs.jsonl", "run - --emulator"])
def test_a_closed_stream_is_an_empty_one(
    command: str, closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Started by a daemon without a stream, a command works as with the null device."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs.jsonl").write_text('{"endpoint": "text_to_video", "prompt": "x"}\n')
    with (tmp_path / "jobs.jsonl").open() as lines, monkeypatch.context() as streams:
        streams.setattr(sys, "stdin", lines)
        streams.setattr(sys, closed, None)
        ran = kling(capsys, *command.split())
        getattr(sys, closed).close()
    assert ran.status == 0
