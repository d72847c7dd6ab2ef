"""Construction of requests and parts: plain types in signatures, errors that name the class and the field."""

from __future__ import annotations

import difflib
import functools
import operator
import sys
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import StructMeta

from kling_async.wire.media import Media

if TYPE_CHECKING:
    from inspect import Signature

__all__ = ["FieldsByName", "hint"]

_TAKEN: Final = "Media | str | bytes | Path"
"""Annotation of a media field: the types that its constructor takes."""
_BODY_DECISION: Final = ("fastapi._compat", "fastapi.dependencies")
"""Modules of FastAPI that decide whether a parameter of a route is read from the body."""
_OF_THE_CALL: Final = ("external_task_id", "callback_url")


class FieldsByName(StructMeta):
    """Metaclass of requests and parts.

    Editors and type checkers see media fields annotated by all types that the constructor takes. msgspec
    refuses such a union, and every instance holds a `Media` there, so at run time the annotation is `Media`.
    """

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **config: Any
    ) -> FieldsByName:
        """Make the class, with the annotation `Media` for media fields."""
        annotations: dict[str, Any] = namespace.get("__annotations__", {})
        for field, text in annotations.items():
            if isinstance(text, str):
                annotations[field] = text.replace(_TAKEN, "Media")
        return super().__new__(mcs, name, bases, namespace, **config)

    if not TYPE_CHECKING:  # type checkers would take this signature for the constructor of every class

        def __call__(cls, /, *args: Any, **values: Any) -> Any:
            """Construct an instance of a class.

            Raises:
                TypeError: Values were given by position, or fields are unknown or missing: all are named.
            """
            try:
                return _construct(cls, *args, **values)
            except TypeError:
                misuse = _misuse(cls, args, values)
                if not misuse:
                    raise
            raise TypeError(misuse)

        @property
        def __dataclass_fields__(cls) -> dict[str, Any]:
            """Pass for a dataclass where FastAPI decides what a parameter is.

            FastAPI reads models, mappings and dataclasses from the body, any other type from the query.
            There is no hook for that decision, and nobody else must take a request for a dataclass.
            """
            caller = sys._getframe(2)  # noqa: SLF001 - of `dataclasses.is_dataclass`
            asking = caller.f_globals.get("__name__", "")
            if asking.startswith(_BODY_DECISION):
                return {}
            raise AttributeError("__dataclass_fields__")

    @property
    def __signature__(cls) -> Signature:
        """Signature of the constructor, with the plain types that it takes."""
        signature = super().__signature__
        parameters = signature.parameters.values()
        return signature.replace(parameters=[p.replace(annotation=_plain(p.annotation)) for p in parameters])


_construct: Final = StructMeta.__call__


def _misuse(kind: type[msgspec.Struct], args: tuple[Any, ...], values: dict[str, Any]) -> str:
    """Return the words for a call that does not fit the constructor; empty if it fits."""
    fields = msgspec.structs.fields(kind)
    if args:
        return f"{kind.__name__} takes its fields by name: {kind.__name__}({fields[0].name}=...)"
    known = [field.name for field in fields]
    wrong = [f"no field {name!r}{hint(name, known)}" for name in values if name not in known]
    wrong += [f"field {f.name!r} is required" for f in fields if f.required and f.name not in values]
    return f"{kind.__name__}: {'; '.join(wrong)}" if wrong else ""


def hint(field: str, known: list[str]) -> str:
    """Return words on where an unknown field belongs, or which known one is meant; empty if none is alike."""
    if field in _OF_THE_CALL:
        return f"; it belongs to the call: submit(..., {field}=...)"
    # a whole word of a name comes first: "model" means model_name, although "mode" is more alike by letters
    words = [name for name in known if field in name.split("_")]
    close = words or difflib.get_close_matches(field, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _plain(annotation: Any) -> Any:
    """Return an annotation without its ``Meta``, and with all that a media field takes."""
    if annotation is Media:
        return Media | str | bytes | Path
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is None or origin is Literal:
        return annotation
    if origin is Annotated:
        return _plain(args[0])
    plain = tuple(_plain(arg) for arg in args)
    if origin in (Union, UnionType):
        return functools.reduce(operator.or_, plain)
    return origin[plain]
