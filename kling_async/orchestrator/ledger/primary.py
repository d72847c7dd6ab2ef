"""Of several servers that an address names, the one that can be written: the others only follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["wanted_server"]


def wanted_server(given: Mapping[str, object]) -> dict[str, str]:
    """Return the parameter that finds the server to write to, among those of ``host=a,b``.

    A single server is taken as it is: what is wrong with it shows when it is used.

    Args:
        given: The parameters of a connection; what they choose themselves counts.
    """
    several = any("," in str(given.get(name) or "") for name in ("host", "hostaddr"))
    return {"target_session_attrs": "read-write"} if several else {}
