"""Verdicts on a gateway's own errors: as the vendor's, except where an answer may have been lost."""

from __future__ import annotations

import pytest

from kling_async.core.misses import after_miss, needs_proof
from kling_async.core.verdict import (
    Accepted,
    AfterMiss,
    Again,
    Answer,
    CreateVerdict,
    Full,
    Lost,
    Missing,
    Refused,
    judge_create,
    judge_read,
)
from kling_async.errors import AuthenticationError, BadResponse, OutOfUnits, RequestRejected

LOST = [408, 499, 500, 502, 503, 504, 524]


def gateways(status: int, code: int | None = None, *, missing: bool = False) -> Answer:
    return Answer(status, code, "some words", "r", b"null", gateway=True, missing=missing)


def created(answer: Answer) -> CreateVerdict:
    return judge_create(answer, endpoint="text_to_video", external_task_id="mine", renewable=False)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 413, 415, 422, 451])
def test_its_own_refusal_is_final(status: int) -> None:
    """No look-up is needed; only a refused key closes the account."""
    verdict = created(gateways(status))
    assert isinstance(verdict, Refused)
    kind, closes = (AuthenticationError, "all") if status == 401 else (RequestRejected, "")
    assert isinstance(verdict.error, kind) and verdict.closes == closes


@pytest.mark.parametrize("status", LOST)
@pytest.mark.parametrize("code", [None, 1303, 1102, 1201])
def test_what_may_have_been_lost_on_the_way_is_looked_up(status: int, code: int | None) -> None:
    """Also with a code of the vendor's in its message: an earlier attempt of the gateway may have made it."""
    verdict = created(gateways(status, code))
    assert isinstance(verdict, Lost) and verdict.miss is AfterMiss.RESEND


def test_a_full_account_queues_in_every_form() -> None:
    """A 429 without a number, and 1303 under any status of a refusal."""
    answers = [gateways(429), *(gateways(status, 1303) for status in (400, 403, 429))]
    assert all(isinstance(created(answer), Full) for answer in answers)


def test_a_quoted_code_means_what_it_means_from_the_vendor() -> None:
    """1102 closes its pool, 1301 does not; 5001 may have made a task."""
    out = created(gateways(400, 1102))
    assert isinstance(out, Refused) and isinstance(out.error, OutOfUnits) and out.closes == "pool"
    assert isinstance(created(gateways(400, 1301)), Refused)
    assert isinstance(created(gateways(400, 5001)), Lost)


def test_an_error_without_a_failure_says_nothing() -> None:
    """HTTP 200 or a redirect with an error's form, and nothing of the vendor's in it: it is looked up."""
    assert all(isinstance(created(gateways(status)), Lost) for status in (200, 302))


def test_a_quoted_code_counts_under_http_200_too() -> None:
    """Gateways that answer everything with 200 still queue, close the pool, and tell what is wrong."""
    assert isinstance(created(gateways(200, 1303)), Full)
    out = created(gateways(200, 1102))
    assert isinstance(out, Refused) and out.closes == "pool"
    assert isinstance(created(gateways(200, 1201)), Refused)
    assert isinstance(created(gateways(200, 5001)), Lost)


def test_an_error_that_shows_a_task_is_an_acceptance_unless_its_status_refuses() -> None:
    """Or from 500 on, whatever it quotes; the ``id`` of an error alone is that of the request."""
    for code in (None, 1303, 1102):
        shown = gateways(200, code)._replace(body=b'{"code":"odd","data":null,"task_id":"task_7"}')
        verdict = created(shown)
        assert isinstance(verdict, Accepted) and verdict.record.task_id == "task_7"
        assert not isinstance(created(shown._replace(http_status=400)), Accepted)
        assert all(isinstance(created(shown._replace(http_status=status)), Accepted) for status in LOST)
    anonymous = gateways(200, 1303)._replace(body=b'{"code":"odd","data":null,"id":"req_7"}')
    assert isinstance(created(anonymous), Full)


@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_a_task_that_the_gateway_does_not_know_is_missing(status: int) -> None:
    """Its word counts under any status."""
    assert isinstance(judge_read(gateways(status, missing=True), renewable=False), Missing)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_reads_are_repeated_after_errors_that_pass(status: int) -> None:
    """Neither an overloaded gateway nor a broken one decides anything about a task."""
    assert isinstance(judge_read(gateways(status), renewable=False), Again)


def test_a_miss_needs_proof_where_it_leads_to_a_second_create() -> None:
    """Or where the server gave up waiting; not where somebody refused the create."""
    late = BadResponse("gave up", http_status=408)
    walled = BadResponse("no such path", http_status=404)
    assert needs_proof(after_miss(Lost(late)), late)
    assert needs_proof(after_miss(Lost(late, AfterMiss.END)), late)
    assert not needs_proof(after_miss(Lost(walled, AfterMiss.END)), walled)
    assert after_miss(Again(walled, doubtful=True)) is AfterMiss.END
    assert after_miss(Refused(walled)) is AfterMiss.RESEND
