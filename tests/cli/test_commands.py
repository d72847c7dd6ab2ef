"""Test the commands about tasks and the account, in this process, against an emulator in another thread."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kling_async.cli.commands import COMMANDS
from tests.cli.support import kling, served, settings_for
from tests.support import png

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.testing import Emulator

pytestmark = pytest.mark.real

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The account that commands use by default."""
    monkeypatch.chdir(tmp_path)
    with served() as found:
        settings_for(found, tmp_path, monkeypatch)
        yield found


def test_a_task_is_created_looked_at_waited_for_and_fetched(emulator: Emulator, capsys: Capture) -> None:
    """Stdout holds only what the next command takes; stderr tells the price and how to go on."""
    made = kling(capsys, "create", "text_to_video", "--prompt", "a paper boat", "--duration", "10")
    assert made.status == 0 and re.fullmatch(r"text_to_video:\d+\n", made.out)
    task = made.out.strip()
    assert "price: 6 video units" in made.err
    assert f"kling wait {task}" in made.err and f"kling download {task}" in made.err
    waited = kling(capsys, "wait", task)
    assert waited.status == 0 and re.match(rf"{task}  succeed  6 units  \d:\d\d\n$", waited.out)
    looked = kling(capsys, "get", task)
    assert looked.status == 0 and "status    succeed" in looked.out and "?" not in looked.out
    (url,) = kling(capsys, "get", "--urls", task).out.split()
    assert url.startswith(emulator.url)
    stored = kling(capsys, "download", task, "--out", "films")
    assert stored.status == 0 and Path(stored.out.strip()).read_bytes()[4:8] == b"ftyp"
    assert kling(capsys, "download", task, "--out", "films").out == stored.out


def test_json_lines_have_the_fields_of_the_library(emulator: Emulator, capsys: Capture) -> None:
    """Each line is one object; records carry whole addresses, and files their paths."""
    made = json.loads(kling(capsys, "create", "text_to_video", "--prompt", "x", "--json").out)
    assert made["endpoint"] == "text_to_video" and made["task_id"].isdecimal()
    task = f"{made['endpoint']}:{made['task_id']}"
    waited = json.loads(kling(capsys, "wait", task, "--out", "out", "--json").out)
    assert waited["units"] == "3" and Path(waited["files"][0]).is_file()
    got = json.loads(kling(capsys, "get", task, "--json").out)
    assert got["result_data"]["videos"][0]["url"].startswith(emulator.url)
    listed = [json.loads(line) for line in kling(capsys, "list", "text_to_video", "--json").out.splitlines()]
    assert [record["task_id"] for record in listed] == [made["task_id"]]
    pools = [json.loads(line) for line in kling(capsys, "account", "--json").out.splitlines()]
    assert {"pool": "video", "limit": 5, "source": "packs"}.items() <= pools[1].items()
    priced = json.loads(kling(capsys, "estimate", "text_to_video", "--prompt", "x", "--json").out)
    assert (priced["units"], priced["pool"]) == (3.0, "video")


def test_create_waits_and_stores_in_one_command(emulator: Emulator, capsys: Capture, tmp_path: Path) -> None:
    """--out waits, stores, and prints the paths; a file is sent by ``@``; the id of one's own is taken."""
    (tmp_path / "start.png").write_bytes(png())
    words = (
        "create",
        "image_to_video",
        "--image",
        "@start.png",
        "--prompt",
        "x",
        "--external-task-id",
        "shot-1",
    )
    made = kling(capsys, *words, "--out", "out", "--name", "{key}", "--sidecar")
    assert made.status == 0 and made.out.split() == ["out/shot-1.mp4"]
    assert (tmp_path / "out" / "shot-1.mp4.json").is_file()
    again = kling(capsys, *words)
    assert again.status == 1 and "--if-exists attach" in again.err
    taken = kling(capsys, *words, "--if-exists", "attach", "--wait")
    assert taken.status == 0 and "succeed" in taken.out
    assert len([row for row in emulator.ledger.rows if row.method == "POST"]) == 2


