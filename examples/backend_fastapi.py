"""A web backend that makes videos, with a page to ask for them. Linux and macOS; made to be copied.

``pip install 'kling-async[web]'``, set KLING_API_KEY (costs units; ``kling emulator`` prints what to export
to try it for nothing), then
``uvicorn examples.backend_fastapi:app --workers 2 --timeout-graceful-shutdown 5``.

An order is a row of a table before it is answered, and each worker delivers its own. A worker that starts
takes over the unfinished orders of workers that ended, however they ended: a task that exists is found by the
order's id, and not made twice. Nobody is asked who they are: a real service looks orders up by customer, too.
"""

import asyncio
import fcntl
import json
import logging
import os
import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import HTMLResponse
from fastapi.sse import EventSourceResponse
from fastapi.staticfiles import StaticFiles

import kling_async
from kling_async import errors, v1, webhooks

HOME = Path(os.environ.get("VIDEOS_HOME", "videos"))  # the table, and the files
PUBLIC_URL = os.environ.get("PUBLIC_URL")  # of this server, for callbacks; without it the client only polls
SECRET = os.environ.get("KLING_WEBHOOK_SECRET")  # from the console
TOKEN = os.environ.get("KLING_PATH_TOKEN")  # a random word, for callbacks that are not signed

TABLES = """PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, key TEXT UNIQUE, request TEXT, owner INTEGER,
    status TEXT DEFAULT 'queued', eta TEXT, url TEXT, reason TEXT);
CREATE VIEW IF NOT EXISTS unfinished AS SELECT * FROM orders WHERE url IS NULL AND reason IS NULL;"""
INSERT = "INSERT INTO orders (id, key, request, owner) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"
SHOW = """SELECT id, status, eta, url, reason, CASE status WHEN 'queued' THEN
    (SELECT count(*) FROM orders AS o WHERE o.status = 'queued' AND o.rowid < orders.rowid) END AS position
    FROM orders WHERE id = ?"""
NO_USE = (  # to try again after these
    *(errors.RequestInvalid, errors.RequestRejected, errors.PolicyViolation),
    *(errors.TaskFailed, errors.TaskNotFound, errors.ResultExpired),
)
Json = dict[str, Any]

client_of = kling_async.lifespan(
    grace=20,
    slots=os.environ.get("KLING_SLOTS"),  # sqlite:///run/videos/slots.sqlite: all workers share one queue
    callback_url=PUBLIC_URL and f"{PUBLIC_URL}/kling/{TOKEN or 'callback'}",
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Go on with unfinished orders; at the end wait for the client's grace, then for the deliveries."""
    (HOME / "files").mkdir(parents=True, exist_ok=True)
    app.state.db = sqlite3.connect(HOME / "orders.sqlite", isolation_level=None, timeout=30)
    app.state.db.row_factory = sqlite3.Row
    app.state.db.executescript(TABLES)
    with closing(app.state.db), lock(os.getpid(), fcntl.LOCK_EX):
        for (owner,) in sql("SELECT DISTINCT owner FROM unfinished").fetchall():
            with suppress(BlockingIOError), lock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB):  # unless it lives
                sql("UPDATE orders SET owner = ? WHERE owner = ?", os.getpid(), owner)
        async with asyncio.TaskGroup() as app.state.deliveries, client_of(app):
            for order, request in sql("SELECT id, request FROM unfinished WHERE owner = ?", os.getpid()):
                app.state.deliveries.create_task(deliver(order, json.loads(request)))
            yield


@contextmanager
def lock(owner: int, how: int) -> Iterator[None]:
    """Lock the file of a worker; the system unlocks it when the worker ends, however it ends."""
    with (HOME / f"worker-{owner}.lock").open("w") as file:
        fcntl.flock(file, how)
        yield


def sql(text: str, *values: Any) -> sqlite3.Cursor:
    """Ask the table, or change it."""
    db: sqlite3.Connection = app.state.db
    return db.execute(text, values)


