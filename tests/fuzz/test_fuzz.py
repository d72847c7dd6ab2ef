"""The client's check and the emulator judge thousands of drawn bodies alike.

Neither side uses the other's code. Known differences are listed with their reasons in `differences`: one that
is not listed fails, and so does a listed one that does not show.
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
"""Bodies drawn for each combination of fields."""
LEAST_ACCEPTED: Final = 0.15
"""Share of an endpoint's bodies that both must accept, for agreeing on refusals alone proves little."""


def agreed(name: str, body: Json) -> bool:
    """Tell whether both accept a body; fail where only one does and the difference is not listed."""
    mine, other = verdict(name, body)
    if mine and not other:
        assert listed(ONLY_OURS, name, mine, body), f"only ours refuses: {mine}\n{body}"
    if other and not mine:
        assert listed(ONLY_THEIRS, name, other, body), f"only theirs refuses: {other}\n{body}"
    return not mine and not other


@pytest.mark.parametrize("name", ROWS)
def test_both_sides_judge_alike(name: str) -> None:
    """Both accept a drawn body or both refuse it, apart from listed differences."""
    accepted: list[bool] = []

    @drawing(CASES)
    @given(body=bodies(name))
    def judged(body: Json) -> None:
        accepted.append(agreed(name, body))

    judged()
    assert sum(accepted) >= LEAST_ACCEPTED * len(accepted)


@pytest.mark.parametrize("name", CROSSES)
def test_both_sides_judge_alike_where_fields_meet(name: str) -> None:
    """They also agree where a rule between fields is broken or just kept, whatever the other fields are."""
    for cross in CROSSES[name]:

        @drawing(CROSSED)
        @given(body=crossings(name, cross))
        def judged(body: Json) -> None:
            agreed(name, body)

        judged()


@pytest.mark.parametrize("difference", ONLY_OURS, ids=lambda d: d.says)
def test_what_only_ours_refuses_is_met(difference: Difference) -> None:
    """The body of each listed difference is refused by the client's check alone, and for that reason."""
    name, body = difference.shown
    mine, other = verdict(name, body)
    assert not other and listed(ONLY_OURS, name, mine, body) is difference


@pytest.mark.parametrize("difference", ONLY_THEIRS, ids=lambda d: d.says)
def test_what_only_theirs_refuses_is_met(difference: Difference) -> None:
    """The body of each listed difference is refused by the emulator alone, and for that reason."""
    name, body = difference.shown
    mine, other = verdict(name, body)
    assert not mine and listed(ONLY_THEIRS, name, other, body) is difference
