"""Serve scripted bytes, well-formed HTTP or not, and record the requests."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

CUT: Final = b"CUT"
"""Answer: close the connection."""
HANG: Final = b"HANG"
"""Answer: stay silent until the client has left."""


class ReceivedRequest(NamedTuple):
    """One request as the server received it."""

    method: str
    target: str
    headers: Mapping[str, str]
    names: list[str]
    body: bytes
    connection: int


class Wire:
    """Answer each request with the next of the given bytes, and all further ones with the last."""

    def __init__(self, *answers: bytes) -> None:
        self.requests: list[ReceivedRequest] = []
        self.port = 0
        self._answers = answers
        self._connections = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        number = self._connections
        try:
            while await self._exchange(reader, writer, number):
                pass
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError):
            pass  # the client has left
        finally:
            writer.close()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, target, _ = first.split(" ")
        self.requests.append(
            ReceivedRequest(method, target, headers, [p[0].lower() for p in pairs], body, number)
        )
        answer = self._answers[min(len(self.requests), len(self._answers)) - 1]
        if answer == CUT:
            return False
        if answer == HANG:
            await reader.read()
            return False
        writer.write(answer)
        await writer.drain()
        return b"Content-Length" in answer


@asynccontextmanager
async def serving(*answers: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    wire = Wire(*answers)
    server = await asyncio.start_server(wire.talk, "127.0.0.1", 0, ssl=tls)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        await server.wait_closed()


def raw(body: object = b"", status: int = 200, **headers: str) -> bytes:
    """Return a whole HTTP answer; a body that is not bytes is sent as JSON."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(sent)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + sent


def code(number: int, status: int = 200, message: str = "as scripted", **headers: str) -> bytes:
    return raw({"code": number, "message": message, "request_id": "r-1"}, status, **headers)


def free_port() -> int:
    """Return a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


CERTIFICATE: Final = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgNKTASoPcXON3hyKB
rP3Zik+NIA5v6ZHhYV2EufasC+uhRANCAAT52ymCAZva0DkyEL0nnuGhmoaAY+if
HApXbWUvwDSj2Mt+AgzI8dvqpyStknG80OTFnKfnqoiVDvpXQJPUVSMb
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBdTCCAR2gAwIBAgIBAjAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABPnbKYIBm9rQOTIQ
vSee4aGahoBj6J8cCldtZS/ANKPYy34CDMjx2+qnJK2ScbzQ5MWcp+eqiJUO+ldA
k9RVIxujXjBcMA8GA1UdEwEB/wQFMAMBAf8wGgYDVR0RBBMwEYIJbG9jYWxob3N0
hwR/AAABMA4GA1UdDwEB/wQEAwIChDAdBgNVHQ4EFgQUZKRyaXNA2EkSYdjGXcAd
goC1zhswCgYIKoZIzj0EAwIDRgAwQwIfY/i3j6QvtCq3WK9XJE08Ki5kK0n4iWZR
osWM4JpaCAIgCd6pZfYRsfQ5/6w0VZ/qGE2btS7JN+sNPU3A/edYBCQ=
-----END CERTIFICATE-----
"""
"""Made for these tests and valid for localhost; no authority signed it."""


def server_tls(folder: Path) -> ssl.SSLContext:
    path = folder / "server.pem"
    path.write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
