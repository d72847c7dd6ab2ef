"""Test cli/__init__.py, commands.py and __main__.py: arguments are parsed before anything heavy is loaded."""

from __future__ import annotations

import runpy
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from kling_async._version import __version__
from kling_async.cli import demo, main, serve
from kling_async.cli.arguments import POOLS
from kling_async.cli.commands import COMMANDS, LazyParser, load_function, make_parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def parsed(monkeypatch: pytest.MonkeyPatch, arguments: str, status: int = 0) -> argparse.Namespace:
    """Return the options that the command would be run with."""
    taken: list[argparse.Namespace] = []

    def take(options: argparse.Namespace) -> int:
        taken.append(options)
        return status

    monkeypatch.setattr(demo, "run_demo", take)
    monkeypatch.setattr(serve, "run_emulator", take)
    assert main(arguments.split()) == status
    return taken[0]


@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.parametrize("command", ["demo", "emulator"])
def test_the_status_of_a_command_is_returned(
    command: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both commands run with their options, and their exit status is returned."""
    assert parsed(monkeypatch, command, status).command == command


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("demo", {"out": "out", "count": None, "speed": 20.0, "live": False, "yes": False}),
        ("demo --out a/b --count 3 --speed 0.5", {"out": "a/b", "count": 3, "speed": 0.5}),
        ("demo --live --yes", {"live": True, "yes": True}),
        ("emulator", {"port": 0, "speed": 1.0, "slots": {"video": 5, "image": 9, "virtual_try_on": 1}}),
        ("emulator --port 65535 --speed 100000", {"port": 65535, "speed": 100_000.0}),
        ("emulator --slots video=2", {"slots": {"video": 2, "image": 9, "virtual_try_on": 1}}),
        ("emulator --slots image=1,video=20", {"slots": {"video": 20, "image": 1, "virtual_try_on": 1}}),
    ],
)
def test_options(arguments: str, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults are those of the help, and given values are parsed."""
    options = vars(parsed(monkeypatch, arguments))
    assert {name: options[name] for name in expected} == expected


def test_naming_a_pool_does_not_change_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """``--slots`` copies the table of pools instead of filling it in."""
    parsed(monkeypatch, "emulator --slots video=2")
    assert parsed(monkeypatch, "emulator").slots["video"] == 5 == POOLS["video"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "required: COMMAND"),
        ("dance", "invalid choice: 'dance'"),
        ("demo --count 0", "--count: '0' is not a whole number above 0"),
        ("demo --count=-1", "--count: '-1' is not a whole number above 0"),
        ("demo --count 1.5", "--count: '1.5' is not a whole number above 0"),
        ("demo --speed 0", "--speed: '0' is not a number above 0, at most 100000"),
        ("demo --speed nan", "--speed: 'nan' is not a number above 0, at most 100000"),
        ("demo --speed inf", "--speed: 'inf' is not a number above 0, at most 100000"),
        ("demo --speed fast", "--speed: 'fast' is not a number above 0, at most 100000"),
        ("demo --port 1", "unrecognized arguments: --port"),
        ("emulator --port 65536", "--port: '65536' is not a port, 0 to 65535"),
        ("emulator --port http", "--port: 'http' is not a port, 0 to 65535"),
        ("emulator --slots 5", "--slots: '5': use video=N, image=N, virtual_try_on=N"),
        ("emulator --slots film=5", "--slots: 'film=5': use video=N, image=N, virtual_try_on=N"),
        ("emulator --slots video=0", "--slots: '0' is not a whole number above 0"),
        ("emulator --slots video=1,", "--slots: '': use video=N, image=N, virtual_try_on=N"),
        pytest.param(
            "demo --count \u00b2", "--count: '\u00b2' is not a whole number above 0", id="superscript two",
        ),
        pytest.param(
            "emulator --port \u00b2", "--port: '\u00b2' is not a port, 0 to 65535", id="superscript port",
        ),
    ],
)  # fmt: skip
def test_a_wrong_option_is_explained_in_one_line(
    arguments: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong option prints usage and one line with the valid form on stderr, status 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments.split())
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert words in err.splitlines()[-1] and "Traceback" not in err


@pytest.mark.parametrize("command", ["demo", "emulator"])
def test_ctrl_c_ends_a_command_with_one_word(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """KeyboardInterrupt gives status 130, as shells expect, and no traceback."""

    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_demo", interrupt)
    monkeypatch.setattr(serve, "run_emulator", interrupt)
    assert main([command]) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


def version(capsys: pytest.CaptureFixture[str], run: Callable[[], object]) -> str:
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_version_prints_name_and_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version is printed for given arguments, those of the process, and ``python -m``."""
    monkeypatch.setattr(sys, "argv", ["kling", "--version"])
    expected = f"kling-async {__version__}\n"
    assert version(capsys, lambda: main(["--version"])) == expected
    assert version(capsys, main) == expected
    assert version(capsys, lambda: runpy.run_module("kling_async", run_name="__main__")) == expected


def test_importing_main_runs_nothing() -> None:
    """``kling_async.__main__`` runs the command only as a program."""
    assert "main" in runpy.run_module("kling_async.__main__", run_name="kling_async.__main__")


@pytest.mark.real
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["demo", "--help"], ["emulator", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    """Help and version load neither aiohttp nor msgspec, so they answer at once."""
    program = (
        "import sys\n"
        "from kling_async.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'aiohttp', 'msgspec', 'asyncio', 'jwt', 'anyio', 'backoff'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The help describes every command and says that nothing is paid by default."""
    text = version(capsys, lambda: main(["--help"])) + version(capsys, lambda: main(["demo", "--help"]))
    assert all(word in text for word in ("demo", "emulator", "--live", "nothing is paid"))


def test_every_command_of_the_parser_is_in_the_table() -> None:
    """The table names existing functions for each command, and the parser has no other command."""
    (commands,) = (action.choices for action in make_parser()._actions if action.dest == "command")
    assert commands is not None and list(commands) == list(COMMANDS)
    for command in COMMANDS.values():
        assert callable(load_function(command.run)) and callable(load_function(command.arguments))


def test_a_command_fills_its_parser_only_when_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing one command adds the arguments of no other."""
    filled: list[str | None] = []
    before = LazyParser.filled

    def note(parser: LazyParser) -> LazyParser:
        filled.append(parser.prog)
        return before(parser)

    monkeypatch.setattr(LazyParser, "filled", note)
    parsed(monkeypatch, "emulator")
    assert filled == ["kling", "kling emulator"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("dmo", "did you mean 'demo'?"),
        ("demo --cuont 3", "--cuont; did you mean --count?"),
        ("demo --api-key hidden", "keys are not taken from the command line"),
        ("demo --secret_key=hidden", "keys are not taken from the command line"),
        ("demo --cou 3", "did you mean --count?"),
    ],
)
def test_a_misspelt_word_gets_a_suggestion_and_a_key_is_not_repeated(
    arguments: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line names what is meant, and never shows a key."""
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    err = capsys.readouterr().err
    assert ended.value.code == 2 and words in err.splitlines()[-1] and "hidden" not in err
