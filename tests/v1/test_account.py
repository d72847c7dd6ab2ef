"""Resource packs: what is asked, and what comes back, with packs and without."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kling_async import v1
from kling_async.checks import check, to_wire
from kling_async.errors import RequestInvalid
from kling_async.results import decode_result
from kling_async.wire import decode_envelope
from tests.golden import golden

GOLDEN = golden("account_costs")
WINDOW: dict[str, Any] = {"start_time": 1755340000000, "end_time": 1789900000000}
REQUESTS = {
    "window": v1.AccountCosts(**WINDOW),
    "one pack": v1.AccountCosts(**WINDOW, resource_pack_name="Trial-Video-100Units-5Con-1Months"),
}


@pytest.mark.parametrize("case", GOLDEN["requests"])
def test_a_question_is_asked_as_the_vendor_writes_it(case: str) -> None:
    """Snake case, milliseconds as whole numbers; acceptable as it is."""
    check(REQUESTS[case])
    assert to_wire(REQUESTS[case], str) == GOLDEN["requests"][case]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"start_time": -1, "end_time": 1}, ("start_time", "-1 is too small; at least 0")),
        ({"start_time": 0, "end_time": 1.5}, ("end_time", "must be a whole number, not float")),
    ],
)
def test_a_window_is_of_whole_milliseconds(values: dict[str, Any], problem: tuple[str, str]) -> None:
    """Seconds as fractions, and times before 1970, are mistakes."""
    with pytest.raises(RequestInvalid) as caught:
        check(v1.AccountCosts(**values))
    assert caught.value.problems == (problem,)


def costs(case: str) -> v1.Costs:
    """The typed content of a golden answer."""
    body = msgspec.json.encode(GOLDEN["answers"][case])
    return decode_result(v1.Costs, decode_envelope(body).data)


def test_packs_are_read() -> None:
    """Every field of a pack, whole and broken quantities alike."""
    found = costs("packs")
    assert (found.code, found.msg) == (0, "success")
    assert [msgspec.to_builtins(pack) for pack in found.packs] == (
        GOLDEN["answers"]["packs"]["data"]["resource_pack_subscribe_infos"]
    )
    assert found.raw == GOLDEN["answers"]["packs"]["data"]


def test_an_account_without_packs_has_none() -> None:
    """The list is then missing altogether; that reads as no packs."""
    assert costs("no packs").resource_pack_subscribe_infos is None
    assert costs("no packs").packs == ()


def test_a_refusal_inside_is_read_as_such() -> None:
    """The second envelope's code is there for the client to raise."""
    found = costs("refused inside")
    assert (found.code, found.msg, found.packs) == (1200, "start_time is missing", ())


def test_a_pack_of_an_older_form_is_read() -> None:
    """What a pack lacks is left at nothing: an unknown form never hides the other packs."""
    found = decode_result(v1.Costs, b'{"resource_pack_subscribe_infos":[{"status":"online","new":1}]}')
    assert found.packs == (v1.Pack(status="online"),)
