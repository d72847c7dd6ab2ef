"""Create specs: what one submit asks for, its options checked."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from kling_async.core.queue import Kind
from kling_async.errors import ConfigurationError, ExternalIdTaken, Problem, RequestInvalid
from kling_async.options import SubmitOptions
from kling_async.wire.endpoints import RawTask, check_id
from kling_async.wire.hosts import wrong_callback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.wire.endpoints import Endpoint
    from kling_async.wire.requests import TaskRequest

__all__ = ["CreateSpec", "callback_of", "check_order", "checked_callback", "kind_of", "spec_of"]


def kind_of(request: TaskRequest[Any], endpoint: Endpoint[Any]) -> Kind:
    """Return the creates that are refused for the same reasons as one of this request."""
    body: Mapping[str, object] = request.body if isinstance(request, RawTask) else {}
    model = getattr(request, "model_name", None) or body.get("model_name") or body.get("model")
    if isinstance(request, RawTask) and endpoint.asked_at == "/tasks":
        model = request.path.rpartition("/")[2]
    return Kind(endpoint.name, str(model or ""), endpoint.pool)


class CreateSpec(NamedTuple):
    """A task to be created: from which request, where, and under which id."""

    request: TaskRequest[Any]
    endpoint: Endpoint[Any]
    external_task_id: str
    generated: bool
    """Whether nobody else can have used that id: then whatever carries it is ours."""
    callback_url: str | None = None
    attach: bool = False
    """Whether a task that has this id already is the one that is wanted."""

    @property
    def extra_fields(self) -> dict[str, Any]:
        """Fields that the call adds to the request's own; of the second generation under ``options``."""
        extra = {"external_task_id": self.external_task_id} if self.endpoint.takes_external_id else {}
        if self.callback_url:
            extra["callback_url"] = self.callback_url
        return {"options": extra} if self.endpoint.asked_at else extra

    def taken(self, text: str, request_id: str = "", http_status: int = 0) -> ExternalIdTaken:
        """Return the error for an id that another task has."""
        name = self.external_task_id
        return ExternalIdTaken(
            text, code=1201, request_id=request_id, http_status=http_status, external_task_id=name
        )

    def taken_elsewhere(self) -> ExternalIdTaken:
        """Return the error for an id that a task of another endpoint has."""
        name, kind = self.external_task_id, self.endpoint.name
        return self.taken(f"external_task_id {name} belongs to a task that is no {kind}; use another id")


def spec_of(
    request: TaskRequest[Any],
    endpoint: Endpoint[Any],
    options: SubmitOptions,
    *,
    generated: bool | None,
    callback_url: str | None,
) -> CreateSpec:
    """Return what a submit asks for.

    Args:
        request: What to make.
        endpoint: Where.
        options: Passed by `check_order`.
        generated: Whether nobody else can have used its external id; None: if it is a random one.
        callback_url: The client's own, for a submit that names none.

    Raises:
        RequestInvalid: The id cannot be one, or the endpoint gives no way to find the task that has it.
    """
    given, attach = options.get("external_task_id"), options.get("if_exists") == "attach"
    if attach and (not endpoint.takes_external_id or endpoint.lookup == "none"):
        text = f"tasks of {endpoint.name} cannot be found by an id of yours; leave if_exists out"
        raise RequestInvalid("submit", [Problem("if_exists", text)])
    return CreateSpec(
        request,
        endpoint,
        str(uuid.uuid4()) if given is None else check_id(given, "external_task_id"),
        generated=(given is None or attach) if generated is None else generated,
        attach=attach,
        callback_url=callback_of(options, endpoint, callback_url),
    )


def checked_callback(url: str | None, *, local: bool) -> str | None:
    """Return a client's callback address, if the vendor may post to it.

    Args:
        url: The address; None or "" for none.
        local: The API itself is on this machine, so that it reaches private hosts.

    Raises:
        ConfigurationError: It cannot; the message does not repeat the address, which may hold a token.
    """
    if url and (text := wrong_callback(url, local=local)) is not None:
        raise ConfigurationError(f"callback_url: {text}")
    return url


def callback_of(options: SubmitOptions, endpoint: Endpoint[Any], default: str | None) -> str | None:
    """Return the callback address of a submit: its own, even if empty, else the client's if it is taken."""
    own = options.get("callback_url")
    return own if own is not None else default if endpoint.takes_callback else None


def check_order(options: SubmitOptions, *, local: bool = False) -> None:
    """Check the options of a submit: one odd priority would stop the whole queue.

    Args:
        options: As given.
        local: The API itself is on this machine, so that it reaches private hosts.

    Raises:
        RequestInvalid: With every wrong option.
        TypeError: There is no such option.
    """
    for name in options.keys() - SubmitOptions.__annotations__.keys():
        raise TypeError(f"submit() got an unexpected keyword argument {name!r}")
    priority: object = options.get("priority", 0)
    label: object = options.get("label", "")
    timeout: object = options.get("queue_timeout")
    if_exists: object = options.get("if_exists", "error")
    callback: object = options.get("callback_url")
    wrong: list[Problem] = []
    if not isinstance(priority, int):
        wrong.append(Problem("priority", f"must be a whole number, not {type(priority).__name__}"))
    if not isinstance(label, str):
        wrong.append(Problem("label", f"must be text, not {type(label).__name__}"))
    if callback is not None and not isinstance(callback, str):
        wrong.append(Problem("callback_url", f"must be text, not {type(callback).__name__}"))
    elif callback and (text := wrong_callback(callback, local=local)) is not None:
        wrong.append(Problem("callback_url", text))
    if timeout is not None and not (isinstance(timeout, int | float) and timeout >= 0):
        wrong.append(Problem("queue_timeout", f"must be a number of seconds, not {timeout!r:.40}"))
    if if_exists not in ("error", "attach"):
        wrong.append(Problem("if_exists", f'must be "error" or "attach", not {if_exists!r:.40}'))
    elif if_exists == "attach" and options.get("external_task_id") is None:
        wrong.append(Problem("external_task_id", 'is needed by if_exists="attach": the id to look for'))
    if wrong:
        raise RequestInvalid("submit", wrong)
