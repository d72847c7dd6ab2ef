"""Run ``kling demo``: a batch of prompts, more than there are slots, from request to file.

The same code runs against the emulator and, with ``--live``, against the account whose key is in the
environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kling_async import v1
from kling_async.batch.outcomes import Outcome
from kling_async.cli.config import read_configuration
from kling_async.cli.exit_codes import ExitCode
from kling_async.cli.page import PageTotals, card_of, write_page
from kling_async.cli.progress import Counts, DemoProgress
from kling_async.cli.run_report import ending
from kling_async.client import Client
from kling_async.emulator import Emulator
from kling_async.http.auth import signer_from
from kling_async.options import Polling
from kling_async.prices import estimate

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Mapping, Sequence

    from kling_async.batch.outcomes import Report
    from kling_async.wire.requests import TaskRequest

__all__ = ["PROMPTS", "run_demo"]


def _clip(
    prompt: str, model_name: str = "kling-v2-5-turbo", duration: int = 5, **more: Any
) -> v1.TextToVideo:
    return v1.TextToVideo(prompt=prompt, model_name=model_name, duration=duration, **more)


def _still(prompt: str, **more: Any) -> v1.ImageGeneration:
    return v1.ImageGeneration(prompt=prompt, **more)


PROMPTS: Final[tuple[TaskRequest[Any], ...]] = (
    _clip("A paper boat drifts down a rain gutter, close to the water"),
    _still("A lighthouse made of porcelain on a cliff at dawn", aspect_ratio="3:2"),
    _clip("A fox trots through fresh snow and stops to listen", aspect_ratio="9:16"),
    _still("Four studies of a red umbrella, ink and wash", n=4, aspect_ratio="1:1"),
    _clip("Bread rises in an oven, time-lapse, warm light", mode="pro"),
    _clip("A tram climbs a steep street in heavy fog", model_name="kling-v2-6"),
    _still("A greenhouse inside a glass bottle, macro photograph"),
    _clip(
        "A violin maker carves a scroll, wood shavings fall", model_name="kling-v2-6", mode="pro", sound=True
    ),
    _still("Map of an invented archipelago, copper engraving", aspect_ratio="21:9", resolution="2k"),
    _clip("A jellyfish rises through beams of light", aspect_ratio="1:1"),
    v1.TextToVideo(
        model_name="kling-v3",
        multi_shot=True,
        shot_type="customize",
        duration=6,
        multi_prompt=(
            v1.Shot(index=1, prompt="A child finds a key under a root", duration=3),
            v1.Shot(index=2, prompt="The key opens a tiny door in the tree", duration=3),
        ),
    ),
    _clip("Steam curls from a cup on a windowsill, rain behind", duration=10),
    _still("Portrait of a clockwork owl, oil on canvas", n=2, aspect_ratio="3:4"),
    _clip("A kite breaks free over a wheat field"),
    _still("A night market under paper lanterns, wide view", n=3),
    _clip("Frost grows across a window pane, macro", model_name="kling-v3", duration=3),
    _clip("A dancer's shadow crosses a brick wall", aspect_ratio="9:16", mode="pro"),
    _still("A whale as a cloud above a harbour", aspect_ratio="2:3"),
    _clip("A marble runs through a wooden machine", model_name="kling-v2-6"),
    _still("Seven chairs for seven moods, product photograph", n=7, aspect_ratio="16:9"),
    _clip("Lanterns float up a dark river valley"),
    _clip("A letter writes itself, the ink still wet", model_name="kling-v3", mode="pro", duration=4),
    _clip("Rain on a tin roof, a bell far away", model_name="kling-v2-6", mode="pro", sound=True),
    _clip("Gulls circle a harbour crane, wide view", aspect_ratio="1:1", mode="pro"),
    _clip("The moon passes behind a radio mast", model_name="kling-v2-6"),
    _clip("A night bus pulls out of a flooded street", model_name="kling-v3", duration=5, sound=True),
    _clip("Autumn leaves settle on an old piano", aspect_ratio="9:16"),
    _clip("A lake at dawn, one rowing boat leaves the jetty", model_name="kling-v3", mode="pro", duration=8),
    v1.TextToAudio(prompt="Waves on pebbles, gulls, a distant ship's horn", duration=6),
)
"""Twenty videos, eight sets of images and a sound, of several models, lengths and shapes; the images take 1
to 7 slots each."""


def run_demo(options: argparse.Namespace) -> int:
    """Run the batch; return the exit status."""
    requests = PROMPTS[: options.count]
    if options.live:
        given = read_configuration(options).client_options()
        keys = [given.get(name) for name in ("api_key", "access_key", "secret_key")]
        signer_from(*keys)  # raises without credentials, before asking whether to pay
        if not _confirmed(requests, assume_yes=options.yes):
            return ExitCode.FAILED
    return asyncio.run(_run_batch(requests, options))


def _confirmed(requests: Sequence[TaskRequest[Any]], *, assume_yes: bool) -> bool:
    """Say what the requests cost at most, and ask whether to go on."""
    videos = sum(isinstance(r, v1.TextToVideo) for r in requests)
    sounds = sum(isinstance(r, v1.TextToAudio) for r in requests)
    images = len(requests) - videos - sounds
    what = f"{videos} videos and {images} sets of images" + (f" and {sounds} sound" if sounds else "")
    print(f"This makes up to {what} for {_cost(requests)} of your account.")
    if assume_yes:
        return True
    try:
        return input("Type yes to go on: ").strip().lower() == "yes"
    except EOFError:
        print("kling: no keyboard to confirm with; add --yes", file=sys.stderr)
        return False


def _cost(requests: Sequence[TaskRequest[Any]]) -> str:
    """Return the most that the requests can cost, by pool."""
    most: dict[str, float] = {}
    for price in map(estimate, requests):
        most[price.pool] = most.get(price.pool, 0.0) + (price.most or 0.0)
    return _format_units(most)


def _format_units(units: Mapping[str, float]) -> str:
    return " and ".join(f"{spent:.10g} {pool} units" for pool, spent in sorted(units.items())) or "no units"


async def _run_batch(requests: Sequence[TaskRequest[Any]], options: argparse.Namespace) -> int:
    folder = Path(options.out)
    progress = DemoProgress(len(requests))
    started = time.monotonic()
    keyed = [(_key(n, request), request) for n, request in enumerate(requests, 1)]
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(progress.close)
        client = await stack.enter_async_context(_open_client(options, progress))
        batch = client.batch(
            keyed,
            download_to=folder,
            name="{key}",
            journal=folder / "demo.sqlite" if options.live else None,
            progress=progress.show,
            signals=options.live,  # an interrupted run on the emulator loses nothing worth an orderly end
        )
        results = await stack.enter_async_context(batch)
        outcomes = list[Outcome[Any]]()
        async for outcome in results:
            _show(progress, outcome)
            outcomes.append(outcome)
        limits = client.account.limits()
    report, seconds = results.report, time.monotonic() - started
    slots = {name: limits[name].limit for name in report.units if name in limits}
    where = f"{sum(len(outcome.files) for outcome in outcomes)} files in {folder}/"
    if outcomes:
        where += f"\nlook at them: {_write_page(folder, outcomes, PageTotals(seconds, report.units, slots))}"
    print(_summary(progress.counts, report, seconds, where, live=options.live))
    if report.done + report.failed == len(requests):  # stopped too late to leave anything out
        return ExitCode.FAILED if report.failed else ExitCode.DONE
    if options.live:
        print("To go on, run the same again:", f"{folder / 'demo.sqlite'} knows what is made and paid.")
    return ending(report, bad=0, wrong=False, interrupted=report.stopped.startswith("SIG"))


def _write_page(folder: Path, outcomes: Sequence[Outcome[Any]], totals: PageTotals) -> Path:
    """Write the page of the outcomes, in the order of the prompts."""
    ordered = sorted(outcomes, key=lambda outcome: outcome.position)
    return write_page(folder, [card_of(outcome) for outcome in ordered], totals)


def _key(number: int, request: TaskRequest[Any]) -> str:
    """Name a request's files by its prompt: ``05-bread-rises-in-an-oven``."""
    words = re.findall(r"[a-z0-9]+", _title(request).lower().replace("'", ""))
    return "-".join([f"{number:02}", *words[:5]])


