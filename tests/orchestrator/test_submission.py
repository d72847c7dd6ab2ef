"""orchestrator/submission.py, attempts.py: every state against every event; the options of a submit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import pytest

from kling_async import RequestInvalid, v1
from kling_async.catalog import endpoint_of
from kling_async.core.lifecycle import IllegalMove, Lifecycle
from kling_async.errors import KlingError, QueueTimeout, TaskTimeout
from kling_async.options import Settings
from kling_async.orchestrator.attempts import EVIDENCE_MOVES, Attempts, EarlierAttempt, Evidence
from kling_async.orchestrator.create_spec import CreateSpec, check_order
from kling_async.orchestrator.submission import (
    SUBMISSION_MOVES,
    Submission,
    SubmissionState,
)
from kling_async.orchestrator.tracked import TrackedTask
from tests.core.lifecycles import walk_table
from tests.support import clip, still

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.records import TaskRecord
    from kling_async.wire.endpoints import Endpoint

S: Final = SubmissionState
E: Final = Evidence


class NoWatcher:
    """Looks after nothing: no task is made here."""

    turns: Any = None

    def find(self, *_: object) -> None:
        return None

    def watch(self, live: TrackedTask, /) -> TrackedTask:
        return live

    def found(self, endpoint: Endpoint[Any], record: TaskRecord, /) -> TrackedTask:
        return TrackedTask(endpoint, record.task_id, record=record)


def submission_in(state: SubmissionState, earlier: EarlierAttempt | None = None) -> Submission:
    """A submission that has come to that state."""
    create = CreateSpec(clip(), endpoint_of(v1.TextToVideo), "order-1", generated=False)
    submission = Submission(create, NoWatcher(), Settings(), earlier=earlier)
    submission._life = Lifecycle(SUBMISSION_MOVES, state)
    return submission


def attempts_with(evidence: Evidence) -> Attempts:
    """Attempts that left that much evidence."""
    attempts = Attempts(None)
    attempts._life = Lifecycle(EVIDENCE_MOVES, evidence)
    return attempts


# -- where it stands


def test_the_table_of_a_submissions_states_is_complete() -> None:
    """All pairs of states; a submission begins new, and three states are final."""
    walk_table(SUBMISSION_MOVES, [S.NEW])
    assert {state for state, following in SUBMISSION_MOVES.items() if not following} == {
        S.ACCEPTED,
        S.REFUSED,
        S.WITHDRAWN,
    }


ENDINGS: Final[dict[str, tuple[Callable[[Submission], None], SubmissionState]]] = {
    "refused": (lambda submission: submission.refuse(KlingError("no")), S.REFUSED),
    "withdrawn": (lambda submission: submission.withdraw(), S.WITHDRAWN),
    "withdrawn with an error": (lambda submission: submission.withdraw(KlingError("no")), S.WITHDRAWN),
}


@pytest.mark.anyio
@pytest.mark.parametrize("state", S, ids=lambda state: state.value)
@pytest.mark.parametrize("event", ENDINGS)
async def test_an_end_comes_once_and_never_before_the_queue(event: str, state: SubmissionState) -> None:
    """Every ending in every state: where it is illegal the state stays, and the caller is told nothing."""
    submission = submission_in(state)
    future = submission.callers.join(asyncio.get_running_loop(), holds=True)
    act, end = ENDINGS[event]
    if end in SUBMISSION_MOVES[state]:
        act(submission)
        assert submission.state is end
        assert future.done() == (event != "withdrawn")
        return
    with pytest.raises(IllegalMove):
        act(submission)
    assert submission.state is state and not future.done()


@pytest.mark.parametrize("state", S, ids=lambda state: state.value)
def test_what_follows_from_a_state(state: SubmissionState) -> None:
    """Whether it queues, is on its way, holds slots, and which error a caller gets who waited long enough."""
    submission = submission_in(state)
    in_flight = state in (S.PREPARING, S.SENDING, S.LOOKING_UP)
    holds = in_flight or state in (S.UNRESOLVED, S.ACCEPTED)
    assert submission.queued == (state is S.QUEUED)
    assert (submission.in_flight, submission.holds_slots, submission.may_exist) == (in_flight, holds, holds)
    assert isinstance(submission.out_of_time(5.0), TaskTimeout if holds else QueueTimeout)
    assert submission.abandoned, "nobody awaits it here"


# -- what may exist of it


def test_the_table_of_the_evidence_is_complete() -> None:
    """All pairs; a submission begins with none, or with an attempt of an earlier run."""
    walk_table(EVIDENCE_MOVES, [E.NONE, E.EARLIER, E.ELSEWHERE])


@pytest.mark.parametrize(
    ("evidence", "begun", "lost", "refused", "cleared"),
    [
        (E.NONE, E.SENT, None, None, E.NONE),
        (E.SENT, None, E.LOST, E.NONE, E.SENT),
        (E.LOST, None, E.LOST, None, E.SENT),
        (E.EARLIER, E.LOST, E.EARLIER, E.NONE, E.NONE),
        (E.ELSEWHERE, None, E.ELSEWHERE, None, None),
    ],
)
def test_every_event_of_an_attempt_with_any_evidence(
    evidence: Evidence,
    begun: Evidence | None,
    lost: Evidence | None,
    refused: Evidence | None,
    cleared: Evidence | None,
) -> None:
    """Sent, lost, surely refused, looked up in vain: the evidence that follows; None: that cannot happen."""
    events: dict[str, tuple[Callable[[Attempts], None], Evidence | None]] = {
        "begun": (lambda attempts: attempts.begin(100.0), begun),
        "lost": (lambda attempts: attempts.lost(), lost),
        "refused": (lambda attempts: attempts.refused(), refused),
        "cleared": (lambda attempts: attempts.cleared(), cleared),
    }
    for act, expected in events.values():
        attempts = attempts_with(evidence)
        if expected is not None:
            act(attempts)
            assert attempts.evidence is expected
            continue
        with pytest.raises(IllegalMove):
            act(attempts)
        assert (attempts.evidence, attempts.first_sent) == (evidence, 0.0)


@pytest.mark.parametrize(
    ("earlier", "evidence"),
    [
        (None, E.NONE),
        (EarlierAttempt(70.0), E.EARLIER),
        (EarlierAttempt(70.0, elsewhere=True), E.ELSEWHERE),
    ],
)
def test_a_submission_begins_with_what_an_earlier_run_did(
    earlier: EarlierAttempt | None, evidence: Evidence
) -> None:
    """Its evidence and its time; this run itself has sent nothing yet."""
    submission = submission_in(S.QUEUED, earlier)
    attempts = submission.attempts
    assert (attempts.evidence, attempts.sent, attempts.count) == (evidence, False, 0)
    assert attempts.first_sent == (0.0 if earlier is None else 70.0)
    assert attempts.doubtful == submission.may_exist == (earlier is not None)


# -- what it is made of


def test_a_create_carries_what_the_call_adds() -> None:
    """The id where the endpoint takes one, and the address for callbacks where one is given."""
    row = endpoint_of(still())
    spec = CreateSpec(still(), row, "order-1", generated=False)
    assert spec.extra_fields == {"external_task_id": "order-1"}
    heard = spec._replace(callback_url="https://example.com/heard")
    assert heard.extra_fields == {**spec.extra_fields, "callback_url": "https://example.com/heard"}
    assert spec._replace(endpoint=row._replace(takes_external_id=False)).extra_fields == {}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"priority": "high"}, "priority: must be a whole number, not str"),
        ({"label": 7}, "label: must be text, not int"),
        ({"callback_url": b"x"}, "callback_url: must be text, not bytes"),
        ({"callback_url": "https:///x"}, "callback_url: the address names no host; write https://host/path"),
        ({"callback_url": "http://localhost/x"}, "callback_url: the API cannot post to 'localhost'"),
        ({"queue_timeout": -1}, "queue_timeout: must be a number of seconds, not -1"),
        ({"queue_timeout": "5"}, "queue_timeout: must be a number of seconds, not '5'"),
    ],
)
def test_options_that_cannot_be_ordered_are_refused(options: Any, text: str) -> None:
    """Each is named with what is wrong."""
    with pytest.raises(RequestInvalid) as caught:
        check_order(options)
    assert text in str(caught.value)


def test_an_option_that_there_is_not_is_a_type_error() -> None:
    """As for any keyword argument."""
    options: Any = {"prioritty": 1}
    with pytest.raises(TypeError, match=r"^submit\(\) got an unexpected keyword argument 'prioritty'$"):
        check_order(options)
