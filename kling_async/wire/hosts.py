"""Judge the hosts of addresses: this machine, private networks, and what has the form of a public name."""

from __future__ import annotations

import ipaddress
import re
from typing import Final, Literal
from urllib.parse import urlsplit

__all__ = [
    "Reach",
    "is_local",
    "is_loopback",
    "is_public",
    "is_vendors",
    "reach_of",
    "wrong_callback",
    "wrong_url",
]


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_vendors(url: str) -> bool:
    """Tell whether a base URL is the vendor's, or of this machine, where an emulator plays the vendor."""
    host = (urlsplit(url).hostname or "").removesuffix(".")
    return host == _VENDOR or host.endswith(f".{_VENDOR}") or is_loopback(host)


_VENDOR: Final = "klingai.com"


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


def is_local(url: str) -> bool:
    """Tell whether an address is on this machine."""
    return is_loopback(urlsplit(url).hostname or "")


def wrong_url(url: str) -> str | None:
    """Return why nobody can fetch from an http(s) address, None if somebody may."""
    if not url.isprintable() or " " in url:
        odd = next(char for char in url if not char.isprintable() or char == " ")
        return f"the address contains {_ODD.get(odd, f'the character {odd!a}')}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # its words would show user and password
        return "the address cannot be read: host or port is malformed"
    if not host:
        return "the address names no host; write https://host/path"
    if ":" not in host and not all(0 < len(label) < 64 for label in host.removesuffix(".").split(".")):
        return f"the address names no host: {host[:60]!r} is none"
    return None


_ODD: Final = {
    " ": "a blank; strip() it, or write it as %20",
    "\n": "a line break; strip() it",
    "\r": "a line break; strip() it",
    "\t": "a tab; strip() it",
}


Reach = Literal["public", "doubtful", "private"]
"""Whether a server elsewhere can fetch from an address, as far as its host tells."""

_DOUBTFUL_SUFFIXES: Final = (
    *(".corp", ".home", ".home.arpa", ".intranet", ".invalid", ".lan", ".localdomain", ".private", ".test"),
)


def reach_of(url: str) -> tuple[Reach, str]:
    """Return whether a server elsewhere can fetch from an http(s) address, and the host."""
    host = (urlsplit(url).hostname or "").removesuffix(".")
    try:
        name = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return "public", host  # newer forms of international names, which the standard library cannot read
    if is_loopback(name) or not is_public(name):
        return "private", host
    return ("doubtful" if name.endswith(_DOUBTFUL_SUFFIXES) else "public"), host


def wrong_callback(url: str, *, local: bool) -> str | None:
    """Return why the vendor cannot post to an address; None if it may.

    Args:
        url: The address.
        local: The API itself is on this machine, so that it reaches private hosts.
    """
    if (text := wrong_url(url)) is not None:
        return text
    if urlsplit(url).scheme not in ("http", "https"):
        return "must be an http(s) address; write https://host/path"
    reach, host = reach_of(url)
    if reach != "private" or local:
        return None
    return (
        f"the API cannot post to {host[:60]!r}, which is not a public host; give an address that it can reach"
    )
