"""Finding of tasks: by one id, by several ids, or page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.emulator.judging.judge import judge_query
from kling_async.emulator.judging.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.emulator.judging.reference import ReferenceEndpoint
    from kling_async.emulator.state.tasks import Task, Tasks

__all__ = ["find_task", "list_tasks", "tasks_by_ids"]

IDS_MAX: Final = 20
"""Ids in one request to ``/tasks``; measured: the vendor refuses 21."""


def find_task(tasks: Tasks, endpoint: ReferenceEndpoint, either_id: str) -> Task:
    """Return the endpoint's task by its task_id, or by its external_task_id where the API allows that.

    Raises:
        Refusal: The endpoint has no such task (1201).
    """
    task = tasks.find(endpoint.name, either_id, external=endpoint.answers.by_external_task_id)
    if task is None:
        raise Refusal(1201, f"Task not found by id/external id: {either_id[:64]}")
    return task


def tasks_by_ids(tasks: Tasks, query: Mapping[str, str], fits: Callable[[Task], bool]) -> list[Task]:
    """Return the tasks of up to 20 ids of one kind, oldest first; others are left out.

    Raises:
        Refusal: The query names no ids, both kinds of ids, or too many (1201).
    """
    kinds = [name for name in ("task_ids", "external_task_ids") if query.get(name)]
    if len(kinds) != 1:
        raise Refusal(1201, "task_ids or external_task_ids is required")
    ids = query[kinds[0]].split(",")
    if len(ids) > IDS_MAX:
        raise Refusal(1201, f"task_ids and external_task_ids cannot exceed {IDS_MAX} in total")
    external = kinds[0] == "external_task_ids"
    found = (tasks.find_anywhere(one, external=external) for one in dict.fromkeys(ids))
    return sorted((task for task in found if task is not None and fits(task)), key=lambda task: task.task_id)


def list_tasks(tasks: Tasks, endpoint: ReferenceEndpoint, query: dict[str, str]) -> list[Task]:
    """Return one page of the endpoint's tasks, newest first.

    Raises:
        Refusal: A parameter of the query is out of bounds (1201).
    """
    page = judge_query(endpoint.pages, query)
    return tasks.page(endpoint.name, page["pageNum"], page["pageSize"])
