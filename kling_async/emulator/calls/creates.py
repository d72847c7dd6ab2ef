"""Creates: a judged request takes slots and units and becomes a task, or is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kling_async.emulator.calls.bodies import judged_fields
from kling_async.emulator.footage.shapes import UNSEEN_SECONDS
from kling_async.emulator.judging.addresses import unreachable_address
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.judging.rules.table import with_defaults
from kling_async.emulator.state.lookups import look_up
from kling_async.emulator.state.payloads import without_payloads
from kling_async.emulator.state.prices import units_of, uses_voices
from kling_async.emulator.state.prompt_words import asks_to_fail, asks_to_refuse
from kling_async.emulator.state.result_aspect import result_aspect
from kling_async.emulator.state.tasks import Task, TaskOutput, TaskTimes
from kling_async.emulator.state.weights import count_of, weight_of

if TYPE_CHECKING:
    from kling_async.emulator.judging.reference import ReferenceEndpoint
    from kling_async.emulator.state.account import EmulatedAccount
    from kling_async.emulator.state.items import TaskSource
    from kling_async.emulator.state.ledger import Row

__all__ = ["admit", "create_task"]


def create_task(
    account: EmulatedAccount, endpoint: ReferenceEndpoint, body: dict[str, Any] | None, row: Row
) -> Task:
    """Make a task and let it run.

    Args:
        account: The account that pays.
        endpoint: The endpoint of the create.
        body: The JSON body, None if the request had no JSON object.
        row: The ledger's row of the request; gets the id of the task.

    Raises:
        Refusal: Nothing was made, and nothing taken.
    """
    kept = judged_fields(endpoint, body, row)
    unreachable = unreachable_address(kept, endpoint.params)
    source = replace(look_up(endpoint.name, kept, account.library), unreachable=unreachable)
    aspect = result_aspect(endpoint, kept)  # measures pictures, so it comes before the files are dropped
    full: dict[str, Any] = without_payloads(with_defaults(endpoint, kept), endpoint.params)
    if asks_to_refuse(full):
        raise Refusal(1301, "Failure to pass the risk control system")
    if row.external_task_id and account.tasks.knows_external(row.external_task_id):
        raise Refusal(1201, f"External_task_id {row.external_task_id} already exists")
    task = admit(account, endpoint, full, source, aspect)
    account.tasks.add(task)
    row.task_id = task.task_id
    return task


def admit(
    account: EmulatedAccount,
    endpoint: ReferenceEndpoint,
    body: dict[str, Any],
    source: TaskSource,
    aspect: str,
) -> Task:
    """Take slots and units for a task, which does not run yet.

    Args:
        account: The account that pays.
        endpoint: The endpoint of the create.
        body: The request, without files, under the names of ``/v1``.
        source: What the task works on.
        aspect: Aspect ratio of its results.

    Raises:
        Refusal: The account has no slots or units, or may not use the model.
    """
    pool, weight = endpoint.pool, weight_of(endpoint, body)
    seconds = float(body.get("duration", UNSEEN_SECONDS)) if source.seconds is None else source.seconds
    count = count_of(endpoint, body, account.ids.rng)
    units = units_of(endpoint, _priced_fields(body, source), seconds, count)
    account.refuse_unaffordable(pool, units, body.get("model_name"))
    if not account.pools.take(pool, weight):
        raise Refusal(1303)
    account.wallet.add(pool, -units)
    now, now_ms = account.clock.time(), account.clock.wall_ms()
    task = Task(
        task_id=account.ids.next(),
        endpoint=endpoint.name,
        body=body,
        external_task_id=body.get("external_task_id"),
        pool=pool,
        weight=weight,
        units=units,
        times=TaskTimes(created=now, starts=now, ends=now, created_ms=now_ms, updated_ms=now_ms),
        source=source,
        output=TaskOutput(account.ids.next(), seconds, aspect, count),
        ending="failed" if asks_to_fail(body) else "succeed",
    )
    lasts = account.pace.seconds_for(task)
    if source.unreachable is not None:
        task.ending = "failed"
        lasts = min(lasts, account.pace.fetch_seconds)
    task.times.starts, task.times.ends = now + min(1.0, lasts / 10), now + lasts
    return task


def _priced_fields(body: dict[str, Any], source: TaskSource) -> dict[str, Any]:
    """Return the fields that decide the price: with the source's model, and without unused voices."""
    if source.clip is not None:
        return {"model_name": source.clip.model, "mode": source.clip.mode, **body}
    return body if uses_voices(body) else {name: body[name] for name in body if name != "voice_list"}
