"""A small host of one file, written for these tests alone, that breaks each answer as its plan says.

It shares no code with the client or the emulator. As HTTP wants it (RFC 9110), it sends a range only where
If-Range names the present content, and its strong ETags name different contents differently.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

Conduct = Literal[
    "good",  # the range that was requested, or the whole file
    "before headers",  # the connection ends without an answer
    "within headers",
    "busy",  # 503
    "page",  # 200 with an HTML page
    "no ranges",  # the whole file, whatever was requested
    "weak",  # a weak ETag
    "no tag",
    "no length",  # chunked
    "replaced",  # from now on another file of the same length, with another ETag
    "longer",  # from now on a file that begins alike and goes on, with another ETag
    "another place",  # a remainder that begins elsewhere than was requested, and says so
    "another total",  # a Content-Range with another length of the whole file
    "too little",  # a remainder that lacks its last byte, with a Content-Length to match
    "too much",  # a remainder with one byte more
    "unsatisfiable",  # 416
]


class Step(NamedTuple):
    """How one request is answered."""

    conduct: Conduct
    cut: int | None = None
    """Bytes of the body after which the connection is cut; None lets it through."""


class FlakyHost:
    """Answer requests as planned, and all further ones well."""

    def __init__(self, content: bytes, plan: Sequence[Step]) -> None:
        self.contents = [content]
        """All contents that the file has had, the present one last."""
        self.requests = 0
        self.port = 0
        self._plan = plan

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close the connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            step = self._plan[self.requests] if self.requests < len(self._plan) else Step("good")
            self.requests += 1
            writer.write(self._answer(step, request))
            await writer.drain()

    def _answer(self, step: Step, request: str) -> bytes:
        old = self.contents[-1]
        match step.conduct:
            case "before headers":
                return b""
            case "within headers":
                return b"HTTP/1.1 200 OK\r\nContent-Le"
            case "busy":
                return _answer("503 Busy", b"", {})
            case "unsatisfiable":
                return _answer("416 No", b"", {"Content-Range": f"bytes */{len(old)}"})
            case "page":
                return _answer("200 OK", b"<html>", {"Content-Type": "text/html"})
            case "replaced":
                self.contents.append(old[:12] + bytes(255 - byte for byte in old[12:]))
            case "longer":
                self.contents.append(old + b"more")
        return self._file(step, request)

    def _file(self, step: Step, request: str) -> bytes:
        content, tag = self.contents[-1], f'"v{len(self.contents)}"'
        sent = {"weak": f"W/{tag}", "no tag": ""}.get(step.conduct, tag)
        headers = {"ETag": sent} if sent else {}
        if step.conduct == "no length":
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
            return _answer("200 OK", body, headers, step.cut, chunked=True)
        wanted = re.search(r"^Range: bytes=(\d+)-\r$", request, re.MULTILINE)
        valid = f"If-Range: {tag}\r\n" in request and step.conduct != "no ranges"
        if wanted is None or not valid:
            return _answer("200 OK", content, headers, step.cut)
        start = int(wanted[1]) + (step.conduct == "another place")
        body, total = content[start:], len(content) + (step.conduct == "another total")
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{total}"
        if step.conduct == "too little":
            body = body[:-1]
        if step.conduct == "too much":
            body += b"x"
        return _answer("206 Partial Content", body, headers, step.cut)


def _answer(
    status: str, body: bytes, headers: dict[str, str], cut: int | None = None, *, chunked: bool = False
) -> bytes:
    size = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    lines = [f"HTTP/1.1 {status}", size, *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\nConnection: close\r\n\r\n" + body[:cut]


@asynccontextmanager
async def hosting(content: bytes, plan: Sequence[Step]) -> AsyncIterator[FlakyHost]:
    """Run a host of that file."""
    host = FlakyHost(content, plan)
    server = await asyncio.start_server(host.talk, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        server.close()
        await server.wait_closed()
