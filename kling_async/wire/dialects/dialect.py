"""Describe what each dialect can be asked, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DIALECTS", "Dialect", "DialectName", "Speaker", "Translated", "Translator"]

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


class Translated(NamedTuple):
    """An answer of a gateway in the vendor's terms."""

    code: int | None
    """0: it shows a task. Else the vendor's code that it quotes; None: the gateway refused on its own."""
    message: str = ""
    data: bytes = b"null"
    """The task under the names of ``/v1``, JSON."""
    dialect: str = ""
    """Name of the dialect in which a task was shown; a refusal does not tell."""
    missing: bool = False
    """Whether the gateway knows no task of that id."""


class Speaker(Protocol):
    """Tells which dialect a server speaks, as far as that is known."""

    @property
    def current(self) -> Dialect:
        """The dialect in use; the vendor's until another one is known."""
        ...


class Translator(Speaker, Protocol):
    """Understands a server, whatever its dialect."""

    found: Dialect | None
    """The dialect; None until a task was shown in one."""
    gateway: bool
    """Whether the server is surely not the vendor's: it was named, or answered in a form of its own."""

    def translate(self, body: bytes, http_status: int, /) -> Translated | None:
        """Put an answer of a gateway into the vendor's form; None: it has that, or none that is known."""
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
