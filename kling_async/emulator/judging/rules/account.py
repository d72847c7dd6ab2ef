"""Rules of the questions after the account's bills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.emulator.http.answers import Refusal

if TYPE_CHECKING:
    from kling_async.emulator.judging.rules.shared import Body, Rule

__all__ = ["RULES"]


def window_or_cursor(body: Body) -> None:
    """The first page has a window of time; the pages behind it follow from the cursor alone."""
    if "cursor" in body:
        return
    for name in ("start_time", "end_time"):
        if name not in body:
            raise Refusal(1200, f"Missing Request Parameter: {name}")
    if body["end_time"] <= body["start_time"]:
        raise Refusal(1201, "end_time must be later than start_time")


def one_kind_of_package(body: Body) -> None:
    """Packages are told by name or by id."""
    keys = {entry["key"] for entry in body.get("filters", ())}
    if "cursor" not in body and {"package_name", "package_id"} <= keys:
        raise Refusal(1201, "filters: package_name and package_id cannot be used together")


RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "account_billing_package": (window_or_cursor, one_kind_of_package),
    "account_billing_balance": (window_or_cursor,),
}
