"""The set-up of ``.venv``: its decisions, and recovery from an interrupted one, without network or venv."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
BOOTSTRAP = ROOT / ".ci" / "bootstrap.py"
ON_WINDOWS = os.name == "nt"


def load() -> ModuleType:
    """Load the bootstrap as the commands do: by its path."""
    spec = importlib.util.spec_from_file_location("bootstrap", BOOTSTRAP)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bootstrap = load()
TAG = sys.implementation.cache_tag


class Machine:
    """A made-up computer that answers calls of interpreters and records the commands that changed it.

    Its ``python -m venv`` makes an interpreter, which has pip if ``ensurepip`` is there.
    """

    def __init__(self, root: Path, *, pip: str | None = "pip 23.0.1", ensurepip: bool = True) -> None:
        (root / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
        self.place = bootstrap.Place(root)
        self.pip = pip
        self.ensurepip = ensurepip
        self.venv_pip = False
        self.fails: str | None = None
        self.done: list[list[str]] = []

    def __call__(self, command: list[str]) -> str:
        """Run a command."""
        python, *rest = command
        ours = python == self.place.python
        if ours and not Path(python).exists():
            raise FileNotFoundError(python)
        if rest[0] == "-c":
            return self.probed(rest[1])
        if rest == ["-m", "pip", "--version"]:
            return self.answered("pip 25.0" if self.venv_pip else None) if ours else self.answered(self.pip)
        self.done.append(rest)
        if self.fails and self.fails in rest:
            raise bootstrap.SetupError("no route to host")
        if rest[1] == "venv":
            Path(self.place.python).parent.mkdir(parents=True, exist_ok=True)
            Path(self.place.python).touch()
            self.venv_pip = "--without-pip" not in rest
        return ""

    def probed(self, code: str) -> str:
        """Answer ``python -c``."""
        if "ensurepip" in code:
            return self.answered("23.0" if self.ensurepip else None)
        return f"{TAG} {self.place.venv}\n"

    @staticmethod
    def answered(version: str | None) -> str:
        """Answer, or fail as an interpreter without that module does."""
        if version is None:
            raise bootstrap.SetupError("No module of that name")
        return version

    def ensure(self, extra: str = "test", optional: str = "") -> bool:
        """Set up, and forget what was done before."""
        self.done = []
        changed: bool = bootstrap.ensure(self.place, extra, optional, self)
        return changed

    @property
    def verbs(self) -> list[str]:
        """The commands of the last set-up, in short."""
        return [command[1] if command[1] == "venv" else command[-1] for command in self.done]


# --- ways to get the packages in ---------------------------------------------------------------


def test_a_full_python_makes_a_venv_with_its_own_pip(tmp_path: Path) -> None:
    """With ensurepip the set-up makes a venv with pip, and that pip installs the project."""
    machine = Machine(tmp_path)

    assert machine.ensure()

    made, installed = machine.done
    assert made == ["-m", "venv", str(machine.place.venv)]
    assert installed[:2] == ["-m", "pip"] and installed[-3:] == ["install", "-e", ".[test]"]
    assert "--python" not in installed


def test_without_ensurepip_the_systems_pip_installs_into_the_venv(tmp_path: Path) -> None:
    """The venv is made without pip, and the pip outside is pointed at its interpreter by --python."""
    machine = Machine(tmp_path, ensurepip=False)

    machine.ensure()

    made, installed = machine.done
    assert made == ["-m", "venv", "--without-pip", str(machine.place.venv)]
    assert installed[:4] == ["-m", "pip", "--python", machine.place.python]


def test_a_pip_too_old_for_that_brings_in_a_new_one(tmp_path: Path) -> None:
    """A pip before 22.3 has no --python: it puts a new pip into the venv, which installs the project."""
    machine = Machine(tmp_path, ensurepip=False, pip="pip 22.0.2 from /usr/lib (python 3.11)")

    machine.ensure()

    _, brought, installed = machine.done
    assert brought[-3:] == ["--target", machine.place.packages, "pip"]
    assert Path(machine.place.packages).is_relative_to(machine.place.venv)
    assert "--python" not in installed


def test_with_neither_pip_nor_ensurepip_one_line_names_the_fix(tmp_path: Path) -> None:
    """The set-up stops before it makes anything, with a single line that says what to install."""
    machine = Machine(tmp_path, ensurepip=False, pip=None)

    with pytest.raises(bootstrap.SetupError, match="apt install python3-pip") as caught:
        machine.ensure()

    assert "\n" not in str(caught.value)
    assert not machine.place.venv.exists()


def test_ensurepip_alone_is_enough(tmp_path: Path) -> None:
    """With no pip outside the venv, the set-up still goes through."""
    machine = Machine(tmp_path, pip=None)

    assert machine.ensure()


# --- when there is something to do -------------------------------------------------------------


def test_a_second_start_asks_and_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first set-up prints one line; a later start runs no command and prints nothing."""
    machine = Machine(tmp_path)
    machine.ensure()
    assert capsys.readouterr().err == "setting up .venv (first run, about a minute) ...\n"

    def unexpected(command: list[str]) -> str:
        raise AssertionError(command)

    assert not bootstrap.ensure(machine.place, "test", run=unexpected)
    assert capsys.readouterr() == ("", "")


