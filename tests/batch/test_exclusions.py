"""Test batch/exclusions.py: what is refused or too dear for some requests does not end the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import BadResponse, RequestInvalid
from kling_async.batch.exclusions import Exclusions, SkipReason
from kling_async.core.queue import Kind
from kling_async.errors import CODES, api_error

if TYPE_CHECKING:
    from kling_async import KlingError

VIDEO = Kind("text_to_video", "kling-v3", "video")
OTHER = Kind("text_to_video", "kling-v2-6", "video")
IMAGE = Kind("image_generation", "", "image")
REFUSALS = [code for code in CODES if code not in (1302, 1303)]


def refusal(code: int | None, status: int = 400) -> KlingError:
    return api_error(code, "no", http_status=status)


@pytest.mark.parametrize("code", REFUSALS)
@pytest.mark.parametrize("most", [1, 3, 10])
def test_equal_refusals_in_a_row_exclude_their_kind_alone(code: int, most: int) -> None:
    """The last of them excludes the endpoint and model; the same job refused again counts once."""
    exclusions = Exclusions(most)
    told = [exclusions.refused(VIDEO, n // 2, refusal(code)) for n in range(2 * most)]
    assert told == [False] * (2 * most - 2) + [True, False]
    assert (exclusions.reason(VIDEO), exclusions.reason(OTHER), exclusions.stopped) == (
        "refusals",
        None,
        "refusals",
    )


@given(st.lists(st.sampled_from([1201, 1300, 1301, 1203, 403, 404, 0, None]), max_size=60))
def test_a_row_ends_with_another_refusal_or_an_accepted_create(answers: list[int | None]) -> None:
    """Whatever comes, the kind is excluded exactly when three equal refusals stood in a row."""
    exclusions, row, expected = Exclusions(3), list[int](), False
    for position, answer in enumerate(answers):
        if answer is None:
            exclusions.accepted(VIDEO)
            row = []
            continue
        error = BadResponse("x", http_status=502) if answer == 0 else refusal(answer)
        if answer in (403, 404):
            error = refusal(None, answer)
        exclusions.refused(VIDEO, position, error)
        row = [*row, answer] if row[-1:] == [answer] else [answer]
        expected = expected or len(row) >= 3
    assert (exclusions.reason(VIDEO) == "refusals") == expected


def test_none_and_errors_that_are_no_refusals_exclude_nothing() -> None:
    """With None no number does; busy accounts and our own checks never count."""
    exclusions = Exclusions(None)
    assert not any(exclusions.refused(VIDEO, n, refusal(1201)) for n in range(50))
    exclusions = Exclusions(2)
    for n in range(20):
        assert not exclusions.refused(VIDEO, n, refusal(1302, 429))
        assert not exclusions.refused(VIDEO, n, refusal(1303, 429))
        assert not exclusions.refused(VIDEO, n, RequestInvalid("x", []))


def test_the_account_s_error_is_fatal_only_if_all_pools_seen_are_used_up() -> None:
    """A pool that goes on means that the batch was not ended by the account."""
    exclusions, error = Exclusions(10), refusal(1102, 429)
    exclusions.started(IMAGE)
    exclusions.close_pool("image", error)
    assert exclusions.fatal() is error
    exclusions.started(VIDEO)
    assert exclusions.fatal() is None and exclusions.reason(IMAGE) == "account"
    assert [(line.what, line.reason, line.requests) for line in exclusions.lines()] == [
        ("image", "account", 0)
    ]


@pytest.mark.parametrize("reason", ["max_units", "account", "refusals"])
def test_skipped_requests_are_counted_by_what_they_have_in_common(reason: SkipReason) -> None:
    """Units and accounts concern a pool, refusals an endpoint and model."""
    exclusions = Exclusions(10)
    for kind in (VIDEO, OTHER, VIDEO, IMAGE):
        exclusions.skip(kind, reason)
    found = {line.what: line.requests for line in exclusions.lines()}
    if reason == "refusals":
        assert found == {"text_to_video kling-v3": 2, "text_to_video kling-v2-6": 1, "image_generation": 1}
    else:
        assert found == {"video": 3, "image": 1}


def test_an_input_without_end_is_given_up_after_many_in_a_row() -> None:
    """A job that begins starts the count anew."""
    for limited, most in ((True, 64), (False, 1000)):
        exclusions = Exclusions(10, everything_limited=limited)
        exclusions.skip(VIDEO, "max_units")
        exclusions.started(IMAGE)
        assert not exclusions.skipping
        for _ in range(most - 1):
            exclusions.skip(VIDEO, "max_units")
        assert exclusions.skipping and not exclusions.hopeless
        exclusions.skip(VIDEO, "max_units")
        assert exclusions.hopeless


def test_ten_files_in_a_row_that_could_not_be_stored_are_enough() -> None:
    """One that was stored between them starts the count anew."""
    exclusions = Exclusions(10)
    assert not any(exclusions.unstored() for _ in range(9))
    exclusions.stored()
    assert [exclusions.unstored() for _ in range(10)] == [False] * 9 + [True]
