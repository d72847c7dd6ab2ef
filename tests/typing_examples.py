"""What type checkers must accept, must refuse, and must infer: checked by mypy and pyright, never run.

Lines that must be refused carry ``type: ignore``; both tools are told to complain where one is not needed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, assert_type

import kling_async
from kling_async import (
    Batch,
    CallRequest,
    Client,
    Outcome,
    Problem,
    Progress,
    RawTask,
    Task,
    TaskRecord,
    TaskRequest,
    convert,
    read_csv,
    read_jsonl,
    v1,
    v2,
)
from kling_async.batch.outcomes import Outcomes
from kling_async.wire.players import Embedded
from kling_async.wire.requests import RawResult

VIDEO = v1.TextToVideo(prompt="x")
IMAGE = v1.ImageGeneration(prompt="x", n=2)
COSTS = v1.AccountCosts(start_time=0, end_time=1)
RAW = RawTask(path="/v1/videos/new", body={})


async def submit_gives_a_task_of_the_request_s_result(client: Client) -> None:
    """The type of the result travels from the request through the task to ``wait``."""
    assert_type(await client.submit(VIDEO), Task[v1.Videos])
    assert_type(await client.submit(IMAGE, priority=1, label="a", queue_timeout=3), Task[v1.Images])
    assert_type(await client.submit(RAW), Task[RawResult])
    task = await client.submit(VIDEO, external_task_id="order-17", callback_url="https://a.example/hook")
    assert_type(await task.wait(), v1.Videos)
    assert_type(await task.wait(timeout=5), v1.Videos)
    assert_type(task.result, v1.Videos | None)
    assert_type(task.request, TaskRequest[v1.Videos] | None)
    assert_type(await task.refresh(), TaskRecord)
    assert_type(await task.download("out"), list[Path])
    assert_type(task.updates(), AsyncIterator[TaskRecord])
    assert_type((await task.wait()).videos[0].seconds, float | None)


def json_gives_the_type_that_reads_it(client: Client) -> None:
    """``from_dict`` gives its own type, ``request_from_dict`` any request; the check takes both kinds."""
    assert_type(v1.TextToVideo.from_dict({"prompt": "x"}, files="in"), v1.TextToVideo)
    assert_type(v1.Shot.from_dict({}), v1.Shot)
    request = kling_async.request_from_dict({"endpoint": "text_to_video"})
    client.check(request)
    client.check(COSTS)
    client.check(v1.Videos())  # type: ignore[arg-type]


async def run_and_call_give_the_result(client: Client) -> None:
    """``run`` takes both kinds, ``call`` the one."""
    assert_type(await client.run(VIDEO), v1.Videos)
    assert_type(await client.run(IMAGE, timeout=60, priority=2), v1.Images)
    assert_type(await client.run(COSTS), v1.Costs)
    assert_type(await client.run(COSTS, timeout=5), v1.Costs)
    assert_type(await client.call(COSTS), v1.Costs)
    faces = await client.call(v1.IdentifyFace(video_id="743"))
    assert_type(faces, v1.Faces)
    choice = v1.FaceChoice.of(faces.face_data[0], audio_id="900", sound_end_time=3000)
    sync = v1.AdvancedLipSync(session_id=faces.session_id, face_choose=(choice,))
    assert_type(await client.run(sync), v1.DerivedVideos)
    assert_type(
        await client.call(v1.AddSelection(session_id="1", frame_index=0, points=())), v1.SelectionMarks
    )

    def seen(task: Task[v1.Videos]) -> None:
        assert_type(task, Task[v1.Videos])

    await client.run(VIDEO, on_task=seen)


async def the_wrong_kind_is_refused(client: Client) -> None:
    """A synchronous request is not submitted, a task request is not called."""
    await client.submit(COSTS)  # type: ignore[arg-type]
    await client.call(VIDEO)  # type: ignore[arg-type]
    await client.submit(v1.TextToVideo)  # type: ignore[arg-type]
    await client.submit("a rabbit")  # type: ignore[arg-type]
    await client.run(COSTS, priority=1)  # type: ignore[call-overload]
    await client.run(VIDEO, priorty=1)  # type: ignore[call-overload]
    await client.submit(VIDEO, priorty=1)  # type: ignore[call-arg]


async def a_batch_is_of_what_it_is_given(client: Client) -> None:
    """Requests, (key, request) or both, in any iterable: the outcomes have the requests' result."""
    assert_type(client.batch([v1.TextToVideo(prompt="x")]), Batch[v1.Videos])
    assert_type(client.batch([VIDEO, VIDEO], retries=1), Batch[v1.Videos])
    assert_type(client.batch((IMAGE,)), Batch[v1.Images])
    assert_type(client.batch([("a", VIDEO)]), Batch[v1.Videos])
    assert_type(client.batch({"a": VIDEO}.items()), Batch[v1.Videos])
    assert_type(client.batch(v1.TextToVideo(prompt=text) for text in "abc"), Batch[v1.Videos])
    assert_type(client.batch((text, v1.TextToVideo(prompt=text)) for text in "abc"), Batch[v1.Videos])
    assert_type(client.batch(videos_as_they_come()), Batch[v1.Videos])
    assert_type(client.batch(named_images_as_they_come()), Batch[v1.Images])
    assert_type(client.batch([RAW]), Batch[RawResult])
    assert_type(client.batch(read_jsonl("jobs.jsonl", check=client.check)), Batch[Any])
    assert_type(client.batch(read_csv("jobs.csv"), progress=print).progress(), Progress)
    async with client.batch([VIDEO]) as results:
        async for outcome in results:
            assert_type(outcome, Outcome[v1.Videos])
            assert_type(outcome.result, v1.Videos | None)
            assert_type(outcome.request, TaskRequest[v1.Videos])


