"""Unpacking the wheels of judges: once, and without failing where it cannot be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.judges.unpack import WHEELS, pip_install, prepare

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.mark.parametrize("works", [True, False])
def test_it_is_tried_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], works: bool) -> None:
    """A second start does nothing, also after a failure, of which a line tells; a new release is fetched."""
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> bool:
        asked.append(command)
        return works

    folder = tmp_path / "judges"
    assert prepare(folder, run) and not prepare(folder, run)
    assert len(asked) == 1 and asked[0][-len(WHEELS) :] == WHEELS and "--no-deps" in asked[0]
    assert capsys.readouterr().err.count("\n") == (0 if works else 1)

    (folder / "wheels.txt").write_text("klingai-api==0.0.9", encoding="utf-8")
    assert prepare(folder, run)


@pytest.mark.real
def test_a_command_that_cannot_run_fails_in_silence(tmp_path: Path) -> None:
    """No such interpreter is like no network."""
    assert not pip_install([str(tmp_path / "python"), "-m", "pip"])
