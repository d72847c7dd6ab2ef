"""The bills of the account: what was deducted, task by task."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.calls.results import plain
from kling_async.emulator.http.answers import Refusal
from kling_async.emulator.state.durations import uses_voices

if TYPE_CHECKING:
    from kling_async.emulator.calls.context import Body, Call, Desk
    from kling_async.emulator.state.tasks import Task

__all__ = ["CALLS"]

PACKAGE_ID: Final = "0123456789abcdef0123456789abcdef"
API_KEY_NAME: Final = "emulator"
PRODUCTS: Final = {"virtual_try_on": "try-on"}
"""Pools that bills call otherwise."""
ENDLESS: Final = 1000.0
"""Units shown of a pack that never runs out."""
RESOLUTIONS: Final = {"std": "720p", "pro": "1080p", "4k": "4k"}


def from_packages(desk: Desk, body: Body) -> Body:
    """What ended tasks took from the packs, oldest first, a page at a time."""
    first, wanted = 0, body
    if "cursor" in body:
        first, wanted = _continued(desk, body["cursor"])
    entries = [
        entry
        for task, balance in _paid(desk)
        if wanted["start_time"] <= task.created_ms <= wanted["end_time"]
        and _passes(entry := _entry(task, balance), wanted.get("filters", ()))
    ]
    page = entries[first : first + wanted["limit"]]
    more = first + len(page) < len(entries)
    cursor = f"{PACKAGE_ID}-{first + len(page)}" if more else ""
    if more:
        desk.library.bills[cursor] = (first + len(page), wanted)
    return {"result": {"detail": page, "count": len(page)}, "next_cursor": cursor, "has_more": more}


def from_balance(desk: Desk, body: Body) -> Body:  # noqa: ARG001 - there is no money here
    """Nothing: the account pays with packs only."""
    return {"result": {"detail": [], "count": 0}, "next_cursor": "", "has_more": False}


def _continued(desk: Desk, cursor: str) -> tuple[int, Body]:
    if cursor not in desk.library.bills:
        raise Refusal(1201, "cursor is invalid")
    return desk.library.bills[cursor]


def _paid(desk: Desk) -> list[tuple[Task, float]]:
    """Return the tasks that cost something, oldest first, and what was left in the pack after each."""
    tasks = [task for task in desk.tasks.by_id.values() if task.units]
    after: dict[str, Decimal] = {}
    for task in tasks:
        if not task.done:  # its units are set aside already
            after[task.pool] = after.get(task.pool, _left(desk, task.pool)) + task.units
    paid: list[tuple[Task, float]] = []
    for task in reversed([task for task in tasks if task.status == "succeed"]):
        balance = after.setdefault(task.pool, _left(desk, task.pool))
        paid.append((task, float(balance)))
        after[task.pool] = balance + task.units
    return paid[::-1]


def _left(desk: Desk, pool: str) -> Decimal:
    return Decimal(str(desk.left.get(pool, ENDLESS)))


def _passes(entry: dict[str, Any], filters: list[Body]) -> bool:
    """Values of one key are alternatives, keys must all match; nobody knows the packs' names here."""
    return all(str(entry.get(one["key"], "")) in one["values"] for one in filters)


def _entry(task: Task, balance: float) -> dict[str, Any]:
    film = {
        "duration": plain(task.seconds),
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
        "deduction_time": str(task.updated_ms),
        "package_id": PACKAGE_ID,
        "product_type": PRODUCTS.get(task.pool, task.pool),
        "unit_before_deduction": float(Decimal(str(balance)) + task.units),
        "deduction_amount": float(task.units),
        "unit_after_deduction": balance,
    }


CALLS: Final[dict[str, Call]] = {
    "account_billing_package": from_packages,
    "account_billing_balance": from_balance,
}
