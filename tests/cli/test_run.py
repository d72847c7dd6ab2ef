"""Test ``kling run`` and ``kling check`` in this process: files, exit codes, what is sent and what is not."""

from __future__ import annotations

import io
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kling_async.cli import jobs as jobs_module
from kling_async.cli.commands import make_parser
from kling_async.cli.run_words import go_on_command, retry_command
from tests.cli.support import kling, served, settings_for
from tests.support import png

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.testing import Emulator

Capture = pytest.CaptureFixture[str]
Json = dict[str, Any]

FILM: Final[Json] = {"endpoint": "text_to_video", "prompt": "a boat", "model_name": "kling-v2-6"}


@pytest.fixture(autouse=True)
def _as_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be the command ``kling``, which names itself in the commands that it prints."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/kling"])


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The account that commands use by default; the test's folder is the working directory."""
    monkeypatch.chdir(tmp_path)
    with served() as found:
        settings_for(found, tmp_path, monkeypatch)
        yield found


def write(name: str, *lines: Json | str) -> None:
    """Write a jobs file of JSON lines."""
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    Path(name).write_text("".join(f"{text}\n" for text in texts))


def created(emulator: Emulator) -> int:
    """Return how many creates the emulator accepted."""
    return sum(row.kind == "create" and row.code == 0 for row in emulator.ledger.rows)


def shot(key: str, prompt: str = "a boat") -> Json:
    """Return a line with a key."""
    return {**FILM, "key": key, "prompt": prompt}


# --- a run from file to files --------------------------------------------------------------------


@pytest.mark.real
def test_a_file_is_run_once_and_again_for_nothing(emulator: Emulator, capsys: Capture) -> None:
    """Files have their keys' names; the journal lies beside the jobs; the second run makes nothing."""
    write(
        "jobs.jsonl", shot("one"), shot("two"), {**shot("three"), "endpoint": "image_generation"} | {"n": 2}
    )
    first = json.loads(Path("jobs.jsonl").read_text().splitlines()[2])
    first.pop("model_name")
    write("jobs.jsonl", shot("one"), shot("two"), first)
    ran = kling(capsys, "run", "jobs.jsonl")
    assert ran.status == 0
    assert ran.out.startswith("3 done, 4 files in out, ")
    assert sorted(path.name for path in Path("out").iterdir()) == [
        *("one.mp4", "three.0.png", "three.1.png", "two.mp4")
    ]
    assert Path("jobs.jsonl.journal.sqlite").is_file()
    again = kling(capsys, "run", "jobs.jsonl", "--json")
    assert again.status == 0 and created(emulator) == 3
    rows = [json.loads(line) for line in again.out.splitlines()]
    assert {(row["key"], row["status"], row["endpoint"]) for row in rows} == {
        ("one", "succeeded", "text_to_video"),
        ("two", "succeeded", "text_to_video"),
        ("three", "succeeded", "image_generation"),
    }
    assert "3 done (3 by earlier runs)" in again.err
    write("jobs.jsonl", shot("one"))
    less = kling(capsys, "run", "jobs.jsonl")
    assert less.status == 0 and created(emulator) == 3
    look = "kling journal show jobs.jsonl.journal.sqlite --jobs jobs.jsonl"
    assert f"2 jobs of the journal not in this file, see: {look}" in less.out
    assert "2 not named by the jobs file:" in kling(capsys, *look.split()[1:]).out


@pytest.mark.real
@pytest.mark.usefixtures("emulator")
def test_failures_are_told_grouped_and_can_be_tried_again(capsys: Capture) -> None:
    """One failed: status 1, its key and reason, and the command that tries it again."""
    write("jobs.jsonl", shot("good"), shot("bad", "emulator:fail"))
    ran = kling(capsys, "run", "jobs.jsonl", "--progress", "none")
    assert ran.status == 1
    assert "1 done, 1 failed, 1 file in out" in ran.out and "1 TaskFailed, such as" in ran.out
    assert "failed  bad: task " in ran.err
    assert "To try the failed ones again: kling run jobs.jsonl --progress none --retry-failed" in ran.err
    again = kling(capsys, "run", "jobs.jsonl", "--retry-failed")
    assert again.status == 1 and "1 done (1 by earlier runs), 1 failed" in again.out