def test_the_venv_of_the_tests_serves_the_examples_but_not_the_reverse(tmp_path: Path) -> None:
    """The test extra is added to a venv that lacks it; a venv that has it is ready for the examples too."""
    machine = Machine(tmp_path)

    assert machine.ensure("") and machine.verbs == ["venv", "."]
    assert machine.ensure("test") and machine.verbs == [".[test]"]
    assert not machine.ensure("")


def test_extras_add_up(tmp_path: Path) -> None:
    """An extra that is missing is installed beside the others, which stay; a new pyproject begins anew."""
    machine = Machine(tmp_path)

    assert machine.ensure("test", "judges") and machine.verbs == ["venv", ".[test,judges]"]
    assert machine.ensure("fleet-demo") and machine.verbs == [".[fleet-demo]"]
    assert not machine.ensure("test", "judges")
    assert not machine.ensure("fleet-demo")
    (tmp_path / "pyproject.toml").write_text("[project]\ndependencies = []\n", encoding="utf-8")
    assert machine.ensure("fleet-demo")
    assert machine.ensure("test")
    assert not machine.ensure("fleet-demo")


def test_a_changed_pyproject_installs_again_into_the_same_venv(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new pyproject.toml causes one install, announced as an update, without a new venv."""
    machine = Machine(tmp_path)
    machine.ensure()
    (tmp_path / "pyproject.toml").write_text("[project]\ndependencies = []\n", encoding="utf-8")

    assert machine.ensure()

    assert machine.verbs == [".[test]"]
    assert capsys.readouterr().err.endswith("updating .venv ...\n")
    assert not machine.ensure()


def test_a_venv_made_by_hand_is_kept(tmp_path: Path) -> None:
    """A working venv without a stamp is kept and installed into."""
    machine = Machine(tmp_path)
    machine(["python3", "-m", "venv", str(machine.place.venv)])

    assert machine.ensure()

    assert machine.verbs == [".[test]"]


def break_by_kill(machine: Machine) -> None:
    """Interrupt a set-up in its last step."""
    (machine.place.root / "pyproject.toml").write_text("[other]\n", encoding="utf-8")
    machine.fails = "install"
    with pytest.raises(bootstrap.SetupError):
        machine.ensure()
    machine.fails = None


def break_interpreter(machine: Machine) -> None:
    """Remove the interpreter of the venv."""
    Path(machine.place.python).unlink()


def break_folder(machine: Machine) -> None:
    """Put a file in the place of the folder."""
    bootstrap.remove(machine.place.venv)
    machine.place.venv.touch()


def stamp(text: str = "", **changes: str) -> Callable[[Machine], None]:
    """Make a damage: the stamp replaced by some text, or with other values."""

    def damage(machine: Machine) -> None:
        changed = {**json.loads(machine.place.stamp.read_bytes()), **changes}
        machine.place.stamp.write_text(text or json.dumps(changed), encoding="utf-8")

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        break_by_kill,
        break_interpreter,
        break_folder,
        pytest.param(stamp(root="/elsewhere"), id="moved"),
        pytest.param(stamp(python="cpython-310"), id="made by another Python"),
        pytest.param(stamp('{"root": "/'), id="half a stamp"),
        pytest.param(stamp("[]"), id="no stamp"),
    ],
)
def test_a_damaged_venv_is_made_anew(tmp_path: Path, damage: Callable[[Machine], None]) -> None:
    """An interrupted, broken, moved or wrongly stamped venv is removed whole, and made anew."""
    machine = Machine(tmp_path)
    machine.ensure()
    damage(machine)
    leftover = machine.place.venv / "leftover"
    if machine.place.venv.is_dir():
        leftover.touch()

    assert machine.ensure()

    assert machine.verbs == ["venv", ".[test]"]
    assert not leftover.exists()
    assert not machine.ensure()


def test_a_failed_set_up_is_not_taken_for_ready(tmp_path: Path) -> None:
    """After an install that failed, the next start makes the venv and installs from the beginning."""
    machine = Machine(tmp_path)
    machine.fails = "install"

    for _ in range(2):
        with pytest.raises(bootstrap.SetupError, match="no route to host"):
            machine.ensure()
        assert machine.verbs == ["venv", ".[test]"]


# --- extras that are optional ------------------------------------------------------------------


def test_an_optional_extra_comes_with_the_same_install(tmp_path: Path) -> None:
    """Both extras come by one install; later starts that ask for both, or for none, find all ready."""
    machine = Machine(tmp_path)

    assert machine.ensure("test", "judges")

    assert machine.verbs == ["venv", ".[test,judges]"]
    assert not machine.ensure("test", "judges")
    assert not machine.ensure("")


def test_an_optional_extra_that_cannot_be_installed_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The needed extra is installed alone, a line says how to try again, and no start tries by itself."""
    machine = Machine(tmp_path)
    machine.fails = ".[test,judges]"

    assert machine.ensure("test", "judges")

    assert machine.verbs == ["venv", ".[test,judges]", ".[test]"]
    said = capsys.readouterr().err
    assert "no route to host\ninstalling .[test] instead of .[test,judges]; remove .venv" in said
    assert not machine.ensure("test", "judges")


def test_an_optional_extra_cannot_replace_the_needed_one(tmp_path: Path) -> None:
    """When the needed extra cannot be installed either, the set-up fails and nothing counts as ready."""
    machine = Machine(tmp_path)
    machine.fails = "install"

    for _ in range(2):
        with pytest.raises(bootstrap.SetupError, match="no route to host"):
            machine.ensure("test", "judges")
        assert machine.verbs == ["venv", ".[test,judges]", ".[test]"]


# --- the way in --------------------------------------------------------------------------------


class Started(Exception):
    """Raised where the process would start anew."""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project whose venv this process does not run in; starting anew raises `Started`."""

    def note(_: object) -> None:
        raise Started

    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "start_again", note)
    return tmp_path


def test_the_process_continues_in_a_ready_venv(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside the venv and after an install the process starts anew; inside a ready venv it continues."""
    monkeypatch.setattr(bootstrap, "ensure", lambda place, extra, optional: False)
    with pytest.raises(Started):
        bootstrap.enter("test")

    monkeypatch.setattr(sys, "prefix", str(elsewhere / ".venv"))
    (elsewhere / ".venv").mkdir()
    bootstrap.enter("test")

    monkeypatch.setattr(bootstrap, "ensure", lambda place, extra, optional: True)
    with pytest.raises(Started):  # this process would not find what was installed just now
        bootstrap.enter("test")


def test_a_process_started_anew_never_starts_again(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process started anew that is still outside the venv exits, naming PYTHONHOME; its mark is removed."""
    monkeypatch.setenv(bootstrap.ARRIVED, "1")

    with pytest.raises(SystemExit, match="PYTHONHOME"):
        bootstrap.enter("test")

    assert bootstrap.ARRIVED not in os.environ


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (bootstrap.SetupError("pip says no"), "pip says no"),
        (OSError("disk full"), "kling_async cannot set up .venv: disk full"),
        (KeyboardInterrupt(), "130"),
    ],
)
def test_a_failure_ends_in_a_line_not_a_traceback(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, said: str
) -> None:
    """A failed set-up and an OS error exit with their message, Ctrl-C with code 130."""

    def fail(place: object, extra: str, optional: str) -> bool:
        raise error

    monkeypatch.setattr(bootstrap, "ensure", fail)

    with pytest.raises(SystemExit) as caught:
        bootstrap.enter()

    assert str(caught.value.code) == said


@pytest.mark.skipif(ON_WINDOWS, reason="no exec there")
def test_the_command_line_is_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The venv's Python gets the same options and arguments, and the mark that it was started anew."""
    replaced_by: list[object] = []
    monkeypatch.setattr(os, "execve", lambda *what: replaced_by.extend(what))
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-X", "dev", "-m", "tests", "-k", "two words"])
    place = bootstrap.Place(tmp_path)

    bootstrap.start_again(place)

    path, command, environment = replaced_by
    assert path == place.python
    assert command == [place.python, "-X", "dev", "-m", "tests", "-k", "two words"]
    assert environment == {**os.environ, bootstrap.ARRIVED: "1"}


@pytest.mark.parametrize("path", [".ci/bootstrap.py", "tests/__main__.py", "examples/__main__.py"])
def test_an_old_python_can_parse_the_commands(path: str) -> None:
    """The files that any Python may be started with parse as 3.7 and import nothing from __future__."""
    tree = ast.parse((ROOT / path).read_bytes(), feature_version=(3, 7))

    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert "__future__" not in names  # annotations: unknown to 3.6


def test_an_old_python_is_told_so_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded by 3.9, the bootstrap exits with one line: the version needed and the version found."""
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))

    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer; this is 3\.9") as caught:
        load()

    assert "\n" not in str(caught.value)


# --- the real runner and lock ------------------------------------------------------------------


def test_a_failing_command_shows_its_last_lines(tmp_path: Path) -> None:
    """Success returns the output; failure raises with its last twelve lines and the exit code."""
    with (tmp_path / "lock").open("wb") as lock:
        run = bootstrap.runner(tmp_path, lock)
        assert run([sys.executable, "-c", "print('fine')"]).strip() == "fine"

        with pytest.raises(bootstrap.SetupError) as caught:
            run([sys.executable, "-c", "print(*range(99), sep='\\n'); raise SystemExit(3)"])

    lines = str(caught.value).splitlines()
    assert lines[:-1] == [str(number) for number in range(87, 99)]
    assert "cannot set up .venv: exit code 3 of: " in lines[-1]


def test_pip_does_not_see_what_only_pythonpath_offers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands run without PYTHONPATH, and with the user's settings of pip."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "kept")
    code = "import os; print(os.environ.get('PYTHONPATH'), os.environ.get('PIP_INDEX_URL'))"

    with (tmp_path / "lock").open("wb") as lock:
        said = bootstrap.runner(tmp_path, lock)([sys.executable, "-c", code])

    assert said.split() == ["None", "kept"]


def test_two_set_ups_at_once_take_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A held lock is refused to a second process and free afterwards; nothing is printed without waiting."""
    path = tmp_path / "lock"
    path.touch()
    with bootstrap.locked(path), path.open("r+b") as other:
        assert not bootstrap.try_lock(other)
    with path.open("r+b") as other:
        assert bootstrap.try_lock(other)
    assert capsys.readouterr().err == ""
