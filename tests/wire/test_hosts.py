"""Test wire/hosts.py: addresses that cannot be fetched are told before anything is paid."""

from __future__ import annotations

import ipaddress
import string
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import v1
from kling_async.errors import RequestInvalid
from kling_async.wire.checks import check
from kling_async.wire.hosts import is_local, is_vendors, reach_of, wrong_callback, wrong_url
from kling_async.wire.media_formats import IMAGE, VIDEO, judge_reach

FETCHABLE: Final = [
    *("https://a.example/x.png", "http://a.example", "HTTPS://A.EXAMPLE/X", "https://a.example:8443/x?s=1#f"),
    *("https://user:word@a.example/x", "https://8.8.8.8/x", "https://[2606:4700::1111]/x"),
    *(
        "https://b\u00fccher.example/x",
        "https://a.example/\u00e4.png",
        "https://a.example./x",
        "https://a_b.example/x",
    ),
]


@pytest.mark.parametrize("url", FETCHABLE)
def test_what_may_be_fetched_passes(url: str) -> None:
    """Ports, users, queries, names of other languages and public numbers are all fine."""
    assert wrong_url(url) is None
    assert reach_of(url)[0] == "public"


@pytest.mark.parametrize(
    "url",
    [
        *(
            "https://",
            "http://",
            "https:///x.png",
            "https://?x",
            "https://#x",
            "https://:443/x",
            "https://@/x",
        ),
        *("https://.../x", "https://a..example/x", "https://.example/x", f"https://{'a' * 64}.example/x"),
    ],
)
def test_an_address_without_host_is_refused(url: str) -> None:
    """No host, or what can be no host."""
    assert "names no host" in str(wrong_url(url))


@pytest.mark.parametrize("url", ["https://a.example:x/", "https://a.example:99999/", "https://[::1/x"])
def test_an_address_that_cannot_be_read_is_refused(url: str) -> None:
    """A port that is none, a bracket that does not close."""
    assert wrong_url(url) == "the address cannot be read: host or port is malformed"


ODD: Final = st.sampled_from(
    [" ", "\n", "\r", "\t", "\0", "\x7f", "\u00a0", "\u200b", "\u2028", "\ufeff", "\ud800"]
)


@given(odd=ODD, at=st.integers(0, len("https://a.example/x.png")))
def test_blanks_and_control_characters_are_refused_anywhere(odd: str, at: int) -> None:
    """Around an address, in its host, in its path: none may be there, and the field is named."""
    url = "https://a.example/x.png"
    broken = url[:at] + odd + url[at:]
    assert wrong_url(broken)
    with pytest.raises(RequestInvalid) as caught:
        check(v1.ImageGeneration(prompt="a fox", image=broken))
    assert [problem.field for problem in caught.value.problems] == ["image"]


NETWORKS: Final = [
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
    *(
        "224.0.0.0/4",
        "0.0.0.0/8",
        "::1/128",
        "fe80::/10",
        "fc00::/7",
        "::ffff:127.0.0.0/104",
        "64:ff9b::a00:0/104",
    ),
]


@st.composite
def private_addresses(draw: Any) -> str:
    """Draw an address whose host is a number of a private network, in any notation that is read."""
    network = ipaddress.ip_network(draw(st.sampled_from(NETWORKS)))
    number = network[draw(st.integers(0, min(network.num_addresses, 2**40) - 1))]
    spelt = (
        [f"[{number}]"]
        if number.version == 6
        else [str(number), f"{number}.", str(int(number)), hex(int(number))]
    )
    port = draw(st.sampled_from(["", ":80"]))
    return f"{draw(st.sampled_from(['http', 'https']))}://{draw(st.sampled_from(spelt))}{port}/x.png"


@given(url=private_addresses())
def test_a_private_number_is_never_public(url: str) -> None:
    """Loopback, private and link-local networks in every notation."""
    assert reach_of(url)[0] == "private"


PRIVATE_NAMES: Final = [
    "localhost",
    "a.localhost",
    "LOCALHOST",
    "localhost.",
    "printer.local",
    "x.internal",
    "router",
]


