"""Test http/words.py: the words of an error are found in whatever form a server uses."""

from __future__ import annotations

import json
import random
import time
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.core.verdict import Answer, Garbled, Refused
from kling_async.errors import APIError, BadResponse
from kling_async.http.answers import retry_after
from kling_async.http.auth import ApiKey, KeyPair
from kling_async.http.retry import polite_wait
from kling_async.http.words import error_words
from kling_async.options import Retry
from tests.http.exchanges import KEY, LIMITS, outcome_of, sending
from tests.wiretap import code, raw, serving

pytestmark = pytest.mark.anyio

FORMS: Final[tuple[Any, ...]] = (
    {"error": {"message": "no such model"}},
    {"error": {"code": "x", "message": "no such model", "type": "invalid_request_error"}},
    {"error": "no such model"},
    {"errors": [{"message": "no such model"}]},
    {"errors": ["no such model"]},
    {"detail": "no such model"},
    {"detail": {"msg": "no such model"}},
    {"msg": "no such model"},
    {"code": None, "msg": "no such model"},
    {"message": "no such model"},
    {"message": "", "error": "no such model"},
    {"message": None, "error": {"error": {"reason": "no such model"}}},
    {"error": "invalid_request", "error_description": "no such model"},
    {"type": "about:blank", "title": "no such model", "status": 404},
    [{"msg": "no such model"}],
)


@pytest.mark.parametrize("form", FORMS, ids=json.dumps)
async def test_words_in_json(form: Any) -> None:
    """Each form's words are in the error that the user sees."""
    assert error_words(json.dumps(form).encode()) == "no such model"
    async with serving(raw(form, 404)) as wire, sending(wire.port) as transport:
        verdict = await transport.read("GET", "/x", timeouts=LIMITS)
    assert isinstance(verdict, Refused) and isinstance(verdict.error, APIError | BadResponse)
    assert "no such model" in str(verdict.error)


async def test_words_of_a_validation_error() -> None:
    """FastAPI's list names each field; three entries are shown."""
    entry = {"loc": ["body", "shots", 0, "prompt"], "msg": "field required", "type": "missing"}
    body = {"detail": [entry] * 5}
    outcome = await outcome_of(raw(body, 422))
    assert isinstance(outcome, Answer)
    assert outcome.message == "; ".join(["body.shots.0.prompt: field required"] * 3)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><head><title>502 Bad\n Gateway</title></head></html>", "502 Bad Gateway"),
        (b"<!doctype html><TITLE lang=en>a &amp; b</TITLE>", "a & b"),
        (b"<html><title></title><h1>Just a <b>moment</b>...</h1>", "Just a moment ..."),
        (
            b"<?xml version='1.0'?><Error><Code>No</Code><Message>Request has expired</Message></Error>",
            "Request has expired",
        ),
        (b"<html><body>nothing</body></html>", ""),
        (b"plain text", ""),
        (b"", ""),
        (b"<title>" * 10_000, ""),
        (b"[" * 100_000, ""),
        (b'{"error": 5}', ""),
        (b'{"error": "' + b"x" * 10_000 + b'"}', "x" * 500),
    ],
)
def test_words_in_markup_and_odd_bodies(body: bytes, words: str) -> None:
    """Titles and object stores' messages are found; what says nothing gives nothing."""
    assert error_words(body) == words


