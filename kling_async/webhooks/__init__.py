"""Callbacks: the vendor's posts of each change of a task's status, verified, read, and received over HTTP.

    from kling_async import webhooks

    app = FastAPI(lifespan=kling_async.lifespan(callback_url=f"https://host/kling/{TOKEN}"))
    app.mount("/kling", webhooks.CallbackReceiver(secret="whsec_...", path_token=TOKEN))

    webhooks.verify(request.headers, body, secret)   # without a client: raises WebhookError unless signed
    callback = webhooks.parse(body)

`signatures` has the Standard Webhooks scheme, `verification` applies it by this machine's clock, `payloads`
reads the bodies of both generations, `gate` decides which callbacks are believed, a hint, or dropped, `app`
receives them as an ASGI application or by a handler of aiohttp, and `receiver` does so for a client.
`signatures`, `payloads` and `gate` are pure. From outside, use the names below.
"""

from kling_async.webhooks.app import CallbackApp, Deliver
from kling_async.webhooks.gate import (
    AcceptedCallback,
    CallbackCounts,
    CallbackDecision,
    CallbackGate,
    DroppedCallback,
    DropReason,
    Trust,
)
from kling_async.webhooks.payloads import BODY_MAX, Callback, parse
from kling_async.webhooks.receiver import CallbackReceiver
from kling_async.webhooks.signatures import TOLERANCE, Signed, sign
from kling_async.webhooks.verification import verify

__all__ = [
    "BODY_MAX",
    "TOLERANCE",
    "AcceptedCallback",
    "Callback",
    "CallbackApp",
    "CallbackCounts",
    "CallbackDecision",
    "CallbackGate",
    "CallbackReceiver",
    "Deliver",
    "DropReason",
    "DroppedCallback",
    "Signed",
    "Trust",
    "parse",
    "sign",
    "verify",
]
