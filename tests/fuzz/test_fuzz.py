"""Thousands of bodies drawn from the reference: both our check and the emulator judge them, and agree.

Neither side sees the other's code. Every difference is listed with its reason in `differences`; one that is
not listed fails the test, and so does one that is listed and is none.
"""

from __future__ import annotations

import os
from typing import Any, Final

import pytest
from hypothesis import given

from tests.fuzz.bodies import bodies, crossings, drawing
from tests.fuzz.crossed import CROSSES
from tests.fuzz.differences import ONLY_OURS, ONLY_THEIRS, Difference, listed
from tests.fuzz.judging import ROWS, verdict

Json = dict[str, Any]

CASES: Final = int(os.environ.get("KLING_FUZZ_CASES", "150"))
CROSSED: Final = 6
"""How often each meeting of fields is drawn."""
LEAST_ACCEPTED: Final = 0.15
"""Share of each endpoint's bodies that both accept: were there fewer, the test would say little."""


def agreed(name: str, body: Json) -> bool:
    """Whether both accept a body; where only one of them does, the difference must be listed."""
    mine, other = verdict(name, body)
    if mine and not other:
        assert listed(ONLY_OURS, name, mine, body), f"only ours refuses: {mine}\n{body}"
    if other and not mine:
        assert listed(ONLY_THEIRS, name, other, body), f"only theirs refuses: {other}\n{body}"
    return not mine and not other


@pytest.mark.parametrize("name", ROWS)
def test_both_sides_judge_alike(name: str) -> None:
    """Whatever body is drawn, both accept it or both refuse it, but for what is listed."""
    accepted: list[bool] = []

    @drawing(CASES)
    @given(body=bodies(name))
    def judged(body: Json) -> None:
        accepted.append(agreed(name, body))

    judged()
    assert sum(accepted) >= LEAST_ACCEPTED * len(accepted)


@pytest.mark.parametrize("name", CROSSES)
def test_both_sides_judge_alike_where_fields_meet(name: str) -> None:
    """So it is where a rule between fields is broken, or just held, whatever the other fields say."""
    for cross in CROSSES[name]:

        @drawing(CROSSED)
        @given(body=crossings(name, cross))
        def judged(body: Json) -> None:
            agreed(name, body)

        judged()


@pytest.mark.parametrize("difference", ONLY_OURS, ids=lambda d: d.says)
def test_what_only_ours_refuses_is_met(difference: Difference) -> None:
    """Every difference of the first list is one: only our check refuses the body that shows it, for that."""
    name, body = difference.shown
    mine, other = verdict(name, body)
    assert not other and listed(ONLY_OURS, name, mine, body) is difference


@pytest.mark.parametrize("difference", ONLY_THEIRS, ids=lambda d: d.says)
def test_what_only_theirs_refuses_is_met(difference: Difference) -> None:
    """Every difference of the second list is one: only the emulator refuses the body that shows it."""
    name, body = difference.shown
    mine, other = verdict(name, body)
    assert not mine and listed(ONLY_THEIRS, name, other, body) is difference
