"""Describe what each dialect can be asked, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DIALECTS", "Dialect", "DialectName", "Speaker"]

DialectName: TypeAlias = Literal["auto", "vendor", "envelope", "new-api", "flat"]
"""Values of the option ``dialect``."""


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """Describes what a server can be asked, and how often."""

    name: str
    lists: bool = True
    """Whether lists and ``/tasks`` may be asked for; else every task is queried alone."""
    external_ids: bool = True
    """Whether a task can be found by its external id, without which a lost create cannot be looked up."""
    account: bool = True
    """Whether the account's packs can be read."""
    min_interval: float = 0.0
    """Seconds between two queries of a task, below which the answers cannot be newer."""


class Speaker(Protocol):
    """Tells which dialect a server speaks, as far as that is known."""

    @property
    def current(self) -> Dialect:
        """The dialect in use; the vendor's until another one is known."""
        ...


# gateways of the new-api family ask the vendor every 15 s, and answer from their database
_GATEWAY: Final = Dialect(name="new-api", lists=False, external_ids=False, account=False, min_interval=15.0)

DIALECTS: Final[Mapping[str, Dialect]] = {
    "vendor": Dialect(name="vendor"),
    "envelope": Dialect(name="envelope"),
    "new-api": _GATEWAY,
    "flat": msgspec.structs.replace(_GATEWAY, name="flat"),
}
"""Dialects by name. ``envelope`` is that of gateways that keep the vendor's envelope and paths: what they
lose cannot be seen, so it is never learned."""
