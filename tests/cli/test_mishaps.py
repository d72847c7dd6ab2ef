"""Test what goes wrong around a command: keys in arguments, closed streams, interrupts, odd names."""

from __future__ import annotations

import errno
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Literal

import pytest

from kling_async.cli import serve
from kling_async.cli.commands import make_parser
from kling_async.cli.formats import price_words
from kling_async.cli.output import Output
from kling_async.cli.run_words import go_on_command, task_command
from kling_async.prices import Estimate
from kling_async.testing import Emulator, Gateway
from tests.cli.support import kling, served, settings_for
from tests.cli.test_interrupts import interrupted_after

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


@pytest.mark.parametrize("units", [1234567.0, 123456.5, 1e9, 0.1 + 0.2, 5.0])
def test_units_are_written_out(units: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that goes on has the limit that was given, and no number is shown as 3e+06."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/kling"])
    options = make_parser().parse_args(["run", "jobs.jsonl", "--max-units", str(units)])
    limit = go_on_command(options, None).rpartition(" ")[2]
    assert "e" not in limit and float(limit) == pytest.approx(units, rel=1e-12)
    words = price_words(Estimate(units=units, most=units, pool="video", why=""), terms=False)
    assert "e+" not in words


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("wait X", "kling wait text_to_video:7"),
        ("wait X --out 'my films'", "kling download text_to_video:7 --out 'my films'"),
        (
            "download X --out -d --name '{task_id} {n}' --sidecar --profile studio",
            "kling download text_to_video:7 --out=-d --name '{task_id} {n}' --sidecar --profile studio",
        ),
        ("wait X --env-file 'my keys' --json", "kling wait text_to_video:7 --json --env-file 'my keys'"),
    ],
)
def test_the_command_that_goes_on_with_a_task_can_be_pasted(
    given: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command keeps where the files go and whose account was used, quoted for a shell."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/kling"])
    words = shlex.split(given.replace("--out -d", "--out=-d"))
    options = make_parser().parse_args(words)
    action: Literal["wait", "download"] = "wait" if options.out is None else "download"
    command = task_command(action, ["text_to_video:7"], options)
    assert command == expected
    assert make_parser().parse_args(shlex.split(command)[1:]).out == options.out


@pytest.mark.real
def test_a_task_that_was_paid_is_named_though_stdout_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The messages on stderr hold the id: without it a paid task would be lost."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Output, "line", full)
    with served() as emulator:
        settings_for(emulator, tmp_path, monkeypatch)
        ran = kling(capsys, "create", "text_to_video", "--prompt", "x")
        (task,) = emulator.tasks
    assert ran.status == 1 and f"kling wait text_to_video:{task}" in ran.err


@pytest.mark.real
def test_nothing_is_said_to_go_on_that_ends_with_the_command(tmp_path: Path, capsys: Capture) -> None:
    """Tasks of an emulator of one's own end with it: no command finds them, and the status is 130."""
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text('{"endpoint": "text_to_video", "prompt": "emulator:seconds=3"}\n' * 7)
    steered = ["--prompt", "emulator:seconds=600", "--wait"]
    for command in (
        ["create", "text_to_video", *steered],
        ["run", str(jobs), "--out", str(tmp_path / "out")],
    ):
        with interrupted_after(2.0):
            ran = kling(capsys, *command, "--emulator", "--speed", "60")
        assert ran.status == 130 and "To go on" not in ran.err


@pytest.mark.parametrize("text", ["text_to_video:", "text_to_vide:5", ":5"])
def test_what_is_no_id_is_told_from_what_is_no_endpoint(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A suggestion is never what was typed."""
    monkeypatch.setenv("KLING_API_KEY", "x")
    ran = kling(capsys, "get", text)
    assert ran.status == 2 and f"did you mean {text}?" not in ran.err


def test_people_and_machines_read_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """``--json`` names the same problem: no option of Python's, and no list of forty endpoints."""
    monkeypatch.chdir(tmp_path)
    lines = [
        {"prompt": "x"},
        {"endpoint": "image_to_video", "prompt": "x", "image": "/etc/passwd"},
        {"endpoint": "image_to_video", "prompt": "x", "image": "../start.png"},
        {"endpoint": "image_to_video", "prompt": "x", "image": "@start.png"},
    ]
    Path("jobs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = kling(capsys, "check", "jobs.jsonl").out
    records = [json.loads(line) for line in kling(capsys, "check", "jobs.jsonl", "--json").out.splitlines()]
    for found in records[:-1]:
        assert f"jobs.jsonl:{found['line']}: {found['field']}: {found['problem']}\n" in shown
    assert {found["line"] for found in records[:-1]} == {1, 2, 3, 4} and "files=" not in shown
    assert any("without @" in found["problem"] for found in records[:-1])


@pytest.mark.parametrize("command", ["check", "run --emulator"])
def test_a_folder_that_may_be_named_must_be_there(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A mistyped ``--allow-files`` is told once, not as a problem of every line."""
    monkeypatch.chdir(tmp_path)
    Path("jobs.jsonl").write_text('{"endpoint": "image_to_video", "image": "start.png"}\n')
    for folder in ("nowhere", "jobs.jsonl"):
        ran = kling(capsys, *command.split(), "jobs.jsonl", "--allow-files", folder)
        assert ran.status == 2 and f"--allow-files: {folder}: there is no such folder" in ran.err
        assert ran.out == ""


def test_a_misspelt_status_is_no_empty_list(capsys: Capture) -> None:
    """No task ever has it: said at once, with what is meant."""
    ran = kling(capsys, "list", "text_to_video", "--status", "suceed")
    assert ran.status == 2 and "did you mean 'succeed'?" in ran.err


@pytest.mark.parametrize("dialect", ["new-api", "envelope", "flat"])
def test_the_emulator_plays_a_gateway(dialect: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """``--gateway`` reaches the emulator, and an output that is full is not blamed on the port."""
    made: list[Emulator] = []

    class Full(Emulator):
        def banner(self) -> str:
            made.append(self)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(serve, "Emulator", Full)
    gateways: list[Gateway] = []
    monkeypatch.setattr(serve, "Gateway", lambda dialect: gateways.append(Gateway(dialect=dialect)))
    ran = kling(capsys, "emulator", "--gateway", dialect)
    assert ran.status == 1 and "port" not in ran.err and len(made) == 1
    assert [gateway.dialect for gateway in gateways] == [dialect]


@pytest.mark.parametrize(
    ("word", "topic"), [("exit", "exit-codes"), ("files", "job-files"), ("jurnal", "journal")]
)
def test_a_part_of_a_topic_suggests_it(word: str, topic: str, capsys: Capture) -> None:
    """``kling help exit`` names the topic that has the word, or the nearest one."""
    ran = kling(capsys, "help", word)
    assert ran.status == 2 and f"did you mean {topic}?" in ran.err
