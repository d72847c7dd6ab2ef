"""Numbers of what a client has done and is doing: ``client.stats()``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kling_async.display.html import Markup, MimeBundle, bundle, rows, text_rows, titled
from kling_async.events import ModelCounts
from kling_async.orchestrator.pool_states import PoolState, PoolStates
from kling_async.redaction import Serializable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.orchestrator.engine import Engine

__all__ = ["Stats", "state_words", "stats_of"]


class Stats(Serializable, frozen=True, kw_only=True):
    """Numbers of a client: what it has done since it was made, and what it is doing now.

    Clients that share slots (``with_options``) are counted together. Counts only grow, over event loops too,
    so the difference between two `Stats` covers the time between them. Each `Event` is counted when it is
    passed to the listener.
    """

    # -- submits and creates, since the client was made
    submitted: int = 0
    """Submits that passed the checks and began to wait for slots."""
    admitted: int = 0
    """Times that a submit got its slots and was sent; again after each refusal."""
    refused: int = 0
    """Creates refused by a full account (1303)."""
    requeued: int = 0
    """Times that a submit went back to the queue for another reason: too fast (1302), or never sent."""
    created: int = 0
    """Tasks made, by the answer of their create, or a callback that came before it."""
    adopted: int = 0
    """Tasks made by creates whose answer was lost, and found."""
    left: dict[str, int] = {}
    """Submits that ended without a task, by the name of the error they raised: ``PolicyViolation``,
    ``QueueTimeout``, ``AmbiguousCreate``; ``CancelledError`` where the caller was cancelled, which the
    ``timeout`` of ``run()`` does too. A create that was on its way then may still make its task."""
    models: dict[str, ModelCounts] = {}
    """Creates by model: made, refused by a full account, and made while another model was refused, which
    would show that the vendor counts slots by model."""
    waited: float = 0.0
    """Seconds from submit to latest admission, summed over ``created`` and ``adopted``."""
    waited_max: float = 0.0
    """The longest of these waits, in seconds."""

    # -- tasks, since the client was made
    succeeded: int = 0
    """Tasks seen to succeed, attached ones included; one attached again is seen again."""
    failed: int = 0
    """Tasks seen to fail, likewise."""
    gone: int = 0
    """Tasks seen once that the vendor then no longer knew."""
    changed: int = 0
    """Changes seen of a task, its end included."""
    slot_expired: int = 0
    """Tasks and unresolved creates whose slots stopped counting after ``max_task_life``."""
    held: int = 0
    """Times that creates of an endpoint and model began to wait, since ten in a row were refused alike."""
    downloaded: int = 0
    """Files stored, or streamed to their end."""
    downloaded_bytes: int = 0
    """Their size."""
    callbacks: dict[str, int] = {}
    """Callbacks received, by what became of them: ``believed`` (signed), ``hint`` (unsigned, with the path
    token); dropped ones by the reason: ``forged``, ``unsigned``, ``path_token``, ``old``, ``replayed``,
    ``repeated``, ``huge``, ``malformed``. Keys appear with their first callback."""

    # -- requests to the API, since the client was made; downloads are not among them
    asked: int = 0
    """Status queries, each about one task or many; the pages of one list are one query."""
    requests: dict[str, int] = {}
    """Requests by purpose: ``create``; ``one``, ``ids`` and ``list``, the forms of status queries;
    ``lookup``, the search for a create whose answer was lost; ``other``. All keys are always present."""
    retried: int = 0
    """Requests other than creates without a usable answer (no answer, 5xx, too fast); most are repeated, as
    `Retry` says."""
    unanswered: int = 0
    """Requests of any kind without an answer of the API's form: unsent, cut, timed out, a gateway's page."""
    bytes_sent: int = 0
    """Size of the bodies of requests; headers are not counted."""
    bytes_received: int = 0
    """Size of the bodies of whole answers, uncompressed."""

    # -- now
    queued: int = 0
    """Submits that wait for slots, in all pools."""
    oldest_wait: float = 0.0
    """Seconds that the longest waiting submit has waited; 0 if none waits."""
    in_flight: int = 0
    """Creates on their way, or being looked for after their answer was lost."""
    running: int = 0
    """Tasks seen running and not yet seen ended, attached ones included."""
    unresolved: int = 0
    """Creates of unknown fate; see ``client.unresolved()``."""
    holds: dict[str, str] = {}
    """Endpoints and models whose creates wait, with the refusal: ``{"text_to_video kling-v3": "code 1203"}``.
    One create a minute finds out whether that has changed; ``account.reopen()`` ends all."""
    units_spent: dict[str, float] = {}
    """Units that tasks seen ended have cost, by pool, of a client with ``max_units``."""
    units_reserved: dict[str, float] = {}
    """Units set aside for tasks whose end was not seen, by pool, likewise."""
    units_estimated: dict[str, float] = {}
    """The part of ``units_spent`` that is an estimate, the most that the task could cost: the vendor has not
    said the price of tasks whose end a callback told."""
    pools: dict[str, PoolState] = {}
    """The slots, as ``client.account.limits()`` shows them."""

    @property
    def waited_mean(self) -> float:
        """Mean seconds of the waits in ``waited``; 0 before the first."""
        return self.waited / max(1, self.created + self.adopted)

    def _repr_mimebundle_(self, **_: object) -> MimeBundle:
        shown = [(name, _words(getattr(self, name))) for name in self.__struct_fields__ if name != "pools"]
        facts = [("waited_mean", _words(self.waited_mean)), *((name, text) for name, text in shown if text)]
        pools = PoolStates(self.pools)._repr_mimebundle_()
        text = f"{text_rows(facts)}\n\n{pools['text/plain']}"
        return bundle(text, titled("Stats", rows(facts), Markup(pools["text/html"])))


def _words(value: object) -> str:
    """Return numbers, also those of a mapping, as text without those that are 0."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(item)}" for name, item in value.items() if item)
    if isinstance(value, int | float):
        return f"{value:.10g}" if value else ""
    return str(value)


def stats_of(engine: Engine, pools: Mapping[str, PoolState]) -> Stats:
    """Combine the counts since the client was made with the numbers of this moment."""
    units = engine.queue.units.totals()
    return Stats(
        **engine.hooks.counts.copied(),
        queued=sum(pool.queued for pool in pools.values()),
        oldest_wait=engine.limiter.oldest_wait(),
        in_flight=engine.queue.in_flight,
        running=sum(poller.running for poller in engine.pollers),
        unresolved=len(engine.recovery.entries()),
        holds={str(hold.kind): str(hold.refusal) for hold in engine.limiter.holds},
        units_spent=units.spent,
        units_reserved=units.reserved,
        units_estimated=units.estimated,
        pools=dict(pools),
    )


def state_words(engine: Engine) -> str:
    """Return the state of a client's pools in words, for its ``repr``."""
    if engine.scope.closed:
        return "closed"
    shown = [
        f"{p.name} closed" if p.closed else f"{p.name} {p.held}/{p.limit} held, {p.queued} queued"
        for p in engine.limiter.pools.values()
        if p.held or p.queued or p.closed
    ]
    return "; ".join(shown) or "idle"
