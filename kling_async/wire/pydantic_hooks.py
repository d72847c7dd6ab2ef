"""Let pydantic, and so FastAPI, take requests and describe requests and results.

pydantic is no dependency of this package: it is imported only by hooks that pydantic itself calls.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from kling_async.wire.fields import WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kling_async.errors import Problem

__all__ = ["Reading", "described", "request_schema", "result_schema"]


class Reading(NamedTuple):
    """A request as far as it could be read, and all problems of it."""

    request: Any
    problems: Sequence[Problem]


def described(kind: type, handler: Any, describe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a reference to the schema of a class that stands among pydantic's definitions.

    Args:
        kind: A class whose values stand within others.
        handler: Of ``__get_pydantic_json_schema__``.
        describe: Returns its JSON schema.
    """
    from pydantic_core import core_schema as cs  # noqa: PLC0415 - loaded by pydantic, which calls this

    part = cs.any_schema(ref=_ref(kind), metadata={"pydantic_js_functions": [lambda *_: describe()]})
    # a handler makes no definition of a schema itself, only of those inside it
    reference: dict[str, Any] = handler(cs.list_schema(part))["items"]
    return reference


def _ref(kind: type) -> str:
    """Return pydantic's name for the schema of a class."""
    return f"{kind.__module__}.{kind.__qualname__}:{id(kind)}"


def request_schema(
    kind: type, endpoint: str, read: Callable[[object], Reading], write: Callable[[Any], dict[str, Any]]
) -> Any:
    """Return the core schema of a request: values are read by ``read``, and every problem is an error.

    Args:
        kind: Type of the request.
        endpoint: Name of its endpoint, by which pydantic tells the members of a union apart.
        read: Returns the request for a value.
        write: Returns the plain data for a request.
    """
    from pydantic_core import core_schema as cs  # noqa: PLC0415 - loaded by pydantic, which calls this

    def validate(value: object, _: Callable[[object], object]) -> object:
        reading = read(value)
        if reading.problems:
            raise _validation_error(kind.__name__, value, reading.problems)
        return reading.request

    validate.__name__ = validate.__qualname__ = kind.__name__  # errors of a union's members name these
    # never run: pydantic reads here which value of "endpoint" belongs to which member of a union
    tagged = cs.typed_dict_schema({"endpoint": cs.typed_dict_field(cs.literal_schema([endpoint]))})
    return cs.no_info_wrap_validator_function(
        validate,
        tagged,
        ref=_ref(kind),
        serialization=cs.plain_serializer_function_ser_schema(write),
    )


def result_schema(instance: Any, kind: type) -> Any:
    """Return the core schema of a result: an instance, or an object as its ``to_dict`` writes it.

    Args:
        instance: The core schema that takes instances.
        kind: Type of the result.
    """
    from pydantic_core import core_schema as cs  # noqa: PLC0415 - loaded by pydantic, which calls this

    def read(value: object) -> object:
        try:
            return msgspec.convert(value, kind) if isinstance(value, dict) else value
        except msgspec.ValidationError:
            return value  # refused as no instance

    return cs.no_info_before_validator_function(read, instance, ref=instance.pop("ref"))


def _validation_error(title: str, value: object, problems: Sequence[Problem]) -> Exception:
    """Return one error of pydantic's with a line for each problem; a validator can raise no other way."""
    from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError  # noqa: PLC0415 - as above

    lines = []
    for field, text in problems:
        loc: tuple[str | int, ...] = () if field == WHOLE else _location(field)
        kind = "missing" if text == "is required" else "request_invalid"
        error = PydanticCustomError(cast("Any", kind), cast("Any", _utf8(text)))  # typed as literals
        lines.append(InitErrorDetails(type=error, loc=loc, input=_input(value, loc)))
    return ValidationError.from_exception_data(title, lines)


_STEP: Final = re.compile(r"""\[(\d+)\]|\[(['"])(.*?)\2\]|([^.\[\]]+)""")


def _location(field: str) -> tuple[str | int, ...]:
    """Return the steps of a field's path: ``multi_prompt``, 1, ``prompt``."""
    return tuple(
        int(found[1]) if found[1] else found[3] if found[2] else found[4] for found in _STEP.finditer(field)
    )


def _input(value: object, location: tuple[str | int, ...]) -> object:
    """Return the wrong value itself where it is a short scalar: answers show it, and files are long."""
    inner: Any = value
    for step in location:
        try:
            inner = inner[step]
        except (LookupError, TypeError):
            return None
    if isinstance(inner, str) and len(inner) <= _SHOWN:
        return _utf8(inner)
    is_number = isinstance(inner, int) or (isinstance(inner, float) and math.isfinite(inner))
    return inner if inner is None or is_number else f"<{type(inner).__name__}>"


def _utf8(text: str) -> str:
    """Return a text that can be sent: one out of JSON may hold half a character."""
    return text.encode(errors="backslashreplace").decode()


_SHOWN: Final = 200
