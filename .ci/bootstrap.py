"""Set up the private ``.venv`` beside pyproject.toml, then go on inside it.

Shared by ``python3 -m examples`` and ``python3 -m tests``, which load this file by its path and call
`enter`. Only the standard library is used, nothing outside ``.venv`` is written, and pip keeps the
user's settings.

`look` finds the facts, `plan` decides from them (and from nothing else), `carry_out` acts. A stamp in
``.venv`` records what the venv was made from: while it is up to date, a start costs one small file and one
hash.

The grammar of this file stays that of Python 3.6, so that an old Python prints a sentence and no
SyntaxError; names evaluated after the version check may be newer.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - users start this file with any Python
    sys.exit(
        f"kling_async needs Python 3.11 or newer; this is {sys.version_info[0]}."
        f"{sys.version_info[1]} ({sys.executable})"
    )

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple, NoReturn

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

ROOT = Path(__file__).resolve().parent.parent
WINDOWS = os.name == "nt"
ARRIVED = "KLING_ASYNC_ARRIVED"
"""Environment variable set during the re-execution only; it keeps a venv without effect from looping."""
PIP_WITH_PYTHON_OPTION = (22, 3)
"""The first pip that has ``--python``, and so can install into a venv without pip."""
NO_PIP = (
    "kling_async cannot set up .venv: this Python has neither pip nor ensurepip; on Debian or Ubuntu:"
    " apt install python3-pip (or python3-venv), then run this again"
)


class SetupError(Exception):
    """The set-up cannot continue; the message is shown to the user unchanged."""


Command = Sequence[str]
Runner = Callable[[Command], str]
"""Runs a command in the project's folder and returns its output; raises SetupError if it fails."""


class Place(NamedTuple):
    """Paths of a project in ``root``."""

    root: Path

    @property
    def venv(self) -> Path:
        """The private virtual environment."""
        return self.root / ".venv"

    @property
    def python(self) -> str:
        """The venv's interpreter."""
        return str(self.venv.joinpath(*(["Scripts", "python.exe"] if WINDOWS else ["bin", "python"])))

    @property
    def packages(self) -> str:
        """The venv's folder of installed packages."""
        base = str(self.venv)
        return sysconfig.get_path("purelib", "venv", vars={"base": base, "platbase": base})

    @property
    def stamp(self) -> Path:
        """File that records what ``.venv`` was made from; holds ``{}`` until a set-up has finished."""
        return self.venv / "setup.json"


# --- the stamp ---------------------------------------------------------------------------------


def wanted_stamp(place: Place, extra: str) -> dict[str, str]:
    """Return the stamp of a ``.venv`` that is up to date: made here, by this Python, from this pyproject."""
    pyproject = (place.root / "pyproject.toml").read_bytes()
    return {
        "root": str(place.root),
        "python": str(sys.implementation.cache_tag),
        "pyproject": hashlib.sha256(pyproject).hexdigest(),
        "extra": extra,
    }


