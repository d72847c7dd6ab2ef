"""All synchronous calls by endpoint, and the one function that judges, makes and charges a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.calls import billing, library_calls, media_calls, selections
from kling_async.emulator.calls.bodies import judged_fields
from kling_async.emulator.calls.context import CallContext
from kling_async.emulator.judging.judge import judge_query
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.judging.rules.table import with_defaults
from kling_async.emulator.state.payloads import without_payloads
from kling_async.emulator.state.prices import units_of
from kling_async.emulator.state.prompt_words import asks_to_refuse

if TYPE_CHECKING:
    from kling_async.emulator.calls.context import SyncCall
    from kling_async.emulator.calls.fields import Links
    from kling_async.emulator.judging.reference import ReferenceEndpoint
    from kling_async.emulator.state.account import EmulatedAccount
    from kling_async.emulator.state.ledger import Row

__all__ = ["CALLS", "make_call"]

CALLS: Final[dict[str, SyncCall]] = {
    **media_calls.CALLS,
    **library_calls.CALLS,
    **selections.CALLS,
    **billing.CALLS,
}
"""Synchronous calls by endpoint."""


def make_call(
    account: EmulatedAccount,
    endpoint: ReferenceEndpoint,
    body: dict[str, Any] | None,
    row: Row,
    links: Links,
) -> Any:
    """Make a synchronous call and return the ``data`` of its answer; only a call that succeeds is charged.

    Args:
        account: The account that pays.
        endpoint: The endpoint of the call.
        body: The JSON body, None if the request had no JSON object.
        row: The ledger's row of the request.
        links: Gives the URLs of files.

    Raises:
        Refusal: Nothing was done, and nothing charged.
    """
    full = with_defaults(endpoint, judged_fields(endpoint, body, row))
    if endpoint.method == "GET":
        full |= judge_query(endpoint.pages, dict(row.query))
    units = units_of(endpoint, full)
    pool = _paying_pool(endpoint)
    if pool != "none":
        if asks_to_refuse(without_payloads(full, endpoint.params)):
            raise Refusal(1301, "Failure to pass the risk control system")
        account.refuse_unaffordable(pool, units)
    context = CallContext(account.library, account.tasks, account.clock, links, units, account.wallet.left)
    data = CALLS[endpoint.name](context, full)
    account.wallet.add(pool, -units)
    return data


def _paying_pool(endpoint: ReferenceEndpoint) -> str:
    """Return the pool whose units pay for a call; a call itself takes no slots."""
    return endpoint.prices[0]["pool"] if endpoint.prices else "none"
