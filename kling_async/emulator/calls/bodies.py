"""Judging of a whole request body, noting unknown fields in the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kling_async.emulator.judging.judge import judge_body
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.judging.rules.table import check_rules

if TYPE_CHECKING:
    from kling_async.emulator.judging.reference import ReferenceEndpoint
    from kling_async.emulator.state.ledger import Row

__all__ = ["judged_fields"]


def judged_fields(endpoint: ReferenceEndpoint, body: dict[str, Any] | None, row: Row) -> dict[str, Any]:
    """Return the fields of a body that are set, and note the unknown ones in ``row``.

    Args:
        endpoint: The endpoint of the request; one that is called by GET has no body.
        body: The JSON body, None if the request had no JSON object.
        row: The ledger's row of the request.

    Raises:
        Refusal: The body breaks a rule of the API.
    """
    if endpoint.method == "GET":
        return {}
    if body is None:
        raise Refusal(1200, "Request body is not a JSON object")
    kept, row.unknown_fields = judge_body(endpoint, body)
    check_rules(endpoint, kept)
    return kept
