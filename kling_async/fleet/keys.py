"""Note which keys make the tasks of a fleet, and at which address of the API: a wrong one pays elsewhere."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kling_async.errors import ConfigurationError
from kling_async.http.addresses import is_loopback

if TYPE_CHECKING:
    from psycopg import AsyncConnection

__all__ = ["admit_key"]

log = logging.getLogger("kling_async.fleet")


async def admit_key(db: AsyncConnection[Any], base_url: str, account: str) -> None:
    """Check that a worker makes tasks where the others of its fleet do; warn of a key that is new there.

    Several keys of one account are fine; nobody but the vendor can tell whether they are.

    Args:
        db: A connection that commits each statement.
        base_url: The address of the API.
        account: Names the key, without showing it.

    Raises:
        ConfigurationError: The fleet's tasks are made at another address.
    """
    address = "loopback" if is_loopback(urlsplit(base_url).hostname or "") else base_url
    async with db.transaction():
        await db.execute("LOCK TABLE keys IN EXCLUSIVE MODE")  # two that are the first decide one by one
        known = await (await db.execute("SELECT address, account FROM keys")).fetchall()
        others = {found for found, _ in known} - {address}
        if others:
            raise ConfigurationError(
                f"this fleet's tasks are made at {', '.join(sorted(others))}, and this worker would make them"
                f" at {address}; set the base URL, or name another database"
            )
        await db.execute("INSERT INTO keys VALUES (%s, %s) ON CONFLICT DO NOTHING", (address, account))
    if known and all(account != found for _, found in known):
        text = "this worker's key is new to the fleet: if it is of another account, its tasks are paid there"
        log.warning(text)