@pytest.mark.real
def test_wrong_lines_are_told_before_anything_is_paid(
    emulator: Emulator, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with line and field, up to a bound, then a count; --skip-bad goes on without them."""
    wrong = [{**shot(f"w{n}"), "duration": 99} for n in range(5)]
    write("jobs.jsonl", shot("a"), shot("a"), "nonsense", *wrong)
    monkeypatch.setattr(jobs_module, "BAD_SHOWN", 3)
    ran = kling(capsys, "run", "jobs.jsonl")
    assert ran.status == 2 and ran.out == ""
    assert ran.err.splitlines() == [
        "jobs.jsonl:2: key: 'a' is the key of line 1, too; keys must differ",
        "jobs.jsonl:3: the line: is not JSON: Expecting value (column 1)",
        "jobs.jsonl:4: duration: 99 is too large; at most 15",
        "and 4 more wrong lines; kling check jobs.jsonl shows all",
        (
            "kling: 7 wrong lines of jobs.jsonl, 1 right; nothing was made or paid. Correct them, or go on"
            " without them by --skip-bad"
        ),
    ]
    assert emulator.ledger.rows == []
    assert not Path("out").exists() and not Path("jobs.jsonl.journal.sqlite").exists()
    assert kling(capsys, "run", "jobs.jsonl", "--skip-bad").status == 1
    assert created(emulator) == 1


@pytest.mark.real
def test_files_are_those_below_the_folder_of_the_jobs(emulator: Emulator, capsys: Capture) -> None:
    """A file beside the jobs is used; one elsewhere needs --allow-files; missing ones are wrong lines."""
    Path("jobs").mkdir()
    Path("jobs/start.png").write_bytes(png(320, 320))
    Path("other.png").write_bytes(png(320, 320))
    film = {"endpoint": "image_to_video", "prompt": "x", "key": "film"}
    write("jobs/good.jsonl", {**film, "image": "start.png"})
    write("jobs/bad.jsonl", {**film, "image": "../other.png"}, {**film, "key": "b", "image": "gone.png"})
    assert kling(capsys, "run", "jobs/good.jsonl").status == 0
    ran = kling(capsys, "run", "jobs/bad.jsonl")
    assert ran.status == 2
    assert "jobs/bad.jsonl:1: image: must be the path of a file below the folder that is allowed" in ran.err
    assert "--allow-files DIR allows others" in ran.err
    assert "jobs/bad.jsonl:2: image: cannot read" in ran.err
    write("jobs/good.jsonl", {**film, "key": "g", "image": "other.png"})
    assert kling(capsys, "run", "jobs/good.jsonl", "--allow-files", ".").status == 0
    assert created(emulator) == 2


@pytest.mark.real
@pytest.mark.usefixtures("emulator")
def test_csv_and_a_default_endpoint(capsys: Capture) -> None:
    """A list of prompts out of a spreadsheet is enough; without keys, files have positions and ids."""
    Path("prompts.csv").write_text("\ufeffprompt;duration\r\na boat;5\r\na fox;\r\n", "utf-8")
    assert kling(capsys, "run", "prompts.csv", "--endpoint", "text_to_video").status == 0
    assert sorted(path.name[:2] for path in Path("out").iterdir()) == ["0-", "1-"]


@pytest.mark.real
def test_a_stream_is_read_to_its_first_wrong_line(
    emulator: Emulator, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All lines before it are made and waited for; with --skip-bad the rest comes, too."""

    def feed(*lines: Json | str) -> None:
        texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
        data = io.BytesIO("".join(f"{text}\n" for text in texts).encode())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))

    feed(shot("a"), "nonsense", shot("b"))
    ran = kling(capsys, "run", "-")
    assert ran.status == 2 and created(emulator) == 1
    assert "stdin:2: the line: is not JSON" in ran.err and "--skip-bad goes on" in ran.err
    assert ran.out.startswith("1 done, 1 file in out")
    feed(shot("a"), "nonsense", shot("b"))
    ran = kling(capsys, "run", "-", "--skip-bad", "--journal", "j.sqlite")
    assert ran.status == 1 and created(emulator) == 3
    assert "stdin:2: the line: is not JSON" in ran.err


@pytest.mark.real
def test_a_dry_run_makes_nothing(emulator: Emulator, capsys: Capture) -> None:
    """A table, the sums and the time; as JSON the whole plan."""
    write("jobs.jsonl", shot("a"), shot("b"))
    ran = kling(capsys, "run", "jobs.jsonl", "--dry-run")
    assert ran.status == 0 and created(emulator) == 0
    assert "text_to_video  kling-v2-6      2      3  video" in ran.out
    assert "3 video units ($0.42 at the list price), about " in ran.out
    plan = json.loads(kling(capsys, "run", "jobs.jsonl", "--dry-run", "--json").out)
    assert (plan["jobs"], plan["units"]) == (2, {"video": 3.0})
    assert not Path("jobs.jsonl.journal.sqlite").exists()


