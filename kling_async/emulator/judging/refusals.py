"""The exception for everything that the API refuses."""

from __future__ import annotations

from kling_async.emulator.judging.reference import REFERENCE

__all__ = ["Refusal"]


class Refusal(Exception):
    """The API refuses a request, with a code of its table and a message.

    Args:
        code: The API's code, such as 1201.
        message: None for the usual message of the code.
    """

    def __init__(self, code: int, message: str | None = None) -> None:
        self.code = code
        self.message = message or REFERENCE.message(code)
        super().__init__(code, self.message)
