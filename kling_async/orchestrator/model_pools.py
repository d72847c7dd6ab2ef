"""Pools by model: slots that the tasks of one model version have for themselves, where the caller says so.

The vendor's rules of 2026 count slots for each account, model version and pack type; nobody has measured it.
So all models share the pool of their pack type, unless ``limits`` names one of a model: ``video/kling-3.0``.
Models are named as in the second generation, and those of the first have the same pools.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kling_async.orchestrator.create_spec import kind_of
from kling_async.orchestrator.unified import check_serves
from kling_async.v2.models import FIRST_NAMES

if TYPE_CHECKING:
    from collections.abc import Collection

    from kling_async.http.transport import Transport
    from kling_async.wire.endpoints import Endpoint
    from kling_async.wire.requests import TaskRequest

__all__ = ["model_of", "row_for"]


def model_of(request: TaskRequest[Any] | None, endpoint: Endpoint[Any]) -> str:
    """Return the model version of a request, by its name in the second generation; "" if it names none."""
    model = "" if request is None else kind_of(request, endpoint).model
    return FIRST_NAMES.get(model, model)


def row_for(
    request: TaskRequest[Any] | type[TaskRequest[Any]],
    endpoint: Endpoint[Any],
    transport: Transport,
    pools: Collection[str],
) -> Endpoint[Any]:
    """Return a row with the pool of the request's model, if there is one.

    Args:
        request: The request or its type, of which no model is known.
        endpoint: Its row.
        transport: The credentials and the host.
        pools: Names of the pools of models, ``video/kling-3.0``.

    Raises:
        ConfigurationError: These credentials, or this host, do not serve the endpoint.
    """
    check_serves(transport, endpoint.name, endpoint.asked_at)
    model = "" if isinstance(request, type) else model_of(request, endpoint)
    pool = f"{endpoint.pool}/{model}"
    return endpoint._replace(pool=pool) if pool in pools else endpoint
