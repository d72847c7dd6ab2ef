"""Synchronous calls that read the account's bills: the units deducted, task by task."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.calls.fields import number_text
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.state.prices import uses_voices

if TYPE_CHECKING:
    from kling_async.emulator.calls.context import Body, CallContext, SyncCall
    from kling_async.emulator.state.tasks import Task

__all__ = ["CALLS"]

PACKAGE_ID: Final = "0123456789abcdef0123456789abcdef"
API_KEY_NAME: Final = "emulator"
PRODUCTS: Final = {"virtual_try_on": "try-on"}
"""Product types of the pools that have another name in bills."""
ENDLESS: Final = 1000.0
"""Units that bills show for a pool that never runs out."""
RESOLUTIONS: Final = {"std": "720p", "pro": "1080p", "4k": "4k"}


def from_packages(context: CallContext, body: Body) -> Body:
    """Return one page of what succeeded tasks took from the packs, oldest first."""
    first, wanted = 0, body
    if "cursor" in body:
        first, wanted = _continued(context, body["cursor"])
    entries = [
        entry
        for task, balance in _paid(context)
        if wanted["start_time"] <= task.times.created_ms <= wanted["end_time"]
        and _passes(entry := _entry(task, balance), wanted.get("filters", ()))
    ]
    page = entries[first : first + wanted["limit"]]
    more = first + len(page) < len(entries)
    cursor = f"{PACKAGE_ID}-{first + len(page)}" if more else ""
    if more:
        context.library.bill_cursors[cursor] = (first + len(page), wanted)
    return {"result": {"detail": page, "count": len(page)}, "next_cursor": cursor, "has_more": more}


def from_balance(context: CallContext, body: Body) -> Body:  # noqa: ARG001 - the account has no money
    """Return an empty bill: the emulated account pays with packs only."""
    return {"result": {"detail": [], "count": 0}, "next_cursor": "", "has_more": False}


def _continued(context: CallContext, cursor: str) -> tuple[int, Body]:
    if cursor not in context.library.bill_cursors:
        raise Refusal(1201, "cursor is invalid")
    return context.library.bill_cursors[cursor]


def _paid(context: CallContext) -> list[tuple[Task, float]]:
    """Return the succeeded tasks with a price, oldest first, each with the units left after it.

    The balances are computed backwards from the units left now.
    """
    tasks = [task for task in context.tasks.by_id.values() if task.units]
    after: dict[str, Decimal] = {}
    for task in tasks:
        if not task.done:  # the create took its units, but no bill shows them yet
            after[task.pool] = after.get(task.pool, _left(context, task.pool)) + task.units
    paid: list[tuple[Task, float]] = []
    for task in reversed([task for task in tasks if task.status == "succeed"]):
        balance = after.setdefault(task.pool, _left(context, task.pool))
        paid.append((task, float(balance)))
        after[task.pool] = balance + task.units
    return paid[::-1]


def _left(context: CallContext, pool: str) -> Decimal:
    return Decimal(str(context.left.get(pool, ENDLESS)))


def _passes(entry: dict[str, Any], filters: list[Body]) -> bool:
    """Tell whether an entry matches all filters; the values of a filter are alternatives."""
    return all(str(entry.get(one["key"], "")) in one["values"] for one in filters)


def _entry(task: Task, balance: float) -> dict[str, Any]:
    film = {
        "duration": number_text(task.output.seconds),
        "refer_video_input": bool(task.body.get("video_list")),
        "video_sound": "native" if task.body.get("sound") == "on" else "off",
        "voice_control": uses_voices(task.body),
    }
    return {
        "task_id": task.task_id,
        "api_key_name": API_KEY_NAME,
        "product_function": task.endpoint.replace("_", " ").title(),
        "model_name": task.body.get("model_name", ""),
        "resolution": task.body.get("resolution") or RESOLUTIONS.get(task.body.get("mode", "std"), "720p"),
        **(film if task.pool == "video" else {}),
        "deduction_time": str(task.times.updated_ms),
        "package_id": PACKAGE_ID,
        "product_type": PRODUCTS.get(task.pool, task.pool),
        "unit_before_deduction": float(Decimal(str(balance)) + task.units),
        "deduction_amount": float(task.units),
        "unit_after_deduction": balance,
    }


CALLS: Final[dict[str, SyncCall]] = {
    "account_billing_package": from_packages,
    "account_billing_balance": from_balance,
}
"""Calls that read bills, by endpoint."""