def _show(progress: DemoProgress, outcome: Outcome[Any]) -> None:
    """Print how one request ended."""
    title = _title(outcome.request)
    if outcome.error is not None:
        progress.ended(f"  failed  {title}: {outcome.error}", failed=True)
        return
    first, *others = [file.name for file in outcome.files]
    more = f" and {len(others)} more" if others else ""
    resumed = "  (from an earlier run)" if outcome.resumed else ""
    progress.ended(f"  {first}{more}  {title}{resumed}")


@contextlib.asynccontextmanager
async def _open_client(options: argparse.Namespace, progress: DemoProgress) -> AsyncIterator[Client]:
    """Open a client of the real account, or of an emulator with two slots taken for a while."""
    if options.live:
        async with Client(**read_configuration(options).client_options(), on_event=progress) as client:
            yield client
        return
    async with Emulator(slots={"video": 5, "image": 9}, speed=options.speed) as emulator:
        emulator.set_foreign("video", 2)
        # the foreign slots show the client being refused, and finding room again two minutes later
        asyncio.get_running_loop().call_later(120 / options.speed, emulator.set_foreign, "video", 0)
        print(f"An emulator plays the vendor, {options.speed:g} times as fast: 5 video and 9 image slots.")
        print("Another program holds two of the video slots for a while. Nothing is paid.\n")
        # a second of lag costs `speed` times as much here, so queries come as much closer together
        max_interval = max(0.05, 5 / options.speed)
        async with Client(
            api_key=emulator.api_key,
            base_url=emulator.url,
            polling=Polling(
                min_interval=0.05,
                max_interval=max_interval,
                request_cost=0.2 / options.speed,
                requests_per_second=100,
            ),
            on_event=progress,
        ) as client:
            yield client


def _title(request: TaskRequest[Any]) -> str:
    """Return the prompt of a request, or of its first shot."""
    if isinstance(request, v1.TextToVideo) and request.multi_prompt:
        return request.multi_prompt[0].prompt + " ..."
    return getattr(request, "prompt", None) or ""


def _summary(counts: Counts, report: Report, seconds: float, where: str, *, live: bool) -> str:
    """Return the lines that end the demo."""
    text = f"""
{counts.succeeded} of {counts.total} tasks succeeded in {seconds:.0f} s; {where}
  {counts.waited} submits waited for a slot
  {counts.refused} refusals (1303, account full) became waiting, none became an error
  {counts.asked} status queries, {_format_units(report.units)}"""
    if live:
        return text
    return f"""{text}

The same with your own account (costs units):
  export KLING_API_KEY=...      # from the Kling console
  kling demo --live             # here: python3 -m examples --live"""