@pytest.mark.real
def test_units_and_slots_have_limits(emulator: Emulator, capsys: Capture) -> None:
    """A job that does not fit is not made: status 3, and the command. --limit bounds the slots in use."""
    write("jobs.jsonl", *(shot(f"k{n}") for n in range(4)))
    ran = kling(capsys, "run", "jobs.jsonl", "--max-units", "video=4.5", "--limit", "video=1")
    assert ran.status == 3 and created(emulator) == 3
    assert "not made: 1 of video (the units left do not suffice)" in ran.out
    assert "To go on: kling run jobs.jsonl --max-units video=4.5 --limit video=1" in ran.err
    assert kling(capsys, "run", "jobs.jsonl", "--max-units", "6").status == 0
    assert created(emulator) == 4


@pytest.mark.real
@pytest.mark.usefixtures("emulator")
def test_an_account_that_cannot_is_status_4(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is refused stops the run; the command that goes on is told."""
    write("jobs.jsonl", shot("a"))
    monkeypatch.setenv("KLING_API_KEY", "wrong")
    ran = kling(capsys, "run", "jobs.jsonl")
    assert ran.status == 4 and "To go on: kling run jobs.jsonl" in ran.err
    assert "AuthenticationError" in ran.out


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["gone.jsonl"], "gone.jsonl: the file: No such file"),
        (["."], ".: the file: is a folder"),
        (["jobs.jsonl", "--limit", "video"], "use POOL=N"),
        (["jobs.jsonl", "--max-units", "-3"], "use a number of units"),
        (["jobs.jsonl", "--name", "same"], "needs {index}, {task_id} or {key}"),
    ],
)
@pytest.mark.real
def test_wrong_options_are_status_2(words: list[str], text: str, capsys: Capture) -> None:
    """One line says what is wrong; nothing is made."""
    write("jobs.jsonl", shot("a"))
    ran = kling(capsys, "run", *words)
    assert ran.status == 2 and text in ran.err


# --- the command that goes on --------------------------------------------------------------------

WORDS: Final = st.text("ab -'\"$`\\é*", min_size=1, max_size=8).filter(lambda word: word != "--")
OPTIONS: Final = st.fixed_dictionaries(
    {},
    optional={
        "out": WORDS,
        "name": WORDS,
        "journal": WORDS,
        "retries": st.integers(0, 5),
        "order": st.sampled_from(["given", "longest"]),
        "max-units": st.sampled_from(["7", "2.5", "video=3,image=1.5"]),
        "limit": st.sampled_from(["video=3", "video=3,image=7"]),
        "allow-files": WORDS,
        "endpoint": WORDS,
        "format": st.sampled_from(["csv", "jsonl"]),
        "progress": st.sampled_from(["auto", "plain", "none"]),
        "env-file": WORDS,
        "profile": WORDS,
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(jobs=WORDS | st.just("-"), options=OPTIONS, flags=st.sets(st.sampled_from(["--skip-bad", "--json"])))
def test_the_printed_command_is_the_same_run(jobs: str, options: Json, flags: set[str]) -> None:
    """Through a shell, whatever the names, it gives the same options; the other one also --retry-failed."""
    words = [f"--{name}={value}" for name, value in options.items()]
    first = make_parser().parse_args(["run", *words, *flags, "--", jobs])
    for command, more in ((go_on_command, False), (retry_command, True)):
        text = command(first, Path("j")).removesuffix(" < the same input")
        program, *rest = shlex.split(text)
        assert program == "kling"
        again = make_parser().parse_args(rest)
        expected = {**vars(first), "retry_failed": more}
        expected["limit"] = [{k: v for given in first.limit for k, v in given.items()}] if first.limit else []
        found = vars(again)
        if jobs.startswith("-") and jobs != "-":
            found["jobs"] = found["jobs"].removeprefix("./")
        assert found == expected


# --- kling check ---------------------------------------------------------------------------------


def test_check_names_every_wrong_line_and_adds_up_the_others(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines with field and fix, then a table with units; no key is needed, nothing is sent."""
    monkeypatch.chdir(tmp_path)
    wrong = [{**shot(f"w{n}"), "duration": 99} for n in range(30)]
    write("jobs.jsonl", shot("a"), {**FILM, "endpoint": "image_to_video", "image": "gone.png"}, *wrong)
    ran = kling(capsys, "check", "jobs.jsonl")
    assert ran.status == 2
    assert ran.out.count("duration: 99 is too large; at most 15") == 30
    assert "jobs.jsonl:2: image: cannot read" in ran.out
    assert ran.out.endswith("1.5 video units ($0.21 at the list price)\n1 right job, 31 wrong lines\n")
    rows = [json.loads(line) for line in kling(capsys, "check", "jobs.jsonl", "--json").out.splitlines()]
    assert rows[1] == {"line": 3, "key": "w0", "field": "duration", "problem": "99 is too large; at most 15"}
    assert rows[-1] == {"jobs": 1, "wrong": 31, "units": {"video": 1.5}, "usd": 0.21, "unknown": {}}
    write("jobs.jsonl", shot("a"))
    assert kling(capsys, "check", "jobs.jsonl").status == 0