async def watching_returns_what_waiting_does(client: Client) -> None:
    """A task's result, and the outcomes of a batch."""
    task = await client.submit(VIDEO)
    assert_type(await kling_async.notebook.watch(task), v1.Videos)
    assert_type(await kling_async.notebook.watch(client.batch([VIDEO])), Outcomes[v1.Videos])
    assert_type(await task.embed(), Embedded)
    assert_type(await (await task.wait()).embed(), Embedded)


async def a_batch_of_several_kinds(client: Client) -> None:
    """Their results have a type in common; which one is said beforehand where it matters."""
    mixed: list[TaskRequest[v1.Videos | v1.Images]] = [VIDEO, IMAGE]
    async with client.batch(mixed) as results:
        async for outcome in results:
            assert_type(outcome.result, v1.Videos | v1.Images | None)
    both: list[TaskRequest[v1.Videos] | tuple[str, TaskRequest[v1.Videos]]] = [VIDEO, ("a", VIDEO)]
    assert_type(client.batch(both), Batch[v1.Videos])
    client.batch([VIDEO, IMAGE])


async def a_batch_makes_tasks_only(client: Client) -> None:
    """Requests that are answered at once, types of requests and single requests are refused."""
    client.batch([COSTS])  # type: ignore[arg-type]
    client.batch([v1.TextToVideo])  # type: ignore[arg-type]
    client.batch(VIDEO)  # type: ignore[arg-type]
    client.batch([(1, VIDEO)])  # type: ignore[arg-type]


async def videos_as_they_come() -> AsyncIterator[v1.TextToVideo]:
    """Requests out of a queue or a database."""
    yield VIDEO


async def named_images_as_they_come() -> AsyncIterator[tuple[str, v1.ImageGeneration]]:
    """The same with the caller's names."""
    yield "a", IMAGE


async def attach_gives_a_task_of_the_type_s_result(client: Client) -> None:
    """By type or by request; by one id, which is named."""
    assert_type(client.attach(v1.TextToVideo, task_id="847"), Task[v1.Videos])
    assert_type(client.attach(v2.TextToVideo, task_id="847"), Task[v2.Videos])
    assert_type(await client.run(v2.DramaSubtitle(source_video="https://a.example/x")), v2.SubtitledVideos)
    assert_type(convert.to_v2(VIDEO).lost, tuple[Problem, ...])
    assert_type([task async for task in client.history(status="failed")], list[TaskRecord])
    assert_type(client.attach(v1.ImageGeneration, external_task_id="order-17"), Task[v1.Images])
    assert_type(client.attach(RAW, task_id="847"), Task[RawResult])
    client.attach(v1.TextToVideo)  # type: ignore[call-overload]
    client.attach(v1.TextToVideo, task_id="847", external_task_id="order-17")  # type: ignore[call-overload]
    client.attach(v1.AccountCosts, task_id="847")  # type: ignore[arg-type]


