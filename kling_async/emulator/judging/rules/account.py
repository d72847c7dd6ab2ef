"""Rules for the calls that read the account's bills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.emulator.judging.refusals import Refusal

if TYPE_CHECKING:
    from kling_async.emulator.judging.rules.shared import Body, Rule

__all__ = ["RULES"]


def check_window_or_cursor(body: Body) -> None:
    """Require a time window, except with a cursor: the following pages depend on the cursor alone."""
    if "cursor" in body:
        return
    for name in ("start_time", "end_time"):
        if name not in body:
            raise Refusal(1200, f"Missing Request Parameter: {name}")
    if body["end_time"] <= body["start_time"]:
        raise Refusal(1201, "end_time must be later than start_time")


def check_package_filters(body: Body) -> None:
    """Refuse filters by package name and by package id in the same request."""
    keys = {entry["key"] for entry in body.get("filters", ())}
    if "cursor" not in body and {"package_name", "package_id"} <= keys:
        raise Refusal(1201, "filters: package_name and package_id cannot be used together")


RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "account_billing_package": (check_window_or_cursor, check_package_filters),
    "account_billing_balance": (check_window_or_cursor,),
}
