"""Bases of requests and results, the same for both generations of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast

import msgspec
from msgspec import StructMeta

from kling_async.display.fields import fields_bundle, fields_of
from kling_async.display.html import bundle, titled
from kling_async.errors import DownloadError, RequestInvalid
from kling_async.redaction import Discreet, json_types
from kling_async.wire import json_bridge, pydantic_hooks
from kling_async.wire.checks import Rule, check_field, problems_of
from kling_async.wire.coercion import coerce
from kling_async.wire.construction import FieldsByName
from kling_async.wire.players import EMBED_MAX, Embedded, FileSource, players
from kling_async.wire.schema import Schema, object_schema

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.display.html import Markup, MimeBundle

__all__ = ["CallRequest", "File", "Part", "RawResult", "Request", "Result", "TaskRequest"]

R_any = TypeVar("R_any", bound="Result")
R_co = TypeVar("R_co", covariant=True)


class _Readable(
    Discreet,
    metaclass=FieldsByName,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,  # for whoever decodes by msgspec: a misspelt name is an error there, too
):
    """Base of what callers describe: requests and their parts. It is read out of JSON and written back."""

    endpoint_name: ClassVar[str] = ""
    """Name of a request's endpoint in the catalog, ``text_to_video``."""
    rules: ClassVar[tuple[Rule, ...]] = ()
    """Checks over several fields; each a small named function."""

    def __post_init__(self) -> None:
        """Turn values into plain ones, lists into tuples, files and addresses into `Media`; see `coerce`."""
        coerce(self)

    def to_dict(self, *, signed: bool = True, files: str | Path | None = None) -> dict[str, Any]:
        """Return the fields that are set in JSON types, a request's with ``"endpoint"``, for `from_dict`.

        Bytes become Base64; nothing is read from disk.

        Args:
            signed: Whether addresses keep their queries; without them the request cannot be sent again.
            files: A folder: files below it are written by their paths within it.

        Raises:
            RequestInvalid: A file lies elsewhere or no folder is given, an address is not https, or a value
                cannot be JSON; each is named.
        """
        return self._named(json_bridge.written(self, signed=signed, files=files))

    _repr_mimebundle_ = fields_bundle

    @classmethod
    def _named(cls, fields: dict[str, Any]) -> dict[str, Any]:
        return {"endpoint": cls.endpoint_name, **fields} if cls.endpoint_name else fields

    @classmethod
    def from_dict(cls, data: object, *, files: str | Path | None = None) -> Self:
        """Return the request, or part of one, that an object out of JSON describes by the names of fields.

        A file is an https address or Base64; a `Path`, bytes or `Media` in Python. Rules between fields are
        left to ``client.check()`` and ``submit()``.

        Args:
            data: The object. It may name its ``"endpoint"``.
            files: A folder: a text may name a file below it by its path. Paths have a dot: ``./cat``.

        Raises:
            RequestInvalid: A field is unknown, missing, of another type or out of bounds; all are named.
        """
        reader = json_bridge.Reader(check_field, files=files)
        request = reader.read(cls, cls.endpoint_name, data)
        if request is None or reader.problems:
            raise RequestInvalid(cls.__name__, reader.problems)
        return request

    @classmethod
    def _read_from_http(cls, value: object) -> pydantic_hooks.Reading:
        reader = json_bridge.Reader(check_field, from_http=True)
        request = value if isinstance(value, cls) else reader.read(cls, cls.endpoint_name, value)
        # doubts are for the programmer: submit() warns of them
        more = [] if request is None else problems_of(request, lambda _: None)
        return pydantic_hooks.Reading(request, tuple(dict.fromkeys((*reader.problems, *more))))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic read values; each wrong field is an error at its place."""
        return pydantic_hooks.request_schema(cls, cls.endpoint_name, cls._read_from_http, cls.to_dict)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Schema:
        """Describe the fields, with bounds, words and defaults."""
        return _described(cls, handler)


def _described(kind: type[msgspec.Struct], handler: Any) -> Schema:
    def ref(part: type[msgspec.Struct]) -> Schema:
        return pydantic_hooks.described(part, handler, lambda: object_schema(part, ref))

    return object_schema(kind, ref)


@json_types.register
def _(value: _Readable, signed: bool) -> dict[str, Any]:
    """Show a request beside other values: files by path or size."""

    def shown(_: str, item: object) -> Any:
        return json_types(item, signed)

    return value._named(json_bridge.object_of(value, shown, shown))  # noqa: SLF001 - a class of this module


class Request(_Readable, frozen=True, kw_only=True, omit_defaults=True):
    """Describe one call. It is checked and encoded by the ``Meta`` of its fields.

    Fields left at None are not sent, so the vendor's default applies; an empty text counts as not set. Each
    class ends with a field ``extra``: editors show fields in the order of their declaration, those of a base
    first.
    """

    extra = cast("dict[str, Any]", {})
    """Fields of the API that a class lacks (the vendor adds some monthly); merged into the body last."""


class Part(_Readable, frozen=True, kw_only=True, omit_defaults=True):
    """Base of the objects within a request."""


class TaskRequest(Request, Generic[R_co], frozen=True, kw_only=True, omit_defaults=True):
    """A request that starts a task; ``client.submit()`` takes it. R is the type of the task's result."""


