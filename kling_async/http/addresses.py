"""Where result files may come from: an answer names their addresses, so these are not to be trusted."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from yarl import URL

from kling_async.http.auth import is_loopback

__all__ = ["address_of", "is_public", "wrong_address"]

_UNKNOWN: Final = URL()


def address_of(text: str, *, seen_from: URL = _UNKNOWN) -> URL:
    """Parse an address once, as it will be used: what is judged is then what is connected to.

    Args:
        text: An address, or a reference as redirects hold them.
        seen_from: What a reference is relative to.

    Returns:
        Something without a scheme if it is none.
    """
    try:
        url = URL(text)
        return seen_from.join(url) if seen_from.absolute else url
    except ValueError:
        return _UNKNOWN


def wrong_address(url: URL, *, local: bool) -> str | None:
    """Accept https to public addresses; this machine's only where the API itself is here (``local``)."""
    host = url.raw_host or ""
    if local and url.scheme in ("http", "https") and is_loopback(host):
        return None
    if url.scheme == "https" and is_public(host):
        return None
    if not url.scheme:
        return "the result's address is not a URL"
    return f"the result's address ({url.scheme}://{host}) is not public https"


def is_public(host: str) -> bool:
    """Tell whether a host may be public: an address that is, or a name, which counts until it is resolved."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _is_public_name(host.lower().removesuffix("."))
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _INSIDE):
            return False
        address = _ipv4_within(address) or address
    return address.is_global and not address.is_multicast


_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_INSIDE_NAMES: Final = (".localhost", ".local", ".internal")


def _is_public_name(name: str) -> bool:
    """Tell whether a name is a sound one of the public kind.

    One whose last label is a number would be read as an address by some resolvers (127.1, 0x7f.1), one
    without a dot is of this machine or network.
    """
    labels = name.split(".")
    if len(name) > 253 or len(labels) < 2 or _NUMBER.fullmatch(labels[-1]):
        return False
    return all(_LABEL.fullmatch(label) for label in labels) and not name.endswith(_INSIDE_NAMES)


_INSIDE: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "64:ff9b:1::/48",  # translated to IPv4, by this network's own rules
        "fec0::/10",  # site-local, as it was once
        "::ffff:0:0:0/96",  # IPv4, translated by this machine
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")


def _ipv4_within(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to, if it is such a disguise."""
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