def test_many_ids_end_with_the_worst_code_and_each_is_told(emulator: Emulator, capsys: Capture) -> None:
    """One fails, one is unknown, one succeeds: all three are reported, and the status is 1."""
    fine = kling(capsys, "create", "text_to_video", "--prompt", "x").out.strip()
    failing = ("--prompt", "emulator:fail", "--external-task-id", "mine")
    assert kling(capsys, "create", "image_generation", *failing).status == 0
    ran = kling(capsys, "wait", fine, "image_generation:mine", "text_to_video:1", fine)
    assert ran.status == 1 and len(ran.out.splitlines()) == 2
    assert f"{fine}  succeed" in ran.out and "failed" in ran.out and "risk control" in ran.out
    assert "text_to_video:1  no task 1" in ran.err and "check the id" in ran.err
    table = kling(capsys, "get", fine, "image_generation:mine").out.splitlines()
    assert table[0].split() == ["task", "status", "created", "units", "files", "reason"]


def test_a_bare_id_is_found_under_an_api_key(emulator: Emulator, capsys: Capture) -> None:
    """Either id without an endpoint names the task; an unknown one ends with 1."""
    made = kling(capsys, "create", "text_to_video", "--prompt", "x", "--external-task-id", "mine").out.strip()
    number = made.partition(":")[2]
    for name in (number, "mine"):
        assert kling(capsys, "get", name).out.startswith(f"{made}\n")
    lost = kling(capsys, "get", "999")
    assert lost.status == 1 and "no task 999" in lost.err


def test_a_timeout_names_the_command_that_goes_on(emulator: Emulator, capsys: Capture) -> None:
    """The task runs on, the status is 3, and the line is a command to copy."""
    task = kling(capsys, "create", "text_to_video", "--prompt", "emulator:seconds=60").out.strip()
    ran = kling(capsys, "wait", task, "--timeout", "0.1")
    number = task.partition(":")[2]
    assert ran.status == 3 and f"kling wait text_to_video:{number}" in ran.err and ran.out == ""


def test_nobody_waits_in_silence(emulator: Emulator, capsys: Capture) -> None:
    """Without a terminal a line tells each change; --progress none and --json are silent."""
    task = kling(capsys, "create", "text_to_video", "--prompt", "emulator:seconds=0.3").out.strip()
    assert f"{task}  " in kling(capsys, "wait", task).err
    for quiet in (["--progress", "none"], ["--json"]):
        task = kling(capsys, "create", "text_to_video", "--prompt", "emulator:seconds=0.3").out.strip()
        assert kling(capsys, "wait", task, *quiet).err == ""