class CallRequest(Request, Generic[R_co], frozen=True, kw_only=True, omit_defaults=True):
    """A request that is answered at once; ``client.call()`` takes it. R is the type of the answer."""


class File(Discreet, frozen=True):
    """One file of a result."""

    url: str
    """Address of the file."""
    suffix: str
    """Suffix of the format that the address should hold, with its dot: ``.mp4``."""
    name: str = ""
    """Name that differs from those of the result's other files, ``0`` or ``watermarked``."""


class _TakesRaw(StructMeta):
    """Metaclass of results: their constructors take ``raw`` beside the fields."""

    if not TYPE_CHECKING:  # type checkers would take this signature for the constructor of every class

        def __call__(self, /, *, raw: dict[str, Any] | None = None, **values: Any) -> Any:
            """Construct a result."""
            made = super().__call__(**values)
            return made if raw is None else _with_raw(made, raw)


def _with_raw(result: R_any, raw: dict[str, Any]) -> R_any:
    vars(result)["raw"] = raw
    return result


def _constructed(kind: type[Result], values: dict[str, Any]) -> Result:
    return kind(**values)


class Result(Discreet, metaclass=_TakesRaw, frozen=True, kw_only=True, dict=True):
    """Base of all results.

    The vendor's own object is no field, so that no encoder shows it: frameworks may write structs field by
    field, as Litestar does by msgspec, and would publish it.
    """

    has_files: ClassVar[bool] = False
    """Whether results of this kind name files: true where `files` is overridden."""
    in_task_info: ClassVar[tuple[str, ...]] = ()
    """Fields, each an object, that answers hold in the task's ``task_info`` instead of its result."""

    if TYPE_CHECKING:
        raw: dict[str, Any] = {}
    else:

        @property
        def raw(self) -> dict[str, Any]:
            """The vendor's own object, with the fields that the types here lack; no encoder shows it."""
            return self.__dict__.setdefault("raw", {})

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.has_files = cls.files is not Result.files

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic take results, and what `to_dict` wrote of one; it writes them so."""
        return pydantic_hooks.result_schema(super().__get_pydantic_core_schema__(source, handler), cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Schema:
        """Describe the fields as `to_dict` writes them."""
        return _described(cls, handler)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle ``raw``, too."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return _constructed, (type(self), {**values, "raw": self.raw})

    def __copy__(self) -> Self:
        return _with_raw(msgspec.structs.replace(self), self.raw)

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and self.raw == cast("Self", other).raw

    __hash__ = Discreet.__hash__

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:  # noqa: ARG002 - for subclasses
        """Return the files that can be downloaded; with ``watermarked``, the marked copies instead."""
        return ()

    def shown_files(self) -> Markup:
        """Return pictures and players of the files as HTML, from disk where they were downloaded.

        Others stand there by their whole address: whoever gets the page can fetch them until they expire.
        """
        source = self._source()
        local = source is None or source.local
        return players(((file.url, file.suffix, file.name) for file in self.files()), local=local)

    def _source(self) -> FileSource | None:
        """Return who can fetch the files; None: a copy, or the result of no task."""
        source: FileSource | None = vars(self).get("source")
        return source

    async def embed(self, *, watermarked: bool = False, max_bytes: int = EMBED_MAX) -> Embedded:
        """Return the files as Base64 copies that a notebook shows and keeps; see `Task.embed`.

        They are read from disk where they were downloaded, else fetched by the client that read the result.

        Args:
            watermarked: Take the watermarked copies instead, if the request asked for them.
            max_bytes: Most bytes of all files together; the notebook's file grows by four thirds of it.

        Raises:
            DownloadError: The files are larger, one could not be fetched or read, or nobody can fetch them:
                the result is no task's, was copied or unpickled, or its client is gone.
            ResultExpired: The vendor has deleted a file.
        """
        if (source := self._source()) is None:
            text = "this result does not know who can fetch its files: it is a copy, or of no task"
            raise DownloadError(f"{text}; use embed() of the task, or of the result of its wait()")
        return await source.embed(self, watermarked=watermarked, max_bytes=max_bytes)

    def _repr_mimebundle_(self, **_: object) -> MimeBundle:
        return bundle(repr(self), titled(type(self).__name__, self.shown_files(), fields_of(self)))

    def refusal(self) -> tuple[int | None, str] | None:
        """Return code (if any) and words of a refusal that came inside an accepting answer, else None."""
        return None


class RawResult(Result, frozen=True, kw_only=True):
    """The result of an endpoint this package has no types for: see ``raw``."""
