"""Asyncio client for the Kling AI media API, with an orchestrator in front of it.

    from kling_async import Client, v1

    async with Client() as client:
        task = await client.submit(v1.TextToVideo(prompt="A rabbit reads the newspaper"))
        video = await task.wait()
        paths = await task.download("out/")

The names below are all that programs need; importing the package loads nothing heavy, each name is loaded
when it is first used. The rooms behind them, from the top down (imports go downwards only):

- ``cli`` is the command ``kling``; ``webhooks`` verifies, reads and receives callbacks; ``otel`` traces;
- ``notebook`` watches tasks and batches in Jupyter;
- ``web`` ties a client to the life of a web application;
- ``client``, with ``tasks``, ``account`` and ``stats``, is the client;
- ``batch`` runs many requests, with a journal; ``downloads`` stores the files of results;
- ``orchestrator`` queues and creates tasks, recovers lost answers, and asks for their status;
- ``http`` sends requests; ``runtime`` has event loop, file locks, signals; ``events`` counts and reports;
- ``core`` decides, without clock, I/O or await: admission, schedule of queries, meaning of answers;
- ``catalog`` has one row per endpoint, ``prices`` its price; ``v1`` and ``v2`` hold requests, results;
- ``wire`` checks and encodes requests; ``records`` decodes answers; ``options`` holds settings;
- ``display`` makes HTML for notebooks;
- ``errors`` is the tree of errors; ``redaction`` keeps secrets out of all text that is shown or stored;
- ``emulator`` (``testing``) is a local server of the API, for tests and demos; it imports none of the above.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from kling_async._version import __version__

if TYPE_CHECKING:
    from kling_async import notebook, v1, v2
    from kling_async.account import Account, PoolState
    from kling_async.batch.batch import Batch
    from kling_async.batch.exclusions import Skipped
    from kling_async.batch.outcomes import Outcome, Plan, Report, Spent, Totals
    from kling_async.batch.progress import Progress
    from kling_async.batch.readers import JobReader, read_csv, read_jsonl
    from kling_async.catalog import json_schema, request_from_dict
    from kling_async.client import Client
    from kling_async.downloads.stream import FileStream
    from kling_async.errors import (
        AccountError,
        AmbiguousCreate,
        APIError,
        AuthenticationError,
        BadResponse,
        ClientClosed,
        ConcurrencyExceeded,
        ConfigurationError,
        DownloadError,
        ExternalIdTaken,
        JobFailed,
        JournalError,
        KlingError,
        KlingWarning,
        LineInvalid,
        OutOfUnits,
        PolicyViolation,
        Problem,
        QueueFull,
        QueueTimeout,
        RateLimited,
        RequestInvalid,
        RequestRejected,
        ResultExpired,
        ServerError,
        TaskFailed,
        TaskNotFound,
        TaskTimeout,
        TaskWithdrawn,
        TransportError,
        UnitLimitReached,
        WebhookError,
    )
    from kling_async.events import Event
    from kling_async.http.auth import CHINA, GLOBAL
    from kling_async.options import Polling, Retry, Timeouts
    from kling_async.orchestrator.submission import Unresolved
    from kling_async.prices import Estimate
    from kling_async.records import TaskRecord
    from kling_async.stats import Stats
    from kling_async.tasks import Task
    from kling_async.v1.capabilities import Capability, capabilities
    from kling_async.v2 import convert
    from kling_async.web import get_client, lifespan
    from kling_async.wire.endpoints import JournaledRequest, RawTask
    from kling_async.wire.media import Media, media
    from kling_async.wire.requests import CallRequest, TaskRequest

__all__ = [
    "CHINA",
    "GLOBAL",
    "APIError",
    "Account",
    "AccountError",
    "AmbiguousCreate",
    "AuthenticationError",
    "BadResponse",
    "Batch",
    "CallRequest",
    "Capability",
    "Client",
    "ClientClosed",
    "ConcurrencyExceeded",
    "ConfigurationError",
    "DownloadError",
    "Estimate",
    "Event",
    "ExternalIdTaken",
    "FileStream",
    "JobFailed",
    "JobReader",
    "JournalError",
    "JournaledRequest",
    "KlingError",
    "KlingWarning",
    "LineInvalid",
    "Media",
    "OutOfUnits",
    "Outcome",
    "Plan",
    "PolicyViolation",
    "Polling",
    "PoolState",
    "Problem",
    "Progress",
    "QueueFull",
    "QueueTimeout",
    "RateLimited",
    "RawTask",
    "Report",
    "RequestInvalid",
    "RequestRejected",
    "ResultExpired",
    "Retry",
    "ServerError",
    "Skipped",
    "Spent",
    "Stats",
    "Task",
    "TaskFailed",
    "TaskNotFound",
    "TaskRecord",
    "TaskRequest",
    "TaskTimeout",
    "TaskWithdrawn",
    "Timeouts",
    "Totals",
    "TransportError",
    "UnitLimitReached",
    "Unresolved",
    "WebhookError",
    "__version__",
    "capabilities",
    "convert",
    "get_client",
    "json_schema",
    "lifespan",
    "media",
    "notebook",
    "read_csv",
    "read_jsonl",
    "request_from_dict",
    "v1",
    "v2",
]

_MODULES: Final = {
    "account": ("Account", "PoolState"),
    "batch.batch": ("Batch",),
    "batch.exclusions": ("Skipped",),
    "batch.outcomes": ("Outcome", "Plan", "Report", "Spent", "Totals"),
    "batch.progress": ("Progress",),
    "batch.readers": ("JobReader", "read_csv", "read_jsonl"),
    "catalog": ("json_schema", "request_from_dict"),
    "client": ("Client",),
    "downloads.stream": ("FileStream",),
    "events": ("Event",),
    "http.auth": ("CHINA", "GLOBAL"),
    "options": ("Polling", "Retry", "Timeouts"),
    "orchestrator.submission": ("Unresolved",),
    "prices": ("Estimate",),
    "records": ("TaskRecord",),
    "stats": ("Stats",),
    "tasks": ("Task",),
    "v1.capabilities": ("Capability", "capabilities"),
    "web": ("get_client", "lifespan"),
    "wire.endpoints": ("JournaledRequest", "RawTask"),
    "wire.media": ("Media", "media"),
    "wire.requests": ("CallRequest", "TaskRequest"),
}
"""Module: names that it provides; all others are in ``errors``."""

_SUBMODULES: Final = {"notebook": "notebook", "v1": "v1", "v2": "v2", "convert": "v2.convert"}
"""Names that are modules."""

if not TYPE_CHECKING:  # with a visible __getattr__ type checkers would let any misspelt name pass

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in _SUBMODULES:
            return importlib.import_module(f"kling_async.{_SUBMODULES[name]}")
        module = next((module for module, names in _MODULES.items() if name in names), "errors")
        value = getattr(importlib.import_module(f"kling_async.{module}"), name)
        globals()[name] = value  # a module calls __getattr__ only for names that it lacks
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