def test_a_list_is_filtered_limited_and_paged(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Newest first; --limit, --status and --since choose; an empty list says so on stderr."""
    ids = [
        kling(capsys, "create", "text_to_video", "--prompt", text, "--wait").out.split(":")[1].split()[0]
        for text in ("a", "b emulator:fail", "c")
    ]
    listed = kling(capsys, "list", "text_to_video").out.splitlines()
    assert listed[0].split() == ["task_id", "status", "age", "units", "external_task_id", "message"]
    assert [line.split()[0] for line in listed[1:]] == ids[::-1]
    assert ids[2] in (out := kling(capsys, "list", "text_to_video", "--limit", "1").out) and ids[1] not in out
    failed = kling(capsys, "list", "text_to_video", "--status", "failed", "--since", "2h").out
    assert ids[1] in failed and ids[0] not in failed
    none = kling(capsys, "list", "text_to_video", "--since", "2099-01-01")
    assert (none.status, none.out) == (0, "") and "no tasks of text_to_video that match" in none.err
    assert "did you mean 'text_to_video'?" in kling(capsys, "list", "txt_to_video").err
    monkeypatch.setattr("kling_async.cli.listing._PAGE", 2)
    before = len(emulator.ledger.lists)
    paged = kling(capsys, "list", "text_to_video", "--limit", "9").out
    assert [line.split()[0] for line in paged.splitlines()[1:]] == ids[::-1]
    assert len(emulator.ledger.lists) - before == 2


def test_the_account_shows_pools_packs_and_ledgers(emulator: Emulator, capsys: Capture) -> None:
    """Limits come with their source, packs with units left and their end; ledgers list each task."""
    task = kling(capsys, "create", "text_to_video", "--prompt", "x", "--wait").out
    ran = kling(capsys, "account")
    assert ran.status == 0 and re.search(r"video +5 +0  the packs", ran.out)
    assert re.search(r"5Con-1Months +online +\d+ +100  \d{4}-\d\d-\d\d \(in \d+ d\)", ran.out)
    ledger = kling(capsys, "account", "--ledger", "packs")
    assert task.split(":")[1].split()[0] in ledger.out and "1 tasks: 3 video units" in ledger.err
    assert "no entries" in kling(capsys, "account", "--ledger", "balance").err
    assert kling(capsys, "account", "--ledger", "packs", "--since", "soon").status == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("create text_to_video", "--prompt: must not be empty"),
        (
            "create text_to_video --prompt x --duration 4 --model-name kling-v2-6",
            "--duration: kling-v2-6 offers",
        ),
        ("create text_to_video --prompt x --duration soon", "--duration: 'soon' is not a whole number"),
        ("create image_to_video --image nope.png", "--image: 'nope.png' is no https address; write @FILE"),
        ("create image_to_video --image @nope.png", "--image: @nope.png: no such file"),
        ("create image_to_video --image http://example.com/a.png", "--image: must be an https address"),
        ("create text_to_video --prompt x --multi-prompt [", "--multi-prompt: no JSON"),
        ("create text_to_video --prompt x --promt y", "did you mean --prompt?"),
        ("create text_to_vidoe --prompt x", "did you mean 'text_to_video'?"),
        ("estimate text_to_video --prompt x --cfg-scale 7", "--cfg-scale: 7 is too large"),
        ("wait txt_to_video:1", "did you mean text_to_video:1?"),
        ("wait text_to_video:..", "use 1 to 128"),
        ("wait text_to_video:1 --timeout 0", "not a number of seconds above 0"),
        ("models text_to_vidoe", "models are known for"),
        ("help exits", "did you mean exit-codes?"),
    ],
)
def test_a_mistake_is_named_with_its_option_and_nothing_is_sent(
    emulator: Emulator, arguments: str, words: str, capsys: Capture
) -> None:
    """The status is 2, the last line says what is right, and no request reached the account."""
    ran = kling(capsys, *arguments.split())
    assert ran.status == 2 and words in ran.err.splitlines()[-1] and ran.out == ""
    assert emulator.ledger.rows == []


def test_what_the_account_refuses_ends_with_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A wrong key, and an account without units, each in one line that says what helps."""
    with served(units={"video": 0}) as emulator:
        settings_for(emulator, tmp_path, monkeypatch)
        broke = kling(capsys, "create", "text_to_video", "--prompt", "x")
        assert broke.status == 4 and "1102" in broke.err and broke.out == ""
        monkeypatch.setenv("KLING_API_KEY", "wrong-key")
        for command in (
            "account",
            "list text_to_video",
            "get text_to_video:1",
            "create text_to_video --prompt x",
        ):
            ran = kling(capsys, *command.split())
            assert (ran.status, ran.out) == (4, "") and "API key" in ran.err and "wrong-key" not in ran.err


def test_without_a_key_the_command_says_where_to_put_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """No settings: status 2, one line, and the topic that explains them."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    ran = kling(capsys, "list", "text_to_video")
    assert ran.status == 2 and ran.err.count("\n") == 1
    assert "KLING_API_KEY" in ran.err and "kling help environment" in ran.err
    assert "none in" in kling(capsys, "settings").err


def test_a_server_that_is_away_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A refused connection ends with 1 after the tries that settings allow, and says what to check."""
    with served() as emulator:
        settings_for(emulator, tmp_path, monkeypatch, "[retry]\nmax_tries = 1\n")
    ran = kling(capsys, "list", "text_to_video")
    assert ran.status == 1 and ran.err.count("\n") == 1 and "check the network and KLING_BASE_URL" in ran.err


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("create text_to_video --prompt x --wait", 0),
        ("create image_generation --prompt emulator:fail --wait", 1),
        ("create text_to_video --prompt emulator:refuse", 1),
        ("list text_to_video", 0),
        ("account", 0),
        ("get text_to_video:1", 1),
        ("wait text_to_video:1", 1),
        ("download 1", 1),
        ("estimate text_to_video --prompt x", 0),
        ("models", 0),
        ("settings", 0),
        ("completion bash", 0),
        ("help", 0),
    ],
)
def test_every_command_runs_against_an_emulator_of_its_own(
    arguments: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """--emulator needs no key, and commands about earlier tasks say why they find none."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    ran = kling(
        capsys, *arguments.split(), "--emulator", *(["--speed", "500"] if "create" in arguments else [])
    )
    assert ran.status == status
    if arguments.split(maxsplit=1)[0] in ("get", "wait", "download"):
        assert "kling help emulator" in ran.err


def test_the_help_lists_topics_and_commands_and_explains_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Each topic has text of lines that fit a screen; a command's help is that of --help."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    listed = kling(capsys, "help")
    assert listed.status == 0 and all(f"  {name} " in listed.out for name in COMMANDS)
    for topic in re.findall(r"^  ([\w-]+) ", listed.out.partition("commands:")[0], re.MULTILINE):
        text = kling(capsys, "help", topic)
        assert (
            text.status == 0
            and text.out
            and max(map(len, text.out.replace(str(tmp_path), "").splitlines())) <= 80
        )
    for words in (["wait"], ["create", "text_to_video"]):
        assert kling(capsys, "help", *words).out == kling(capsys, *words, "--help").out
    codes = kling(capsys, "help", "exit", "codes").out
    assert [line.split()[0] for line in codes.splitlines()] == ["0", "1", "2", "3", "4", "130"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_shells_complete_commands_endpoints_and_options(shell: str, capsys: Capture) -> None:
    """The script knows commands, endpoints, and the options of their fields."""
    ran = kling(capsys, "completion", shell)
    assert ran.status == 0
    words = ["create", "text_to_video", "list"] + (["--negative-prompt"] if shell != "tcsh" else [])
    assert [word for word in words if word not in ran.out] == []


def test_completion_without_shtab_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The message names the extra."""
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    ran = kling(capsys, "completion", "bash")
    assert (ran.status, ran.out) == (2, "") and 'pip install "kling-async[cli]"' in ran.err


def test_models_are_shown_by_endpoint(capsys: Capture) -> None:
    """Rows name endpoint, model, modes, lengths and features; retired ones only on demand; JSON has all."""
    shown = kling(capsys, "models", "text_to_video").out
    assert re.search(r"^text_to_video +kling-v3 +pro +3-15 +1080p +multi_shot sound", shown, re.MULTILINE)
    assert "retired" not in shown and "(retired)" in kling(capsys, "models", "--all").out
    lines = kling(capsys, "models", "--model", "kling-v3", "--json").out.splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["model"] for row in rows} == {"kling-v3"} and rows[0]["durations"][0] == 3


def test_the_live_demo_takes_the_settings_of_every_command(emulator: Emulator, capsys: Capture) -> None:
    """The key may stand in the TOML file, as for all others; the emulator excludes the account."""
    ran = kling(capsys, "demo", "--live", "--yes", "--count", "1", "--out", "films")
    assert ran.status == 0 and len(emulator.ledger.created) == 1
    assert kling(capsys, "demo", "--live", "--emulator").status == 2
