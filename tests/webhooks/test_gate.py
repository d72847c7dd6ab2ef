"""Admission: believed, a hint, or dropped, with a status and a counted reason."""

from __future__ import annotations

import secrets
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import ConfigurationError
from kling_async.webhooks import (
    BODY_MAX,
    TOLERANCE,
    AcceptedCallback,
    CallbackDecision,
    CallbackGate,
    DroppedCallback,
    DropReason,
    Signed,
    Trust,
)
from kling_async.webhooks.gate import SEEN_MAX, SeenCallbacks
from tests.webhooks.support import BODY, NOW, OTHER, SECRET, TOKEN, encoded, signed

BOTH: Final[dict[str, Any]] = {"secret": SECRET, "path_token": TOKEN}
BELIEVED, HINT = Trust.BELIEVED, Trust.HINT
FORGED, UNSIGNED, PATH_TOKEN = DropReason.FORGED, DropReason.UNSIGNED, DropReason.PATH_TOKEN


def outcome(decision: CallbackDecision) -> Trust | DropReason:
    """Return how far a callback is believed, or why it was dropped."""
    return decision.trust if isinstance(decision, AcceptedCallback) else decision.reason


def judged(gate: CallbackGate, **changes: Any) -> Trust | DropReason:
    """Have a gate judge a signed callback with the right token, but for some changes."""
    call: dict[str, Any] = {"headers": signed(), "body": BODY, "token": TOKEN, "now": NOW, **changes}
    return outcome(gate.judge(**call))


@pytest.mark.parametrize(
    ("settings", "headers", "token", "expected"),
    [
        ("both", "right", TOKEN, BELIEVED),
        ("both", "right", None, BELIEVED),
        ("both", "forged", TOKEN, FORGED),
        ("both", "partly", TOKEN, UNSIGNED),
        ("both", "none", TOKEN, HINT),
        ("both", "none", "wrong", PATH_TOKEN),
        ("both", "none", None, PATH_TOKEN),
        ("secret", "right", None, BELIEVED),
        ("secret", "forged", TOKEN, FORGED),
        ("secret", "none", TOKEN, UNSIGNED),
        ("path_token", "right", TOKEN, HINT),
        ("path_token", "forged", TOKEN, HINT),
        ("path_token", "none", TOKEN, HINT),
        ("path_token", "right", "wrong", PATH_TOKEN),
    ],
)
def test_signature_and_token_decide(settings: str, headers: str, token: str | None, expected: object) -> None:
    """A signature proves, a path token hints; a wrong signature is worse than none."""
    gate = CallbackGate(**{name: value for name, value in BOTH.items() if settings in {name, "both"}})
    forms = {"right": signed(), "forged": signed(secret=OTHER), "partly": {"webhook-id": "1"}, "none": {}}
    decision = gate.judge(forms[headers], BODY, token, NOW)
    assert outcome(decision) is expected
    assert decision.status == (401 if isinstance(expected, DropReason) else 200)


def test_tokens_and_secrets_rotate() -> None:
    """Two of each are valid at the same time; before and after, only one is."""
    old, new = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
    gate = CallbackGate(secret=[SECRET, OTHER], path_token=[old, new])
    assert [judged(gate, headers={}, token=token) for token in (old, new, old + new)] == [
        HINT,
        HINT,
        PATH_TOKEN,
    ]
    assert [judged(gate, headers=signed(secret=s, id=s)) for s in (SECRET, OTHER)] == [BELIEVED, BELIEVED]
    assert judged(CallbackGate(path_token=new), token=old) is PATH_TOKEN


@pytest.mark.parametrize(
    ("changes", "reason", "status"),
    [
        ({"now": NOW + TOLERANCE + 1}, DropReason.OLD, 401),
        ({"now": NOW - TOLERANCE - 1}, DropReason.OLD, 401),
        ({"body": b"x" * (BODY_MAX + 1)}, DropReason.HUGE, 413),
        ({"body": BODY + b" "}, DropReason.FORGED, 401),
        ({"body": b"[]", "headers": signed(b"[]")}, DropReason.MALFORMED, 400),
        ({"body": b"[]", "headers": {}}, DropReason.MALFORMED, 400),
        ({"headers": {**signed(), "Content-Encoding": "gzip"}}, DropReason.MALFORMED, 400),
    ],
)
def test_a_reason_has_a_status_and_is_counted(
    changes: dict[str, Any], reason: DropReason, status: int
) -> None:
    """Old, huge, altered, malformed and compressed callbacks change nothing but a count."""
    gate = CallbackGate(**BOTH)
    call: dict[str, Any] = {"headers": signed(), "body": BODY, "token": TOKEN, "now": NOW, **changes}
    decision = gate.judge(**call)
    assert isinstance(decision, DroppedCallback)
    assert (decision.reason, decision.status) == (reason, status)
    assert (gate.counts.believed, gate.counts.hints, dict(gate.counts.dropped)) == (0, 0, {reason: 1})


