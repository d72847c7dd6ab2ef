"""A client of pyright's language server: what an editor shows at a place in a program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["LanguageServer"]

ROOT: Final = Path(__file__).parents[1]
_SECONDS: Final = 50
"""After which a server that says nothing is killed: reading its answer then fails."""


class LanguageServer:
    """The server of the environment that runs the tests, on this tree."""

    def __init__(self) -> None:
        program = shutil.which("pyright-langserver", path=str(Path(sys.executable).parent))
        assert program is not None, "pyright is not installed beside this interpreter"
        self._process = subprocess.Popen(
            [program, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._watchdog = threading.Timer(_SECONDS, self._process.kill)
        self._last_id = 0

    def __enter__(self) -> Self:
        self._watchdog.start()
        markdown = ["markdown"]
        text_document = {
            "hover": {"contentFormat": markdown},
            "signatureHelp": {"signatureInformation": {"documentationFormat": markdown}},
        }
        self._request(
            "initialize",
            {
                "processId": os.getpid(),
                "rootUri": ROOT.as_uri(),
                "workspaceFolders": [{"uri": ROOT.as_uri(), "name": "kling_async"}],
                "capabilities": {"textDocument": text_document, "workspace": {"configuration": True}},
            },
        )
        self._send({"method": "initialized", "params": {}})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watchdog.cancel()
        self._process.kill()
        self._process.communicate()

    def signature(self, program: str) -> tuple[str, str]:
        """Return signature and documentation that are shown at the end of a program, after a bracket."""
        shown = self._at_the_end("signatureHelp", program)
        (found,) = shown["signatures"]
        return found["label"], found["documentation"]["value"].replace("\\_", "_")

    def hover(self, program: str) -> str:
        """Return what is shown on the last word of a program."""
        text: str = self._at_the_end("hover", program)["contents"]["value"]
        return text

    def _at_the_end(self, question: str, program: str) -> Any:
        uri = (ROOT / f"shown_{self._last_id}.py").as_uri()  # which exists in the editor alone
        document = {"uri": uri, "languageId": "python", "version": 1, "text": program}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        lines = program.split("\n")
        position = {"line": len(lines) - 1, "character": len(lines[-1])}
        params = {"textDocument": {"uri": uri}, "position": position}
        return self._request(f"textDocument/{question}", params)

    def _request(self, method: str, params: dict[str, Any]) -> Any:
        self._last_id += 1
        self._send({"id": self._last_id, "method": method, "params": params})
        while True:
            message = self._receive()
            if "method" in message and "id" in message:
                self._answer(message)
            elif message.get("id") == self._last_id:
                return message["result"]

    def _answer(self, question: dict[str, Any]) -> None:
        """Tell the server what it asks of an editor: the settings of each section."""
        settings = {"pythonPath": sys.executable, "analysis": {"diagnosticMode": "openFilesOnly"}}
        asked = question["method"] == "workspace/configuration"
        result = [settings for _ in question["params"]["items"]] if asked else None
        self._send({"id": question["id"], "result": result})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        length = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert length, "the language server has ended, or said nothing for too long"
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        return message