@pytest.mark.parametrize("part", ["<title>", "<title ", "<", "<h1><", "</title", "</title ", "<h1>&", "<!"])
@pytest.mark.parametrize("end", ["", "</h1>", "<title>x</title>"])
def test_no_page_takes_long_to_search(part: str, end: str) -> None:
    """Pages that repeat parts of tags are searched in milliseconds: meanwhile nothing else runs."""
    page = ("<" + part * (60_000 // len(part)) + end).encode()
    begun = time.process_time()
    error_words(page)
    assert time.process_time() - begun < 0.3


async def test_words_far_down_a_page_are_shown() -> None:
    """The title of a long page stands in the excerpt; a short page is shown as it is."""
    page = (
        b"<html><head>" + b"<meta charset='utf-8'>" * 50 + b"<title>Blocked by policy</title></head></html>"
    )
    outcome = await outcome_of(raw(page, 403))
    assert isinstance(outcome, Garbled) and outcome.excerpt == "Blocked by policy"


async def test_words_hold_no_secrets() -> None:
    """A key or a signed address that the server repeats is taken out."""
    url = "https://a.example/x.png?x-sign=5ecre7"
    for body in ({"error": {"message": f"bad key {KEY}: {url}"}}, {"detail": [{"msg": f"{KEY} {url}"}]}):
        outcome = await outcome_of(raw(body, 400))
        assert isinstance(outcome, Answer) and outcome.message
        assert KEY not in outcome.message and "5ecre7" not in outcome.message
    page = b"<html>" + b" " * 3000 + f"<title>{KEY} {url}</title>".encode()
    garbled = await outcome_of(raw(page, 400))
    assert isinstance(garbled, Garbled) and garbled.excerpt
    assert KEY not in garbled.excerpt and "5ecre7" not in garbled.excerpt


async def test_the_vendors_own_message_wins() -> None:
    """Other fields are read only where there is no message, and not in a success."""
    both = raw({"code": 1201, "message": "of the vendor", "error": "other"}, 400)
    assert getattr(await outcome_of(both), "message", None) == "of the vendor"
    success = raw({"code": 0, "detail": "all is well"})
    assert getattr(await outcome_of(success), "message", None) == ""
    coded = raw({"code": 1201, "msg": "as text elsewhere"}, 200)
    assert getattr(await outcome_of(coded), "message", None) == "as text elsewhere"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["message", "error", "detail", "msg", "loc", "errors", "x"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_body_gives_bounded_words(body: bytes) -> None:
    """No body breaks the search, and its words are one short line."""
    words = error_words(body)
    assert len(words) <= 500 and words == " ".join(words.split())


# --- hints -------------------------------------------------------------------------------------

PAIR: Final = KeyPair("access-key-of-ours", "secret-key-of-ours-0123456789abcdef")


@pytest.mark.parametrize("number", [1000, 1002, 1003, 1004])
@pytest.mark.parametrize(
    ("signer", "foreign"),
    [
        pytest.param(ApiKey(KEY), ("secret", "access key", "pair", "token", "clock"), id="API key"),
        pytest.param(PAIR, ("API key",), id="key pair"),
    ],
)
async def test_hints_fit_the_kind_of_key(
    number: int, signer: ApiKey | KeyPair, foreign: tuple[str, ...]
) -> None:
    """Advice speaks of the kind of key in use, after a second token as well, and never of the other."""
    async with serving(code(number, 401)) as wire, sending(wire.port, signer=signer) as transport:
        read = await transport.read("GET", "/x", timeouts=LIMITS)
        made = await transport.create("/x", b"{}", endpoint="e", external_task_id="mine", timeouts=LIMITS)
    for verdict in (read, made):
        assert isinstance(verdict, Refused) and verdict.closes == "all"
        error = verdict.error
        assert isinstance(error, APIError) and error.hint
        assert str(error) == f"as scripted (code {number}, HTTP 401, request_id r-1). {error.hint}"
        assert not [word for word in foreign if word in str(error)]
        assert error.code == number and error.message == "as scripted"


# --- Retry-After -------------------------------------------------------------------------------


@given(
    st.one_of(
        st.none(),
        st.text(max_size=10),
        st.integers(-(10**30), 10**30).map(str),
        st.floats().map(str),
        st.from_regex(r"\s*[0-9]{1,400}(\.[0-9]{0,20})?\s*", fullmatch=True),
    )
)
def test_no_retry_after_removes_the_pause(header: str | None) -> None:
    """Whatever the header says: it leaves the caller's own pause, or asks for 1 to 3600 seconds."""
    seconds = retry_after(header)
    assert seconds is None or 1 <= seconds <= 3600


@pytest.mark.parametrize("header", ["0", "-5", "0.0", "-0", "", "9" * 400, "nan"])
@pytest.mark.parametrize("answer", [("1302", 429), ("503", 503), ("429", 429)], ids=lambda pair: pair[0])
async def test_a_read_pauses_whatever_the_server_asks_for(answer: tuple[str, int], header: str) -> None:
    """After 429, 503 and 1302 alike the next try comes after a pause within bounds."""
    name, status = answer
    body = {"code": 1302, "message": "slow down"} if name == "1302" else b"busy"
    outcome = await outcome_of(raw(body, status, Retry_After=header))
    assert isinstance(outcome, Answer | Garbled)

    class Highest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    async with serving(raw(body, status, Retry_After=header)) as wire, sending(wire.port) as transport:
        verdict = await transport.read("GET", "/x", timeouts=LIMITS)
    waits = polite_wait(Highest(), Retry(base=0.5))
    next(waits)
    pause = waits.send(type("Repeat", (), {"verdict": verdict})())
    assert 0.5 <= pause <= 3600
