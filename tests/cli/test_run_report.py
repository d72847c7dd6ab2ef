"""Test cli/run_report.py: the exit code of a run, and its failures by reason."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import Outcome, PolicyViolation, Report, RequestInvalid, Skipped, Totals
from kling_async.cli.exit_codes import ExitCode
from kling_async.cli.run_report import Failures, ending
from kling_async.errors import JobFailed, Problem
from tests.support import clip

NONE = Totals(done=0, failed=0, units={})


def report(**facts: Any) -> Report:
    """Return the report of a batch that has done all, but for some facts."""
    plain: dict[str, Any] = {"done": 3, "failed": 0, "resumed": 0, "running": 0, "stopped": "", "units": {}}
    plain |= {"spent": (), "seconds": 1.0, "advice": "", "this_run": NONE, "all_runs": NONE}
    return Report(**{**plain, **facts})


def skipped(reason: Any) -> tuple[Skipped, ...]:
    """Return a line about requests that were skipped."""
    return (Skipped(what="video", reason=reason, requests=2, text="no"),)


@pytest.mark.parametrize(
    ("facts", "more", "code"),
    [
        ({}, {}, ExitCode.DONE),
        ({"failed": 1}, {}, ExitCode.FAILED),
        ({}, {"bad": 1}, ExitCode.FAILED),
        ({"stopped": "stop()"}, {}, ExitCode.DONE),  # all that ran has ended, and nothing was left
        ({"stopped": "stop()", "failed": 1}, {}, ExitCode.FAILED),
        ({"stopped": "stop()"}, {"interrupted": True}, ExitCode.STOPPED),
        ({"stopped": "stop()", "failed": 1}, {"interrupted": True}, ExitCode.STOPPED),
        ({"stopped": "journal"}, {}, ExitCode.STOPPED),
        ({"stopped": "disk"}, {}, ExitCode.STOPPED),
        ({"stopped": "storage"}, {}, ExitCode.STOPPED),
        ({"stopped": "max_units"}, {}, ExitCode.STOPPED),
        ({"skipped": skipped("max_units")}, {}, ExitCode.STOPPED),
        ({"skipped": skipped("refusals")}, {}, ExitCode.FAILED),
        ({"stopped": "refusals", "skipped": skipped("refusals")}, {}, ExitCode.FAILED),
        ({"stopped": "input"}, {"wrong": True}, ExitCode.USAGE),
        ({"stopped": "input"}, {}, ExitCode.FAILED),
        ({"stopped": "account"}, {"interrupted": True}, ExitCode.ACCOUNT),
        ({"skipped": skipped("account")}, {}, ExitCode.ACCOUNT),
    ],
)
def test_the_exit_code_says_what_to_do_next(
    facts: dict[str, Any], more: dict[str, Any], code: ExitCode
) -> None:
    """The account comes first, then a wrong line, then what goes on by itself, then failures."""
    circumstances: dict[str, Any] = {"bad": 0, "wrong": False, "interrupted": False, **more}
    assert ending(report(**facts), **circumstances) is code


def test_failures_are_grouped_whatever_their_ids() -> None:
    """Equal reasons are one row with the first example, the most frequent first; earlier runs' count, too."""
    failures = Failures()
    moderated = PolicyViolation("no", code=1301, request_id="r-1")
    errors = [moderated, JobFailed("TaskFailed", "x"), RequestInvalid("TextToVideo", [Problem("n", "bad")])]
    for n, error in enumerate([*errors, PolicyViolation("no", code=1301, request_id="r-2")]):
        key = None if n == 1 else f"k{n}"
        assert failures.add(Outcome(position=n, key=key, request=clip(), error=error)) == n + 1
    rows = failures.rows()
    assert [row[:2] for row in rows] == [
        ("2", "PolicyViolation (code 1301)"),
        ("1", "TaskFailed"),
        ("1", "RequestInvalid"),
    ]
    assert rows[0][2].startswith("k0: no (code 1301") and rows[1][2].startswith("job 1: ")
