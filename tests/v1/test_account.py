"""Resource packs: what is asked, and what comes back, with packs and without."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kling_async import v1
from kling_async.errors import RequestInvalid
from kling_async.orchestrator.results import decode_result
from kling_async.records import decode_envelope
from kling_async.wire.checks import check, to_wire
from tests.golden import golden
from tests.v1.judging import answered, doubted, refused, sent

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


# --- what was taken ----------------------------------------------------------------------------

SPAN: dict[str, Any] = {"start_time": 1788000000000, "end_time": 1789900000000}
BILLING = {
    "account_billing_package": v1.AccountBillingPackage,
    "account_billing_balance": v1.AccountBillingBalance,
}
KINDS = pytest.mark.parametrize("kind", BILLING.values())


def only(key: str, *values: str) -> v1.BillingFilter:
    return v1.BillingFilter(key=key, values=values)


BILLS: dict[str, dict[str, Any]] = {
    "account_billing_package": {
        "vendor's example": {**SPAN, "limit": 50, "filters": (only("product_type", "video"),)},
        "next page": {"cursor": "c-0002"},
        "everything": {
            **SPAN,
            "limit": 500,
            "filters": (
                only("product_type", "video", "image", "try-on"),
                only("api_key_name", "studio"),
                only("package_id", "0123"),
            ),
        },
    },
    "account_billing_balance": {
        "vendor's example": {**SPAN, "limit": 50},
        "next page": {"cursor": "c-0002"},
        "one key": {**SPAN, "filters": (only("api_key_name", "studio"),)},
    },
}


@pytest.mark.parametrize("name", BILLING)
def test_a_bill_is_asked_for_as_the_vendor_writes_it(name: str) -> None:
    """The whole body, compared as JSON, without a warning: of a first page and of one by its cursor."""
    bodies = {case: sent(BILLING[name](**values)) for case, values in BILLS[name].items()}
    assert bodies == golden(name)["requests"]


@pytest.mark.parametrize("name", BILLING)
def test_a_bill_is_read(name: str) -> None:
    """Every field of an entry, and how to go on; the last page has none and says so."""
    kind, answers = BILLING[name], golden(name)["answers"]
    page: Any = answered(kind(), answers["page"])
    assert msgspec.json.decode(msgspec.json.encode(page.result)) == answers["page"]["data"]["result"]
    assert (page.next_cursor, page.has_more, page.result.count) == ("c-0002", True, 1)
    last: Any = answered(kind(), answers["last page"])
    assert (last.result.detail, last.next_cursor, last.has_more) == ((), "", False)


@KINDS
@pytest.mark.parametrize(
    ("values", "problems"),
    [
        (
            {},
            [("start_time", "is required without cursor"), ("end_time", "is required without cursor")],
        ),
        ({"start_time": 5}, [("end_time", "is required without cursor")]),
        ({"start_time": 5, "end_time": 5}, [("end_time", "must be later than start_time")]),
        ({**SPAN, "limit": 501}, [("limit", "501 is too large; at most 500")]),
    ],
)
def test_a_bill_needs_a_span_of_time(kind: Any, values: Any, problems: list[tuple[str, str]]) -> None:
    """Both ends, the second later; a cursor stands for them."""
    assert refused(kind(**values)) == problems


def test_a_pack_is_named_in_one_way() -> None:
    """Its name and its id exclude each other; with a cursor the vendor reads neither."""
    request = v1.AccountBillingPackage(**SPAN, filters=(only("package_name", "a"), only("package_id", "b")))
    assert refused(request) == [("filters", "package_name and package_id exclude each other")]
    assert doubted(msgspec.structs.replace(request, cursor="c-0002")) == []


@pytest.mark.parametrize(
    ("kind", "filter_", "doubt"),
    [
        (
            v1.AccountBillingPackage,
            only("colour", "red"),
            ("filters[0].key", "'colour' is not known here; the vendor will judge it"),
        ),
        (
            v1.AccountBillingBalance,
            only("product_type", "video"),
            ("filters[0].key", "'product_type' is not known here; the vendor will judge it"),
        ),
        (
            v1.AccountBillingPackage,
            only("product_type", "video", "sound"),
            ("filters[0].values", "'sound' is none of video, image, try-on"),
        ),
    ],
)
def test_an_unknown_filter_is_doubted(kind: Any, filter_: v1.BillingFilter, doubt: tuple[str, str]) -> None:
    """It passes with a warning."""
    assert doubted(kind(**SPAN, filters=(filter_,))) == [doubt]
