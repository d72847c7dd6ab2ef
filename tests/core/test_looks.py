"""core/looks.py: one look decides nothing; several, spread over time and forms, do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.core.looks import Looks, RefusalWeight, refusal_of
from kling_async.errors import (
    CODES,
    AccountError,
    AuthenticationError,
    BadResponse,
    TransportError,
    api_error,
)

if TYPE_CHECKING:
    from kling_async.core.queries import Form
    from kling_async.errors import KlingError


@pytest.mark.parametrize(
    ("looks", "accepted", "gone"),
    [
        ([("one", 0), ("ids", 5), ("one", 65), ("one", 305)], True, True),
        ([("one", 0), ("ids", 5), ("one", 65), ("one", 299)], True, False),
        ([("one", 0), ("ids", 5), ("one", 305)], True, False),
        ([("one", 0), ("one", 5), ("one", 65), ("one", 305)], True, False),
        ([("one", 0), ("one", 1), ("one", 2), ("list", 3)], True, False),
        ([("one", 0), ("one", 2.5), ("one", 5)], False, True),
        ([("one", 0), ("one", 1), ("one", 2)], False, False),
        ([("one", 0), ("one", 5)], False, False),
    ],
)
def test_when_a_task_counts_as_gone(looks: list[tuple[Form, float]], accepted: bool, gone: bool) -> None:
    """Accepted: 4 looks over 5 minutes in two forms. An id merely given: 3 looks over 5 seconds."""
    history = Looks()
    *before, last = [history.missed(form, at, accepted=accepted) for form, at in looks]
    assert not any(miss.gone for miss in before)
    assert last.gone is gone


@pytest.mark.parametrize(("accepted", "seconds", "looks"), [(True, 300, 4), (False, 5, 3)])
def test_the_pauses_lead_to_the_end_by_the_fewest_looks(accepted: bool, seconds: int, looks: int) -> None:
    """Looks that keep the pauses need no more of them than the rule demands."""
    history, now = Looks(), 0.0
    for _ in range(looks - 1):
        form: Form = "ids" if history.wants_other_form else "one"
        miss = history.missed(form, now, accepted=accepted)
        assert not miss.gone
        now += miss.pause
    assert history.missed("one", now, accepted=accepted).gone
    assert seconds <= now < 1.1 * seconds


def test_where_only_one_form_works_it_takes_longer() -> None:
    """15 minutes of looks in one form end it, too."""
    history = Looks()
    history.one_form = True
    assert [history.missed("one", at, accepted=True).gone for at in (0, 300, 600, 899, 900)] == [
        False
    ] * 4 + [True]
    assert not history.wants_other_form


@given(
    st.lists(st.tuples(st.sampled_from(["one", "ids", "list"]), st.floats(0, 1000)), max_size=20),
    st.booleans(),
)
def test_an_answer_that_knows_the_task_begins_anew(looks: list[tuple[Form, float]], accepted: bool) -> None:
    """Whatever came before, one record means that as many looks are needed again."""
    history = Looks()
    for form, at in sorted(looks, key=lambda look: look[1]):
        history.missed(form, at, accepted=accepted)
    history.found()
    assert not history.wants_other_form
    assert not history.missed("one", 2000.0, accepted=accepted).gone


def test_an_omission_counts_as_a_form_but_not_as_a_look() -> None:
    """An answer about many tasks that leaves one out proves little, yet it is another form."""
    history = Looks()
    history.left_out("list")
    assert [history.missed("one", at, accepted=True).gone for at in (0, 5, 65, 305)] == [False] * 3 + [True]


def test_the_third_unreadable_answer_in_a_row_is_told() -> None:
    """Once, until one can be read; all are counted."""
    history = Looks()
    assert [history.garbled() for _ in range(5)] == [False, False, True, False, False]
    history.found()
    assert [history.garbled() for _ in range(3)] == [False, False, True]
    assert history.unreadable_ever == 8


def test_a_wall_is_raised_when_it_has_stood_for_15_minutes() -> None:
    """An answer, or having raised it, begins the time anew."""
    history = Looks()
    assert [history.walled(at) for at in (0, 899, 900, 901, 1800, 1801)] == [
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    history.found()
    assert not history.walled(9999)


def test_a_result_is_looked_for_a_few_times() -> None:
    """Each pause is longer; then what there is counts."""
    history = Looks()
    pauses = [history.without_result() for _ in range(7)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 15.0, None, None]


def expected(code: int) -> RefusalWeight:
    """Return the weight of a code."""
    kinds = (AuthenticationError, AccountError)
    return RefusalWeight.FINAL if issubclass(CODES[code].error, kinds) else RefusalWeight.NOTHING


@pytest.mark.parametrize(
    ("error", "weight"),
    [
        *((api_error(code, "x", http_status=400), expected(code)) for code in CODES),
        (TransportError("certificate", sent=False), RefusalWeight.FINAL),
        *((api_error(None, "x", http_status=status), RefusalWeight.WALL) for status in (401, 403)),
        *((BadResponse("x", http_status=status), RefusalWeight.WALL) for status in (401, 403)),
        *(
            (api_error(None, "x", http_status=status), RefusalWeight.NOTHING)
            for status in (400, 404, 408, 409, 425, 499)
        ),
        *((BadResponse("x", http_status=status), RefusalWeight.NOTHING) for status in (301, 404, 408, 499)),
        (api_error(4711, "x", http_status=403), RefusalWeight.NOTHING),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_weight_of_a_refusal(error: KlingError, weight: Any) -> None:
    """Only the vendor's own code about the account, or an untrusted certificate, is raised at once."""
    assert refusal_of(error) is weight


@given(
    st.lists(st.sampled_from(["2", "reviewing", "submitted", "PROCESSING", "succeed", "failed"]), max_size=12)
)
def test_an_unknown_status_is_told_the_third_time_in_a_row(words: list[str]) -> None:
    """A known word in between begins anew, and takes the unknown one back."""
    history, row = Looks(), 0
    for word in words:
        strange = word in ("2", "reviewing")
        row = row + 1 if strange else 0
        assert history.status(word) is (row == 3)
        assert history.unknown_status == (word if strange else "")