async def lists_hold_records(client: Client) -> None:
    """A page is plain data."""
    assert_type(await client.list(v1.TextToVideo, page=2), list[TaskRecord])
    await client.list(v1.AccountCosts)  # type: ignore[arg-type]


def any_request(one: TaskRequest[v1.Videos], other: CallRequest[v1.Costs]) -> None:
    """The two kinds are not each other; a request is one of its result's base, being only read."""
    videos: TaskRequest[v1.Videos] = VIDEO
    results: TaskRequest[object] = VIDEO
    images: TaskRequest[v1.Images] = VIDEO  # type: ignore[assignment]
    call: CallRequest[v1.Costs] = COSTS
    swapped: CallRequest[v1.Videos] = one  # type: ignore[assignment]
    swapped_too: TaskRequest[v1.Costs] = other  # type: ignore[assignment]
    del videos, results, images, call, swapped, swapped_too


def requests_are_typed(path: Path) -> None:
    """Media in every form, arrays as tuples, numbers and truths as such; words are spelled right."""
    v1.ImageGeneration(prompt="x", image="https://a.example/x.png")
    v1.ImageGeneration(prompt="x", image=b"x")
    v1.ImageGeneration(prompt="x", image=path)
    v1.ImageGeneration(prompt="x", image=kling_async.media(path))
    v1.ImageGeneration(prompt="x", image=5)  # type: ignore[arg-type]
    v1.ImageGeneration()  # type: ignore[call-arg]
    v1.TextToVideo(prompt="x", mode="pro", sound=True, duration=5, extra={"seed": 7})
    v1.TextToVideo(prompt="x", mode="hd")  # type: ignore[arg-type]
    v1.TextToVideo(prompt="x", sound="on")  # type: ignore[arg-type]
    v1.TextToVideo(prompt="x", duration="5")  # type: ignore[arg-type]
    v1.TextToVideo(promt="x")  # type: ignore[call-arg]
    VIDEO.prompt = "y"  # type: ignore[misc]


def the_face_is_known() -> None:
    """A misspelt name is refused, though names are loaded lazily at run time."""
    assert_type(kling_async.Polling().min_interval, float)
    str(kling_async.Clinet)  # type: ignore[attr-defined]
    str(kling_async.CODES)  # type: ignore[attr-defined]
    str(v1.TextToVidoe)  # type: ignore[attr-defined]


async def a_client_is_made_by_keywords() -> None:
    """And is its own context."""
    async with Client(
        api_key="x", limits={"video": 20}, polling=kling_async.Polling(min_interval=0)
    ) as client:
        assert_type(client, Client)
    assert_type(client.with_options(retry=kling_async.Retry(max_tries=1)), Client)
    Client("key")  # type: ignore[call-arg]
    Client(apikey="x")  # type: ignore[call-arg]


def a_batch_s_options_are_checked(client: Client) -> None:
    """Misspelt ones, and values of another type."""
    client.batch([VIDEO], journal="jobs.sqlite", max_units={"video": 3}, label=str)
    client.batch([VIDEO], max_unit=3)  # type: ignore[call-arg]
    client.batch([VIDEO], on_error="ignore")  # type: ignore[arg-type]


async def a_lifespan_s_options_are_the_client_s() -> None:
    """Misspelt ones, and values of another type; the dependency gives the client."""
    kling_async.lifespan(grace=20, api_key="x", limits={"video": 3})
    kling_async.lifespan(apikey="x")  # type: ignore[call-arg]
    kling_async.lifespan(max_queued="many")  # type: ignore[arg-type]
    assert_type(await kling_async.get_client(object()), Client)
