"""Open the jobs file of a command, check it whole, and print what is wrong with it."""

from __future__ import annotations

import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kling_async.batch.readers import read_csv, read_jsonl
from kling_async.cli.formats import counted
from kling_async.errors import Problem, RequestInvalid

if TYPE_CHECKING:
    import argparse
    import threading
    from collections.abc import Callable, Iterable, Iterator

    from kling_async.batch.readers import Check, JobReader, OnBad
    from kling_async.cli.output import Output
    from kling_async.errors import LineInvalid
    from kling_async.wire.requests import TaskRequest

__all__ = [
    "Checked",
    "CountedJobs",
    "JobsFile",
    "bad_line_texts",
    "check_whole",
    "line_problems",
    "print_bad_lines",
    "print_errors",
]

BAD_SHOWN: Final = 20
"""Most wrong lines that ``kling run`` shows; ``kling check`` shows all."""


class JobsFile:
    """The jobs file that a command names, with the way to read it.

    Args:
        options: With ``jobs``, ``allow_files``, ``endpoint`` and ``format``.

    Raises:
        RequestInvalid: There is no such file, or no such folder of ``allow_files``.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.name: str = options.jobs
        self._endpoint: str | None = options.endpoint
        self.is_stream = self.name == "-"
        """Whether it can be read once only: standard input, or a pipe."""
        if options.allow_files is not None and not Path(options.allow_files).is_dir():
            raise RequestInvalid("--allow-files", [Problem(options.allow_files, "there is no such folder")])
        self.folder: str | Path | None = options.allow_files
        """The folder of files that lines may name; None: they name none."""
        if not self.is_stream:
            self.is_stream = not stat.S_ISREG(_mode(self.name))
            if self.folder is None and not self.is_stream:
                self.folder = Path(self.name).absolute().parent
        kind = options.format or ("csv" if self.name.lower().endswith(".csv") else "jsonl")
        self._read = read_csv if kind == "csv" else read_jsonl

    def about_files(self) -> str:
        """Say which files the lines may name."""
        where = "no files" if self.folder is None else f"files below {self.folder}"
        return f"kling: jobs may name {where}; --allow-files DIR allows others"

    def reader(self, check: Check, on_bad: OnBad | None = None) -> JobReader:
        """Return a reader of the jobs."""
        # bytes, because the text layer would decode in the locale's encoding
        source = sys.stdin.buffer if self.name == "-" else self.name
        return self._read(source, files=self.folder, endpoint=self._endpoint, check=check, on_bad=on_bad)


def _mode(name: str) -> int:
    try:
        found = Path(name).stat().st_mode
    except OSError as error:
        reason = error.strerror or type(error).__name__
    else:
        if not stat.S_ISDIR(found):
            return found
        reason = "is a folder; name a file of jobs"
    raise RequestInvalid(name, [Problem("the file", reason)])


_ADVICE: Final = "; a file is a pathlib.Path, or its path below files="
"""Advice for Python, of no use here."""


class Checked(NamedTuple):
    """Counts of a whole jobs file, and its first wrong lines."""

    good: int
    bad: int
    all_keyed: bool
    """Whether every good line has a key."""
    shown: tuple[LineInvalid, ...]
    """The first wrong lines."""


def check_whole(jobs: JobsFile, check: Check, stop: threading.Event) -> Checked:
    """Read a whole file; blocks.

    Args:
        jobs: The file.
        check: Called with each request.
        stop: Set by who needs the result no more.
    """
    good = bad = 0
    keyed = True
    shown: list[LineInvalid] = []

    def on_bad(error: LineInvalid) -> None:
        nonlocal bad
        bad += 1
        if len(shown) < BAD_SHOWN:
            shown.append(error)

    for line in jobs.reader(check, on_bad).lines():
        if stop.is_set():
            break
        good += 1
        keyed = keyed and line.key is not None
    return Checked(good, bad, keyed, tuple(shown))


class CountedJobs:
    """The jobs of a file that was checked, with their number: so the batch knows how many there are."""

    def __init__(self, reader: JobReader, count: int) -> None:
        self._reader = reader
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[str | None, TaskRequest[Any]]]:
        return iter(self._reader)


def bad_line_texts(error: LineInvalid) -> Iterator[str]:
    """Yield a line for each problem of a wrong line: file, line, field, and what would be right."""
    for field, text in line_problems(error):
        yield f"{'stdin' if error.source == '-' else error.source}:{error.line}: {field}: {text}"


_WITH_AT: Final = re.compile(r"cannot read '(?:[^']*[/\\])?@")
_NO_AT: Final = " (in a jobs file a path stands without @)"


def line_problems(error: LineInvalid) -> Iterator[tuple[str, str]]:
    """Yield field and words of each problem of a wrong line, in the words of the command line."""
    for field, text in error.problems:
        # all endpoints would fill the screen, and options of Python's are of no use here
        head, found, _ = text.partition("; one of text_to_video")
        words = f"{head}; kling create --help lists them" if found else text
        words = words.replace("the folder of files=", "the folder that is allowed").replace(_ADVICE, "")
        yield field, words + _NO_AT if _WITH_AT.match(words) else words


def print_bad_lines(output: Output, jobs: JobsFile, checked: Checked) -> None:
    """Print the first wrong lines of a file, and how many more there are."""
    if print_errors(output.say, checked.shown):
        output.say(jobs.about_files())
    more = checked.bad - len(checked.shown)
    if more > 0:
        output.say(f"and {counted(more, 'more wrong line')}; kling check {jobs.name} shows all")


def print_errors(say: Callable[[str], object], errors: Iterable[LineInvalid]) -> bool:
    """Print wrong lines; return whether one names a file that it may not name."""
    about_files = False
    for error in errors:
        about_files = about_files or any("files=" in text for _, text in error.problems)
        for text in bad_line_texts(error):
            say(text)
    return about_files
