"""Test cli/demo.py: a whole batch from prompts to files, against the emulator by default."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import pytest

from kling_async import Client, Polling, v1
from kling_async.cli import demo, main
from kling_async.cli.demo import PROMPTS
from kling_async.testing import Emulator
from kling_async.wire.checks import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.real


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put credentials into the environment, and an address where nobody listens."""
    monkeypatch.setenv("KLING_API_KEY", "sk-live")
    monkeypatch.setenv("KLING_BASE_URL", "http://127.0.0.1:9")


def answering(text: str | None) -> Callable[[str], str]:
    """Return an ``input`` that gives this text; None for nobody at the keyboard."""

    def answer(prompt: str) -> str:
        if text is None:
            raise EOFError
        return text

    return answer


# --- what it runs ------------------------------------------------------------------------------


def test_every_prompt_is_a_valid_request() -> None:
    """No prompt warns or is refused; there are videos and images, more than the emulator's slots."""
    for request in PROMPTS:
        check(request)
    videos = [request for request in PROMPTS if isinstance(request, v1.TextToVideo)]
    weights = [request.n or 1 for request in PROMPTS if isinstance(request, v1.ImageGeneration)]
    assert len(videos) == 20 and sum(weights) > 9 and max(weights) <= 9
    assert sum(video.sound is True for video in videos) >= 3


