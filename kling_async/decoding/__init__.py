"""Decoding: what the fields of the API's answers mean, in either vocabulary and whatever their types.

`kling_async.records` and the orchestrator's results use both of its modules.
Data goes from plain JSON values to plain JSON values; nothing here raises, waits or knows a task.
"""
