"""The list of resource packs, ``GET /account/costs``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.judging.judge import judge_query
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.state.packs import packs_for

if TYPE_CHECKING:
    from kling_async.emulator.judging.reference import ReferenceEndpoint
    from kling_async.emulator.state.account import EmulatedAccount

__all__ = ["list_packs"]

INTERVAL: Final = 1.0
"""Seconds between two requests; the vendor refuses faster ones with 1302."""


def list_packs(
    account: EmulatedAccount, endpoint: ReferenceEndpoint, query: dict[str, str]
) -> dict[str, Any]:
    """Return the packs bought within the requested window, at most once a second.

    Raises:
        Refusal: A parameter is wrong (1200, 1201), or the last request was less than a second ago (1302).
    """
    asked = judge_query(endpoint.params, query)
    now, wall = account.clock.time(), account.clock.wall()
    if now - account.packs_read_at < INTERVAL:
        raise Refusal(1302)
    account.packs_read_at = now
    packs = account.packs
    if packs is None:
        packs = tuple(packs_for(account.pools.sizes, account.wallet.left))
    shown = [
        entry
        for entry in (pack.as_json(now, wall) for pack in packs)
        if asked["start_time"] <= entry["purchase_time"] <= asked["end_time"]
        and asked["resource_pack_name"] in (None, entry["resource_pack_name"])
    ]
    return {"code": 0, "msg": "success", **({"resource_pack_subscribe_infos": shown} if shown else {})}