async def deliver(order: str, request: Json) -> None:
    """Queue for a slot, make the video unless that was done before, and store its file."""
    while True:
        try:
            task = await app.state.kling_client.enqueue(
                v1.TextToVideo.from_dict(request), external_task_id=order, if_exists="attach"
            )
            async for record in task.updates():
                eta = task.eta and task.eta.isoformat()
                sql("UPDATE orders SET status = ?, eta = ? WHERE id = ?", record.status, eta, order)
            (path,) = await task.download(HOME / "files", name="{key}")
        except errors.ClientClosed:  # the next start goes on with it
            return
        except NO_USE as error:
            sql("UPDATE orders SET status = 'failed', reason = ? WHERE id = ?", str(error), order)
            return
        except Exception:  # no units left, no network, a full disk: somebody has to see to it
            logging.getLogger(__name__).exception("order %s is tried again", order)
            await asyncio.sleep(5)
        else:
            sql("UPDATE orders SET status = 'ready', url = ? WHERE id = ?", f"/files/{path.name}", order)
            return


app = FastAPI(lifespan=lifespan)
app.mount("/files", StaticFiles(directory=HOME / "files", check_dir=False))
if PUBLIC_URL:
    app.mount("/kling", webhooks.CallbackReceiver(secret=SECRET, path_token=TOKEN))


@app.post("/videos", status_code=202)
async def create(request: v1.TextToVideo, idempotency_key: Annotated[str | None, Header()] = None) -> Json:
    """Take an order. The same key again is the same order."""
    order, body = str(uuid.uuid4()), request.to_dict()
    sql(INSERT, order, idempotency_key, json.dumps(body), os.getpid())
    found = sql("SELECT id, request FROM orders WHERE id = ? OR key = ?", order, idempotency_key).fetchone()
    if json.loads(found["request"]) != body:
        raise HTTPException(409, "this Idempotency-Key belongs to another request")
    if found["id"] == order:
        app.state.deliveries.create_task(deliver(order, body))
    return await find(found["id"])


@app.get("/videos/{order}")
async def find(order: str) -> Json:
    """Show an order: status, position in the queue, time of its end if that is known, address or reason."""
    if (row := sql(SHOW, order).fetchone()) is None:
        raise HTTPException(404, "no such video")
    return dict(row)


@app.get("/videos/{order}/events", response_class=EventSourceResponse)
async def events(video: Annotated[Json, Depends(find)]) -> AsyncIterator[Json]:
    """Send an order, and again whenever it has changed, until it has an end."""
    yield video
    while not (video["url"] or video["reason"]):
        await asyncio.sleep(0.5)
        if (now := await find(video["id"])) != video:
            yield (video := now)


@app.get("/", response_class=HTMLResponse)
async def page() -> str:
    """Serve the page."""
    return PAGE


PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Videos</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }
  textarea, video { width: 100%; box-sizing: border-box; font: inherit }
  article { border: 1px solid #ccc; padding: 1rem; margin-top: 1rem; overflow-wrap: anywhere }
</style>
<h1>Videos</h1>
<form><textarea rows="3" required placeholder="A rabbit reads the newspaper"></textarea>
  <button>Make a video</button></form><main></main>
<script>
const form = document.forms[0], [prompt] = form, headers = {"Content-Type": "application/json"};
const make = (kind, more) => Object.assign(document.createElement(kind), more);
const seconds = eta => Math.round((Date.parse(eta) - Date.now()) / 1000);
form.onsubmit = async event => {
  event.preventDefault();
  const body = JSON.stringify({prompt: prompt.value, duration: 5}), card = make("article"), line = make("p");
  card.append(make("p", {textContent: prompt.value}), line);  // textContent: a prompt is no HTML
  document.querySelector("main").prepend(card);
  form.reset();
  const answer = await fetch("/videos", {method: "POST", body, headers}), order = await answer.json();
  if (!answer.ok) return line.textContent = JSON.stringify(order.detail);
  const source = new EventSource(`/videos/${order.id}/events`);
  source.onmessage = ({data}) => {
    const {status, position, eta, url, reason} = JSON.parse(data);
    const left = seconds(eta) > 0 && `about ${seconds(eta)} s left`;
    line.textContent = [status, position && `${position} before it`, left, reason].filter(Boolean).join(", ");
    if (url) card.append(make("video", {src: url, controls: true}));
    if (url || reason) source.close();
  };
};
</script></html>"""
