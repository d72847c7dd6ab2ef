"""Run all checks and the whole suite: ``python3 -m tests``. The command sets up its ``.venv`` first.

With arguments, only pytest runs, in one process, and gets them: ``python3 -m tests -k slots``.

Every step runs, also after one that failed, so that one run shows every failure. A step prints one line, and
its output only if it failed. Pytest prints as it goes; its closing line comes last, followed only by the
names of failed steps.
"""

# ruff: noqa: T201 - this is a command, it prints

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":  # before anything that needs the venv, or a Python that is new enough
    root = Path(__file__).resolve().parent.parent
    runpy.run_path(str(root / ".ci" / "bootstrap.py"))["enter"]("test", optional="judges")

import os
import re
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests.judges import unpack

ROOT = Path(__file__).resolve().parent.parent

Module = Sequence[str]
"""A module and its arguments, as after ``python -m``."""

CHECKS: dict[str, Module] = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy", "--python-executable", sys.executable],
    "pyright": ["pyright", "--pythonpath", sys.executable],
    "layers": ["tests.check_layers"],
}
CHECK_TIMEOUT = 900.0  # pyright fetches itself when it runs for the first time

PART: Module = ["pytest", "--hypothesis-profile", "part"]
SUITE: Module = ["pytest", "-q", "-p", "tests.measure", "--numprocesses", "3", "--dist", "worksteal"]


class Outcome(NamedTuple):
    """The end of one step."""

    name: str
    code: int
    seconds: float
    output: str = ""
    note: str = ""

    def report(self) -> None:
        """Print one line, and the step's output only if it failed."""
        if self.code and self.output:
            print(self.output.rstrip())
        verdict = f"FAILED ({self.code})" if self.code else "ok"
        print(f"{self.name:<12} {verdict:<10} {self.seconds:6.1f} s  {self.note}".rstrip(), flush=True)


def environment() -> dict[str, str]:
    """Return the environment of all steps.

    Pytest rewrites the tests' asserts, which takes most of the time before the first test. Where Python may
    not write byte code beside the sources, it is written into the venv, so that later runs start fast too.
    """
    variables = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}  # no advice to update
    if sys.dont_write_bytecode:
        variables.pop("PYTHONDONTWRITEBYTECODE", None)
        variables["PYTHONPYCACHEPREFIX"] = str(Path(sys.prefix) / "bytecode")
    return variables


def python_m(module: Module) -> list[str]:
    """Return the command that runs ``module`` with this interpreter."""
    return [sys.executable, "-m", *module]


def captured(name: str, module: Module) -> Outcome:
    """Run a step and keep its output."""
    start = time.perf_counter()
    try:
        done = subprocess.run(
            python_m(module),
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=CHECK_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(name, 1, CHECK_TIMEOUT, f"{name} took more than {CHECK_TIMEOUT:g} s")
    return Outcome(name, done.returncode, time.perf_counter() - start, done.stdout)


def suite() -> tuple[Outcome, str]:
    """Run pytest and print as it goes; return the outcome, and the closing line held back."""
    start = time.perf_counter()
    held = ""
    with subprocess.Popen(
        python_m(SUITE),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as pytest:
        assert pytest.stdout is not None
        for line in pytest.stdout:
            if not line.strip():
                continue
            if held:
                print(held, flush=True)
            held = line.rstrip()
    return Outcome("pytest", pytest.returncode, time.perf_counter() - start), held


def coverage() -> Outcome:
    """Compare the share of branches covered with the limit in pyproject.toml."""
    combined = captured("coverage", ["coverage", "combine", "--quiet"])
    if combined.code:
        return combined
    report = captured("coverage", ["coverage", "report"])
    total = re.search(r"^TOTAL.*?(\d+%)$", report.output, re.MULTILINE)
    return report._replace(note=total[1] if total else "")


def everything() -> int:
    """Run all steps and print the results; return the exit status."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = []
        for outcome in pool.map(captured, CHECKS.keys(), CHECKS.values()):
            outcome.report()
            outcomes.append(outcome)
    captured("coverage", ["coverage", "erase"])
    tested, closing_line = suite()
    outcomes += [tested, coverage()]
    for outcome in outcomes[-2:]:
        outcome.report()
    print(closing_line)
    failed = [outcome.name for outcome in outcomes if outcome.code]
    if failed:
        print(f"FAILED: {', '.join(failed)}")
    return 1 if failed else 0


def main(arguments: Sequence[str]) -> int:
    """Run everything, or pytest alone with ``arguments``."""
    try:
        unpack.prepare()
        if arguments:
            return subprocess.call(python_m([*PART, *arguments]), env=environment())
        return everything()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