def test_a_size_is_judged_before_the_body_is_read() -> None:
    """A Content-Length that is too large is dropped, whatever its digits; any other is not judged."""
    gate = CallbackGate(**BOTH)
    for size in (str(BODY_MAX + 1), "9" * 5000, "0" * 20 + "1"):
        dropped = gate.judge_size({"Content-Length": size})
        assert dropped is not None and dropped.status == 413
    for size in ("0", str(BODY_MAX), "-1", "many", "¹²"):
        assert gate.judge_size([(b"content-length", size.encode("utf-8"))]) is None
    assert gate.judge_size({}) is None
    assert gate.counts.dropped == {DropReason.HUGE: 3}


# --- replays -----------------------------------------------------------------------------------


def test_a_replay_is_refused_and_a_repetition_is_answered() -> None:
    """The same bytes again are refused; the same callback signed later gets 200, and is not taken."""
    gate = CallbackGate(**BOTH)
    later = signed(at=NOW + 5)
    assert judged(gate) is BELIEVED
    assert judged(gate, now=NOW + 1) is DropReason.REPLAYED
    repeated = gate.judge(later, BODY, TOKEN, NOW + 5)
    assert (outcome(repeated), repeated.status) == (DropReason.REPEATED, 200)
    for headers in (signed(), later):
        replayed = gate.judge(headers, BODY, TOKEN, NOW + 6)
        assert (outcome(replayed), replayed.status) == (DropReason.REPLAYED, 401)
    assert gate.counts.believed == 1


def test_other_news_under_the_same_id_are_taken() -> None:
    """No source shows that the vendor's ids differ for each callback: another body is another callback."""
    gate = CallbackGate(**BOTH)
    other = encoded({"task_id": "1", "task_status": "failed"})
    assert [judged(gate), judged(gate, headers=signed(other), body=other)] == [BELIEVED, BELIEVED]


def test_what_was_dropped_is_not_remembered() -> None:
    """A forged copy that comes first does not keep the real callback out."""
    gate = CallbackGate(**BOTH)
    assert judged(gate, headers=signed(secret=OTHER)) is FORGED
    assert judged(gate, now=NOW + TOLERANCE + 1) is DropReason.OLD
    assert judged(gate) is BELIEVED


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(-300, 300), st.integers(0, 200)), max_size=60))
def test_no_replay_within_the_tolerance_is_missed(calls: list[tuple[int, int, int]]) -> None:
    """Whatever comes in between, a callback that would still be verified is taken once at most."""
    seen, now = SeenCallbacks(), NOW
    taken: set[tuple[str, int]] = set()
    for number, off, passed in calls:
        now += passed
        signature = Signed(str(number), int(NOW) + off)
        if not abs(now - signature.timestamp) <= TOLERANCE:
            continue  # refused before
        new = seen.note(signature, b"", now) is None
        assert not (new and signature in taken)
        taken.add(signature)


def test_the_memory_of_callbacks_is_bounded() -> None:
    """Neither a flood nor a long life makes it grow: the oldest go first, and all that are too old."""
    seen = SeenCallbacks(limit=100)
    for number in range(1000):
        assert seen.note(Signed(str(number), int(NOW)), b"", NOW) is None
        assert len(seen) <= 100
    assert seen.note(Signed("999", int(NOW)), b"", NOW) is DropReason.REPLAYED
    late = NOW + 2 * TOLERANCE
    assert seen.note(Signed("new", int(late)), b"", late) is None
    assert len(seen) == 1 and SEEN_MAX == 10_000


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"secret": None, "path_token": None},
        {"path_token": ""},
        {"path_token": []},
        {"path_token": "hidden/slash"},
        {"path_token": "hidden token"},
        {"path_token": "hidden" * 30},
        {"path_token": ["hidden-1", "hidden-2", "hidden-3"]},
        {"path_token": [b"hidden"]},
        {"path_token": 5},
        {"secret": 5, "path_token": TOKEN},
        {"secret": "hidden", "path_token": TOKEN},
    ],
)
def test_settings_that_admit_nothing_or_anything_are_refused(settings: dict[str, Any]) -> None:
    """A gate needs a secret or a token, each of its form; the message repeats none of them."""
    with pytest.raises(ConfigurationError) as caught:
        CallbackGate(**settings)
    assert "hidden" not in str(caught.value)
    assert "hidden" not in repr(CallbackGate(path_token="hidden")) and SECRET not in repr(
        CallbackGate(**BOTH)
    )