def test_the_demo_makes_files_and_says_what_it_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first three prompts give two videos and an image in a new folder, and a summary."""
    folder = tmp_path / "new" / "out"
    assert main(["demo", "--count", "3", "--speed", "5000", "--out", str(folder)]) == 0
    out, err = capsys.readouterr()
    made = [path for path in folder.iterdir() if path.suffix != ".html"]
    assert sorted(path.suffix for path in made) == [".mp4", ".mp4", ".png"]
    assert err == "" and "\r" not in out
    assert re.search(rf"(?m)^3 of 3 tasks succeeded in \d+ s; 3 files in {re.escape(str(folder))}/$", out)
    assert "An emulator plays the vendor, 5000 times as fast: 5 video and 9 image slots" in out
    assert "Nothing is paid." in out and "kling demo --live" in out
    assert f"\nlook at them: {folder / 'index.html'}\n" in out and (folder / "index.html").is_file()
    for path in made:
        assert re.search(rf"(?m)^  {re.escape(path.name)}  \S", out), "each file is named with its prompt"
    assert main(["demo", "--count", "3", "--speed", "5000", "--out", str(folder)]) == 0
    assert "3 files in" in capsys.readouterr().out, "also where they lie there already"


def test_the_whole_demo_meets_a_full_account_and_shows_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With two slots held by others to the end, refusals become waiting and no error shows."""

    class Shared(Emulator):
        """Never give back the slots that others hold."""

        def set_foreign(self, pool: str, slots: int) -> None:
            super().set_foreign(pool, slots or 2)

    monkeypatch.setattr(demo, "Emulator", Shared)
    assert main(["demo", "--speed", "5000", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    total = len(PROMPTS)
    files = sum(getattr(request, "n", None) or 1 for request in PROMPTS)
    files += sum(isinstance(request, v1.TextToAudio) for request in PROMPTS)  # an MP3 and a WAV
    assert f"{total} of {total} tasks succeeded" in out and f"; {files} files in " in out
    names = {path.name for path in tmp_path.iterdir()} - {"index.html"}
    assert len(names) == files == len({path.read_bytes() for path in tmp_path.iterdir()}) - 1
    assert len([name for name in names if name.endswith(".mp4")]) == 20
    assert {"01-a-paper-boat-drifts-down.mp4", "04-four-studies-of-a-red.3.png"} <= names
    waited, refused, asked, units = (
        float(re.search(pattern, out)[1])  # type: ignore[index]
        for pattern in (
            r"(\d+) submits waited",
            r"(\d+) refusals \(1303",
            r"(\d+) status queries",
            r" ([\d.]+) image units and [\d.]+ video units",
        )
    )
    assert waited > 0 and refused > 0 and asked > 0 and units > 0
    assert "none became an error" in out and "failed" not in out


def test_a_failed_task_is_printed_and_makes_the_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each failure is one line with its reason; the other tasks go on."""
    requests = (demo._still("emulator:fail late"), demo._still("emulator:refuse"), demo._still("a boat", n=2))
    monkeypatch.setattr(demo, "PROMPTS", requests)
    assert main(["demo", "--speed", "5000", "--out", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^  failed  emulator:fail late: task \d+ failed: ", out, re.MULTILINE)
    assert re.search(r"^  failed  emulator:refuse: .*\(code 1301", out, re.MULTILINE)
    assert re.search(r"^  03-a-boat\.0\.png and 1 more  a boat$", out, re.MULTILINE)
    assert "1 of 3 tasks succeeded" in out and len(list(tmp_path.glob("*.png"))) == 2
    assert "(code 1301" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_title_of_a_multi_shot_video_is_its_first_prompt() -> None:
    """A multi-shot request has no prompt of its own, so its title is that of the first shot."""
    titles = [demo._title(request) for request in PROMPTS]
    assert all(titles) and "A child finds a key under a root ..." in titles


# --- with a real account -----------------------------------------------------------------------


def test_without_credentials_the_error_names_the_variable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing credentials are one line on stderr and status 2, without a traceback."""
    assert main(["demo", "--live", "--yes", "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("kling: no credentials: set KLING_API_KEY") and err.count("\n") == 1


def test_nobody_is_asked_to_pay_without_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing credentials are reported before the question about units."""
    monkeypatch.setattr("builtins.input", answering("no"))
    assert main(["demo", "--live"]) == 2
    assert "KLING_API_KEY" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "y", "no", "yes please", None])
@pytest.mark.usefixtures("account")
def test_only_yes_goes_on(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any other answer stops before a client is made; without a keyboard ``--yes`` is suggested."""
    monkeypatch.setattr("builtins.input", answering(text))
    monkeypatch.setattr(demo, "Client", None)
    assert main(["demo", "--live", "--count", "4", "--out", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    cost = "40 image units and 3 video units"
    assert out == f"This makes up to 2 videos and 2 sets of images for {cost} of your account.\n"
    assert err == ("kling: no keyboard to confirm with; add --yes\n" if text is None else "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["yes", " YES ", None])
def test_a_live_run_uses_the_account_of_the_environment(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a yes, or with --yes, the environment's account is used and its summary advertises nothing."""
    monkeypatch.setattr("builtins.input", answering(text))
    monkeypatch.setenv("KLING_API_KEY", "emulator-key")

    class Live(Client):
        """Connect to an emulator in the demo's own loop instead of the vendor."""

        def __init__(self, **options: Any) -> None:
            super().__init__(polling=Polling(min_interval=0, max_interval=0.05), **options)

        async def __aenter__(self) -> Self:
            self.emulator = Emulator(speed=5000)
            await self.emulator.start()
            self.base_url = self._engine.transport.base_url = self.emulator.url
            self._engine.sessions.local_files = True
            return await super().__aenter__()

        async def __aexit__(self, *error: object) -> None:
            await super().__aexit__(*error)
            assert len(self.emulator.tasks) == 1
            await self.emulator.stop()

    monkeypatch.setattr(demo, "Client", Live)
    arguments = [
        "demo",
        "--live",
        "--count",
        "1",
        "--out",
        str(tmp_path),
        *(["--yes"] if text is None else []),
    ]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "1 of 1 tasks succeeded" in out and "An emulator plays" not in out and "with your own" not in out


# --- Ctrl-C ------------------------------------------------------------------------------------


def test_ctrl_c_leaves_no_traceback_and_nothing_open(tmp_path: Path) -> None:
    """SIGINT in the middle of a batch gives status 130, without traceback or warning."""
    arguments = ["-W", "error", "-u", "-m", "kling_async"]
    arguments += ["demo", "--speed", "1", "--out", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as running:
        assert running.stdout is not None
        while "Nothing is paid" not in running.stdout.readline():
            pass
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert (running.returncode, err) == (130, "interrupted\n")


def test_a_reader_that_leaves_gets_no_traceback(tmp_path: Path) -> None:
    """``kling demo | head -1`` ends with status 1 and prints nothing on stderr."""
    arguments = ["-m", "kling_async", "demo", "--count", "4", "--speed", "500", "--out", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        err = running.stderr.read()
        assert (running.wait(30), err) == (1, "")


@contextmanager
def vendor(speed: float) -> Iterator[tuple[dict[str, str], Callable[[], int]]]:
    """Run an emulator in another process; yield its users' environment and a count of its tasks."""
    command = [sys.executable, "-u", "-m", "kling_async", "emulator", "--speed", str(speed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        printed = "".join(running.stdout.readline() for _ in range(4))
        env = {**os.environ, **dict(re.findall(r"export (\w+)=(\S+)", printed))}
        ledger = f"{env['KLING_BASE_URL']}/_emulator/ledger"

        def made() -> int:
            rows = json.loads(urllib.request.urlopen(ledger, timeout=10).read())["rows"]
            return len([row for row in rows if row["kind"] == "create" and row["code"] == 0])

        try:
            yield env, made
        finally:
            running.terminate()


def test_an_interrupted_live_run_is_resumed(tmp_path: Path) -> None:
    """Two signals end a run with advice; the same command resumes it and makes no task twice."""
    command = [sys.executable, "-u", "-m", "kling_async", "demo", "--live", "--yes", "--count", "1"]
    command += ["--out", str(tmp_path)]
    with vendor(speed=30) as (env, made):
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env}
        with subprocess.Popen(command, **pipes) as running:
            assert running.stderr is not None
            while not made():
                threading.Event().wait(0.1)
            running.send_signal(signal.SIGINT)
            while (line := running.stderr.readline()) and "Send it again" not in line:
                pass
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=30)
        assert (running.returncode, err) == (3, "")
        assert "run the same again" in out and "demo.sqlite" in out
        again = subprocess.run(command, timeout=60, check=False, **pipes)
        assert again.returncode == 0 and "1 of 1 tasks succeeded" in again.stdout
        assert made() == 1
        third = subprocess.run(command, timeout=60, check=False, **pipes)
        assert third.returncode == 0 and "(from an earlier run)" in third.stdout and made() == 1
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".html", ".lock", ".mp4", ".sqlite"]