@given(host=st.sampled_from(PRIVATE_NAMES), path=st.text(string.ascii_letters + "/", max_size=5))
def test_a_private_name_is_never_public(host: str, path: str) -> None:
    """Names that no public name server answers for."""
    assert reach_of(f"http://{host}:3000/{path}")[0] == "private"


@pytest.mark.parametrize("host", ["nas.lan", "files.corp", "a.home.arpa", "a.test", "x.intranet"])
def test_a_name_of_a_usual_private_kind_is_doubted(host: str) -> None:
    """Nobody forbids these to be public: they warn."""
    verdict = judge_reach(f"https://{host}/x.png", IMAGE)
    assert not verdict.sure and "probably cannot fetch" in str(verdict.text)


def test_the_words_say_what_to_do() -> None:
    """Where a field takes the file itself that is the advice, else a public host."""
    local = "http://localhost:8000/x"
    assert judge_reach(local, IMAGE).text == (
        "the API cannot fetch from 'localhost', which is not a public host; "
        "pass the file itself (bytes or a Path)"
    )
    assert str(judge_reach(local, VIDEO).text).endswith("; put the file on a public host")


@given(st.text(max_size=30).map(lambda text: f"https://{text}"))
def test_no_address_breaks_the_judges(url: str) -> None:
    """Whatever stands there, it is told or passes; secrets before the host are never shown."""
    text = wrong_url(url)
    if text is None:
        reach_of(url)
    user, found, _ = urlsplit(url).netloc.rpartition("@") if text is None else ("", "", "")
    assert not found or len(user) < 5 or user not in str(judge_reach(url, IMAGE).text)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8000", True),
        ("https://localhost/x", True),
        ("https://api.example", False),
        ("", False),
    ],
)
def test_which_base_urls_are_local(url: str, local: bool) -> None:
    """An emulator on this machine reaches what this machine reaches."""
    assert is_local(url) is local


WRONG_CALLBACKS: Final = {
    "https://": "names no host",
    "a.example/hook": "names no host",
    "hook": "names no host",
    "https:///hook": "names no host",
    " https://a.example/hook": "contains a blank",
    "https://a.example/ho ok": "contains a blank",
    "https://a.example/hook\n": "contains a line break",
    "https://a.example:x/": "host or port is malformed",
    "ftp://a.example/hook": "must be an http(s) address",
    "mailto://a.example": "must be an http(s) address",
}
PRIVATE_CALLBACKS: Final = [
    *("http://localhost:8000/hook", "https://127.0.0.1/hook", "https://[::1]/hook", "http://0.0.0.0/"),
    *(
        "https://10.0.0.7/hook",
        "https://192.168.1.2:8443/hook",
        "https://169.254.1.1/",
        "https://intranet/hook",
    ),
]


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("url", WRONG_CALLBACKS)
def test_a_callback_needs_an_address(url: str, local: bool) -> None:
    """Wherever the API runs, it cannot post to these."""
    assert WRONG_CALLBACKS[url] in str(wrong_callback(url, local=local))


@pytest.mark.parametrize("url", PRIVATE_CALLBACKS)
def test_a_callback_on_a_private_host_needs_a_local_api(url: str) -> None:
    """The vendor does not reach them, an emulator on this machine may."""
    assert "not a public host; give an address" in str(wrong_callback(url, local=False))
    assert wrong_callback(url, local=True) is None


@pytest.mark.parametrize("url", FETCHABLE)
def test_a_callback_may_be_posted_to(url: str) -> None:
    """Whatever may be fetched may be posted to, by http too: the reference does not forbid it."""
    assert wrong_callback(url, local=False) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api-singapore.klingai.com", True),
        ("https://api-beijing.klingai.com/", True),
        ("https://klingai.com.", True),
        ("http://127.0.0.1:8080/kling", True),
        ("http://localhost", True),
        ("https://klingai.com.example/kling", False),
        ("https://notklingai.com", False),
        ("https://gateway.example/klingai.com", False),
    ],
)
def test_the_vendors_addresses_are_known(url: str, expected: bool) -> None:
    """Hosts of the vendor and of this machine; a host that merely contains the name is somebody else's."""
    assert is_vendors(url) is expected