def found_stamp(place: Place) -> "dict[str, str] | None":
    """Return the stamp in ``.venv``; None if there is no venv, or one made by hand."""
    try:
        found = json.loads(place.stamp.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def is_ready(place: Place, extra: str) -> bool:
    """Tell whether ``.venv`` can be used unchanged; one with more extras than asked for serves as well."""
    wanted, found = wanted_stamp(place, ""), found_stamp(place)
    if not found or not Path(place.python).exists():
        return False
    return extras(extra) <= extras(found.get("extra")) and {**found, "extra": ""} == wanted


def extras(names: object) -> "set[str]":
    """Split extras as pip takes them."""
    return set(filter(None, str(names or "").split(",")))


def with_earlier(place: Place, extra: str) -> str:
    """Add to an extra those that ``.venv`` has already, if they were installed from the same pyproject."""
    wanted, found = wanted_stamp(place, ""), found_stamp(place) or {}
    earlier = extras(found.get("extra")) if {**found, "extra": ""} == wanted else set()
    return ",".join(sorted(earlier | extras(extra)))


# --- look, plan, carry out ---------------------------------------------------------------------


class Facts(NamedTuple):
    """The facts that a plan depends on."""

    exists: bool
    """Whether a folder, file or link called ``.venv`` exists."""
    usable: bool
    """Whether the venv's interpreter starts and is this Python's, and the venv is whole and was not moved."""
    own_pip: bool
    """Whether the venv has a pip of its own."""
    ensurepip: bool
    """Whether a new venv can bring its pip along (Debian has ensurepip in python3-venv)."""
    base: str
    """The interpreter that makes venvs."""
    pip: "tuple[str, tuple[int, int]] | None"
    """An interpreter outside ``.venv`` that has pip, and the pip's version."""


class Plan(NamedTuple):
    """The steps of a set-up."""

    rebuild: bool
    """Whether to remove the present ``.venv`` first."""
    commands: tuple[Command, ...]
    instead: Command
    """Command to run if the last one fails; empty if there is no alternative."""


def plan(facts: Facts, place: Place, extra: str, optional: str = "") -> Plan:
    """Decide how to install the project with ``extra`` into ``.venv``; raise SetupError if nothing can.

    The extra ``optional`` is installed in the same step; if that fails, the step is repeated without it.
    """
    commands: list[Command] = []
    own_pip = facts.own_pip
    if not facts.usable:
        own_pip = facts.ensurepip
        without = [] if own_pip else ["--without-pip"]
        commands.append([facts.base, "-m", "venv", *without, str(place.venv)])
    pip = [place.python, "-m", "pip"]
    if not own_pip:
        if facts.pip is None:
            raise SetupError(NO_PIP)
        outside, version = facts.pip
        if version >= PIP_WITH_PYTHON_OPTION:
            pip = [outside, "-m", "pip", "--python", place.python]
        else:  # an old pip can still install a new one into the venv's folder
            target = ["install", "--target", place.packages, "pip"]
            commands.append([outside, "-m", "pip", "--no-input", *target])
    install = [*pip, "--no-input", "--disable-pip-version-check", "install", "-e"]
    commands.append([*install, project(joined(extra, optional))])
    instead = [*install, project(extra)] if optional else []
    return Plan(facts.exists and not facts.usable, tuple(commands), instead)


def project(extra: str) -> str:
    """Return the project with ``extra``, as an argument of pip."""
    return f".[{extra}]" if extra else "."


def joined(extra: str, optional: str) -> str:
    """Join two extras for pip; either may be empty."""
    return ",".join(filter(None, (extra, optional)))


def look(place: Place, run: Runner) -> Facts:
    """Find the facts, by asking the interpreters concerned."""
    # within a venv, the interpreter that made it
    base = str(getattr(sys, "_base_executable", None) or sys.executable)
    outside = [base] if inside(place) else [base, sys.executable]
    pips = ((python, pip_version(python, run)) for python in outside)
    usable = is_usable(place, run)
    return Facts(
        exists=os.path.lexists(place.venv),  # a broken link is in the way, too
        usable=usable,
        own_pip=usable and pip_version(place.python, run) is not None,
        ensurepip=answer([base, "-c", "import ensurepip; ensurepip.version()"], run) is not None,
        base=base,
        pip=next(((python, version) for python, version in pips if version), None),
    )


def is_usable(place: Place, run: Runner) -> bool:
    """Tell whether the present ``.venv`` can be installed into; if not, it must be made anew."""
    found, wanted = found_stamp(place), wanted_stamp(place, "")
    if found is not None and any(found.get(key) != wanted[key] for key in ("root", "python")):
        return False
    # without its pyvenv.cfg the interpreter starts, but as the system's Python: its prefix shows that
    probe = "import sys; print(sys.implementation.cache_tag, sys.prefix)"
    said = answer([place.python, "-c", probe], run)
    return said == f"{wanted['python']} {place.venv}"


def pip_version(python: str, run: Runner) -> "tuple[int, int] | None":
    """Return the version of the pip of ``python``; None if it has none."""
    match = re.match(r"pip (\d+)\.(\d+)", answer([python, "-m", "pip", "--version"], run) or "")
    return (int(match[1]), int(match[2])) if match else None


def answer(command: Command, run: Runner) -> "str | None":
    """Return the output of a command; None if it fails, or its interpreter does not exist."""
    try:
        return run(command).strip()
    except (SetupError, OSError):
        return None


def carry_out(todo: Plan, place: Place, stamp: dict[str, str], run: Runner) -> None:
    """Run the steps of a plan. Until the last one has ended, the stamp marks the set-up as unfinished."""
    if todo.rebuild:
        remove(place.venv)
    place.venv.mkdir(exist_ok=True)
    # before the first step: a set-up that is killed must not look like a venv made by hand
    place.stamp.write_text("{}", encoding="utf-8")
    *before, last = todo.commands
    for command in before:
        run(command)
    try:
        run(last)
    except SetupError as error:
        if not todo.instead:
            raise
        say(f"{error}\ninstalling {todo.instead[-1]} instead of {last[-1]}; remove .venv to try that again")
        run(todo.instead)
    finished = place.stamp.with_suffix(".new")
    finished.write_text(json.dumps(stamp), encoding="utf-8")
    finished.replace(place.stamp)  # in one step, so that no reader finds half a stamp


def remove(path: Path) -> None:
    """Remove a folder, or a file or link in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


# --- the way in --------------------------------------------------------------------------------


def enter(extra: str = "", optional: str = "") -> None:
    """Return inside the private venv, with the project and ``extra`` installed; set that up if needed.

    The extra ``optional`` is installed too if possible; tests of its packages are skipped without it.
    """
    place = Place(ROOT)
    if os.environ.pop(ARRIVED, None):
        if not inside(place):
            sys.exit("kling_async: .venv is there but does not take effect; is PYTHONHOME set?")
        return
    try:
        changed = ensure(place, extra, optional)
        if changed or not inside(place):
            start_again(place)
    except SetupError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"kling_async cannot set up .venv: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def ensure(place: Place, extra: str, optional: str = "", run: "Runner | None" = None) -> bool:
    """Make ``.venv`` ready; return whether there was anything to do."""
    asked = joined(extra, optional)
    if is_ready(place, asked):
        return False
    with locked(Path(__file__)) as lock:
        if is_ready(place, asked):  # another start has made it while this one waited
            return True
        run = run or runner(place.root, lock)
        facts = look(place, run)
        todo = plan(facts, place, extra, optional)
        say(headline(facts))
        stamp = wanted_stamp(place, with_earlier(place, asked) if facts.usable else asked)
        carry_out(todo, place, stamp, run)
    return True


def headline(facts: Facts) -> str:
    """Return the one line that a set-up prints."""
    if facts.usable:
        return "updating .venv ..."
    if facts.exists:
        return "rebuilding .venv (about a minute) ..."
    return "setting up .venv (first run, about a minute) ..."


def inside(place: Place) -> bool:
    """Tell whether this process runs in the private venv."""
    try:
        return place.venv.samefile(sys.prefix)
    except OSError:
        return False


def start_again(place: Place) -> NoReturn:
    """Run the present command line anew, by the private venv's interpreter."""
    # orig_argv, unlike argv, still has Python's own options such as -X dev and -m
    command = [place.python, *sys.orig_argv[1:]]
    environment = {**os.environ, ARRIVED: "1"}
    if WINDOWS:  # exec would return to the shell at once there
        sys.exit(subprocess.call(command, env=environment))
    os.execve(place.python, command, environment)  # noqa: S606 - nothing for a shell here


def runner(root: Path, lock: IO[bytes]) -> Runner:
    """Return the real runner, which starts its commands as subprocesses."""
    # commands hold the lock too: a pip may outlive this process if that is killed
    os.set_inheritable(lock.fileno(), True)
    # pip must not count packages on PYTHONPATH as installed: the next start may not have them
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(command: Command) -> str:
        done = subprocess.run(
            command,
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            close_fds=False,
            check=False,
        )
        if done.returncode:
            last = "\n".join(done.stdout.strip().splitlines()[-12:])
            line = f"kling_async cannot set up .venv: exit code {done.returncode} of: {' '.join(command)}"
            raise SetupError(f"{last}\n{line}")
        return done.stdout

    return run


@contextlib.contextmanager
def locked(path: Path) -> Iterator[IO[bytes]]:
    """Hold the one lock of this clone; wait while another process has it.

    The locked file stands outside ``.venv``: the venv itself may be removed meanwhile.
    """
    with path.open("r+b") as file:
        waited = False
        while not try_lock(file):
            if not waited:
                say("another process is setting up .venv; waiting ...")
            waited = True
            time.sleep(0.2)
        yield file


def try_lock(file: IO[bytes]) -> bool:
    """Lock ``file`` until it is closed; return False if another process has locked it."""
    try:
        if sys.platform == "win32":
            file.seek(1 << 30)  # beyond the end: Windows keeps others from reading a locked byte
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def say(line: str) -> None:
    """Print a line on stderr: stdout belongs to the command."""
    print(line, file=sys.stderr, flush=True)
