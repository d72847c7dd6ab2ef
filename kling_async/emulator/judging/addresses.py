"""Addresses of input files that the vendor could never fetch.

The emulator fetches nothing. It tells by the address alone, so that a client can see what happens at the
vendor: the create is accepted, and the task fails.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from kling_async.emulator.judging.media import is_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kling_async.emulator.judging.reference import Param

__all__ = ["is_unreachable", "unreachable_address"]

DEAD_DOMAINS: Final = ("invalid", "internal", "local")
"""Last labels of names that no public resolver knows (RFC 2606, RFC 6762)."""


def unreachable_address(body: Mapping[str, Any], params: Mapping[str, Param]) -> str | None:
    """Return the first address in a media field of a request that cannot be fetched, None if all can be."""
    return next((url for url in _addresses(body, params) if is_unreachable(url)), None)


def is_unreachable(url: str) -> bool:
    """Tell whether an address names no host, or one that is not public.

    Loopback counts as reachable, because tests serve their files there; the emulator's own files do as well.
    """
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:  # such as an IPv6 address without its bracket
        return True
    if not host or any(character.isspace() for character in url):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.rpartition(".")[2] in DEAD_DOMAINS or ("." not in host and host != "localhost")
    return not (address.is_global or address.is_loopback)


def _addresses(value: object, params: Mapping[str, Param], *, media: bool = False) -> Iterator[str]:
    """Yield the URLs in the media fields of a body, or of a part of one."""
    if isinstance(value, dict):
        fields: dict[str, object] = value
        for name, item in fields.items():
            param: Param = params.get(name, {})
            yield from _addresses(item, param.get("items", {}), media="media" in param)
    elif isinstance(value, list):
        items: list[object] = value
        for item in items:
            yield from _addresses(item, params, media=media)
    elif media and isinstance(value, str) and is_url(value):
        yield value
