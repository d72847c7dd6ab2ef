"""Account: packs, slots, closed pools and ledgers of the account behind a client."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal, overload

from kling_async.catalog import ACCOUNT_COSTS
from kling_async.errors import BadResponse, Problem, RequestInvalid
from kling_async.orchestrator.calls import call, read
from kling_async.orchestrator.cursors import Cursor
from kling_async.orchestrator.packs import costs_query
from kling_async.orchestrator.pool_states import PoolState, PoolStates, pool_states
from kling_async.orchestrator.results import answer_of
from kling_async.records import PAGE_SIZE_MAX
from kling_async.v1 import AccountBillingBalance, AccountBillingPackage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kling_async.orchestrator.engine import Engine
    from kling_async.v1 import (
        BalanceDeduction,
        BalanceDeductionPage,
        BillingFilter,
        Costs,
        PackageDeduction,
        PackageDeductionPage,
    )

__all__ = ["Account", "PoolState", "PoolStates"]


class Account:
    """The account behind a client, as ``client.account``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def costs(self, resource_pack_name: str | None = None) -> Costs:
        """Return the account's resource packs of the last 400 days; free, at most one call a second.

        All packs together tell the sizes of the pools: `limits` shows them then.
        """
        query = costs_query(self._engine.scope.now(), resource_pack_name)
        costs = answer_of(ACCOUNT_COSTS, await read(self._engine, "GET", ACCOUNT_COSTS.path, query))
        if resource_pack_name is None:
            self._engine.packs.take(costs.packs)
        return costs

    def limits(self) -> PoolStates:
        """Return the state of every pool used so far, or told of by `costs`; nothing is sent."""
        self._engine.scope.refresh()
        return pool_states(self._engine.limiter)

    @overload
    def ledger(
        self,
        since: dt.datetime,
        until: dt.datetime | None = None,
        *,
        of: Literal["packs"] = "packs",
        filters: Sequence[BillingFilter] = (),
    ) -> AsyncIterator[PackageDeduction]: ...

    @overload
    def ledger(
        self,
        since: dt.datetime,
        until: dt.datetime | None = None,
        *,
        of: Literal["balance"],
        filters: Sequence[BillingFilter] = (),
    ) -> AsyncIterator[BalanceDeduction]: ...

    def ledger(
        self,
        since: dt.datetime,
        until: dt.datetime | None = None,
        *,
        of: Literal["packs", "balance"] = "packs",
        filters: Sequence[BillingFilter] = (),
    ) -> AsyncIterator[Any]:
        """Iterate over the costs of tasks, one by one, as the vendor's ledgers list them; free of charge.

        Args:
            since: Begin with tasks made at this time; an aware datetime.
            until: End with tasks made at this time; default: now.
            of: ``packs``: units taken from resource packs; ``balance``: money taken from the balance.
            filters: Yield only entries that match all of these.

        Raises:
            RequestInvalid: A time has no zone, or ``until`` is not later than ``since``.
            APIError: The vendor refused the query.
            BadResponse: The vendor says that there is more, but names no next page, or one that came before.
                All entries read until then have been yielded.
        """
        moments = {
            "since": since,
            "until": until or dt.datetime.fromtimestamp(self._engine.scope.now(), dt.UTC),
        }
        text = "needs a time zone, such as tzinfo=datetime.UTC"
        naive = [Problem(name, text) for name, time in moments.items() if time.tzinfo is None]
        if naive:
            raise RequestInvalid("ledger", naive)
        start, end = (int(time.timestamp() * 1000) for time in moments.values())
        kind = AccountBillingPackage if of == "packs" else AccountBillingBalance
        return _Ledger(
            self._engine,
            kind(start_time=start, end_time=end, limit=PAGE_SIZE_MAX, filters=tuple(filters) or None),
        )

    def reopen(self, pool: str | None = None) -> None:
        """Let creates through again at once, after units were bought, or the key or a gateway was mended.

        Holds end too: creates of an endpoint and model that wait because ten in a row were refused alike.

        Args:
            pool: Name of the pool; None: all pools.

        Raises:
            ConfigurationError: No pool of that name was used.
        """
        self._engine.scope.refresh()
        self._engine.limiter.reopen(pool)
        self._engine.packs.units_changed()


class _Ledger(AsyncIterator[Any]):
    """Iterates over the entries of a ledger, page after page."""

    def __init__(self, engine: Engine, first: AccountBillingPackage | AccountBillingBalance) -> None:
        self._engine = engine
        self._next: AccountBillingPackage | AccountBillingBalance | None = first
        self._page: list[Any] = []
        self._cursor = Cursor()

    async def __anext__(self) -> Any:
        while not self._page:
            # raised only here, after the entries of the last page, so that none is lost
            if self._cursor.broken:
                raise BadResponse(
                    f"the ledger cannot be read further: {self._cursor.broken}", http_status=200
                )
            if self._next is None:
                raise StopAsyncIteration
            page: PackageDeductionPage | BalanceDeductionPage = await call(self._engine, self._next)
            self._page = list(page.result.detail)[::-1]
            self._next = self._after(page, type(self._next))
        return self._page.pop()

    def _after(
        self,
        page: PackageDeductionPage | BalanceDeductionPage,
        kind: type[AccountBillingPackage | AccountBillingBalance],
    ) -> AccountBillingPackage | AccountBillingBalance | None:
        """Return the request for the next page."""
        after = self._cursor.after(page.next_cursor, has_more=page.has_more)
        # the vendor ignores all other fields beside a cursor
        return None if after is None else kind(cursor=after)
