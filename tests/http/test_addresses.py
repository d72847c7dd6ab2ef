"""Test http/addresses.py: hosts are judged as they are connected to, however they are spelt."""

from __future__ import annotations

import ipaddress

import pytest
from yarl import URL

from kling_async.http.addresses import address_of, is_loopback, is_public, wrong_address


@pytest.mark.parametrize(
    ("host", "public"),
    [
        *((host, True) for host in ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "a.example", "1.ex")),
        *((host, False) for host in ("127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1", "localhost")),
        *((host, False) for host in ("10.0.0.1", "172.16.0.1", "192.168.1.1", "fd00::1", "::ffff:10.0.0.1")),
        *((host, False) for host in ("169.254.169.254", "fe80::1", "fe80::1%eth0", "100.64.0.1")),
        *((host, False) for host in ("0.0.0.0", "::", "224.0.0.1", "ff02::1", "ff0e::1", "255.255.255.255")),
        *((host, False) for host in ("a.localhost", "printer.local", "metadata.x.internal", "192.0.2.1")),
        *(
            pytest.param(host, False)
            for host in ("64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:a00:1::", "::10.0.0.1")
        ),
        *((host, False) for host in ("64:ff9b:1::808:808", "fec0::1", "::ffff:0:8.8.8.8")),
        *((host, False) for host in ("127.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "0")),
        *((host, False) for host in ("127.0.0.1.", "localhost.", "printer.local.", "1.2.3.0x4", "a.0x")),
        *((host, False) for host in ("", ".", "router", "a..b", "-a.example", "a-.example", "*.example")),
        *((host, False) for host in ("a b.example", "127%2e0.0.1", "a.example:80", f"{'a' * 64}.example")),
        *((host, False) for host in ("A.LOCALHOST", "a." * 127 + "example", "\uff11.example")),
        *((host, True) for host in ("a.example.", "x_y.example", "xn--n-nga1b.example", "3.4.ex", "a-b.ex")),
    ],
)  # fmt: skip
def test_which_addresses_are_public(host: str, public: bool) -> None:
    """Hosts of this machine, this network or a cloud's inside are not public, in any notation."""
    assert is_public(host) is public


IPV4_WITHIN_IPV6 = str(ipaddress.ip_address("::ffff:7f00:1"))
"""From Python 3.13 on ``::ffff:127.0.0.1``."""


@pytest.mark.parametrize(
    ("host", "used"),
    [
        pytest.param("\uff11\uff12\uff17.\uff10.\uff10.\uff11", "127.0.0.1", id="full-width digits"),
        pytest.param("127\u30020\u30020\u30021", "127.0.0.1", id="ideographic full stops"),
        pytest.param("\uff10x7f.1", "0x7f.1", id="a full-width digit in a number"),
        pytest.param("\u24db\u24de\u24d2\u24d0\u24dbhost", "localhost", id="circled letters"),
        pytest.param("LOCALHOST", "localhost", id="capitals"),
        pytest.param("[::ffff:127.0.0.1]", IPV4_WITHIN_IPV6, id="IPv4 within IPv6"),
        pytest.param("me:mine@10.0.0.1", "10.0.0.1", id="behind a name and password"),
        pytest.param("127%2E0.0.1", "127%2e0.0.1", id="an escape"),
        pytest.param("127.1", "127.1", id="a short form"),
    ],
)
def test_the_judged_host_is_the_one_connected_to(host: str, used: str) -> None:
    """The parsed URL is judged, not the text, for aiohttp folds spellings of a host together."""
    url = address_of(f"https://{host}:8443/a.mp4")
    assert (url.raw_host, url.port) == (used, 8443)
    text = f"the result's address (https://{used}) is not public https"
    assert wrong_address(url, local=False) == text


@pytest.mark.parametrize(
    ("text", "local", "good"),
    [
        ("https://cdn.example/a.mp4?x=1", False, True),
        ("https://\u00fcn\u00ef.example/", False, True),
        ("http://cdn.example/", True, False),
        ("http://127.0.0.1:80/", True, True),
        ("https://[::1]/", True, True),
        ("http://localhost/", True, True),
        ("http://127.0.0.1/", False, False),
        ("http://127.1/", True, False),
        ("http://10.0.0.1/", True, False),
        ("ftp://127.0.0.1/", True, False),
    ],
)
def test_which_addresses_files_may_come_from(text: str, local: bool, good: bool) -> None:
    """Files may come from public hosts by https, and from this machine where the API is on it."""
    assert (wrong_address(address_of(text), local=local) is None) is good


@pytest.mark.parametrize(
    ("where", "leads_to"),
    [
        ("/1", "https://a.example:81/1"),
        ("2?a=b", "https://a.example:81/b/2?a=b"),
        ("//c.example/x", "https://c.example/x"),
        ("http://d.example", "http://d.example"),
    ],
)
def test_a_redirect_is_relative_to_its_address(where: str, leads_to: str) -> None:
    """Relative locations of redirects are joined to the address that sent them."""
    assert address_of(where, base=URL("https://a.example:81/b/c?d=e")) == URL(leads_to)


@pytest.mark.parametrize(
    "text", ["", "a.mp4", "//[bad", "https://[", "https://a.ex:99999/", "https://a.ex\\@b.ex/"]
)
def test_a_text_that_is_no_address_has_no_scheme(text: str) -> None:
    """A text that is no absolute address gives a URL without scheme, which is reported."""
    assert wrong_address(address_of(text), local=True) == "the result's address is not a URL"


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *(("localhost", True), ("a.localhost", True), ("127.0.0.1", True), ("127.255.255.254", True)),
        *(("::1", True), ("0.0.0.0", False), ("::", False), ("192.168.0.1", False)),
        *(("localhost.example", False), ("", False)),
    ],
)  # fmt: skip
def test_loopback_is_this_machine_only(host: str, local: bool) -> None:
    """Loopback names and addresses are recognised, and no others."""
    assert is_loopback(host) is local
