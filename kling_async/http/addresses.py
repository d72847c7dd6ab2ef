"""Judge where result files may come from: an answer names their addresses, so these are not trusted."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from yarl import URL

__all__ = ["address_of", "is_loopback", "is_public", "wrong_address"]

_NO_URL: Final = URL()


def address_of(text: str, *, base: URL = _NO_URL) -> URL:
    """Parse an address once, as aiohttp will use it: the host that is judged is the host connected to.

    Args:
        text: An absolute address, or a reference as redirects hold them.
        base: The address that a reference is relative to.

    Returns:
        A URL without scheme if the text is no address.
    """
    try:
        url = URL(text)
        return base.join(url) if base.absolute else url
    except ValueError:
        return _NO_URL


def wrong_address(url: URL, *, local: bool) -> str | None:
    """Return why files may not come from an address; None if they may.

    Args:
        url: Accepted if it is https to a public host.
        local: The API itself is on this machine: accept http and https to this machine too.
    """
    host = url.raw_host or ""
    if local and url.scheme in ("http", "https") and is_loopback(host):
        return None
    if url.scheme == "https" and is_public(host):
        return None
    if not url.scheme:
        return "the result's address is not a URL"
    return f"the result's address ({url.scheme}://{host}) is not public https"


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_public(host: str) -> bool:
    """Tell whether a host may be public; a name counts as public until it is resolved."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _is_public_name(host.lower().removesuffix("."))
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _PRIVATE_IPV6):
            return False
        address = _embedded_ipv4(address) or address
    return address.is_global and not address.is_multicast


_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PRIVATE_SUFFIXES: Final = (".localhost", ".local", ".internal")


def _is_public_name(name: str) -> bool:
    """Tell whether a name has the form of a public host name.

    Some resolvers read a name whose last label is a number as an address (127.1, 0x7f.1); a name without a
    dot is of this machine or this network.
    """
    labels = name.split(".")
    if len(name) > 253 or len(labels) < 2 or _NUMBER.fullmatch(labels[-1]):
        return False
    return all(_LABEL.fullmatch(label) for label in labels) and not name.endswith(_PRIVATE_SUFFIXES)


_PRIVATE_IPV6: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (  # `is_global` of the standard library takes these for public
        "64:ff9b:1::/48",  # translated to IPv4 by rules of the local network (RFC 8215)
        "fec0::/10",  # site-local, deprecated (RFC 3879)
        "::ffff:0:0:0/96",  # IPv4 translated by this machine (RFC 2765)
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")


def _embedded_ipv4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address is translated to on its way, if there is one."""
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1):  # not :: and not ::1
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
